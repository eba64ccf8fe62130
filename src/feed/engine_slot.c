/* A lane's memory: one staging and one device buffer, laid out once for the largest batch. The layout runs twice, first
 * to count the bytes, then to hand out the views; nothing is taken afterwards. */
#include <stdlib.h>

#include "engine_parts.h"

#define ALIGNMENT 256u
#define K_MAX 1000u

/* The next free byte of the two buffers. */
struct layout {
    struct vr_engine_slot *slot;
    size_t staging, device;
};

static size_t rounded(size_t elements)
{
    return (elements * 4 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static struct vr_view scratch(struct layout *layout, size_t rows, size_t width)
{
    const struct vr_view view = {layout->slot->device, layout->device};
    layout->device += rounded(rows * width);
    return view;
}

static struct engine_pair both(struct layout *layout, size_t rows, size_t width)
{
    struct engine_pair pair = {.staging = {layout->slot->staging, layout->staging}};
    pair.device = scratch(layout, rows, width);
    if (layout->slot->staging != NULL) {
        char *host = slot_ops(layout->slot)->buffer_host(layout->slot->staging);
        pair.host = host + layout->staging;
    }
    layout->staging += rounded(rows * width);
    return pair;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void lay_retrieval(struct layout *layout)
{
    struct vr_engine_slot *slot = layout->slot;
    const struct vr_engine *engine = slot->engine;
    const size_t requests = slot->max_requests;
    uint32_t widest = 1;
    for (uint32_t l = 0; l < engine->bundle->user_tower.layer_count; l++) {
        widest = larger(widest, engine->bundle->user_tower.layer[l].out);
    }
    slot->recent_index = both(layout, requests, VR_RECENT_MAX);
    slot->recent_weight = both(layout, requests, VR_RECENT_MAX);
    for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
        slot->vector[v] = both(layout, requests, engine_vector_dim(engine, (enum engine_vector)v));
    }
    slot->user_dense = both(layout, requests, engine->user.dense_stride);
    slot->user_index = both(layout, requests, engine->user.index_stride);
    slot->exclude_offset = both(layout, requests + 1, 1);
    slot->exclude = both(layout, requests, VR_ENGINE_EXCLUDE_MAX);
    slot->user_row = scratch(layout, requests, engine->user.width);
    slot->user_hidden[0] = scratch(layout, requests, widest);
    slot->user_hidden[1] = scratch(layout, requests, widest);
    slot->tower_row = both(layout, requests, slot->max_k);
    slot->tower_score = both(layout, requests, slot->max_k);
    slot->content_row = both(layout, requests, slot->max_k);
    slot->content_score = both(layout, requests, slot->max_k);
}

/* The widest of each intermediate over the levels. */
struct widest {
    uint32_t hidden, expert, logit, mix;
};

static struct widest widest_level(const struct vr_ranker *ranker)
{
    struct widest widest = {1, 1, 1, 1};
    for (uint32_t l = 0; l < ranker->level_count; l++) {
        const struct vr_level *level = &ranker->level[l];
        widest.hidden = larger(widest.hidden, level->experts * level->hidden);
        widest.expert = larger(widest.expert, level->experts * level->width);
        widest.logit = larger(widest.logit, level->gates * level->experts);
        widest.mix = larger(widest.mix, level->gates * level->width);
    }
    return widest;
}

static void lay_ranking(struct layout *layout)
{
    struct vr_engine_slot *slot = layout->slot;
    const struct vr_engine *engine = slot->engine;
    const struct vr_ranker *ranker = &engine->bundle->ranker;
    const struct vr_level *first = &ranker->level[0], *last = &ranker->level[ranker->level_count - 1];
    const struct widest widest = widest_level(ranker);
    const size_t requests = slot->max_requests, rows = slot->max_rows, chunk = slot->chunk;
    slot->request_dense = both(layout, requests, engine->request.dense_stride);
    slot->request_index = both(layout, requests, engine->request.index_stride);
    slot->request_row = scratch(layout, requests, engine->request.width);
    slot->hoisted_hidden = scratch(layout, requests, (size_t)first->experts * first->hidden);
    slot->hoisted_gate = scratch(layout, requests, (size_t)first->gates * first->experts);
    slot->video_dense = both(layout, rows, engine->video.dense_stride);
    slot->video_index = both(layout, rows, engine->video.index_stride);
    slot->request_of = both(layout, rows, 1);
    slot->video_part = scratch(layout, chunk, engine->video.width);
    slot->hidden = scratch(layout, chunk, widest.hidden);
    slot->expert = scratch(layout, chunk, widest.expert);
    slot->logit = scratch(layout, chunk, widest.logit);
    slot->mix[0] = scratch(layout, chunk, widest.mix);
    slot->mix[1] = scratch(layout, chunk, widest.mix);
    slot->task_hidden = scratch(layout, chunk, ranker->tower_hidden);
    slot->z = scratch(layout, chunk, engine->z_width);
    slot->heads = both(layout, rows, VR_HEAD_COUNT);
    slot->gates = both(layout, rows, (size_t)last->gates * last->experts);
}

static enum vr_status lay_out(struct vr_engine_slot *slot)
{
    struct vr_backend *backend = slot->engine->backend;
    struct layout count = {slot, 0, 0};
    lay_retrieval(&count);
    lay_ranking(&count);
    enum vr_status status = backend->ops->buffer_create(backend, VR_MEMORY_STAGING, count.staging, &slot->staging);
    if (status == VR_OK) {
        status = backend->ops->buffer_create(backend, VR_MEMORY_DEVICE, count.device, &slot->device);
    }
    if (status == VR_OK) {
        struct layout place = {slot, 0, 0};
        lay_retrieval(&place);
        lay_ranking(&place);
    }
    return status;
}

static enum vr_status take_host_memory(struct vr_engine_slot *slot)
{
    slot->missing = calloc((size_t)ENGINE_VECTORS * slot->max_requests, 1);
    return slot->missing != NULL ? VR_OK : vr_fail(VR_ERR_NOMEM, "no memory for a lane's slot");
}

enum vr_status vr_engine_slot_create(struct vr_engine *engine, uint32_t max_requests, uint32_t max_candidates,
                                     uint32_t max_k, struct vr_engine_slot **out)
{
    if (max_requests == 0 || max_candidates == 0 || max_k > K_MAX ||
        (uint64_t)max_requests * max_candidates > 1u << 24) {
        return vr_fail(VR_ERR_INVALID, "a slot for %u requests of %u candidates, k %u", max_requests, max_candidates,
                       max_k);
    }
    struct vr_engine_slot *slot = calloc(1, sizeof *slot);
    if (slot == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a lane's slot");
    }
    slot->engine = engine;
    slot->max_requests = max_requests;
    slot->max_rows = max_requests * max_candidates;
    slot->max_k = max_k;
    slot->chunk = slot->max_rows < ENGINE_CHUNK_ROWS ? slot->max_rows : ENGINE_CHUNK_ROWS;
    enum vr_status status = engine->backend->ops->stream_create(engine->backend, &slot->stream);
    if (status == VR_OK) {
        status = take_host_memory(slot);
    }
    if (status == VR_OK) {
        status = lay_out(slot);
    }
    if (status != VR_OK) {
        vr_engine_slot_destroy(slot);
        return status;
    }
    *out = slot;
    return VR_OK;
}

void vr_engine_slot_destroy(struct vr_engine_slot *slot)
{
    if (slot == NULL) {
        return;
    }
    const struct vr_backend_ops *ops = slot_ops(slot);
    if (slot->stream != NULL) {
        ops->stream_destroy(slot->stream);
    }
    if (slot->staging != NULL) {
        ops->buffer_destroy(slot->staging);
    }
    if (slot->device != NULL) {
        ops->buffer_destroy(slot->device);
    }
    free(slot->missing);
    free(slot);
}

enum vr_status slot_wait(struct vr_engine_slot *slot, uint64_t deadline_us)
{
    const enum vr_status status = vr_stream_wait(slot->engine->backend, slot->stream, deadline_us);
    slot->busy = status != VR_OK;
    return status;
}

enum vr_status slot_begin(struct vr_engine_slot *slot, uint64_t deadline_us)
{
    return slot->busy ? slot_wait(slot, deadline_us) : VR_OK;
}

enum vr_status slot_push(struct vr_engine_slot *slot, const struct engine_pair *pair, size_t elements)
{
    slot->busy = true;
    return slot_ops(slot)->copy(slot->stream, pair->device, pair->staging, elements * 4);
}

enum vr_status slot_pull(struct vr_engine_slot *slot, const struct engine_pair *pair, size_t elements)
{
    slot->busy = true;
    return slot_ops(slot)->copy(slot->stream, pair->staging, pair->device, elements * 4);
}
