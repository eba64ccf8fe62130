/* Hand-back and queue under ThreadSanitizer: several loops' worth of producers push jobs through the queue, lanes take
 * them by the take rule and hand them back, singly or a batch at once, and each loop drains its own list by the
 * eventfd. No job is lost, none comes twice, and each comes back where it belongs. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "feed/queue.h"
#include "vireo/clock.h"

#define PRODUCERS 3u
#define LANES 3u
#define HOMES 2u
#define EACH 4000u
#define JOBS (PRODUCERS * EACH)

static struct vr_job job[JOBS];
static struct vr_queue *queue;
static struct vr_handback *home[HOMES];
static uint32_t strays; /* jobs on another loop's list; __atomic builtins */

static void *produce(void *argument)
{
    struct vr_job *mine = argument;
    for (uint32_t i = 0; i < EACH; i++) {
        mine[i].home = home[i % HOMES];
        if (i % 500 == 0) {
            vr_queue_nudge(queue);
        }
        mine[i].request.received_us = vr_clock_mono_us();
        mine[i].request.deadline_us = mine[i].request.received_us + 1000000u;
        while (vr_queue_push(queue, &mine[i]) == VR_ERR_BUSY) {
            poll(NULL, 0, 1);
        }
    }
    return NULL;
}

static void give_back(struct vr_job *mine)
{
    mine->reply.batch++; /* how often a lane had it */
    vr_handback_push(mine->home, mine);
}

static void *work(void *argument)
{
    struct vr_job *batch[8];
    struct vr_taken taken = {.batch = batch};
    uint32_t nudges = 0;
    (void)argument;
    while (vr_queue_take(queue, &nudges, &taken)) {
        for (struct vr_job *dead = taken.dead, *next; dead != NULL; dead = next) {
            next = dead->next;
            give_back(dead);
        }
        for (uint32_t i = 0; i < taken.count; i++) {
            batch[i]->reply.batch++; /* how often the job was worked on */
        }
        if (taken.count > 1) {
            vr_handback_push_batch(batch, taken.count);
        } else if (taken.count == 1) {
            vr_handback_push(batch[0]->home, batch[0]);
        }
        if (taken.count > 0) { /* else a nudge, or nothing but the dead */
            struct vr_batch_done done = {.jobs = taken.count, .requests = taken.count, .us = 50};
            vr_queue_done(queue, &done);
        }
    }
    return NULL;
}

static void *drain_all(void *argument)
{
    struct vr_handback *mine = *(struct vr_handback **)argument;
    uint32_t back = 0;
    while (back < JOBS / HOMES) {
        struct pollfd fd = {.fd = vr_handback_fd(mine), .events = POLLIN};
        if (poll(&fd, 1, 30000) <= 0) {
            break;
        }
        for (struct vr_job *j = vr_handback_drain(mine); j != NULL; j = j->next) {
            __atomic_fetch_add(&strays, j->home != mine ? 1 : 0, __ATOMIC_RELAXED);
            back++;
        }
    }
    return (void *)(uintptr_t)back;
}

static void start(pthread_t *thread, void *(*body)(void *), void *argument)
{
    if (pthread_create(thread, NULL, body, argument) != 0) {
        abort();
    }
}

int main(void)
{
    const struct vr_lane_config limits = {.count = LANES,
                                          .max_batch = 8,
                                          .target_batch_ms = 10,
                                          .target_wait_ms = 50,
                                          .max_delay_us = 200,
                                          .queue_capacity = 64};
    pthread_t producer[PRODUCERS], lane[LANES], loop[HOMES];
    if (vr_queue_create(&limits, &queue) != VR_OK) {
        return 2;
    }
    for (uint32_t i = 0; i < HOMES; i++) {
        if (vr_handback_create(&home[i]) != VR_OK) {
            return 2;
        }
        start(&loop[i], drain_all, &home[i]);
    }
    for (uint32_t i = 0; i < LANES; i++) {
        start(&lane[i], work, NULL);
    }
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        start(&producer[i], produce, &job[i * EACH]);
    }
    uint32_t back = 0;
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < HOMES; i++) {
        void *drained;
        pthread_join(loop[i], &drained);
        back += (uint32_t)(uintptr_t)drained;
    }
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        pthread_join(producer[i], NULL);
    }
    vr_queue_close(queue);
    for (uint32_t i = 0; i < LANES; i++) {
        pthread_join(lane[i], NULL);
    }
    for (uint32_t i = 0; i < JOBS; i++) {
        wrong += job[i].reply.batch != 1 ? 1u : 0u;
    }
    printf("%u of %u jobs came back, %u not worked on exactly once\n", back, JOBS, wrong);
    vr_queue_destroy(queue);
    for (uint32_t i = 0; i < HOMES; i++) {
        vr_handback_destroy(home[i]);
    }
    return back == JOBS && wrong == 0 && strays == 0 ? 0 : 1;
}
