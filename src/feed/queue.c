/* The queue of the lanes (queue.h). Jobs are linked through their own `next`, so that a push allocates nothing. */
#include "queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "take.h"
#include "vireo/clock.h"

#define HOLD_LIMIT_US 5000000u
#define SERVICE_WEIGHT 8u /* the estimate moves by 1/8 of the difference a batch */

struct vr_queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    struct vr_job *first, *last;
    uint32_t length, capacity, max_batch, max_delay_us;
    uint32_t in_flight; /* batches */
    uint32_t hold;
    uint64_t hold_until_us;
    uint64_t service_us; /* moving mean of a batch's time */
    uint32_t nudges;     /* how many there were */
    bool closed;
};

static int make_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error != 0) {
        return error;
    }
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0) {
        error = pthread_cond_init(condition, &attributes);
    }
    pthread_condattr_destroy(&attributes);
    return error;
}

enum vr_status vr_queue_create(const struct vr_lane_config *config, struct vr_queue **out)
{
    struct vr_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return vr_fail(VR_ERR_NOMEM, "queue: no memory");
    }
    queue->capacity = config->queue_capacity;
    queue->max_batch = config->max_batch;
    queue->max_delay_us = config->max_delay_us;
    if (make_condition(&queue->changed) != 0) {
        free(queue);
        return vr_fail(VR_ERR_IO, "queue: no condition on the monotonic clock");
    }
    if (pthread_mutex_init(&queue->mutex, NULL) != 0) {
        pthread_cond_destroy(&queue->changed);
        free(queue);
        return vr_fail(VR_ERR_IO, "queue: no mutex");
    }
    *out = queue;
    return VR_OK;
}

void vr_queue_destroy(struct vr_queue *queue)
{
    if (queue == NULL) {
        return;
    }
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

static void append(struct vr_queue *queue, struct vr_job *job)
{
    job->next = NULL;
    if (queue->last != NULL) {
        queue->last->next = job;
    } else {
        queue->first = job;
    }
    queue->last = job;
    queue->length++;
}

/* The hold ends for good once enough jobs are there, or every lane would wait for as many again. */
static void end_hold(struct vr_queue *queue)
{
    if (queue->hold > 0 && (queue->length >= queue->hold || vr_clock_mono_us() >= queue->hold_until_us)) {
        queue->hold = 0;
        pthread_cond_broadcast(&queue->changed);
    }
}

enum vr_status vr_queue_push(struct vr_queue *queue, struct vr_job *job)
{
    enum vr_status status = VR_OK;
    pthread_mutex_lock(&queue->mutex);
    if (queue->closed) {
        status = vr_fail(VR_ERR_CLOSED, "the feed is stopping");
    } else if (queue->length >= queue->capacity) {
        status = vr_fail(VR_ERR_BUSY, "%u requests are waiting already", queue->length);
    } else {
        append(queue, job);
        end_hold(queue);
        pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->mutex);
    return status;
}

/* Over the jobs that would be taken, which are few when a lane waits. */
static uint64_t nearest_deadline(const struct vr_queue *queue)
{
    uint64_t nearest = UINT64_MAX;
    uint32_t looked_at = 0;
    for (const struct vr_job *job = queue->first; job != NULL && looked_at < queue->max_batch; job = job->next) {
        nearest = job->request.deadline_us < nearest ? job->request.deadline_us : nearest;
        looked_at++;
    }
    return nearest;
}

static struct vr_take decide(const struct vr_queue *queue)
{
    struct vr_take_state state = {
        .queued = queue->length,
        .max_batch = queue->max_batch,
        .in_flight = queue->in_flight,
        .hold = queue->hold,
        .stopping = queue->closed,
        .now_us = vr_clock_mono_us(),
        .oldest_us = queue->first != NULL ? queue->first->request.received_us : 0,
        .nearest_deadline_us = nearest_deadline(queue),
        .service_us = queue->service_us,
        .max_delay_us = queue->max_delay_us,
        .hold_until_us = queue->hold_until_us,
    };
    return vr_take_decide(&state);
}

static void sleep_until(struct vr_queue *queue, uint64_t until_us)
{
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000u), .tv_nsec = (long)(until_us % 1000000u) * 1000L};
    pthread_cond_timedwait(&queue->changed, &queue->mutex, &until);
}

static void remove_first(struct vr_queue *queue, struct vr_job **batch, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        batch[i] = queue->first;
        queue->first = batch[i]->next;
        batch[i]->next = NULL;
    }
    queue->last = queue->first != NULL ? queue->last : NULL;
    queue->length -= count;
}

static uint32_t take_batch(struct vr_queue *queue, struct vr_job **batch, uint32_t count)
{
    remove_first(queue, batch, count);
    queue->in_flight++;
    end_hold(queue);
    if (queue->length > 0) { /* the signals of these jobs may have woken this lane alone */
        pthread_cond_signal(&queue->changed);
    }
    return count;
}

/* Until there is a batch to take, a nudge to hear, or nothing more to come. */
static uint32_t wait_for_batch(struct vr_queue *queue, uint32_t nudges, struct vr_job **batch)
{
    while (queue->length > 0 || !queue->closed) {
        struct vr_take take = decide(queue);
        if (take.kind == VR_TAKE_BATCH) {
            return take_batch(queue, batch, take.count);
        }
        if (nudges != queue->nudges) {
            break;
        }
        if (take.kind == VR_TAKE_WAIT) {
            sleep_until(queue, take.until_us);
        } else {
            pthread_cond_wait(&queue->changed, &queue->mutex);
        }
    }
    return 0;
}

bool vr_queue_take(struct vr_queue *queue, uint32_t *nudges, struct vr_job **batch, uint32_t *count)
{
    pthread_mutex_lock(&queue->mutex);
    *count = wait_for_batch(queue, *nudges, batch);
    bool more = *count > 0 || queue->length > 0 || !queue->closed;
    *nudges = queue->nudges;
    pthread_mutex_unlock(&queue->mutex);
    return more;
}

void vr_queue_nudge(struct vr_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->nudges++;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

void vr_queue_done(struct vr_queue *queue, uint64_t service_us)
{
    pthread_mutex_lock(&queue->mutex);
    queue->in_flight--;
    int64_t step = ((int64_t)service_us - (int64_t)queue->service_us) / (int64_t)SERVICE_WEIGHT;
    queue->service_us = queue->service_us == 0 ? service_us : (uint64_t)((int64_t)queue->service_us + step);
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

void vr_queue_hold(struct vr_queue *queue, uint32_t n)
{
    pthread_mutex_lock(&queue->mutex);
    queue->hold = n;
    queue->hold_until_us = vr_clock_mono_us() + HOLD_LIMIT_US;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

void vr_queue_close(struct vr_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

uint32_t vr_queue_length(struct vr_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    uint32_t length = queue->length;
    pthread_mutex_unlock(&queue->mutex);
    return length;
}
