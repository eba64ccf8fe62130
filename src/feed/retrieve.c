/* Retrieval: five sources, each with its own count and time budget. A source that fails or is late is left out and
 * named in the reply; a request never fails because a source did. */
#include <string.h>

#include "rows.h"
#include "sources.h"
#include "steps.h"
#include "vireo/clock.h"

static const char *const late_words[VR_SOURCE_COUNT] = {"source_late:two_tower", "source_late:content",
                                                        "source_late:trending", "source_late:social",
                                                        "source_late:subscriptions"};
static const char *const error_words[VR_SOURCE_COUNT] = {"source_error:two_tower", "source_error:content",
                                                         "source_error:trending", "source_error:social",
                                                         "source_error:subscriptions"};

/* Note how a source ended; what failed or came late leaves no candidates. */
static void report(struct vr_visit *visit, uint32_t source, enum vr_status status, uint64_t us)
{
    struct vr_source_report *out = &visit->job->reply.source[source];
    out->us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    if (status == VR_OK) {
        out->status = VR_SOURCE_OK;
        out->returned = visit->found[source].count;
        return;
    }
    out->status = status == VR_ERR_TIMEOUT ? VR_SOURCE_LATE : VR_SOURCE_ERROR;
    visit->found[source] = (struct vr_source_result){0};
    vr_visit_degrade(visit, status == VR_ERR_TIMEOUT ? late_words[source] : error_words[source]);
}

/* ---- row sets ---- */

static enum vr_status make_row_sets(const struct vr_lane *lane, struct vr_visit *visit)
{
    const struct vr_model *model = lane->binding->model;
    const struct vr_feed_request *request = &visit->job->request;
    const struct vr_viewer *viewer = &visit->viewer;
    struct vr_arena *arena = visit->job->arena;
    enum vr_status status =
        vr_rows_of_ids(model->bundle, request->exclude, request->exclude_count, arena, &visit->excluded);
    if (status == VR_OK) {
        status = vr_rows_of_numbers(model->catalogue, viewer->seen, viewer->seen_count, arena, &visit->seen);
    }
    if (status == VR_OK) {
        status = vr_rows_of_numbers(model->catalogue, viewer->served, viewer->served_count, arena, &visit->served);
    }
    visit->skip = visit->excluded;
    if (status == VR_OK && lane->config->rerank.drop_seen) {
        status = vr_rows_unite(&visit->skip, &visit->seen, arena, &visit->skip);
    }
    if (status == VR_OK && lane->config->rerank.drop_served) {
        status = vr_rows_unite(&visit->skip, &visit->served, arena, &visit->skip);
    }
    return status;
}

/* ---- look-ups ---- */

typedef enum vr_status look_up(const struct vr_source_input *input, struct vr_source_result *out);

static void run_lookup(const struct vr_lane *lane, struct vr_visit *visit, enum vr_source source, look_up *body)
{
    const struct vr_source_config *config = &lane->config->source[source];
    uint64_t start_us = vr_clock_mono_us();
    struct vr_source_input input = {.state = lane->state,
                                    .catalogue = lane->binding->model->catalogue,
                                    .viewer = &visit->viewer,
                                    .config = &lane->config->state,
                                    .skip = visit->skip.row,
                                    .skip_count = visit->skip.count,
                                    .now_ms = visit->job->request.now_ms,
                                    .want = vr_quality_count(config->count, lane->level),
                                    .deadline_us = start_us + config->budget_us,
                                    .arena = visit->job->arena};
    if (config->enabled) {
        enum vr_status status = body(&input, &visit->found[source]);
        report(visit, source, status, vr_clock_mono_us() - start_us);
    }
}

void vr_step_lookups(const struct vr_lane *lane, struct vr_visit *visit)
{
    enum vr_status status = make_row_sets(lane, visit);
    if (status != VR_OK) {
        vr_visit_fail(visit, status);
        return;
    }
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        visit->job->reply.source[s].status = VR_SOURCE_OFF;
    }
    run_lookup(lane, visit, VR_SOURCE_TRENDING, vr_source_trending);
    run_lookup(lane, visit, VR_SOURCE_SOCIAL, vr_source_social);
    run_lookup(lane, visit, VR_SOURCE_SUBSCRIPTIONS, vr_source_subscriptions);
}

/* ---- the two indexes ---- */

static uint32_t wanted(const struct vr_lane *lane, enum vr_source source)
{
    return lane->config->source[source].enabled ? vr_quality_count(lane->config->source[source].count, lane->level) : 0;
}

