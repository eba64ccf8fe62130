/* Tables and weights on their way to the backend, in pieces through one staging buffer. */
#include <string.h>

#include "engine_parts.h"
#include "vireo/clock.h"

#define PIECE_BYTES (4u << 20)
#define UPLOAD_LIMIT_US 60000000u

enum vr_status engine_resident_open(struct engine_resident *resident, struct vr_backend *backend)
{
    resident->backend = backend;
    enum vr_status status = backend->ops->stream_create(backend, &resident->stream);
    if (status == VR_OK) {
        status = backend->ops->buffer_create(backend, VR_MEMORY_STAGING, PIECE_BYTES, &resident->staging);
    }
    return status;
}

static enum vr_status upload_pieces(struct engine_resident *resident, const char *data, size_t bytes, struct vr_view to)
{
    const struct vr_backend_ops *ops = resident->backend->ops;
    const struct vr_view from = {resident->staging, 0};
    for (size_t done = 0; done < bytes;) {
        const size_t piece = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        memcpy(ops->buffer_host(resident->staging), data + done, piece);
        enum vr_status status = ops->copy(resident->stream, (struct vr_view){to.buffer, done}, from, piece);
        if (status == VR_OK) {
            status = vr_stream_wait(resident->backend, resident->stream, vr_clock_mono_us() + UPLOAD_LIMIT_US);
        }
        if (status != VR_OK) {
            return status;
        }
        done += piece;
    }
    return VR_OK;
}

enum vr_status engine_put(struct engine_resident *resident, const void *data, size_t bytes, struct vr_view *out)
{
    if (resident->count == ENGINE_RESIDENT_MAX) {
        return vr_fail(VR_ERR_UNSUPPORTED, "the bundle has more than %u tables and weights", ENGINE_RESIDENT_MAX);
    }
    struct vr_view view = {NULL, 0};
    enum vr_status status = VR_OK;
    if (!resident->counts_only) {
        status = resident->backend->ops->buffer_create(resident->backend, VR_MEMORY_DEVICE, bytes > 0 ? bytes : 4,
                                                       &view.buffer);
    }
    if (status != VR_OK) {
        return status;
    }
    resident->item[resident->count].host = NULL;
    resident->item[resident->count++].view = view;
    resident->bytes += bytes;
    *out = view;
    return resident->counts_only ? VR_OK : upload_pieces(resident, data, bytes, view);
}

enum vr_status engine_upload(struct engine_resident *resident, const void *data, size_t bytes, struct vr_view *out)
{
    for (uint32_t i = 0; i < resident->count; i++) {
        if (resident->item[i].host == data && bytes > 0) {
            *out = resident->item[i].view;
            return VR_OK;
        }
    }
    const enum vr_status status = engine_put(resident, data, bytes, out);
    if (status == VR_OK) {
        resident->item[resident->count - 1].host = data;
    }
    return status;
}

/* The stream goes first: with it ends what may still read the staging memory. */
void engine_resident_finish(struct engine_resident *resident)
{
    if (resident->stream != NULL) {
        resident->backend->ops->stream_destroy(resident->stream);
        resident->stream = NULL;
    }
    if (resident->staging != NULL) {
        resident->backend->ops->buffer_destroy(resident->staging);
        resident->staging = NULL;
    }
}

void engine_resident_close(struct engine_resident *resident)
{
    if (resident->backend == NULL) {
        return;
    }
    engine_resident_finish(resident);
    while (resident->count > 0) {
        struct vr_buffer *buffer = resident->item[--resident->count].view.buffer;
        if (buffer != NULL) {
            resident->backend->ops->buffer_destroy(buffer);
        }
    }
}
