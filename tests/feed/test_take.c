/* The take rule on a fake clock: every case is a state and what a lane shall do in it. */
#include <criterion/criterion.h>

#include "feed/take.h"

#define NOW 1000000u

/* One job, queued 100 us ago, another batch in flight; the cases change what they are about. */
static struct vr_take_state one_waiting(void)
{
    return (struct vr_take_state){.queued = 1,
                                  .max_batch = 8,
                                  .in_flight = 1,
                                  .now_us = NOW,
                                  .oldest_us = NOW - 100,
                                  .nearest_deadline_us = UINT64_MAX,
                                  .max_delay_us = 500};
}

static void expect_batch(const struct vr_take_state *state, uint32_t count)
{
    struct vr_take take = vr_take_decide(state);
    cr_assert_eq(take.kind, VR_TAKE_BATCH);
    cr_expect_eq(take.count, count);
}

static void expect_wait(const struct vr_take_state *state, uint64_t until_us)
{
    struct vr_take take = vr_take_decide(state);
    cr_assert_eq(take.kind, VR_TAKE_WAIT);
    cr_expect_eq(take.until_us, until_us);
}

Test(take, nothing_queued_sleeps_whatever_else_holds)
{
    struct vr_take_state state = one_waiting();
    state.queued = 0;
    cr_expect_eq(vr_take_decide(&state).kind, VR_TAKE_SLEEP);
    state.stopping = true;
    state.in_flight = 0;
    cr_expect_eq(vr_take_decide(&state).kind, VR_TAKE_SLEEP);
}

Test(take, an_idle_device_is_given_what_is_there_at_once)
{
    struct vr_take_state state = one_waiting();
    state.in_flight = 0;
    state.oldest_us = NOW;
    expect_batch(&state, 1);
    state.queued = 20;
    expect_batch(&state, 8);
}

Test(take, a_full_batch_never_waits)
{
    struct vr_take_state state = one_waiting();
    state.queued = 8;
    expect_batch(&state, 8);
    state.queued = 7;
    expect_wait(&state, NOW + 400);
}

Test(take, a_batch_in_flight_is_waited_for_at_most_the_delay)
{
    struct vr_take_state state = one_waiting();
    expect_wait(&state, NOW + 400);
    state.now_us = NOW + 399;
    expect_wait(&state, NOW + 400);
    state.now_us = NOW + 400;
    expect_batch(&state, 1);
}

Test(take, no_delay_means_no_wait)
{
    struct vr_take_state state = one_waiting();
    state.max_delay_us = 0;
    expect_batch(&state, 1);
}

Test(take, the_wait_ends_where_the_nearest_deadline_could_still_be_met)
{
    struct vr_take_state state = one_waiting();
    state.nearest_deadline_us = NOW + 300;
    expect_wait(&state, NOW + 300);
    state.service_us = 200;
    expect_wait(&state, NOW + 100);
    state.service_us = 300;
    expect_batch(&state, 1);
    state.service_us = 10 * NOW; /* longer than the deadline is far: at once, without wrapping around */
    expect_batch(&state, 1);
}

Test(take, a_hold_waits_for_its_number_even_on_an_idle_device)
{
    struct vr_take_state state = one_waiting();
    state.in_flight = 0;
    state.hold = 3;
    state.hold_until_us = NOW + 5000;
    expect_wait(&state, NOW + 5000);
    state.queued = 3;
    expect_batch(&state, 3);
    state.queued = 1;
    state.now_us = NOW + 5000;
    expect_batch(&state, 1);
}

Test(take, stopping_takes_what_is_left_without_waiting)
{
    struct vr_take_state state = one_waiting();
    state.stopping = true;
    expect_batch(&state, 1);
    state.hold = 3;
    state.hold_until_us = NOW + 5000;
    expect_batch(&state, 1);
}

/* A lane that asks again whenever it was told to never starts a batch later than the delay allows. */
Test(take, following_the_rule_starts_every_batch_in_time)
{
    for (uint64_t service = 0; service <= 600; service += 100) {
        for (uint64_t deadline = 0; deadline <= 1200; deadline += 75) {
            struct vr_take_state state = one_waiting();
            state.service_us = service;
            state.nearest_deadline_us = NOW + deadline;
            struct vr_take take = vr_take_decide(&state);
            for (int asked = 0; take.kind == VR_TAKE_WAIT && asked < 3; asked++) {
                cr_assert_gt(take.until_us, state.now_us);
                state.now_us = take.until_us;
                take = vr_take_decide(&state);
            }
            uint64_t last = deadline > service ? NOW + deadline - service : NOW;
            uint64_t due = last < NOW + 400 ? last : NOW + 400;
            cr_assert_eq(take.kind, VR_TAKE_BATCH);
            cr_assert_eq(state.now_us, due, "service %lu, deadline %lu", (unsigned long)service,
                         (unsigned long)deadline);
        }
    }
}
