/* The pure parts of how a feed bears its load: the line-up, the inbox on one thread, the governor and admission. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "feed/admit.h"
#include "feed/governor.h"
#include "feed/inbox.h"
#include "feed/lineup.h"
#include "support_rerank.h"

/* ---- line-up ---- */

static struct vr_job job_of(enum vr_priority priority, uint64_t received_us, uint64_t time_us)
{
    return (struct vr_job){
        .request = {.priority = priority, .received_us = received_us, .deadline_us = received_us + time_us}};
}

Test(load, a_job_should_start_within_its_class_share_of_its_time)
{
    struct vr_job high = job_of(VR_PRIORITY_HIGH, 1000, 800);
    struct vr_job normal = job_of(VR_PRIORITY_NORMAL, 1000, 800);
    struct vr_job low = job_of(VR_PRIORITY_LOW, 1000, 800);
    cr_expect_eq(vr_start_by_us(&high.request), 1000u);
    cr_expect_eq(vr_start_by_us(&normal.request), 1200u);
    cr_expect_eq(vr_start_by_us(&low.request), 1400u);
    low.request.deadline_us = 10; /* passed before it came */
    cr_expect_eq(vr_start_by_us(&low.request), 1000u);
}

static bool in_order(const struct vr_job *a, const struct vr_job *b)
{
    uint64_t x = vr_start_by_us(&a->request), y = vr_start_by_us(&b->request);
    return x != y ? x < y : a->request.count < b->request.count;
}

/* Pushes and pops in random turns: what is popped is the first of what is inside, by start and then by coming. */
Test(load, the_line_up_gives_the_earliest_start_first_and_keeps_the_order_of_equals)
{
    enum { JOBS = 64, TURNS = 20000 };
    struct random r = {21};
    struct vr_lineup lineup;
    struct vr_job job[JOBS];
    bool inside[JOBS] = {false};
    cr_assert_eq(vr_lineup_create(&lineup, JOBS), VR_OK);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        uint32_t at = random_below(&r, JOBS);
        if (!inside[at]) {
            job[at] = job_of((enum vr_priority)random_below(&r, 3), random_below(&r, 50), 8 * random_below(&r, 5));
            job[at].request.count = turn;
            vr_lineup_push(&lineup, &job[at]);
            inside[at] = true;
            continue;
        }
        const struct vr_job *first = vr_lineup_pop(&lineup);
        cr_assert(inside[first - job]);
        inside[first - job] = false;
        for (uint32_t i = 0; i < JOBS; i++) {
            cr_assert(!inside[i] || in_order(first, &job[i]));
        }
    }
    vr_lineup_destroy(&lineup);
}

/* ---- inbox ---- */

Test(load, an_inbox_gives_all_oldest_first_and_takes_none_once_closed)
{
    struct vr_inbox inbox = {NULL};
    struct vr_job job[4] = {0};
    cr_expect(vr_inbox_is_empty(&inbox));
    cr_expect_null(vr_inbox_drain(&inbox));
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect(vr_inbox_push(&inbox, &job[i]));
    }
    cr_expect_not(vr_inbox_is_empty(&inbox));
    const struct vr_job *at = vr_inbox_drain(&inbox);
    for (uint32_t i = 0; i < 3; i++, at = at->next) {
        cr_assert_eq(at, &job[i]);
    }
    cr_expect_null(at);
    cr_expect(vr_inbox_push(&inbox, &job[3]));
    cr_expect_not(vr_inbox_is_closed(&inbox));
    cr_expect_eq(vr_inbox_close(&inbox), &job[3]);
    cr_expect(vr_inbox_is_closed(&inbox));
    cr_expect(vr_inbox_is_empty(&inbox));
    cr_expect_not(vr_inbox_push(&inbox, &job[0]));
    cr_expect_null(vr_inbox_drain(&inbox));
    cr_expect_null(vr_inbox_close(&inbox));
    cr_expect_not(vr_inbox_push(&inbox, &job[0]), "draining opens nothing");
}

/* ---- governor ---- */

static struct vr_interval calm(void)
{
    return (struct vr_interval){.wait_us = 1000,
                                .target_us = 50000,
                                .arrived = 100,
                                .inside = 20,
                                .least_limit = 16,
                                .most_limit = 1000,
                                .better_fits = true};
}

static struct vr_interval pressed(void)
{
    struct vr_interval interval = calm();
    interval.wait_us = 200000;
    interval.inside = 800;
    return interval;
}

static void step(struct vr_governor *governor, struct vr_interval interval, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        vr_governor_step(governor, &interval);
    }
}

