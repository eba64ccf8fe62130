/* Ranking: one engine call for the batch gives every candidate its heads; the satisfaction terms turn heads into a
 * score. A ranker that fails leaves the candidates in retrieval order, and the reply says so. Where the CPU stands in
 * for a device, which is many times as fast, it ranks as many candidates as the nearest deadline leaves time for. */
#include <string.h>

#include "steps.h"
#include "vireo/clock.h"

#define LEAST_RANKED 60u      /* candidates of a request: with fewer, filters and caps would leave no feed */
#define RANK_SHARE 0.75       /* of the time left; the rest is for terms, guardrails and the way back */
#define ROW_TIME_WEIGHT 0.125 /* of the latest batch in lane->row_us */

static struct vr_engine_rank engine_rank(const struct vr_visit *visit)
{
    return (struct vr_engine_rank){.viewer_raw = visit->viewer_raw,
                                   .context_raw = visit->context_raw,
                                   .hist_tower = visit->hist_tower,
                                   .hist_content = visit->hist_content,
                                   .user_tower = visit->user_tower,
                                   .recent = visit->recent,
                                   .recent_count = visit->recent_count,
                                   .row = visit->candidates.row,
                                   .video_raw = visit->video_raw,
                                   .pair_raw = visit->pair_raw,
                                   .candidates = visit->candidates.count,
                                   .want_gates = visit->job->request.explain};
}

/* Gates and experts of the last level. */
static const struct vr_level *last_level(const struct vr_lane *lane)
{
    const struct vr_ranker *ranker = &lane->binding->model->bundle->ranker;
    return &ranker->level[ranker->level_count - 1];
}

/* The engine's results live in its slot until its next call. VR_ERR_NOMEM. */
static enum vr_status keep(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_engine_ranked *from)
{
    const struct vr_level *level = last_level(lane);
    struct vr_candidates *candidates = &visit->candidates;
    size_t weights = (size_t)candidates->count * level->gates * level->experts;
    memcpy(candidates->heads, from->heads, (size_t)candidates->count * VR_HEAD_COUNT * sizeof(float));
    visit->ranked = true;
    if (from->gates == NULL) {
        return VR_OK;
    }
    candidates->gates = vr_arena_alloc(visit->job->arena, weights * sizeof(float));
    if (candidates->gates == NULL) {
        return VR_ERR_NOMEM;
    }
    memcpy(candidates->gates, from->gates, weights * sizeof(float));
    return VR_OK;
}

/* Visits that one engine call ranks: the rows of all of them find room in the lane's slot. */
struct group {
    struct vr_visit **visit; /* [count], of lane->open */
    uint32_t count;
};

static uint64_t latest_deadline(const struct group *group)
{
    uint64_t latest = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        uint64_t deadline = group->visit[i]->job->request.deadline_us;
        latest = deadline > latest ? deadline : latest;
    }
    return latest;
}

static void finish(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_engine_ranked *ranked,
                   enum vr_status status)
{
    if (status != VR_OK && visit->job->request.kind == VR_JOB_RANK) { /* there is no other order to fall back on */
        vr_visit_fail(visit, status);
    } else if (status != VR_OK) {
        vr_visit_degrade(visit, status == VR_ERR_TIMEOUT ? "ranker_late" : "ranker_error");
    } else if (keep(lane, visit, ranked) != VR_OK) {
        vr_visit_fail(visit, VR_ERR_NOMEM);
    }
}

static enum vr_status score(struct vr_lane *lane, const struct group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        lane->rank[i] = engine_rank(group->visit[i]);
    }
    return vr_engine_score(vr_device_slot(lane), group->count, lane->rank,
                           vr_device_deadline(&lane->run, latest_deadline(group)), lane->ranked);
}

/* ---- the CPU in place of a device ---- */

static uint64_t nearest_deadline(const struct group *group)
{
    uint64_t nearest = UINT64_MAX;
    for (uint32_t i = 0; i < group->count; i++) {
        uint64_t deadline = group->visit[i]->job->request.deadline_us;
        nearest = deadline < nearest ? deadline : nearest;
    }
    return nearest;
}

static uint32_t all_rows(const struct group *group)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        rows += group->visit[i]->candidates.count;
    }
    return rows;
}

/* Keep the first candidates of each feed, as many as there is time for; a caller's own are ranked all or not at all.
 * False: too few. */
