/* The queue of the lanes (queue.h): what loops and lanes share, and how they wake each other.
 *
 * A lane that goes to sleep says what would change its mind (how many jobs, which deadline), then that it sleeps, then
 * looks into the inbox once more. A push puts its job in, then looks whether a lane sleeps. All four are sequentially
 * consistent, so that one of the two always sees the other. */
#include "queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inbox.h"
#include "vireo/clock.h"

#define HOLD_LIMIT_US 5000000u
#define LINE 64u       /* bytes of a cache line */
#define COUNT_BITS 21u /* of a class in `waiting`: lanes.queue_capacity goes up to 2^20 */

struct vr_queue {
    /* Loops write: a line of its own. */
    _Alignas(LINE) struct vr_inbox inbox;
    uint64_t waiting; /* jobs by class, COUNT_BITS each, so that all are read and changed at one moment */

    /* Lanes write, loops read. */
    _Alignas(LINE) struct vr_admit_view view; /* member by member */
    uint32_t sleepers;                        /* lanes */
    uint32_t wake_at;                         /* wake one when so many wait */
    uint64_t wake_deadline_us;                /* or when a job comes that is due before */

    /* Loops write, seldom. */
    _Alignas(LINE) uint64_t shed[VR_SHEDS][VR_PRIORITIES];
    uint32_t refused; /* because of the load, in this interval */

    /* Under the mutex. */
    _Alignas(LINE) pthread_mutex_t mutex;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    struct vr_dispatch dispatch;
    uint32_t capacity;
    uint32_t nudges; /* how many there were */
};

#define READ(member) __atomic_load_n(&(member), __ATOMIC_RELAXED)
#define WRITE(member, value) __atomic_store_n(&(member), (value), __ATOMIC_RELAXED)

/* ---- life ---- */

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

static void publish(struct vr_queue *queue);

enum vr_status vr_queue_create(const struct vr_lane_config *config, struct vr_queue **out)
{
    struct vr_queue *queue = aligned_alloc(LINE, sizeof *queue);
    if (queue == NULL) {
        return vr_fail(VR_ERR_NOMEM, "queue: no memory");
    }
    memset(queue, 0, sizeof *queue);
    queue->capacity = config->queue_capacity;
    enum vr_status status = vr_dispatch_create(&queue->dispatch, config, vr_clock_mono_us());
    if (status != VR_OK) {
        free(queue);
        return status;
    }
    if (make_condition(&queue->changed) != 0) {
        vr_dispatch_destroy(&queue->dispatch);
        free(queue);
        return vr_fail(VR_ERR_IO, "queue: no condition on the monotonic clock");
    }
    pthread_mutex_init(&queue->mutex, NULL); /* cannot fail with default attributes on Linux */
    publish(queue);
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
    vr_dispatch_destroy(&queue->dispatch);
    free(queue);
}

/* ---- what loops and lanes share ---- */

static uint64_t one_of(enum vr_priority priority)
{
    return 1ull << (COUNT_BITS * (unsigned)priority);
}

static uint32_t waiting_of(uint64_t word, uint32_t priority)
{
    return (uint32_t)(word >> (COUNT_BITS * priority)) & ((1u << COUNT_BITS) - 1);
}

static uint32_t all_of(uint64_t word)
{
    return waiting_of(word, 0) + waiting_of(word, 1) + waiting_of(word, 2);
}

/* A reader may see members of two moments; each is good by itself. */
static void publish(struct vr_queue *queue)
{
    struct vr_admit_view now = vr_dispatch_view(&queue->dispatch);
    struct vr_admit_view *view = &queue->view;
    WRITE(view->limit, now.limit);
    WRITE(view->working, now.working);
    WRITE(view->in_flight, now.in_flight);
    WRITE(view->lanes, now.lanes);
    WRITE(view->batch, now.batch);
    __atomic_store(&view->base_us, &now.base_us, __ATOMIC_RELAXED);
    __atomic_store(&view->each_us, &now.each_us, __ATOMIC_RELAXED);
    __atomic_store(&view->spread_us, &now.spread_us, __ATOMIC_RELAXED);
}

static struct vr_admit_view read_view(const struct vr_queue *queue)
{
    const struct vr_admit_view *view = &queue->view;
    struct vr_admit_view now = {.limit = READ(view->limit),
                                .working = READ(view->working),
                                .in_flight = READ(view->in_flight),
                                .lanes = READ(view->lanes),
                                .batch = READ(view->batch)};
    __atomic_load(&view->base_us, &now.base_us, __ATOMIC_RELAXED);
    __atomic_load(&view->each_us, &now.each_us, __ATOMIC_RELAXED);
    __atomic_load(&view->spread_us, &now.spread_us, __ATOMIC_RELAXED);
    return now;
}

