/* The first dense step of a batch: history vectors, user tower, and the two searches. */
#include <string.h>

#include "engine_parts.h"

static enum vr_status send_exclusions(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user)
{
    int32_t *exclude = slot->exclude.host;
    uint32_t *offset = slot->exclude_offset.host, end = 0;
    offset[0] = 0;
    for (uint32_t r = 0; r < requests; r++) {
        if (user[r].exclude_count > VR_ENGINE_EXCLUDE_MAX) {
            return vr_fail(VR_ERR_TOO_LARGE, "%u excluded rows, at most %u", user[r].exclude_count,
                           VR_ENGINE_EXCLUDE_MAX);
        }
        if (user[r].exclude_count > 0) {
            memcpy(exclude + end, user[r].exclude, user[r].exclude_count * sizeof *exclude);
        }
        end += user[r].exclude_count;
        offset[r + 1] = end;
    }
    const enum vr_status status = slot_push(slot, &slot->exclude_offset, requests + (size_t)1);
    return status == VR_OK ? slot_push(slot, &slot->exclude, end) : status;
}

enum vr_status slot_search(struct vr_engine_slot *slot, struct vr_index *index, struct vr_view query, uint32_t requests,
                           uint32_t k, const struct engine_pair *row, const struct engine_pair *score, bool exclude)
{
    const struct vr_index_search args = {
        .queries = requests,
        .k = k,
        .query = query,
        .has_exclude = exclude,
        .exclude_offset = slot->exclude_offset.device,
        .exclude = slot->exclude.device,
        .row = row->device,
        .score = score->device,
    };
    if (k == 0) {
        return VR_OK;
    }
    enum vr_status status = slot_ops(slot)->index_search(slot->stream, index, &args);
    if (status == VR_OK) {
        status = slot_pull(slot, row, (size_t)requests * k);
    }
    return status == VR_OK ? slot_pull(slot, score, (size_t)requests * k) : status;
}

struct counts {
    uint32_t tower, content; /* the largest k of the batch */
};

static enum vr_status wanted(const struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user,
                             struct counts *k)
{
    if (requests > slot->max_requests) {
        return vr_fail(VR_ERR_INVALID, "%u requests in a slot for %u", requests, slot->max_requests);
    }
    for (uint32_t r = 0; r < requests; r++) {
        k->tower = user[r].tower_k > k->tower ? user[r].tower_k : k->tower;
        k->content = user[r].content_k > k->content ? user[r].content_k : k->content;
    }
    if (k->tower > slot->max_k || k->content > slot->max_k) {
        return vr_fail(VR_ERR_INVALID, "k is above %u, the slot's largest", slot->max_k);
    }
    return VR_OK;
}

static enum vr_status send_users(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user)
{
    const struct vr_engine *engine = slot->engine;
    for (uint32_t r = 0; r < requests; r++) {
        const double *raw[2];
        for (uint32_t b = 0; b < engine->user.blocks; b++) {
            const bool viewer = engine->user.block[b]->entity == VR_ENTITY_VIEWER;
            raw[b] = viewer ? user[r].viewer_raw : user[r].context_raw;
        }
        inputs_fill(engine, &engine->user, r, raw, &slot->user_dense, &slot->user_index);
        slot_fill_recent(slot, r, user[r].recent, user[r].recent_count);
    }
    memset(slot->missing, 1, (size_t)ENGINE_VECTORS * slot->max_requests);
    const size_t recent = (size_t)requests * VR_RECENT_MAX;
    enum vr_status status = slot_push(slot, &slot->recent_index, recent);
    if (status == VR_OK) {
        status = slot_push(slot, &slot->recent_weight, recent);
    }
    if (status == VR_OK) {
        status = slot_push(slot, &slot->user_dense, (size_t)requests * engine->user.dense_stride);
    }
    return status == VR_OK ? slot_push(slot, &slot->user_index, (size_t)requests * engine->user.index_stride) : status;
}

static enum vr_status search_both(struct vr_engine_slot *slot, uint32_t requests, struct counts k)
{
    const enum vr_status status = slot_search(slot, slot->engine->tower_index, slot->vector[ENGINE_USER_TOWER].device,
                                              requests, k.tower, &slot->tower_row, &slot->tower_score, true);
    return status != VR_OK ? status
                           : slot_search(slot, slot->engine->content_index, slot->vector[ENGINE_HIST_CONTENT].device,
                                         requests, k.content, &slot->content_row, &slot->content_score, true);
}

