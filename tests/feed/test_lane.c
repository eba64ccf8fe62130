/* The queue and the hand-back list on one thread: order, bounds, closing, holding, and when the eventfd is readable. */
#include <criterion/criterion.h>
#include <poll.h>

#include "feed/queue.h"
#include "vireo/clock.h"

static const struct vr_lane_config limits = {.count = 1,
                                             .max_batch = 4,
                                             .target_batch_ms = 1000,
                                             .target_wait_ms = 60000,
                                             .max_delay_us = 500,
                                             .queue_capacity = 6};

static struct vr_job job[8];
static struct vr_job *batch[4];

static struct vr_queue *open_queue(void)
{
    struct vr_queue *queue;
    cr_assert_eq(vr_queue_create(&limits, &queue), VR_OK);
    for (size_t i = 0; i < 8; i++) {
        job[i] = (struct vr_job){.request = {.received_us = vr_clock_mono_us(), .deadline_us = UINT64_MAX}};
    }
    return queue;
}

static uint32_t take(struct vr_queue *queue)
{
    uint32_t nudges = 0;
    struct vr_taken taken = {.batch = batch};
    cr_expect(vr_queue_take(queue, &nudges, &taken) || taken.count == 0);
    cr_expect_null(taken.dead);
    return taken.count;
}

/* The batch that was taken is answered, quickly. */
static void done(struct vr_queue *queue, uint32_t jobs)
{
    struct vr_batch_done done = {.jobs = jobs, .requests = jobs, .us = 100};
    vr_queue_done(queue, &done);
}

Test(lane, a_queue_gives_batches_in_order_and_refuses_when_full)
{
    struct vr_queue *queue = open_queue();
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(vr_queue_push(queue, &job[i]), VR_OK);
    }
    cr_expect_eq(vr_queue_push(queue, &job[6]), VR_ERR_BUSY);
    cr_assert_eq(take(queue), 4u);
    cr_expect_eq(vr_queue_length(queue), 2u);
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(batch[i], &job[i]);
    }
    cr_expect_eq(vr_queue_push(queue, &job[6]), VR_OK);
    done(queue, 4);
    cr_assert_eq(take(queue), 3u);
    cr_expect_eq(batch[2], &job[6]);
    done(queue, 3);
    vr_queue_destroy(queue);
}

Test(lane, while_a_batch_is_in_flight_the_next_waits_its_delay)
{
    struct vr_queue *queue = open_queue();
    cr_assert_eq(vr_queue_push(queue, &job[0]), VR_OK);
    cr_assert_eq(take(queue), 1u);
    job[1].request.received_us = vr_clock_mono_us();
    cr_assert_eq(vr_queue_push(queue, &job[1]), VR_OK);
    cr_assert_eq(take(queue), 1u);
    cr_expect_geq(vr_clock_mono_us() - job[1].request.received_us, (uint64_t)limits.max_delay_us);
    done(queue, 1);
    done(queue, 1);
    vr_queue_destroy(queue);
}

Test(lane, a_closed_queue_gives_what_is_left_then_nothing)
{
    struct vr_queue *queue = open_queue();
    cr_assert_eq(vr_queue_push(queue, &job[0]), VR_OK);
    vr_queue_hold(queue, 3);
    vr_queue_close(queue);
    cr_expect_eq(vr_queue_push(queue, &job[1]), VR_ERR_CLOSED);
    cr_expect_eq(take(queue), 1u);
    cr_expect_eq(take(queue), 0u);
    done(queue, 1);
    vr_queue_destroy(queue);
}

Test(lane, a_hold_ends_with_its_number_and_does_not_come_again)
{
    struct vr_queue *queue = open_queue();
    vr_queue_hold(queue, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(vr_queue_push(queue, &job[i]), VR_OK);
    }
    cr_expect_eq(take(queue), 3u);
    done(queue, 3);
    cr_assert_eq(vr_queue_push(queue, &job[3]), VR_OK);
    uint64_t start_us = vr_clock_mono_us();
    cr_expect_eq(take(queue), 1u);
    cr_expect_lt(vr_clock_mono_us() - start_us, 2000000u);
    done(queue, 1);
    vr_queue_destroy(queue);
}

