/* A lane's memory: one staging and one device buffer, cut into blocks once for the largest batch; where a call's
 * matrices lie in them is worked out anew for its number of requests. The layout runs first to count the bytes, then to
 * hand out the views; nothing is taken afterwards. */
#include <stdlib.h>

#include "engine_parts.h"

#define ALIGNMENT 256u
#define K_MAX 1000u

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- matrices in a block ---- */

static struct engine_pair pair_at(const struct engine_block *block, size_t bytes)
{
    struct engine_pair pair = {block->device, block->staging, block->host == NULL ? NULL : block->host + bytes};
    pair.device.offset += bytes;
    pair.staging.offset += bytes;
    return pair;
}

/* The next matrix of a block, *bytes from its start. */
static struct engine_pair place(const struct engine_block *block, size_t *bytes, size_t rows, size_t width)
{
    const struct engine_pair pair = pair_at(block, *bytes);
    *bytes += rounded(rows * width * 4);
    return pair;
}

void slot_lay_retrieval(struct vr_engine_slot *slot, uint32_t room, uint32_t tower_k, uint32_t content_k)
{
    const struct vr_engine *engine = slot->engine;
    struct engine_retrieval *at = &slot->retrieval;
    at->room = room;
    at->tower_k = tower_k;
    at->content_k = content_k;
    size_t bytes = 0;
    at->recent_index = place(&slot->in, &bytes, room, VR_RECENT_MAX);
    at->recent_weight = place(&slot->in, &bytes, room, VR_RECENT_MAX);
    at->user_dense = place(&slot->in, &bytes, room, engine->user.dense_stride);
    at->user_index = place(&slot->in, &bytes, room, engine->user.index_stride);
    at->exclude_offset = place(&slot->in, &bytes, room + (size_t)1, 1);
    at->exclude = pair_at(&slot->in, bytes);
    at->in_bytes = bytes;
    bytes = 0;
    for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
        at->vector[v] = place(&slot->out, &bytes, room, engine_vector_dim(engine, (enum engine_vector)v));
    }
    at->tower_row = place(&slot->out, &bytes, room, tower_k);
    at->tower_score = place(&slot->out, &bytes, room, tower_k);
    at->content_row = place(&slot->out, &bytes, room, content_k);
    at->content_score = place(&slot->out, &bytes, room, content_k);
    at->out_bytes = bytes;
}

void slot_lay_ranking(struct vr_engine_slot *slot, uint32_t room)
{
    const struct vr_engine *engine = slot->engine;
    struct engine_ranking *at = &slot->ranking;
    at->room = room;
    size_t bytes = 0;
    at->request_dense = place(&slot->request_in, &bytes, room, engine->request.dense_stride);
    at->request_index = place(&slot->request_in, &bytes, room, engine->request.index_stride);
    at->in_bytes = bytes;
    bytes = 0;
    at->vector[ENGINE_HIST_TOWER] = place(&slot->vector, &bytes, room, engine->bundle->tower_dim);
    at->vector[ENGINE_HIST_CONTENT] = place(&slot->vector, &bytes, room, engine->bundle->content_dim);
    at->hist_bytes = bytes;
    at->vector[ENGINE_USER_TOWER] = place(&slot->vector, &bytes, room, engine->bundle->tower_dim);
}

size_t slot_row_bytes(const struct vr_engine_slot *slot)
{
    const struct engine_inputs *video = &slot->engine->video;
    return ((size_t)video->dense_stride + video->index_stride + 1) * 4;
}

struct engine_rows slot_rows(const struct vr_engine_slot *slot, uint32_t first, uint32_t room)
{
    const struct engine_inputs *video = &slot->engine->video;
    const size_t dense = first * slot_row_bytes(slot);
    const size_t index = dense + (size_t)room * video->dense_stride * 4;
    return (struct engine_rows){
        .dense = pair_at(&slot->rows_in, dense),
        .index = pair_at(&slot->rows_in, index),
        .request_of = pair_at(&slot->rows_in, index + (size_t)room * video->index_stride * 4),
    };
}

/* ---- blocks ---- */

/* The next free byte of the two buffers. */
struct layout {
    struct vr_engine_slot *slot;
    size_t staging, device;
};