/* ---- loops ---- */

static struct vr_admit_answer ask_admission(const struct vr_queue *queue, const struct vr_job *job)
{
    struct vr_admit_view view = read_view(queue);
    struct vr_admit_question question = {.priority = job->request.priority,
                                         .now_us = job->request.received_us, /* just now: spares a look at the clock */
                                         .deadline_us = job->request.deadline_us,
                                         .capacity = queue->capacity};
    uint64_t word = READ(queue->waiting);
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        question.waiting[p] = waiting_of(word, p);
    }
    return vr_admit(&view, &question);
}

static enum vr_status shed(struct vr_queue *queue, struct vr_job *job, const struct vr_admit_answer *answer)
{
    job->reply.retry_after_s = answer->retry_after_s;
    __atomic_fetch_add(&queue->shed[answer->reason][job->request.priority], 1, __ATOMIC_RELAXED);
    if (!answer->hopeless) {
        __atomic_fetch_add(&queue->refused, 1, __ATOMIC_RELAXED);
    }
    switch (answer->reason) {
    case VR_SHED_FULL: return vr_fail(VR_ERR_BUSY, "%u requests are waiting already", queue->capacity);
    case VR_SHED_LIMIT: return vr_fail(VR_ERR_BUSY, "more requests are under way than are answered in good time");
    case VR_SHED_DEADLINE: break;
    }
    return vr_fail(VR_ERR_BUSY, "the deadline would pass: %llu ms of waiting and %llu ms of work are expected",
                   (unsigned long long)answer->wait_us / 1000, (unsigned long long)answer->service_us / 1000);
}

