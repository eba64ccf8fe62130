/* The lane's memory and its loop (lane.h). */
#include "lane.h"

#include <stdlib.h>
#include <string.h>

#include "vireo/clock.h"

enum vr_status vr_lane_create(struct vr_feed *feed, const struct vr_feed_config *config, struct vr_state *state,
                              struct vr_pool *pool, struct vr_queue *queue, struct vr_health *health,
                              struct vr_lane **out)
{
    size_t most = config->lanes.max_batch;
    struct vr_lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL) {
        return vr_fail(VR_ERR_NOMEM, "lane: no memory");
    }
    lane->feed = feed;
    lane->config = config;
    lane->state = state;
    lane->pool = pool;
    lane->queue = queue;
    lane->run.health = health;
    lane->run.timeout_us = (uint64_t)config->device_timeout_ms * 1000;
    lane->batch = calloc(most, sizeof(struct vr_job *));
    lane->visit = calloc(most, sizeof *lane->visit);
    lane->open = calloc(most, sizeof(struct vr_visit *));
    lane->user = calloc(most, sizeof *lane->user);
    lane->found = calloc(most, sizeof *lane->found);
    lane->rank = calloc(most, sizeof *lane->rank);
    lane->ranked = calloc(most, sizeof *lane->ranked);
    if (lane->batch == NULL || lane->visit == NULL || lane->open == NULL || lane->user == NULL || lane->found == NULL ||
        lane->rank == NULL || lane->ranked == NULL) {
        vr_lane_destroy(lane);
        return vr_fail(VR_ERR_NOMEM, "lane: no memory");
    }
    *out = lane;
    return VR_OK;
}

void vr_lane_destroy(struct vr_lane *lane)
{
    if (lane == NULL) {
        return;
    }
    vr_binding_destroy(lane->binding);
    vr_binding_destroy(lane->next);
    free(lane->batch);
    free(lane->visit);
    free(lane->open);
    free(lane->user);
    free(lane->found);
    free(lane->rank);
    free(lane->ranked);
    free(lane);
}

struct vr_binding *vr_lane_follow(struct vr_lane *lane, struct vr_binding *binding)
{
    return __atomic_exchange_n(&lane->next, binding, __ATOMIC_ACQ_REL);
}

static void take_up(struct vr_lane *lane)
{
    struct vr_binding *next = __atomic_exchange_n(&lane->next, NULL, __ATOMIC_ACQ_REL);
    if (next != NULL) {
        vr_binding_destroy(lane->binding);
        lane->binding = next;
        lane->row_us = next->model->row_us;
        lane->run.since_us = 0;
    }
}

/* A batch that failed on the device and ran again elsewhere says nothing about what a batch costs. */
static void run_batch(struct vr_lane *lane, const struct vr_taken *taken)
{
    uint64_t start_us = vr_clock_mono_us(); /* a swap of the model is no part of a batch's usual time */
    lane->level = taken->level;
    uint32_t worked = vr_batch_run(lane, taken->count);
    struct vr_batch_done done = {.jobs = taken->count,
                                 .requests = lane->run.replayed ? 0 : worked,
                                 .level = taken->level,
                                 .on_device = lane->run.on_device,
                                 .us = vr_clock_mono_us() - start_us};
    vr_queue_done(lane->queue, &done);
}

static void *run(void *argument)
{
    struct vr_lane *lane = argument;
    uint32_t nudges = 0;
    struct vr_taken taken = {.batch = lane->batch};
    while (vr_queue_take(lane->queue, &nudges, &taken)) {
        take_up(lane);
        vr_batch_bury(lane, taken.dead);
        if (taken.count > 0) {
            run_batch(lane, &taken);
        }
    }
    return NULL;
}

enum vr_status vr_lane_start(struct vr_lane *lane)
{
    int error = pthread_create(&lane->thread, NULL, run, lane);
    return error == 0 ? VR_OK : vr_fail(VR_ERR_IO, "lane: %s", strerror(error));
}

void vr_lane_join(struct vr_lane *lane)
{
    pthread_join(lane->thread, NULL);
}