static struct engine_matrix scratch(struct layout *layout, enum vr_element element, size_t rows, uint32_t width)
{
    const uint32_t stride = element_stride(element, width);
    const struct engine_matrix matrix = {{layout->slot->device, layout->device}, stride, element, 0};
    layout->device += rounded(rows * stride * vr_element_bytes(element));
    return matrix;
}

/* What a row of features is gathered as: a gather writes no bfloat16, and gates read the features too. */
static enum vr_element gathered(enum vr_element element)
{
    return element == VR_ELEMENT_F16 ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
}

static struct engine_block block(struct layout *layout, size_t bytes)
{
    struct vr_engine_slot *slot = layout->slot;
    struct engine_block out = {{slot->device, layout->device}, {slot->staging, layout->staging}, NULL};
    if (slot->staging != NULL) {
        out.host = (char *)slot_ops(slot)->buffer_host(slot->staging) + layout->staging;
    }
    layout->device += rounded(bytes);
    layout->staging += rounded(bytes);
    return out;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Places grow with the number of requests and k: those of the largest call tell the blocks' sizes. */
static void lay_retrieval_blocks(struct layout *layout)
{
    struct vr_engine_slot *slot = layout->slot;
    const struct vr_engine *engine = slot->engine;
    const size_t requests = slot->max_requests;
    uint32_t widest = 1;
    for (uint32_t l = 0; l < engine->bundle->user_tower.layer_count; l++) {
        widest = larger(widest, engine->bundle->user_tower.layer[l].out);
    }
    slot_lay_retrieval(slot, slot->max_requests, slot->max_k, slot->max_k);
    slot->in = block(layout, slot->retrieval.in_bytes + requests * VR_ENGINE_EXCLUDE_MAX * sizeof(int32_t));
    slot->out = block(layout, slot->retrieval.out_bytes);
    slot->user_row = scratch(layout, VR_ELEMENT_F32, requests, engine->user.width);
    slot->user_hidden[0] = scratch(layout, VR_ELEMENT_F32, requests, widest).view;
    slot->user_hidden[1] = scratch(layout, VR_ELEMENT_F32, requests, widest).view;
}

/* The widest of each intermediate over the levels. */
struct widest {
    uint32_t hidden, expert, logit, mix;
};

static struct widest widest_level(const struct vr_engine_slot *slot)
{
    const struct vr_ranker *ranker = &slot->engine->bundle->ranker;
    struct widest widest = {1, 1, 1, 1};
    for (uint32_t l = 0; l < ranker->level_count; l++) {
        const struct vr_level *level = &ranker->level[l];
        widest.hidden = larger(widest.hidden, slot_experts(slot, level) * level->hidden);
        widest.expert = larger(widest.expert, level->experts * level->width);
        widest.logit = larger(widest.logit, level->gates * level->experts);
        widest.mix = larger(widest.mix, level->gates * level->width);
    }
    return widest;
}

static void lay_chunk_scratch(struct layout *layout)
{
    struct vr_engine_slot *slot = layout->slot;
    const struct widest widest = widest_level(slot);
    const enum vr_element element = slot->engine->element;
    const uint32_t chunk = slot->chunk;
    slot->video_part = scratch(layout, gathered(element), chunk, slot->engine->video.width);
    slot->hidden = scratch(layout, element, chunk, widest.hidden);
    slot->expert = scratch(layout, element, chunk, widest.expert);
    slot->logit = scratch(layout, VR_ELEMENT_F32, chunk, widest.logit);
    slot->mix[0] = scratch(layout, element, chunk, widest.mix);
    slot->mix[1] = scratch(layout, element, chunk, widest.mix);
    slot->task_hidden = scratch(layout, element, chunk, VR_HEAD_COUNT * slot_task_stride(slot));
    slot->z = scratch(layout, VR_ELEMENT_F32, chunk, slot->engine->z_width);
}

static void lay_ranking_blocks(struct layout *layout)
{
    struct vr_engine_slot *slot = layout->slot;
    const struct vr_engine *engine = slot->engine;
    const struct vr_level *first = &engine->bundle->ranker.level[0];
    const size_t requests = slot->max_requests, rows = (size_t)slot->chunk * (slot->chunks + (size_t)1);
    slot_lay_ranking(slot, slot->max_requests);
    slot->request_in = block(layout, slot->ranking.in_bytes);
    slot->vector = block(layout, slot->ranking.hist_bytes + rounded(requests * engine->bundle->tower_dim * 4));
    slot->request_row = scratch(layout, gathered(engine->element), requests, engine->request.width);
    slot->hoisted_hidden = scratch(layout, VR_ELEMENT_F32, requests, first->experts * first->hidden);
    slot->hoisted_gate = scratch(layout, VR_ELEMENT_F32, requests, first->gates * first->experts);
    slot->rows_in = block(layout, rows * slot_row_bytes(slot));
    const struct engine_block heads = block(layout, rows * VR_HEAD_COUNT * 4);
    const struct engine_block gates = block(layout, rows * slot_gate_floats(slot) * 4);
    slot->heads = pair_at(&heads, 0);
    slot->gates = pair_at(&gates, 0);
}

static void lay_out(struct layout *layout)
{
    lay_retrieval_blocks(layout);
    lay_ranking_blocks(layout);
    lay_chunk_scratch(layout);
}

void slot_bytes(struct vr_engine_slot *slot, size_t *staging, size_t *device)
{
    struct layout count = {slot, 0, 0};
    lay_out(&count);
    *staging = count.staging;
    *device = count.device;
}

/* ---- making ---- */

static uint32_t round_up(uint32_t value, uint32_t unit)
{
    return (value + unit - 1) / unit * unit;
}

enum vr_status slot_size(struct vr_engine *engine, uint32_t max_requests, uint32_t max_candidates, uint32_t max_k,
                         struct vr_engine_slot *slot)
{
    if (max_requests == 0 || max_candidates == 0 || max_k > K_MAX ||
        (uint64_t)max_requests * max_candidates > 1u << 24) {
        return vr_fail(VR_ERR_INVALID, "a slot for %u requests of %u candidates, k %u", max_requests, max_candidates,
                       max_k);
    }
    slot->engine = engine;
    slot->max_requests = max_requests;
    slot->max_k = max_k;
    const uint32_t rows = max_requests * max_candidates, preferred = slot_ops(slot)->preferred_rows;
    const uint32_t unit = slot_has_plans(slot) ? ENGINE_GRANULE : 1;
    const uint32_t most = round_up(rows, unit);
    slot->chunk = most < preferred ? most : round_up(preferred, unit);
    slot->granule = slot_has_plans(slot) ? round_up((slot->chunk + ENGINE_TAILS - 1) / ENGINE_TAILS, unit) : 1;
    slot->chunks = rows / slot->chunk;
    slot->max_rows = rows;
    return VR_OK;
}

static enum vr_status take_memory(struct vr_engine_slot *slot)
{
    struct vr_backend *backend = slot->engine->backend;
    size_t staging = 0, device = 0;
    slot_bytes(slot, &staging, &device);
    enum vr_status status = backend->ops->stream_create(backend, &slot->stream);
    if (status == VR_OK) {
        status = backend->ops->buffer_create(backend, VR_MEMORY_STAGING, staging, &slot->staging);
    }
    if (status == VR_OK) {
        status = backend->ops->buffer_create(backend, VR_MEMORY_DEVICE, device, &slot->device);
    }
    if (status == VR_OK) {
        struct layout hand_out = {slot, 0, 0};
        lay_out(&hand_out);
    }
    return status;
}

enum vr_status vr_engine_slot_create(struct vr_engine *engine, uint32_t max_requests, uint32_t max_candidates,
                                     uint32_t max_k, struct vr_engine_slot **out)
{
    struct vr_engine_slot *slot = calloc(1, sizeof *slot);
    if (slot == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a lane's slot");
    }
    slot->engine = engine;
    enum vr_status status = slot_size(engine, max_requests, max_candidates, max_k, slot);
    if (status != VR_OK) {
        free(slot);
        return status;
    }
    status = take_memory(slot);
    if (status == VR_OK) {
        status = slot_record_plans(slot);
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
    if (slot->stream != NULL) { /* first: it waits for what a call that failed half-way left in flight */
        ops->stream_destroy(slot->stream);
    }
    slot_drop_plans(slot);
    if (slot->staging != NULL) {
        ops->buffer_destroy(slot->staging);
    }
    if (slot->device != NULL) {
        ops->buffer_destroy(slot->device);
    }
    free(slot);
}

/* ---- use ---- */

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

enum vr_status slot_copy(struct vr_engine_slot *slot, struct vr_view to, struct vr_view from, size_t bytes)
{
    slot->busy = true;
    return slot_ops(slot)->copy(slot->stream, to, from, bytes);
}
