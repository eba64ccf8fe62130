/* The list of backends, and what is the same for all of them. */
#include "vireo/backend.h"

#include <sched.h>
#include <string.h>

#include "cpu_backend.h"
#include "vireo/clock.h"

#define BACKENDS_MAX 8u

static struct {
    const char *name;
    vr_backend_opener *open;
} registered[BACKENDS_MAX] = {{"cpu", vr_cpu_backend_open}};
static unsigned registered_count = 1;

static vr_backend_opener *find(const char *name)
{
    for (unsigned i = 0; i < registered_count; i++) {
        if (strcmp(registered[i].name, name) == 0) {
            return registered[i].open;
        }
    }
    return NULL;
}

enum vr_status vr_backend_register(const char *name, vr_backend_opener *open)
{
    if (registered_count == BACKENDS_MAX || find(name) != NULL) {
        return vr_fail(VR_ERR_BUSY, "backend '%s' is already known, or there are too many", name);
    }
    registered[registered_count].name = name;
    registered[registered_count].open = open;
    registered_count++;
    return VR_OK;
}

enum vr_status vr_backend_open(const char *name, unsigned threads, struct vr_backend **out)
{
    vr_backend_opener *open = find(name);
    if (open == NULL) {
        return vr_fail(VR_ERR_UNSUPPORTED, "this build has no backend '%s'", name);
    }
    return open(threads, out);
}

void vr_backend_destroy(struct vr_backend *backend)
{
    if (backend != NULL) {
        backend->ops->destroy(backend);
    }
}

const struct vr_backend_ops *vr_backend_ops_of(const struct vr_backend *backend)
{
    return backend->ops;
}

enum vr_index_kind vr_index_kind_on(const struct vr_backend *backend, enum vr_index_kind wanted)
{
    const enum vr_index_kind there = wanted == VR_INDEX_FAISS_IVF ? VR_INDEX_IVF : VR_INDEX_EXACT;
    const bool has_wanted = (backend->ops->index_kinds >> (unsigned)wanted & 1u) != 0;
    const bool has_other = (backend->ops->index_kinds >> (unsigned)there & 1u) != 0;
    return has_wanted ? wanted : has_other ? there : VR_INDEX_EXACT;
}

/* Space-separated; filled once, before threads start. */
const char *vr_backend_built(void)
{
    static char text[256];
    size_t length = 0;
    for (unsigned i = 0; i < registered_count && length + 1 < sizeof text; i++) {
        const size_t room = sizeof text - length - 1;
        const size_t name = strnlen(registered[i].name, room - 1);
        memcpy(text + length, registered[i].name, name);
        length += name;
        text[length++] = ' ';
    }
    static const char libraries[] = "openblas faiss";
    if (length + sizeof libraries <= sizeof text) {
        memcpy(text + length, libraries, sizeof libraries);
    }
    return text;
}

bool vr_device_is_wanted(const struct vr_compute_config *config)
{
    return config->backend != VR_COMPUTE_CPU && strstr(vr_backend_built(), "cuda") != NULL;
}

enum vr_status vr_stream_wait(struct vr_backend *backend, struct vr_stream *stream, uint64_t deadline_us)
{
    for (;;) {
        bool done = false;
        const enum vr_status status = backend->ops->stream_poll(stream, &done);
        if (status != VR_OK || done) {
            return status;
        }
        if (vr_clock_mono_us() > deadline_us) {
            return vr_fail(VR_ERR_TIMEOUT, "the device was not done at the deadline");
        }
        sched_yield();
    }
}
