/* The vectors of a request: history pooled from the item tables, and the user tower. Each is computed for the runs of
 * requests that lack it, so that what the caller gives is left as it is. */
#include <string.h>

#include "engine_parts.h"

void slot_fill_recent(struct vr_engine_slot *slot, uint32_t r, const struct vr_recent *recent, uint32_t count)
{
    int32_t *index = (int32_t *)slot->recent_index.host + (size_t)r * VR_RECENT_MAX;
    float *weight = (float *)slot->recent_weight.host + (size_t)r * VR_RECENT_MAX;
    const uint32_t kept = count < VR_RECENT_MAX ? count : VR_RECENT_MAX;
    recent += count - kept; /* the newest, which are last */
    vr_history_weights(recent, kept, weight);
    for (uint32_t i = 0; i < VR_RECENT_MAX; i++) {
        index[i] = i < kept ? recent[i].video : -1;
        weight[i] = i < kept ? weight[i] : 0.0f;
    }
}

void inputs_fill(const struct vr_engine *engine, const struct engine_inputs *inputs, uint32_t r,
                 const double *const *raw, const struct engine_pair *dense, const struct engine_pair *index)
{
    float *dense_row = (float *)dense->host + (size_t)r * inputs->dense_stride;
    int32_t *index_row = (int32_t *)index->host + (size_t)r * inputs->index_stride;
    for (uint32_t b = 0; b < inputs->blocks; b++) {
        vr_feature_transform(engine->bundle->features, inputs->block[b], 1, raw[b], dense_row + inputs->dense_at[b],
                             index_row + inputs->index_at[b]);
    }
}

static enum vr_status gather_vector(struct vr_engine_slot *slot, const struct engine_inputs *inputs, uint32_t v,
                                    uint32_t rows, struct vr_view vector, struct vr_view index, struct vr_view y)
{
    const struct vr_gather args = {
        .rows = rows,
        .segment = &inputs->vector_segment[v],
        .segments = 1,
        .dense = vector,
        .dense_stride = engine_vector_dim(slot->engine, (enum engine_vector)v),
        .index = index,
        .index_stride = inputs->index_stride,
        .y = y,
        .y_stride = inputs->width,
    };
    return slot_ops(slot)->gather(slot->stream, &args);
}

enum vr_status inputs_gather(struct vr_engine_slot *slot, const struct engine_inputs *inputs, uint32_t rows,
                             struct vr_view dense, struct vr_view index, const struct vr_view *vector, struct vr_view y)
{
    const struct vr_gather args = {
        .rows = rows,
        .segment = inputs->segment,
        .segments = inputs->segments,
        .dense = dense,
        .dense_stride = inputs->dense_stride,
        .index = index,
        .index_stride = inputs->index_stride,
        .y = y,
        .y_stride = inputs->width,
    };
    enum vr_status status = inputs->width > 0 ? slot_ops(slot)->gather(slot->stream, &args) : VR_OK;
    for (uint32_t v = 0; status == VR_OK && vector != NULL && v < ENGINE_VECTORS; v++) {
        if (inputs->vector_at[v] != ENGINE_NONE) {
            status = gather_vector(slot, inputs, v, rows, vector[v], index, y);
        }
    }
    return status;
}

/* Requests first .. first + count: the history vector `v` from the recent watches on the device. */
static enum vr_status pool_run(struct vr_engine_slot *slot, enum engine_vector v, uint32_t first, uint32_t count)
{
    const uint32_t dim = engine_vector_dim(slot->engine, v);
    const struct vr_pool_rows args = {
        .rows = count,
        .count = VR_RECENT_MAX,
        .table = v == ENGINE_HIST_TOWER ? slot->engine->tower : slot->engine->content,
        .index = view_at(slot->recent_index.device, (size_t)first * VR_RECENT_MAX),
        .weight = view_at(slot->recent_weight.device, (size_t)first * VR_RECENT_MAX),
        .y = view_at(slot->vector[v].device, (size_t)first * dim),
        .y_stride = dim,
    };
    return slot_ops(slot)->pool_rows(slot->stream, &args);
}

static enum vr_status tower_layer(struct vr_engine_slot *slot, uint32_t l, uint32_t rows, struct vr_view x,
                                  struct vr_view y)
{
    const struct vr_layer *layer = &slot->engine->bundle->user_tower.layer[l];
    const struct vr_linear args = {
        .rows = rows,
        .in = layer->in,
        .out = layer->out,
        .x = x,
        .x_stride = layer->in,
        .weight = slot->engine->layer[l].weight,
        .weight_stride = layer->in,
        .has_bias = true,
        .bias = slot->engine->layer[l].bias,
        .activation = layer->activation == VR_ACTIVATION_RELU ? VR_LINEAR_RELU : VR_LINEAR_NONE,
        .y = y,
        .y_stride = layer->out,
    };
    return slot_ops(slot)->linear(slot->stream, &args);
}

static enum vr_status tower_run(struct vr_engine_slot *slot, uint32_t first, uint32_t count)
{
    const struct vr_engine *engine = slot->engine;
    const uint32_t layers = engine->bundle->user_tower.layer_count, dim = engine->bundle->tower_dim;
    const struct vr_view out = view_at(slot->vector[ENGINE_USER_TOWER].device, (size_t)first * dim);
    struct vr_view vector[ENGINE_VECTORS];
    for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
        const size_t width = engine_vector_dim(engine, (enum engine_vector)v);
        vector[v] = view_at(slot->vector[v].device, first * width);
    }
    enum vr_status status = inputs_gather(
        slot, &engine->user, count, view_at(slot->user_dense.device, (size_t)first * engine->user.dense_stride),
        view_at(slot->user_index.device, (size_t)first * engine->user.index_stride), vector, slot->user_row);
    struct vr_view x = slot->user_row;
    for (uint32_t l = 0; status == VR_OK && l < layers; l++) {
        const struct vr_view y = l + 1 == layers ? out : slot->user_hidden[l % 2];
        status = tower_layer(slot, l, count, x, y);
        x = y;
    }
    const struct vr_normalize args = {.rows = count, .width = dim, .x = out, .stride = dim};
    return status == VR_OK ? slot_ops(slot)->normalize(slot->stream, &args) : status;
}

enum vr_status slot_compute_vectors(struct vr_engine_slot *slot, uint32_t requests)
{
    for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
        const uint8_t *missing = slot->missing + (size_t)v * slot->max_requests;
        for (uint32_t first = 0; first < requests;) {
            uint32_t end = first;
            while (end < requests && missing[end] != 0) {
                end++;
            }
            enum vr_status status = VR_OK;
            if (end > first) {
                status = v == ENGINE_USER_TOWER ? tower_run(slot, first, end - first)
                                                : pool_run(slot, (enum engine_vector)v, first, end - first);
            }
            if (status != VR_OK) {
                return status;
            }
            first = end + 1;
        }
    }
    return VR_OK;
}

enum vr_status slot_pull_vectors(struct vr_engine_slot *slot, uint32_t requests)
{
    enum vr_status status = VR_OK;
    for (uint32_t v = 0; status == VR_OK && v < ENGINE_VECTORS; v++) {
        const size_t dim = engine_vector_dim(slot->engine, (enum engine_vector)v);
        status = slot_pull(slot, &slot->vector[v], requests * dim);
    }
    return status;
}
