/* The vectors of a request: history pooled from the item tables, and the user tower; and how rows of features are
 * filled in and assembled. */
#include <string.h>

#include "engine_parts.h"

/* ---- filling staging ---- */

void slot_fill_recent(struct vr_engine_slot *slot, uint32_t r, const struct vr_recent *recent, uint32_t count)
{
    int32_t *index = (int32_t *)slot->retrieval.recent_index.host + (size_t)r * VR_RECENT_MAX;
    float *weight = (float *)slot->retrieval.recent_weight.host + (size_t)r * VR_RECENT_MAX;
    const uint32_t kept = count < VR_RECENT_MAX ? count : VR_RECENT_MAX;
    if (kept > 0) {
        recent += count - kept; /* the newest, which are last */
        vr_history_weights(recent, kept, weight);
    }
    for (uint32_t i = 0; i < VR_RECENT_MAX; i++) {
        index[i] = i < kept ? recent[i].video : -1;
        weight[i] = i < kept ? weight[i] : 0.0f;
    }
}

void inputs_fill(const struct vr_engine *engine, const struct engine_inputs *inputs, uint32_t first, uint32_t rows,
                 const double *const *raw, const struct engine_pair *dense, const struct engine_pair *index)
{
    float *dense_row = (float *)dense->host + (size_t)first * inputs->dense_stride;
    int32_t *index_row = (int32_t *)index->host + (size_t)first * inputs->index_stride;
    for (uint32_t b = 0; b < inputs->blocks; b++) {
        const struct vr_feature_rows out = {dense_row + inputs->dense_at[b], inputs->dense_stride,
                                            index_row + inputs->index_at[b], inputs->index_stride};
        vr_feature_transform(engine->bundle->features, inputs->block[b], rows, raw[b], out);
    }
}

void inputs_clear(const struct engine_inputs *inputs, uint32_t first, uint32_t end, const struct engine_pair *dense,
                  const struct engine_pair *index)
{
    if (first < end) {
        const size_t rows = end - first;
        memset((float *)dense->host + (size_t)first * inputs->dense_stride, 0, rows * inputs->dense_stride * 4);
        memset((int32_t *)index->host + (size_t)first * inputs->index_stride, 0, rows * inputs->index_stride * 4);
    }
}

void inputs_raw(const struct engine_inputs *inputs, const double *viewer_raw, const double *context_raw,
                const double *raw[2])
{
    for (uint32_t b = 0; b < inputs->blocks; b++) {
        raw[b] = inputs->block[b]->entity == VR_ENTITY_VIEWER ? viewer_raw : context_raw;
    }
}

void slot_fill_user(struct vr_engine_slot *slot, uint32_t r, const double *viewer_raw, const double *context_raw)
{
    const struct engine_inputs *user = &slot->engine->user;
    const double *raw[2];
    inputs_raw(user, viewer_raw, context_raw, raw);
    inputs_fill(slot->engine, user, r, 1, raw, &slot->retrieval.user_dense, &slot->retrieval.user_index);
}

void slot_pad_users(struct vr_engine_slot *slot, uint32_t requests)
{
    const struct engine_retrieval *at = &slot->retrieval;
    inputs_clear(&slot->engine->user, requests, at->room, &at->user_dense, &at->user_index);
    for (uint32_t r = requests; r < at->room; r++) {
        slot_fill_recent(slot, r, NULL, 0);
    }
}

/* ---- operations ---- */

enum vr_status inputs_gather(const struct vr_engine *engine, struct vr_stream *stream,
                             const struct engine_inputs *inputs, uint32_t rows, struct vr_view dense,
                             struct vr_view index, struct engine_matrix y)
{
    const struct vr_gather args = {
        .rows = rows,
        .segment = inputs->segment,
        .segments = inputs->segments,
        .dense = dense,
        .dense_stride = inputs->dense_stride,
        .index = index,
        .index_stride = inputs->index_stride,
        .y = y.view,
        .y_stride = y.stride,
        .y_element = y.element,
    };
    return inputs->width > 0 ? engine->backend->ops->gather(stream, &args) : VR_OK;
}

/* Vector `v` of each request to its columns of the user tower's rows. */
static enum vr_status gather_vector(struct vr_engine_slot *slot, uint32_t v, struct vr_view vector)
{
    const struct engine_inputs *user = &slot->engine->user;
    const struct vr_gather args = {
        .rows = slot->retrieval.room,
        .segment = &user->vector_segment[v],
        .segments = 1,
        .dense = vector,
        .dense_stride = engine_vector_dim(slot->engine, (enum engine_vector)v),
        .index = slot->retrieval.user_index.device,
        .index_stride = user->index_stride,
        .y = slot->user_row.view,
        .y_stride = slot->user_row.stride,
    };
    return user->vector_at[v] == ENGINE_NONE ? VR_OK : slot_ops(slot)->gather(slot->stream, &args);
}

static enum vr_status pool(struct vr_engine_slot *slot, struct vr_table table, struct vr_view y)
{
    const struct vr_pool_rows args = {
        .rows = slot->retrieval.room,
        .count = VR_RECENT_MAX,
        .table = table,
        .index = slot->retrieval.recent_index.device,
        .weight = slot->retrieval.recent_weight.device,
        .y = y,
        .y_stride = table.width,
    };
    return slot_ops(slot)->pool_rows(slot->stream, &args);
}

enum vr_status slot_pool(struct vr_engine_slot *slot, const struct engine_pair *vector)
{
    const enum vr_status status = pool(slot, slot->engine->tower, vector[ENGINE_HIST_TOWER].device);
    return status == VR_OK ? pool(slot, slot->engine->content, vector[ENGINE_HIST_CONTENT].device) : status;
}

static enum vr_status tower_layer(struct vr_engine_slot *slot, uint32_t l, struct vr_view x, struct vr_view y)
{
    const struct vr_layer *layer = &slot->engine->bundle->user_tower.layer[l];
    const struct vr_linear args = {
        .rows = slot->retrieval.room,
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

static enum vr_status tower_rows(struct vr_engine_slot *slot, const struct engine_pair *vector)
{
    const struct engine_retrieval *at = &slot->retrieval;
    enum vr_status status = inputs_gather(slot->engine, slot->stream, &slot->engine->user, at->room,
                                          at->user_dense.device, at->user_index.device, slot->user_row);
    for (uint32_t v = 0; status == VR_OK && v < ENGINE_VECTORS; v++) {
        status = gather_vector(slot, v, vector[v].device);
    }
    return status;
}

enum vr_status slot_tower(struct vr_engine_slot *slot, const struct engine_pair *vector)
{
    const struct vr_bundle *bundle = slot->engine->bundle;
    const uint32_t layers = bundle->user_tower.layer_count, dim = bundle->tower_dim;
    const struct vr_view out = vector[ENGINE_USER_TOWER].device;
    enum vr_status status = tower_rows(slot, vector);
    struct vr_view x = slot->user_row.view;
    for (uint32_t l = 0; status == VR_OK && l < layers; l++) {
        const struct vr_view y = l + 1 == layers ? out : slot->user_hidden[l % 2];
        status = tower_layer(slot, l, x, y);
        x = y;
    }
    const struct vr_normalize args = {.rows = slot->retrieval.room, .width = dim, .x = out, .stride = dim};
    return status == VR_OK ? slot_ops(slot)->normalize(slot->stream, &args) : status;
}