/* Who has gone or is late takes no room in a batch and is found while looking for those who are not. */
Test(lane, the_dead_are_set_aside_and_take_no_room)
{
    struct vr_queue *queue = open_queue();
    struct vr_taken taken = {.batch = batch};
    uint32_t nudges = 0;
    for (size_t i = 0; i < 6; i++) {
        job[i].request.deadline_us = job[i].request.received_us + 60000000u + i;
        cr_assert_eq(vr_queue_push(queue, &job[i]), VR_OK);
    }
    job[0].cancelled = true;
    job[2].request.deadline_us = job[2].request.received_us; /* its time passed while it waited */
    cr_assert(vr_queue_take(queue, &nudges, &taken));
    cr_assert_eq(taken.count, 4u);
    cr_expect(batch[0] == &job[1] && batch[1] == &job[3] && batch[2] == &job[4] && batch[3] == &job[5]);
    cr_assert_eq(taken.dead, &job[0]);
    cr_assert_eq(taken.dead->next, &job[2]);
    cr_expect_null(taken.dead->next->next);
    cr_expect_eq(vr_queue_length(queue), 0u);
    done(queue, 4);
    job[6].cancelled = true;
    cr_assert_eq(vr_queue_push(queue, &job[6]), VR_OK);
    cr_assert(vr_queue_take(queue, &nudges, &taken));
    cr_expect(taken.count == 0 && taken.dead == &job[6], "nothing but the dead is no batch");
    vr_queue_destroy(queue);
}

/* Behind a full batch stand others, so a job that would be late when the batch is done gives its place to them. */
Test(lane, who_would_be_late_gives_place_to_who_waits_behind)
{
    struct vr_queue *queue = open_queue();
    struct vr_taken taken = {.batch = batch};
    uint32_t nudges = 0;
    cr_assert_eq(vr_queue_push(queue, &job[7]), VR_OK);
    cr_assert(vr_queue_take(queue, &nudges, &taken));
    struct vr_batch_done slow = {.jobs = 1, .requests = 1, .us = 200000}; /* a request takes 200 ms */
    vr_queue_done(queue, &slow);
    for (size_t i = 0; i < 6; i++) {
        job[i].request.deadline_us = UINT64_MAX;
        cr_assert_eq(vr_queue_push(queue, &job[i]), VR_OK);
    }
    job[0].request.deadline_us = vr_clock_mono_us() + 100000; /* half of what it takes */
    cr_assert(vr_queue_take(queue, &nudges, &taken));
    cr_expect_eq(taken.dead, &job[0]);
    cr_expect_eq(batch[0], &job[1]);
    vr_queue_destroy(queue);
}

Test(lane, a_nudge_is_heard_once_and_a_batch_comes_before_it)
{
    struct vr_queue *queue = open_queue();
    uint32_t nudges = 0;
    struct vr_taken taken = {.batch = batch, .count = 9};
    vr_queue_nudge(queue);
    cr_expect(vr_queue_take(queue, &nudges, &taken));
    cr_expect_eq(taken.count, 0u);
    vr_queue_nudge(queue);
    cr_assert_eq(vr_queue_push(queue, &job[0]), VR_OK);
    cr_expect(vr_queue_take(queue, &nudges, &taken));
    cr_expect_eq(taken.count, 1u);
    done(queue, 1);
    vr_queue_close(queue);
    cr_expect_not(vr_queue_take(queue, &nudges, &taken));
    vr_queue_destroy(queue);
}

static bool is_readable(const struct vr_handback *list)
{
    struct pollfd fd = {.fd = vr_handback_fd(list), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

Test(lane, a_hand_back_list_is_readable_until_drained_and_keeps_the_order)
{
    struct vr_handback *list;
    cr_assert_eq(vr_handback_create(&list), VR_OK);
    cr_expect_not(is_readable(list));
    cr_expect_null(vr_handback_drain(list));
    for (size_t i = 0; i < 3; i++) {
        vr_handback_push(list, &job[i]);
        cr_expect(is_readable(list));
    }
    struct vr_job *first = vr_handback_drain(list);
    cr_expect_not(is_readable(list));
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(first, &job[i]);
        first = first->next;
    }
    cr_expect_null(first);
    vr_handback_push(list, &job[5]);
    cr_expect(is_readable(list));
    cr_expect_eq(vr_handback_drain(list), &job[5]);
    vr_handback_destroy(list);
}