static const float *vector_of(const struct vr_engine_slot *slot, enum engine_vector v, uint32_t r)
{
    return (const float *)slot->vector[v].host + (size_t)r * engine_vector_dim(slot->engine, v);
}

static bool all_zero(const float *vector, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++) {
        if (vector[i] != 0.0f) {
            return false;
        }
    }
    return true;
}

static struct vr_engine_found found_of(const struct engine_pair *row, const struct engine_pair *score, uint32_t r,
                                       uint32_t k, uint32_t most)
{
    const size_t at = (size_t)r * k;
    struct vr_engine_found found = {(const int32_t *)row->host + at, (const float *)score->host + at, 0};
    while (found.count < most && found.row[found.count] >= 0) {
        found.count++;
    }
    return found;
}

/* Videos without content have a vector of zeros, which any negative score would bring in: take them out. */
static void drop_without_content(const struct vr_engine *engine, struct vr_engine_found *found)
{
    int32_t *row = (int32_t *)found->row; /* the slot's own staging */
    float *score = (float *)found->score;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < found->count; i++) {
        if (engine->bundle->videos.content_scale[row[i]] > 0.0f) {
            row[kept] = row[i];
            score[kept++] = score[i];
        }
    }
    found->count = kept;
}

static void report(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user, struct counts k,
                   struct vr_engine_retrieved *result)
{
    for (uint32_t r = 0; r < requests; r++) {
        result[r].user_tower = vector_of(slot, ENGINE_USER_TOWER, r);
        result[r].hist_tower = vector_of(slot, ENGINE_HIST_TOWER, r);
        result[r].hist_content = vector_of(slot, ENGINE_HIST_CONTENT, r);
        result[r].tower = found_of(&slot->tower_row, &slot->tower_score, r, k.tower, user[r].tower_k);
        const bool content = !all_zero(result[r].hist_content, slot->engine->bundle->content_dim);
        result[r].content =
            found_of(&slot->content_row, &slot->content_score, r, k.content, content ? user[r].content_k : 0);
        drop_without_content(slot->engine, &result[r].content);
    }
}

enum vr_status vr_engine_retrieve(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user,
                                  uint64_t deadline_us, struct vr_engine_retrieved *result)
{
    struct counts k = {0, 0};
    enum vr_status status = wanted(slot, requests, user, &k);
    if (status == VR_OK) {
        status = slot_begin(slot, deadline_us);
    }
    if (status == VR_OK) {
        status = send_exclusions(slot, requests, user);
    }
    if (status == VR_OK) {
        status = send_users(slot, requests, user);
    }
    if (status == VR_OK) {
        status = slot_compute_vectors(slot, requests);
    }
    if (status == VR_OK) {
        status = search_both(slot, requests, k);
    }
    if (status == VR_OK) {
        status = slot_pull_vectors(slot, requests);
    }
    if (status == VR_OK) {
        status = slot_wait(slot, deadline_us);
    }
    if (status == VR_OK) {
        report(slot, requests, user, k, result);
    }
    return status;
}

enum vr_status vr_engine_similar(struct vr_engine_slot *slot, int32_t row, uint32_t k, uint64_t deadline_us,
                                 struct vr_engine_found *result)
{
    const struct vr_engine *engine = slot->engine;
    if (row < 0 || (uint32_t)row >= engine->bundle->videos.count || k > slot->max_k) {
        return vr_fail(VR_ERR_INVALID, "similar: row %d, k %u", row, k);
    }
    *result = (struct vr_engine_found){slot->content_row.host, slot->content_score.host, 0};
    enum vr_status status = slot_begin(slot, deadline_us);
    if (status != VR_OK || k == 0 || engine->bundle->videos.content_scale[row] <= 0.0f) {
        return status;
    }
    const struct engine_pair *vector = &slot->vector[ENGINE_HIST_CONTENT];
    vr_engine_content_vector(engine, row, vector->host);
    const struct vr_engine_user itself = {.exclude = &row, .exclude_count = 1};
    status = send_exclusions(slot, 1, &itself);
    if (status == VR_OK) {
        status = slot_push(slot, vector, engine->bundle->content_dim);
    }
    if (status == VR_OK) {
        status = slot_search(slot, engine->content_index, vector->device, 1, k, &slot->content_row,
                             &slot->content_score, true);
    }
    if (status == VR_OK) {
        status = slot_wait(slot, deadline_us);
    }
    if (status == VR_OK) {
        *result = found_of(&slot->content_row, &slot->content_score, 0, k, k);
        drop_without_content(engine, result);
    }
    return status;
}