/* Whoever wakes a lane says so to the pushes after it: they need not do it again. */
static void wake_one(struct vr_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    __atomic_store_n(&queue->wake_at, UINT32_MAX, __ATOMIC_SEQ_CST);
    __atomic_store_n(&queue->wake_deadline_us, 0, __ATOMIC_SEQ_CST);
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

static void wake_if_needed(struct vr_queue *queue, uint64_t deadline_us)
{
    if (__atomic_load_n(&queue->sleepers, __ATOMIC_SEQ_CST) == 0) {
        return;
    }
    uint32_t waiting = all_of(__atomic_load_n(&queue->waiting, __ATOMIC_SEQ_CST));
    if (waiting >= __atomic_load_n(&queue->wake_at, __ATOMIC_SEQ_CST) ||
        deadline_us < __atomic_load_n(&queue->wake_deadline_us, __ATOMIC_SEQ_CST)) {
        wake_one(queue);
    }
}

enum vr_status vr_queue_push(struct vr_queue *queue, struct vr_job *job)
{
    uint64_t one = one_of(job->request.priority);
    uint64_t deadline_us = job->request.deadline_us; /* once pushed the job is the lanes' */
    if (vr_inbox_is_closed(&queue->inbox)) {
        return vr_fail(VR_ERR_CLOSED, "the feed is stopping");
    }
    struct vr_admit_answer answer = ask_admission(queue, job);
    if (!answer.taken) {
        return shed(queue, job, &answer);
    }
    if (all_of(__atomic_fetch_add(&queue->waiting, one, __ATOMIC_SEQ_CST)) >= queue->capacity) {
        __atomic_fetch_sub(&queue->waiting, one, __ATOMIC_SEQ_CST); /* other loops took the last places meanwhile */
        answer.reason = VR_SHED_FULL;
        answer.retry_after_s = 1;
        return shed(queue, job, &answer);
    }
    if (!vr_inbox_push(&queue->inbox, job)) {
        __atomic_fetch_sub(&queue->waiting, one, __ATOMIC_SEQ_CST);
        return vr_fail(VR_ERR_CLOSED, "the feed is stopping");
    }
    wake_if_needed(queue, deadline_us);
    return VR_OK;
}

/* ---- lanes ---- */

static void add_all(struct vr_queue *queue, struct vr_job *job)
{
    while (job != NULL) {
        struct vr_job *next = job->next;
        vr_dispatch_add(&queue->dispatch, job);
        job = next;
    }
}

static void tick_if_due(struct vr_queue *queue, uint64_t now_us)
{
    if (vr_dispatch_is_due(&queue->dispatch, now_us)) {
        vr_dispatch_tick(&queue->dispatch, now_us, __atomic_exchange_n(&queue->refused, 0, __ATOMIC_RELAXED));
        publish(queue);
    }
}

static void forget_waiting(struct vr_queue *queue, const struct vr_job *job)
{
    __atomic_fetch_sub(&queue->waiting, one_of(job->request.priority), __ATOMIC_SEQ_CST);
}

static void take_batch(struct vr_queue *queue, uint64_t now_us, uint32_t count, struct vr_taken *out)
{
    vr_dispatch_take(&queue->dispatch, now_us, count, out);
    for (uint32_t i = 0; i < out->count; i++) {
        forget_waiting(queue, out->batch[i]);
    }
    for (const struct vr_job *job = out->dead; job != NULL; job = job->next) {
        forget_waiting(queue, job);
    }
    publish(queue);
    __atomic_store_n(&queue->wake_at, 1, __ATOMIC_SEQ_CST);
    if (queue->dispatch.lineup.length > 0) { /* for whoever was woken for these jobs, or waits for a batch's worth */
        pthread_cond_signal(&queue->changed);
    }
}

/* Sleep until `take` says, or something would change it. */
static void sleep_on(struct vr_queue *queue, const struct vr_take *take)
{
    bool waits = take->kind == VR_TAKE_WAIT;
    __atomic_store_n(&queue->wake_at, waits ? take->full : 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&queue->wake_deadline_us, waits ? take->due_us : 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&queue->sleepers, 1, __ATOMIC_SEQ_CST);
    if (!vr_inbox_is_empty(&queue->inbox)) {
        /* a job came meanwhile, and its push may not have seen this lane */
    } else if (waits) {
        struct timespec until = {.tv_sec = (time_t)(take->until_us / 1000000u),
                                 .tv_nsec = (long)(take->until_us % 1000000u) * 1000L};
        pthread_cond_timedwait(&queue->changed, &queue->mutex, &until);
    } else {
        pthread_cond_wait(&queue->changed, &queue->mutex);
    }
    __atomic_fetch_sub(&queue->sleepers, 1, __ATOMIC_SEQ_CST);
}

static bool is_over(const struct vr_queue *queue)
{
    return queue->dispatch.closed && queue->dispatch.lineup.length == 0;
}

bool vr_queue_take(struct vr_queue *queue, uint32_t *nudges, struct vr_taken *out)
{
    out->count = 0;
    out->dead = NULL;
    pthread_mutex_lock(&queue->mutex);
    for (;;) {
        uint64_t now_us = vr_clock_mono_us();
        add_all(queue, vr_inbox_drain(&queue->inbox));
        tick_if_due(queue, now_us);
        struct vr_take take = vr_dispatch_decide(&queue->dispatch, now_us);
        if (take.kind == VR_TAKE_BATCH) {
            take_batch(queue, now_us, take.count, out);
            break;
        }
        if (*nudges != queue->nudges || is_over(queue)) {
            break;
        }
        sleep_on(queue, &take);
    }
    bool more = out->count > 0 || out->dead != NULL || !is_over(queue);
    *nudges = queue->nudges;
    pthread_mutex_unlock(&queue->mutex);
    return more;
}

void vr_queue_done(struct vr_queue *queue, const struct vr_batch_done *done)
{
    pthread_mutex_lock(&queue->mutex);
    vr_dispatch_done(&queue->dispatch, done);
    publish(queue);
    pthread_mutex_unlock(&queue->mutex);
}

/* ---- others ---- */

void vr_queue_nudge(struct vr_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->nudges++;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

void vr_queue_guess(struct vr_queue *queue, double request_us)
{
    pthread_mutex_lock(&queue->mutex);
    vr_service_guess(&queue->dispatch.service[0][0], 0.0, request_us);
    publish(queue);
    pthread_mutex_unlock(&queue->mutex);
}

void vr_queue_hold(struct vr_queue *queue, uint32_t n)
{
    pthread_mutex_lock(&queue->mutex);
    queue->dispatch.hold = n;
    queue->dispatch.hold_until_us = vr_clock_mono_us() + HOLD_LIMIT_US;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

void vr_queue_close(struct vr_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    add_all(queue, vr_inbox_close(&queue->inbox));
    queue->dispatch.closed = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

uint32_t vr_queue_length(const struct vr_queue *queue)
{
    return all_of(READ(queue->waiting));
}

/* Intervals go on while nobody asks for anything. */
static uint32_t level_now(struct vr_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    tick_if_due(queue, vr_clock_mono_us());
    uint32_t level = queue->dispatch.governor.level;
    pthread_mutex_unlock(&queue->mutex);
    return level;
}

void vr_queue_load(struct vr_queue *queue, struct vr_feed_load *out)
{
    uint32_t level = level_now(queue);
    struct vr_admit_view view = read_view(queue);
    uint64_t word = READ(queue->waiting);
    *out = (struct vr_feed_load){.quality_level = level,
                                 .limit = view.limit,
                                 .largest_batch = view.batch,
                                 .batch_base_us = view.base_us,
                                 .batch_each_us = view.each_us};
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        out->waiting[p] = waiting_of(word, p);
        for (uint32_t s = 0; s < VR_SHEDS; s++) {
            out->shed[s][p] = READ(queue->shed[s][p]);
        }
    }
}
