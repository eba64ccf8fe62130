/* What an engine and its lanes take of the device's memory. The engine is filled without taking anything, so that the
 * count follows the same way through the bundle as the real one. */
#include <stdlib.h>

#include "engine_parts.h"

/* Both indexes, and what a stream that searches both takes: the larger of the two, as one search follows the other. */
static uint64_t index_bytes(const struct vr_engine *engine, uint64_t *stream_bytes)
{
    uint64_t sum = 0;
    *stream_bytes = 0;
    for (uint32_t i = 0; i < 2; i++) {
        const struct vr_index_spec spec = engine_index_spec(engine, &engine->options.index, i == 1);
        uint64_t own = 0, stream = 0;
        engine->backend->ops->index_memory(&spec, &own, &stream);
        sum += own;
        *stream_bytes = stream > *stream_bytes ? stream : *stream_bytes;
    }
    return sum;
}

uint64_t vr_engine_bytes(const struct vr_engine *engine)
{
    uint64_t stream = 0;
    return engine->resident.bytes + index_bytes(engine, &stream);
}

static enum vr_status count(struct vr_engine *engine, const struct vr_engine_shape *shape, struct vr_engine_memory *out)
{
    struct vr_engine_slot slot = {0};
    size_t staging = 0, device = 0;
    uint64_t stream = 0;
    enum vr_status status = engine_fill(engine);
    if (status == VR_OK) {
        status = slot_size(engine, shape->max_requests, shape->max_candidates, shape->max_k, &slot);
    }
    if (status != VR_OK) {
        return status;
    }
    slot_bytes(&slot, &staging, &device);
    out->engine = engine->resident.bytes + index_bytes(engine, &stream);
    out->video_table = vr_engine_table_bytes(engine);
    out->lane = device + stream;
    out->lane_pinned = staging;
    out->device = out->engine + shape->lanes * out->lane;
    return VR_OK;
}

enum vr_status vr_engine_memory_needed(struct vr_backend *backend, const struct vr_bundle *bundle,
                                       const struct vr_engine_options *options, const struct vr_engine_shape *shape,
                                       struct vr_engine_memory *out)
{
    struct vr_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the engine");
    }
    engine->backend = backend;
    engine->bundle = bundle;
    engine->options = *options;
    engine->resident.backend = backend;
    engine->resident.counts_only = true;
    const enum vr_status status = count(engine, shape, out);
    vr_engine_destroy(engine);
    return status;
}
