/* Ranking: one engine call for the batch gives every candidate its heads; the satisfaction terms turn heads into a
 * score. A ranker that fails leaves the candidates in retrieval order, and the reply says so. */
#include <string.h>

#include "steps.h"

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

static uint64_t latest_deadline(const struct vr_lane *lane, uint32_t count)
{
    uint64_t latest = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t deadline = lane->open[i]->job->request.deadline_us;
        latest = deadline > latest ? deadline : latest;
    }
    return latest;
}

static void finish(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_engine_ranked *ranked,
                   enum vr_status status)
{
    if (status != VR_OK) {
        vr_visit_degrade(visit, status == VR_ERR_TIMEOUT ? "ranker_late" : "ranker_error");
    } else if (keep(lane, visit, ranked) != VR_OK) {
        vr_visit_fail(visit, VR_ERR_NOMEM);
    }
}

void vr_step_rank(struct vr_lane *lane, uint32_t count)
{
    if (count == 0) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        lane->rank[i] = engine_rank(lane->open[i]);
    }
    enum vr_status status =
        vr_engine_score(lane->binding->slot, count, lane->rank, latest_deadline(lane, count), lane->ranked);
    for (uint32_t i = 0; i < count; i++) {
        finish(lane, lane->open[i], &lane->ranked[i], status);
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
