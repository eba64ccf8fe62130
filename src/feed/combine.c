/* Merge and dedupe of the sources' results. Where VR_RULE_SEEN is listed, some videos that the viewer knows join the
 * candidates behind all others, found by no source: sources skip them, so that they never crowd out what is new, and
 * the selector takes them only if the feed would be short. */
#include <string.h>

#include "rerank.h"
#include "rows.h"
#include "steps.h"

/* Known videos that may come back, in this order of preference: served but never watched, then watched, oldest first,
 * then the rest. At most VR_COUNT_MAX. */
struct reserve {
    int32_t row[VR_COUNT_MAX];
    uint32_t count;
};

static void add(const struct vr_visit *visit, int32_t row, struct reserve *reserve)
{
    bool wanted =
        reserve->count < VR_COUNT_MAX && vr_rows_hold(&visit->skip, row) && !vr_rows_hold(&visit->excluded, row);
    for (uint32_t i = 0; wanted && i < reserve->count; i++) {
        wanted = reserve->row[i] != row;
    }
    if (wanted) {
        reserve->row[reserve->count++] = row;
    }
}

static void find_reserve(const struct vr_visit *visit, struct reserve *reserve)
{
    for (uint32_t i = 0; i < visit->served.count; i++) {
        if (!vr_rows_hold(&visit->seen, visit->served.row[i])) {
            add(visit, visit->served.row[i], reserve);
        }
    }
    for (uint32_t i = 0; i < visit->recent_count; i++) {
        if (visit->recent[i].video >= 0) {
            add(visit, visit->recent[i].video, reserve);
        }
    }
    for (uint32_t i = 0; i < visit->seen.count; i++) {
        add(visit, visit->seen.row[i], reserve);
    }
}

/* Append rows that no source found: their lists of places are empty. VR_ERR_NOMEM. */
static enum vr_status append(struct vr_candidates *candidates, const struct reserve *reserve, struct vr_arena *arena)
{
    uint32_t count = candidates->count + reserve->count;
    int32_t *row = vr_arena_calloc(arena, count, sizeof *row);
    uint32_t *offset = vr_arena_calloc(arena, (size_t)count + 1, sizeof *offset);
    if (row == NULL || offset == NULL) {
        return VR_ERR_NOMEM;
    }
    memcpy(row, candidates->row, candidates->count * sizeof *row);
    memcpy(row + candidates->count, reserve->row, reserve->count * sizeof *row);
    memcpy(offset, candidates->found_offset, ((size_t)candidates->count + 1) * sizeof *offset);
    for (uint32_t i = candidates->count + 1; i <= count; i++) {
        offset[i] = offset[candidates->count];
    }
    candidates->row = row;
    candidates->found_offset = offset;
    candidates->count = count;
    return VR_OK;
}

/* Heads of zeros, which a ranker that fails leaves as they are. VR_ERR_NOMEM. */
static enum vr_status make_heads(struct vr_candidates *candidates, struct vr_arena *arena)
{
    candidates->heads = vr_arena_calloc(arena, (size_t)candidates->count * VR_HEAD_COUNT, sizeof *candidates->heads);
    return candidates->heads != NULL ? VR_OK : VR_ERR_NOMEM;
}

void vr_step_merge(const struct vr_lane *lane, struct vr_visit *visit, struct vr_merge_scratch *scratch)
{
    struct vr_arena *arena = visit->job->arena;
    struct reserve reserve = {.count = 0};
    enum vr_status status =
        vr_merge(scratch, visit->found, vr_binding_max_candidates(lane->config), arena, &visit->candidates);
    if (status == VR_OK && vr_rule_may_give_way(&lane->config->rerank, VR_RULE_SEEN)) {
        find_reserve(visit, &reserve);
    }
    if (status == VR_OK && reserve.count > 0) {
        status = append(&visit->candidates, &reserve, arena);
    }
    if (status == VR_OK) {
        status = make_heads(&visit->candidates, arena);
    }
    if (status != VR_OK) {
        vr_visit_fail(visit, status);
        return;
    }
    visit->job->reply.candidates = visit->candidates.count;
}
