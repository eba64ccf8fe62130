/* The first dense step of a batch: history vectors, user tower, and the two searches. */
#include <string.h>

#include "engine_parts.h"

/* Lists of all requests one after the other; those of padding are empty. *count: rows in all. */
static enum vr_status fill_exclusions(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user,
                                      uint32_t *count)
{
    int32_t *exclude = slot->retrieval.exclude.host;
    uint32_t *offset = slot->retrieval.exclude_offset.host, end = 0;
    slot->retrieval.exclude_most = 0;
    offset[0] = 0;
    for (uint32_t r = 0; r < slot->retrieval.room; r++) {
        const uint32_t own = r < requests ? user[r].exclude_count : 0;
        if (own > VR_ENGINE_EXCLUDE_MAX) {
            return vr_fail(VR_ERR_TOO_LARGE, "%u excluded rows, at most %u", own, VR_ENGINE_EXCLUDE_MAX);
        }
        if (own > 0) {
            memcpy(exclude + end, user[r].exclude, own * sizeof *exclude);
        }
        end += own;
        slot->retrieval.exclude_most = own > slot->retrieval.exclude_most ? own : slot->retrieval.exclude_most;
        offset[r + 1] = end;
    }
    *count = end;
    return VR_OK;
}

enum vr_status slot_search(struct vr_engine_slot *slot, struct vr_index *index, struct vr_view query, uint32_t requests,
                           uint32_t k, const struct engine_pair *row, const struct engine_pair *score, bool exclude)
{
    const struct vr_index_search args = {
        .queries = requests,
        .k = k,
        .query = query,
        .has_exclude = exclude,
        .exclude_offset = slot->retrieval.exclude_offset.device,
        .exclude = slot->retrieval.exclude.device,
        .exclude_most = slot->retrieval.exclude_most,
        .row = row->device,
        .score = score->device,
    };
    return k == 0 ? VR_OK : slot_ops(slot)->index_search(slot->stream, index, &args);
}

/* A plan searches the content index whatever its requests ask for. Requests without history cost little: their vectors
 * are zeros, for which the CUDA backend answers without a scan, and where all are it reads no vectors. With the content
 * source switched off the search is in vain; leaving it out would take a second capture of each room. */
