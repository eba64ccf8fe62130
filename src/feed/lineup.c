/* The heap of lineup.h. */
#include "lineup.h"

#include <assert.h>
#include <stdlib.h>

enum vr_status vr_lineup_create(struct vr_lineup *lineup, uint32_t capacity)
{
    *lineup = (struct vr_lineup){.capacity = capacity};
    lineup->waiting = calloc(capacity, sizeof *lineup->waiting);
    return lineup->waiting != NULL ? VR_OK : vr_fail(VR_ERR_NOMEM, "queue: no memory for %u jobs", capacity);
}

void vr_lineup_destroy(struct vr_lineup *lineup)
{
    free(lineup->waiting);
    *lineup = (struct vr_lineup){0};
}

uint64_t vr_start_by_us(const struct vr_feed_request *request)
{
    static const uint64_t share_of[VR_PRIORITIES] = {
        [VR_PRIORITY_HIGH] = 0, [VR_PRIORITY_NORMAL] = 4, [VR_PRIORITY_LOW] = 2};
    uint64_t share = share_of[request->priority];
    uint64_t time_us = request->deadline_us > request->received_us ? request->deadline_us - request->received_us : 0;
    return request->received_us + (share > 0 ? time_us / share : 0);
}

static bool is_before(const struct vr_waiting *a, const struct vr_waiting *b)
{
    return a->start_by_us != b->start_by_us ? a->start_by_us < b->start_by_us : a->ticket < b->ticket;
}

void vr_lineup_push(struct vr_lineup *lineup, struct vr_job *job)
{
    assert(lineup->length < lineup->capacity);
    struct vr_waiting waiting = {vr_start_by_us(&job->request), lineup->next_ticket++, job};
    uint32_t at = lineup->length++;
    for (; at > 0 && is_before(&waiting, &lineup->waiting[(at - 1) / 2]); at = (at - 1) / 2) {
        lineup->waiting[at] = lineup->waiting[(at - 1) / 2];
    }
    lineup->waiting[at] = waiting;
}

/* Of the places below `at`, the one that goes first; its place, or the length where there is none. */
static uint32_t first_below(const struct vr_lineup *lineup, uint32_t at)
{
    uint32_t left = 2 * at + 1;
    uint32_t right = left + 1;
    if (right < lineup->length && is_before(&lineup->waiting[right], &lineup->waiting[left])) {
        return right;
    }
    return left < lineup->length ? left : lineup->length;
}

struct vr_job *vr_lineup_pop(struct vr_lineup *lineup)
{
    assert(lineup->length > 0);
    struct vr_job *job = lineup->waiting[0].job;
    struct vr_waiting last = lineup->waiting[--lineup->length];
    uint32_t at = 0;
    for (uint32_t below = first_below(lineup, at); below < lineup->length && is_before(&lineup->waiting[below], &last);
         below = first_below(lineup, at)) {
        lineup->waiting[at] = lineup->waiting[below];
        at = below;
    }
    lineup->waiting[at] = last;
    return job;
}