/* A viewer without history has nothing that content could be similar to: the source is off. */
static struct vr_engine_user engine_user(const struct vr_lane *lane, const struct vr_visit *visit)
{
    uint32_t told = visit->skip.count < VR_ENGINE_EXCLUDE_MAX ? visit->skip.count : VR_ENGINE_EXCLUDE_MAX;
    return (struct vr_engine_user){.viewer_raw = visit->viewer_raw,
                                   .context_raw = visit->context_raw,
                                   .recent = visit->recent,
                                   .recent_count = visit->recent_count,
                                   .exclude = visit->skip.row,
                                   .exclude_count = told,
                                   .tower_k = wanted(lane, VR_SOURCE_TWO_TOWER),
                                   .content_k = visit->recent_count > 0 ? wanted(lane, VR_SOURCE_CONTENT) : 0};
}

static const void *copy(struct vr_arena *arena, const void *from, size_t bytes)
{
    void *to = vr_arena_alloc(arena, bytes);
    if (to != NULL && bytes > 0) {
        memcpy(to, from, bytes);
    }
    return to;
}

/* The rows that may stay: the engine is told of VR_ENGINE_EXCLUDE_MAX rows at most, this knows them all. */
static enum vr_status keep_found(struct vr_visit *visit, const struct vr_engine_found *from,
                                 struct vr_source_result *out)
{
    int32_t *row = vr_arena_alloc(visit->job->arena, from->count * sizeof *row);
    float *score = vr_arena_alloc(visit->job->arena, from->count * sizeof *score);
    *out = (struct vr_source_result){.row = row, .score = score};
    if (row == NULL || score == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < from->count; i++) {
        if (!vr_rows_hold(&visit->skip, from->row[i])) {
            row[out->count] = from->row[i];
            score[out->count++] = from->score[i];
        }
    }
    return VR_OK;
}

/* The engine's results live in its slot until the next call; the ranker's call is the next. */
static enum vr_status keep(const struct vr_bundle *bundle, const struct vr_engine_retrieved *from,
                           struct vr_visit *visit)
{
    struct vr_arena *arena = visit->job->arena;
    enum vr_status status = keep_found(visit, &from->tower, &visit->found[VR_SOURCE_TWO_TOWER]);
    if (status == VR_OK) {
        status = keep_found(visit, &from->content, &visit->found[VR_SOURCE_CONTENT]);
    }
    visit->user_tower = copy(arena, from->user_tower, bundle->tower_dim * sizeof(float));
    visit->hist_tower = copy(arena, from->hist_tower, bundle->tower_dim * sizeof(float));
    visit->hist_content = copy(arena, from->hist_content, bundle->content_dim * sizeof(float));
    bool whole =
        status == VR_OK && visit->user_tower != NULL && visit->hist_tower != NULL && visit->hist_content != NULL;
    return whole ? VR_OK : VR_ERR_NOMEM;
}

static void finish(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_engine_user *user,
                   const struct vr_engine_retrieved *found, enum vr_status status, uint64_t us)
{
    if (status == VR_OK && keep(lane->binding->model->bundle, found, visit) != VR_OK) {
        vr_visit_fail(visit, VR_ERR_NOMEM);
        return;
    }
    if (user->tower_k > 0) {
        report(visit, VR_SOURCE_TWO_TOWER, status, us);
    }
    if (user->content_k > 0) {
        report(visit, VR_SOURCE_CONTENT, status, us);
    }
}

/* Both searches are one call, so the larger of the two budgets is theirs. On the CPU a search that has begun is not cut
 * short: what it found is used, and its time is told. */
static uint64_t search_budget(const struct vr_lane *lane)
{
    uint64_t tower = lane->config->source[VR_SOURCE_TWO_TOWER].budget_us;
    uint64_t content = lane->config->source[VR_SOURCE_CONTENT].budget_us;
    return tower > content ? tower : content;
}

static enum vr_status search(struct vr_lane *lane, uint32_t count)
{
    uint64_t deadline_us = vr_clock_mono_us() + search_budget(lane);
    if (vr_clock_mono_us() >= deadline_us) {
        return vr_fail(VR_ERR_TIMEOUT, "the search has no time");
    }
    return vr_engine_retrieve(vr_device_slot(lane), count, lane->user, vr_device_deadline(&lane->run, deadline_us),
                              lane->found);
}

void vr_step_search(struct vr_lane *lane, uint32_t count)
{
    uint64_t start_us = vr_clock_mono_us();
    if (wanted(lane, VR_SOURCE_TWO_TOWER) + wanted(lane, VR_SOURCE_CONTENT) == 0 || count == 0) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        lane->user[i] = engine_user(lane, lane->open[i]);
    }
    enum vr_status status = search(lane, count);
    if (vr_device_gave_up(&lane->run, status)) {
        status = search(lane, count); /* with a budget of its own: the first one went to the device */
    }
    uint64_t us = vr_clock_mono_us() - start_us;
    for (uint32_t i = 0; i < count; i++) {
        finish(lane, lane->open[i], &lane->user[i], &lane->found[i], status, us);
    }
}
