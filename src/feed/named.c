/* POST /v1/rank: a caller's own candidates. They are named by id, and take the place of what sources would have found;
 * from there on a request goes the way of all others to its scores, and is answered without guardrails. */
#include "reply.h"
#include "steps.h"

/* Known ids become rows in their order, the others are told. VR_ERR_NOMEM. */
static enum vr_status find_rows(const struct vr_bundle *bundle, struct vr_visit *visit)
{
    const struct vr_feed_request *request = &visit->job->request;
    struct vr_arena *arena = visit->job->arena;
    struct vr_candidates *candidates = &visit->candidates;
    struct vr_str *unknown = vr_arena_calloc(arena, request->candidate_count, sizeof *unknown);
    candidates->row = vr_arena_calloc(arena, request->candidate_count, sizeof *candidates->row);
    if (unknown == NULL || candidates->row == NULL) {
        return VR_ERR_NOMEM;
    }
    visit->job->reply.unknown = unknown;
    for (uint32_t i = 0; i < request->candidate_count; i++) {
        uint32_t row = vr_dict_find(bundle->video_rows, request->candidate[i]);
        if (row == VR_DICT_NONE) {
            unknown[visit->job->reply.unknown_count++] = request->candidate[i];
        } else {
            candidates->row[candidates->count++] = (int32_t)row;
        }
    }
    return VR_OK;
}

void vr_step_named(const struct vr_lane *lane, struct vr_visit *visit)
{
    struct vr_arena *arena = visit->job->arena;
    struct vr_candidates *candidates = &visit->candidates;
    enum vr_status status = find_rows(lane->binding->model->bundle, visit);
    if (status == VR_OK) {
        const uint32_t count = candidates->count;
        candidates->found_offset = vr_arena_calloc(arena, (size_t)count + 1, sizeof *candidates->found_offset);
        candidates->heads = vr_arena_calloc(arena, (size_t)count * VR_HEAD_COUNT, sizeof *candidates->heads);
    }
    if (status != VR_OK || candidates->found_offset == NULL || candidates->heads == NULL) {
        vr_visit_fail(visit, VR_ERR_NOMEM);
        return;
    }
    visit->job->reply.candidates = candidates->count;
}

void vr_step_answer_named(const struct vr_lane *lane, struct vr_visit *visit)
{
    if (vr_reply_fill_all(lane, visit) != VR_OK) {
        vr_visit_fail(visit, VR_ERR_NOMEM);
    }
}