Test(load, quality_goes_first_and_requests_only_at_the_lowest_level)
{
    struct vr_governor governor = {.limit = 1000};
    step(&governor, pressed(), 1);
    cr_expect_eq(governor.level, 1u);
    step(&governor, pressed(), 1);
    cr_expect_eq(governor.level, 2u);
    cr_expect_eq(governor.limit, 1000.0);
    step(&governor, pressed(), 1);
    cr_expect_eq(governor.level, 2u);
    cr_expect_lt(governor.limit, 500.0, "halved from the 800 that are inside");
    step(&governor, pressed(), 20);
    cr_expect(governor.limit >= 16.0 && governor.limit < 32.0, "%.1f", governor.limit);
}

Test(load, refusals_are_pressure_but_for_a_few)
{
    struct vr_governor governor = {.limit = 1000};
    struct vr_interval interval = calm();
    interval.refused = 2; /* of 100: clients with odd wishes */
    step(&governor, interval, 10);
    cr_expect_eq(governor.level, 0u);
    interval.refused = 3;
    step(&governor, interval, 1);
    cr_expect_eq(governor.level, 1u);
    interval.arrived = 1;
    interval.refused = 1;
    step(&governor, interval, 1);
    cr_expect_eq(governor.level, 2u);
}

Test(load, the_limit_settles_where_the_wait_meets_its_target)
{
    struct vr_governor governor = {.level = 2, .limit = 1000};
    for (uint32_t i = 0; i < 100; i++) { /* a queue that is always full: a millisecond of wait for each job */
        struct vr_interval interval = pressed();
        interval.inside = (uint32_t)governor.limit;
        interval.wait_us = (uint64_t)(governor.limit * 1000.0);
        interval.refused = 90;
        step(&governor, interval, 1);
    }
    cr_expect(governor.limit > 40.0 && governor.limit < 75.0, "%.1f", governor.limit);
}

Test(load, levels_come_back_one_by_one_and_later_where_they_would_not_fit)
{
    struct vr_governor governor = {.level = 2, .limit = 20};
    step(&governor, calm(), 2);
    cr_expect_eq(governor.level, 2u);
    step(&governor, calm(), 1);
    cr_expect_eq(governor.level, 1u);
    step(&governor, calm(), 3);
    cr_expect_eq(governor.level, 0u);
    cr_expect_eq(governor.limit, 1000.0);
    struct vr_interval does_not_fit = calm();
    does_not_fit.better_fits = false;
    governor = (struct vr_governor){.level = 1, .limit = 20};
    step(&governor, does_not_fit, 49);
    cr_expect_eq(governor.level, 1u);
    step(&governor, does_not_fit, 1);
    cr_expect_eq(governor.level, 0u);
}

/* ---- admission ---- */

/* Two lanes at work on batches of four, 10 ms each: 0.8 jobs a millisecond. */
static struct vr_admit_view busy(void)
{
    return (struct vr_admit_view){
        .limit = 100, .working = 8, .in_flight = 2, .lanes = 2, .batch = 4, .base_us = 2000.0, .each_us = 2000.0};
}

static struct vr_admit_question ask(enum vr_priority priority, uint32_t high, uint32_t normal, uint32_t low)
{
    return (struct vr_admit_question){
        .priority = priority,
        .now_us = 1000000,
        .deadline_us = 2000000,
        .waiting = {[VR_PRIORITY_HIGH] = high, [VR_PRIORITY_NORMAL] = normal, [VR_PRIORITY_LOW] = low},
        .capacity = 1000};
}

static bool is_taken(const struct vr_admit_view *view, struct vr_admit_question question)
{
    return vr_admit(view, &question).taken;
}

static bool is_refused_for(const struct vr_admit_view *view, struct vr_admit_question question, enum vr_shed reason)
{
    struct vr_admit_answer answer = vr_admit(view, &question);
    return !answer.taken && answer.reason == reason && answer.retry_after_s >= 1;
}

Test(load, an_idle_lane_takes_whatever_the_estimate_says)
{
    struct vr_admit_view view = busy();
    struct vr_admit_question question = ask(VR_PRIORITY_LOW, 0, 0, 0);
    view.each_us = 1e9;
    cr_expect(is_refused_for(&view, question, VR_SHED_DEADLINE));
    view.in_flight = 1;
    cr_expect(is_taken(&view, question));
    question.deadline_us = 0;
    cr_expect(is_taken(&view, question), "a lane answers it with 504");
}

Test(load, a_full_queue_refuses_whatever_the_class)
{
    struct vr_admit_view view = busy();
    view.limit = 100000;
    view.each_us = view.base_us = 0.0;
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        cr_expect(is_taken(&view, ask((enum vr_priority)p, 0, 999, 0)));
        cr_expect(is_refused_for(&view, ask((enum vr_priority)p, 0, 1000, 0), VR_SHED_FULL));
    }
}

