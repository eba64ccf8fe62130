/* The list of backends, and what is the same for all of them. */
#include "vireo/backend.h"

#include <sched.h>
#include <stdio.h>
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
    static const enum vr_index_kind others[VR_INDEX_KINDS] = {
        /* VR_INDEX_EXACT where nothing is said */
        [VR_INDEX_FAISS_IVF] = VR_INDEX_IVF,         [VR_INDEX_FAISS_GPU_IVF] = VR_INDEX_IVF,
        [VR_INDEX_FAISS_GPU_IVFPQ] = VR_INDEX_IVF,   [VR_INDEX_FAISS_GPU_CAGRA] = VR_INDEX_FAISS_HNSW,
        [VR_INDEX_CUVS_IVF] = VR_INDEX_IVF,          [VR_INDEX_CUVS_IVFPQ] = VR_INDEX_IVF,
        [VR_INDEX_CUVS_CAGRA] = VR_INDEX_FAISS_HNSW,
    };
    const uint32_t kinds = backend->ops->index_kinds;
    return vr_index_kind_is_in(kinds, wanted)           ? wanted
           : vr_index_kind_is_in(kinds, others[wanted]) ? others[wanted]
                                                        : VR_INDEX_EXACT;
}

static const char *other_libraries = "";

void vr_backend_name_libraries(const char *names)
{
    other_libraries = names;
}

/* Space-separated; filled once, before threads start. */
const char *vr_backend_built(void)
{
    static char text[256];
    size_t length = 0;
    for (unsigned i = 0; i < registered_count && length < sizeof text; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%s ", registered[i].name);
    }
    if (length < sizeof text) {
        snprintf(text + length, sizeof text - length, "openblas faiss%s%s", other_libraries[0] != '\0' ? " " : "",
                 other_libraries);
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
