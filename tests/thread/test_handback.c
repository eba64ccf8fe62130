/* Hand-back and queue under ThreadSanitizer: several loops' worth of producers push jobs through the queue, lanes take
 * them by the take rule and hand them back, one reader drains by the eventfd. No job is lost and none comes twice. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "feed/queue.h"
#include "vireo/clock.h"

#define PRODUCERS 3u
#define LANES 3u
#define EACH 4000u
#define JOBS (PRODUCERS * EACH)

static struct vr_job job[JOBS];
static struct vr_queue *queue;
static struct vr_handback *home;

static void *produce(void *argument)
{
    struct vr_job *mine = argument;
    for (uint32_t i = 0; i < EACH; i++) {
        mine[i].home = home;
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
    vr_handback_push(home, mine);
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
            give_back(batch[i]);
        }
        if (taken.count > 0) { /* else a nudge, or nothing but the dead */
            struct vr_batch_done done = {.jobs = taken.count, .requests = taken.count, .us = 50};
            vr_queue_done(queue, &done);
        }
    }
    return NULL;
}

static uint32_t drain_all(void)
{
    uint32_t back = 0;
    while (back < JOBS) {
        struct pollfd fd = {.fd = vr_handback_fd(home), .events = POLLIN};
        if (poll(&fd, 1, 30000) <= 0) {
            break;
        }
        for (struct vr_job *j = vr_handback_drain(home); j != NULL; j = j->next) {
            back++;
        }
    }
    return back;
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
    pthread_t producer[PRODUCERS], lane[LANES];
    if (vr_queue_create(&limits, &queue) != VR_OK || vr_handback_create(&home) != VR_OK) {
        return 2;
    }
    for (uint32_t i = 0; i < LANES; i++) {
        start(&lane[i], work, NULL);
    }
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        start(&producer[i], produce, &job[i * EACH]);
    }
    uint32_t back = drain_all();
    uint32_t wrong = 0;
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
    vr_handback_destroy(home);
    return back == JOBS && wrong == 0 ? 0 : 1;
}