Test(load, a_deadline_that_the_wait_would_pass_is_refused)
{
    struct vr_admit_view view = busy(); /* 5 ms until a lane is free, 10 ms of service; each waiting job 1.25 ms */
    struct vr_admit_question question = ask(VR_PRIORITY_HIGH, 20, 0, 0);
    struct vr_admit_answer answer = vr_admit(&view, &question);
    cr_expect_eq(answer.wait_us, 30000u);
    cr_expect_eq(answer.service_us, 10000u);
    question.deadline_us = question.now_us + 40000;
    cr_expect(is_taken(&view, question));
    question.deadline_us--;
    cr_expect(is_refused_for(&view, question, VR_SHED_DEADLINE));
    view.spread_us = 1000.0;
    question.deadline_us = question.now_us + 43000;
    cr_expect(is_taken(&view, question));
    question.deadline_us--;
    cr_expect(is_refused_for(&view, question, VR_SHED_DEADLINE), "three deviations are left room for");
}

Test(load, a_deadline_that_nobody_could_meet_is_told_from_one_that_the_load_takes_away)
{
    struct vr_admit_view view = busy();
    struct vr_admit_question question = ask(VR_PRIORITY_HIGH, 20, 0, 0);
    question.deadline_us = question.now_us + 3900; /* a batch of one takes 4 ms */
    cr_expect(vr_admit(&view, &question).hopeless);
    question.deadline_us = question.now_us + 4100;
    cr_expect_not(vr_admit(&view, &question).hopeless);
    cr_expect_not(vr_admit(&view, &question).taken);
}

Test(load, retry_after_is_when_the_line_will_be_done)
{
    struct vr_admit_view view = busy();
    struct vr_admit_question question = ask(VR_PRIORITY_HIGH, 0, 1000, 0);
    cr_expect_eq(vr_admit(&view, &question).retry_after_s, 1u);
    question.priority = VR_PRIORITY_LOW;
    view.each_us = 20000.0; /* a second for 48 */
    cr_expect_eq(vr_admit(&view, &question).retry_after_s, 11u);
    view.each_us = 1e9;
    cr_expect_eq(vr_admit(&view, &question).retry_after_s, 60u);
}

/* Counts how many of a class are taken into a feed that others fill to the brim. */
static uint32_t room_for(enum vr_priority priority, uint32_t high, uint32_t normal, uint32_t low)
{
    struct vr_admit_view view = busy();
    uint32_t taken = 0;
    for (;; taken++) {
        struct vr_admit_question question = ask(priority, high, normal, low);
        question.waiting[priority] += taken;
        if (!is_taken(&view, question)) {
            return taken;
        }
    }
}

Test(load, low_is_refused_first_and_high_last)
{
    uint32_t low = room_for(VR_PRIORITY_LOW, 0, 0, 0);
    uint32_t normal = room_for(VR_PRIORITY_NORMAL, 0, 0, 0);
    uint32_t high = room_for(VR_PRIORITY_HIGH, 0, 0, 0);
    cr_expect_eq(low, 42u); /* of 50 and 90 and 100 inside, 8 of them worked on */
    cr_expect_eq(normal, 82u);
    cr_expect_eq(high, 92u);
    cr_expect_eq(room_for(VR_PRIORITY_LOW, 0, 82, 0), 7u, "its own sixteenth, above what it may fill");
    cr_expect_eq(room_for(VR_PRIORITY_HIGH, 0, 82, 0), 25u);
}

Test(load, no_class_can_take_the_last_places_of_another)
{
    cr_expect_eq(room_for(VR_PRIORITY_NORMAL, 92, 0, 0), 25u);
    cr_expect_eq(room_for(VR_PRIORITY_LOW, 92, 25, 0), 7u);
    cr_expect_eq(room_for(VR_PRIORITY_HIGH, 92, 0, 0), 0u);
}

Test(load, low_leaves_time_that_high_may_use)
{
    struct vr_admit_view view = busy();
    const uint64_t needed = 15000; /* 5 ms until a lane is free, 10 ms of a batch */
    static const double share[VR_PRIORITIES] = {0.9, 1.0, 0.6};
    view.batch = 1;
    view.base_us = 10000.0;
    view.each_us = 0.0;
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        struct vr_admit_question question = ask((enum vr_priority)p, 0, 0, 0);
        question.deadline_us = question.now_us + (uint64_t)((double)needed / share[p]) + 1;
        cr_expect(is_taken(&view, question));
        question.deadline_us -= 2;
        cr_expect(is_refused_for(&view, question, VR_SHED_DEADLINE));
    }
}