static bool trim(const struct vr_lane *lane, const struct group *group)
{
    uint64_t nearest_us = nearest_deadline(group), now_us = vr_clock_mono_us();
    double left_us = nearest_us > now_us ? RANK_SHARE * (double)(nearest_us - now_us) : 0.0;
    if (lane->row_us * all_rows(group) <= left_us) {
        return true;
    }
    double each = left_us / lane->row_us / group->count; /* candidates of a request */
    for (uint32_t i = 0; i < group->count; i++) {
        bool own = group->visit[i]->job->request.kind == VR_JOB_RANK;
        if (group->visit[i]->candidates.count > each && (own || each < LEAST_RANKED)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < group->count; i++) {
        struct vr_candidates *candidates = &group->visit[i]->candidates;
        if (candidates->count > each) {
            candidates->count = (uint32_t)each;
            vr_visit_degrade(group->visit[i], "ranker_fewer");
        }
    }
    return true;
}

static void learn_row_time(struct vr_lane *lane, uint64_t us, uint32_t rows)
{
    double row_us = rows > 0 ? (double)us / rows : lane->row_us;
    lane->row_us += lane->row_us == 0.0 ? row_us : ROW_TIME_WEIGHT * (row_us - lane->row_us);
}

static enum vr_status stand_in(struct vr_lane *lane, const struct group *group)
{
    if (!trim(lane, group)) {
        return vr_fail(VR_ERR_TIMEOUT, "there is no time to rank on the CPU");
    }
    uint64_t start_us = vr_clock_mono_us();
    enum vr_status status = score(lane, group);
    learn_row_time(lane, vr_clock_mono_us() - start_us, all_rows(group));
    return status;
}

static void rank(struct vr_lane *lane, const struct group *group)
{
    enum vr_status status = lane->run.word != NULL ? stand_in(lane, group) : score(lane, group);
    if (vr_device_gave_up(&lane->run, status)) {
        status = stand_in(lane, group);
    }
    for (uint32_t i = 0; i < group->count; i++) {
        finish(lane, group->visit[i], &lane->ranked[i], status);
    }
}

/* Feeds fit into one call together, whatever their candidates are; several callers with many of their own may not. */
void vr_step_rank(struct vr_lane *lane, uint32_t count)
{
    const struct vr_engine_shape shape = vr_feed_engine_shape(lane->config);
    const uint32_t room = shape.max_requests * shape.max_candidates;
    for (uint32_t first = 0; first < count;) {
        struct group group = {&lane->open[first], 1};
        uint32_t rows = group.visit[0]->candidates.count;
        while (first + group.count < count && rows + group.visit[group.count]->candidates.count <= room) {
            rows += group.visit[group.count++]->candidates.count;
        }
        rank(lane, &group);
        first += group.count;
    }
}

/* Without heads the order of the merge stands: its first candidate scores 1, the second 1/2, ... */
static void score_by_place(struct vr_candidates *candidates)
{
    for (uint32_t i = 0; i < candidates->count; i++) {
        candidates->score[i] = 1.0f / (1.0f + (float)i);
    }
}

/* Durations as the terms see them, [candidates] in arena memory; NULL when memory is short. */
static const float *durations(const struct vr_lane *lane, const struct vr_visit *visit)
{
    const struct vr_bundle_videos *videos = &lane->binding->model->bundle->videos;
    float *duration = vr_arena_calloc(visit->job->arena, visit->candidates.count, sizeof *duration);
    for (uint32_t i = 0; duration != NULL && i < visit->candidates.count; i++) {
        duration[i] = videos->duration_s[visit->candidates.row[i]];
    }
    return duration;
}

/* Names live as long as the terms do, which in a dry run is shorter than the reply. VR_ERR_NOMEM. */
static enum vr_status name_terms(struct vr_visit *visit, const struct vr_terms *terms)
{
    struct vr_feed_reply *reply = &visit->job->reply;
    reply->term_count = vr_terms_count(terms);
    for (uint32_t t = 0; t < reply->term_count; t++) {
        reply->term_name[t] = vr_arena_copy(visit->job->arena, vr_terms_name(terms, t));
        if (reply->term_name[t].data == NULL) {
            return VR_ERR_NOMEM;
        }
    }
    return VR_OK;
}

void vr_step_terms(const struct vr_lane *lane, struct vr_visit *visit, struct vr_terms *terms)
{
    struct vr_candidates *candidates = &visit->candidates;
    struct vr_arena *arena = visit->job->arena;
    const float *duration = durations(lane, visit);
    candidates->score = vr_arena_calloc(arena, candidates->count, sizeof *candidates->score);
    candidates->term =
        vr_arena_calloc(arena, (size_t)candidates->count * vr_terms_count(terms), sizeof *candidates->term);
    if (duration == NULL || candidates->score == NULL || candidates->term == NULL ||
        name_terms(visit, terms) != VR_OK) {
        vr_visit_fail(visit, VR_ERR_NOMEM);
        return;
    }
    if (!visit->ranked) {
        score_by_place(candidates);
        return;
    }
    /* A row whose expression fails is NaN: dropped by the last filter and counted there. */
    (void)vr_terms_evaluate(terms, candidates->count, candidates->heads, duration, candidates->term, candidates->score);
}