enum vr_status slot_retrieve(struct vr_engine_slot *slot)
{
    const struct engine_retrieval *at = &slot->retrieval;
    const bool exclude = slot_plans_retrieval(slot) || at->exclude_most > 0; /* a plan is there for every batch */
    enum vr_status status = slot_pool(slot, at->vector);
    if (status == VR_OK) {
        status = slot_tower(slot, at->vector);
    }
    if (status == VR_OK) {
        status = slot_search(slot, slot->engine->tower_index, at->vector[ENGINE_USER_TOWER].device, at->room,
                             at->tower_k, &at->tower_row, &at->tower_score, exclude);
    }
    if (status == VR_OK) {
        status = slot_search(slot, slot->engine->content_index, at->vector[ENGINE_HIST_CONTENT].device, at->room,
                             at->content_k, &at->content_row, &at->content_score, exclude);
    }
    return status == VR_OK ? slot_ops(slot)->copy(slot->stream, slot->out.staging, slot->out.device, at->out_bytes)
                           : status;
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

/* A plan's k is the largest; the host takes what it asked for. */
static void lay(struct vr_engine_slot *slot, uint32_t requests, struct counts k)
{
    const bool fixed = slot_plans_retrieval(slot);
    slot_lay_retrieval(slot, fixed ? slot_room(slot, requests) : requests, fixed ? slot->max_k : k.tower,
                       fixed ? slot->max_k : k.content);
}

static enum vr_status send(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user)
{
    uint32_t excluded = 0;
    const enum vr_status status = fill_exclusions(slot, requests, user, &excluded);
    if (status != VR_OK) {
        return status;
    }
    for (uint32_t r = 0; r < requests; r++) {
        slot_fill_user(slot, r, user[r].viewer_raw, user[r].context_raw);
        slot_fill_recent(slot, r, user[r].recent, user[r].recent_count);
    }
    slot_pad_users(slot, requests);
    return slot_copy(slot, slot->in.device, slot->in.staging, slot->retrieval.in_bytes + excluded * sizeof(int32_t));
}

static const float *vector_of(const struct vr_engine_slot *slot, enum engine_vector v, uint32_t r)
{
    return (const float *)slot->retrieval.vector[v].host + (size_t)r * engine_vector_dim(slot->engine, v);
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

static void report(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user,
                   struct vr_engine_retrieved *result)
{
    const struct engine_retrieval *at = &slot->retrieval;
    for (uint32_t r = 0; r < requests; r++) {
        result[r].user_tower = vector_of(slot, ENGINE_USER_TOWER, r);
        result[r].hist_tower = vector_of(slot, ENGINE_HIST_TOWER, r);
        result[r].hist_content = vector_of(slot, ENGINE_HIST_CONTENT, r);
        result[r].tower = found_of(&at->tower_row, &at->tower_score, r, at->tower_k, user[r].tower_k);
        const bool content = !all_zero(result[r].hist_content, slot->engine->bundle->content_dim);
        result[r].content =
            found_of(&at->content_row, &at->content_score, r, at->content_k, content ? user[r].content_k : 0);
        drop_without_content(slot->engine, &result[r].content);
    }
}

enum vr_status vr_engine_retrieve(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user,
                                  uint64_t deadline_us, struct vr_engine_retrieved *result)
{
    struct counts k = {0, 0};
    enum vr_status status = wanted(slot, requests, user, &k);
    if (status != VR_OK || requests == 0) {
        return status;
    }
    status = slot_begin(slot, deadline_us);
    if (status == VR_OK) {
        lay(slot, requests, k);
        status = send(slot, requests, user);
    }
    if (status == VR_OK) {
        status = slot_step(slot, ENGINE_STEP_RETRIEVE);
    }
    if (status == VR_OK) {
        status = slot_wait(slot, deadline_us);
    }
    if (status == VR_OK) {
        report(slot, requests, user, result);
    }
    return status;
}

/* ---- one video's neighbours ---- */

/* The query has the place of a ranking's content vectors. Not a plan: it is seldom asked for. */
static enum vr_status search_similar(struct vr_engine_slot *slot, int32_t row)
{
    const struct vr_engine_user itself = {.exclude = &row, .exclude_count = 1};
    const struct engine_retrieval *at = &slot->retrieval;
    const struct engine_pair *query = &slot->ranking.vector[ENGINE_HIST_CONTENT];
    uint32_t excluded = 0;
    vr_engine_content_vector(slot->engine, row, query->host);
    enum vr_status status = fill_exclusions(slot, 1, &itself, &excluded);
    if (status == VR_OK) {
        status = slot_copy(slot, slot->in.device, slot->in.staging, at->in_bytes + excluded * sizeof(int32_t));
    }
    if (status == VR_OK) {
        status = slot_copy(slot, query->device, query->staging, slot->engine->bundle->content_dim * sizeof(float));
    }
    if (status == VR_OK) {
        status = slot_search(slot, slot->engine->content_index, query->device, 1, at->content_k, &at->content_row,
                             &at->content_score, true);
    }
    return status == VR_OK ? slot_copy(slot, slot->out.staging, slot->out.device, at->out_bytes) : status;
}

enum vr_status vr_engine_similar(struct vr_engine_slot *slot, int32_t row, uint32_t k, uint64_t deadline_us,
                                 struct vr_engine_found *result)
{
    const struct vr_engine *engine = slot->engine;
    if (row < 0 || (uint32_t)row >= engine->bundle->videos.count || k > slot->max_k) {
        return vr_fail(VR_ERR_INVALID, "similar: row %d, k %u", row, k);
    }
    *result = (struct vr_engine_found){(const int32_t *)slot->out.host, (const float *)slot->out.host, 0};
    enum vr_status status = slot_begin(slot, deadline_us);
    if (status != VR_OK || k == 0 || engine->bundle->videos.content_scale[row] <= 0.0f) {
        return status;
    }
    slot_lay_retrieval(slot, 1, 0, k);
    slot_lay_ranking(slot, 1);
    status = search_similar(slot, row);
    if (status == VR_OK) {
        status = slot_wait(slot, deadline_us);
    }
    if (status == VR_OK) {
        *result = found_of(&slot->retrieval.content_row, &slot->retrieval.content_score, 0, k, k);
        drop_without_content(engine, result);
    }
    return status;
}
