/* GET /v1/similar: the nearest videos by content, through the filters alone. Nobody is known to watch, so the age gate
 * takes the viewer for a minor; caps, quota and diversity belong to feeds. */
#include <math.h>

#include "steps.h"

/* Candidates whose only place is the content source and whose score is the similarity. VR_ERR_NOMEM. */
static enum vr_status take_over(const struct vr_engine_found *found, struct vr_arena *arena, struct vr_candidates *out)
{
    out->count = found->count;
    out->row = vr_arena_calloc(arena, found->count, sizeof *out->row);
    out->found_offset = vr_arena_calloc(arena, (size_t)found->count + 1, sizeof *out->found_offset);
    out->found = vr_arena_calloc(arena, found->count, sizeof *out->found);
    out->heads = vr_arena_calloc(arena, (size_t)found->count * VR_HEAD_COUNT, sizeof *out->heads);
    out->score = vr_arena_calloc(arena, found->count, sizeof *out->score);
    if (out->row == NULL || out->found_offset == NULL || out->found == NULL || out->heads == NULL ||
        out->score == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < found->count; i++) {
        out->row[i] = found->row[i];
        out->score[i] = found->score[i];
        out->found[i] = (struct vr_found_at){VR_SOURCE_CONTENT, i + 1, found->score[i]};
        out->found_offset[i + 1] = i + 1;
    }
    return VR_OK;
}

static struct vr_rerank_config filters_alone(const struct vr_rerank_config *config)
{
    struct vr_rerank_config rules = *config;
    rules.gain = VR_GAIN_SCORE;
    rules.min_items = 0;
    rules.cap_count = 0;
    rules.freshness_count = 0;
    rules.give_way_count = 0;
    return rules;
}

static enum vr_status search(struct vr_lane *lane, const struct vr_feed_request *request, int32_t row,
                             struct vr_engine_found *found)
{
    return vr_engine_similar(vr_device_slot(lane), row, vr_binding_max_k(lane->config),
                             vr_device_deadline(&lane->run, request->deadline_us), found);
}

static enum vr_status find(struct vr_lane *lane, struct vr_visit *visit)
{
    const struct vr_model *model = lane->binding->model;
    const struct vr_feed_request *request = &visit->job->request;
    struct vr_engine_found found;
    uint32_t row = vr_dict_find(model->bundle->video_rows, request->video_id);
    if (row == VR_DICT_NONE) {
        return vr_fail(VR_ERR_NOT_FOUND, "no video '%.*s'", (int)request->video_id.len, request->video_id.data);
    }
    enum vr_status status = search(lane, request, (int32_t)row, &found);
    if (vr_device_gave_up(&lane->run, status)) {
        status = search(lane, request, (int32_t)row, &found);
    }
    return status == VR_OK ? take_over(&found, visit->job->arena, &visit->candidates) : status;
}

void vr_step_similar(struct vr_lane *lane, struct vr_visit *visit)
{
    struct vr_rerank_config rules = filters_alone(&lane->config->rerank);
    visit->viewer.age = NAN;
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        visit->job->reply.source[s].status = VR_SOURCE_OFF;
    }
    enum vr_status status = find(lane, visit);
    if (status != VR_OK) {
        vr_visit_fail(visit, status);
        return;
    }
    visit->job->reply.candidates = visit->candidates.count;
    visit->job->reply.source[VR_SOURCE_CONTENT] =
        (struct vr_source_report){.status = VR_SOURCE_OK, .returned = visit->candidates.count};
    vr_step_guard(lane, visit, &rules);
}
