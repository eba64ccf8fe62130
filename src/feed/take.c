/* The take rule (take.h). */
#include "take.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The latest start at which a batch still meets the nearest deadline. */
static uint64_t latest_start(const struct vr_take_state *state)
{
    uint64_t deadline = state->nearest_deadline_us;
    return deadline > state->service_us ? deadline - state->service_us : 0;
}

static struct vr_take wait_until(const struct vr_take_state *state, uint64_t until_us, uint32_t count)
{
    if (state->now_us >= until_us) {
        return (struct vr_take){.kind = VR_TAKE_BATCH, .count = count};
    }
    uint32_t full = state->queued < state->hold ? state->hold : state->max_batch;
    return (struct vr_take){
        .kind = VR_TAKE_WAIT, .until_us = until_us, .full = full, .due_us = until_us + state->service_us};
}

struct vr_take vr_take_decide(const struct vr_take_state *state)
{
    uint32_t count = state->queued < state->max_batch ? state->queued : state->max_batch;
    if (count == 0) {
        return (struct vr_take){.kind = VR_TAKE_SLEEP};
    }
    if (state->queued < state->hold && !state->stopping) {
        return wait_until(state, state->hold_until_us, count);
    }
    if (state->in_flight == 0 || count == state->max_batch || state->stopping) {
        return (struct vr_take){.kind = VR_TAKE_BATCH, .count = count};
    }
    return wait_until(state, earlier(state->oldest_us + state->max_delay_us, latest_start(state)), count);
}
