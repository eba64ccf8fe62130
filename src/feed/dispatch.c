/* The decisions of dispatch.h. */
#include "dispatch.h"

#define INTERVAL_WEIGHT 0.5 /* of the latest one in moving means */
#define IDLE_STEPS_MAX 64u  /* intervals caught up with at once: enough to forget everything */
#define EXPLORE_EVERY 8u    /* batches */
#define CARRIES_SHARE 0.8   /* of its capacity that a better level has to carry to come back */

static uint32_t most_inside(const struct vr_lane_config *limits)
{
    return limits->queue_capacity + limits->count * limits->max_batch;
}

enum vr_status vr_dispatch_create(struct vr_dispatch *dispatch, const struct vr_lane_config *limits, uint64_t now_us)
{
    *dispatch = (struct vr_dispatch){.limits = *limits,
                                     .governor.limit = most_inside(limits),
                                     .interval_ends_us = now_us + VR_GOVERNOR_INTERVAL_US,
                                     .least_wait_us = UINT64_MAX};
    return vr_lineup_create(&dispatch->lineup, limits->queue_capacity);
}

void vr_dispatch_destroy(struct vr_dispatch *dispatch)
{
    vr_lineup_destroy(&dispatch->lineup);
}

void vr_dispatch_add(struct vr_dispatch *dispatch, struct vr_job *job)
{
    vr_lineup_push(&dispatch->lineup, job);
    dispatch->arrived++;
}

/* ---- estimates ---- */

/* Of batches at a level, or at the nearest better one that has run: never less than what it will be. */
static const struct vr_service *service_at(const struct vr_dispatch *dispatch, uint32_t level)
{
    const struct vr_service *service = dispatch->service[dispatch->on_device];
    while (level > 0 && service[level].seen == 0) {
        level--;
    }
    return &service[level];
}

static const struct vr_service *service_now(const struct vr_dispatch *dispatch)
{
    return service_at(dispatch, dispatch->governor.level);
}

static uint32_t largest_batch(const struct vr_dispatch *dispatch, const struct vr_service *service)
{
    return vr_service_batch(service, 1000.0 * dispatch->limits.target_batch_ms, dispatch->limits.max_batch);
}

/* Time that a lane spends on a job in batches of the largest size; 0: not known. */
static double job_us(const struct vr_dispatch *dispatch, const struct vr_service *service)
{
    uint32_t batch = largest_batch(dispatch, service);
    return service->seen > 0 ? vr_service_us(service, batch) / batch : 0.0;
}

struct vr_admit_view vr_dispatch_view(const struct vr_dispatch *dispatch)
{
    const struct vr_service *service = service_now(dispatch);
    struct vr_admit_view view = {.limit = (uint32_t)dispatch->governor.limit,
                                 .working = dispatch->working,
                                 .in_flight = dispatch->in_flight,
                                 .lanes = dispatch->limits.count,
                                 .batch = largest_batch(dispatch, service)};
    if (service->seen > 0) {
        view.base_us = service->base_us;
        view.each_us = service->each_us;
        view.spread_us = service->spread_us;
    }
    return view;
}

/* ---- taking ---- */

/* Read where a lane may wait for more, when all that waits would fit into one batch. */
static uint64_t nearest_deadline(const struct vr_dispatch *dispatch)
{
    const struct vr_lineup *lineup = &dispatch->lineup;
    uint64_t nearest = UINT64_MAX;
    for (uint32_t i = 0; i < lineup->length && i < dispatch->limits.max_batch; i++) {
        uint64_t deadline = lineup->waiting[i].job->request.deadline_us;
        nearest = deadline < nearest ? deadline : nearest;
    }
    return nearest;
}

/* Under load all batches would be of the largest size, and what a batch costs by itself never be told from what a
 * request costs: one in EXPLORE_EVERY is half as large. */
static uint32_t batch_limit(const struct vr_dispatch *dispatch)
{
    uint32_t batch = largest_batch(dispatch, service_now(dispatch));
    if (dispatch->hold > 0) {
        return dispatch->limits.max_batch;
    }
    return dispatch->full_batches + 1 >= EXPLORE_EVERY ? (batch + 1) / 2 : batch;
}

struct vr_take vr_dispatch_decide(const struct vr_dispatch *dispatch, uint64_t now_us)
{
    const struct vr_lineup *lineup = &dispatch->lineup;
    const struct vr_service *service = service_now(dispatch);
    uint32_t batch = batch_limit(dispatch);
    struct vr_take_state state = {
        .queued = lineup->length,
        .max_batch = batch,
        .in_flight = dispatch->in_flight,
        .hold = dispatch->hold,
        .stopping = dispatch->closed,
        .now_us = now_us,
        .oldest_us = lineup->length > 0 ? lineup->waiting[0].job->request.received_us : 0,
        .nearest_deadline_us = nearest_deadline(dispatch),
        .service_us = service->seen > 0 ? (uint64_t)vr_service_us(service, batch) : 0,
        .max_delay_us = dispatch->limits.max_delay_us,
        .hold_until_us = dispatch->hold_until_us,
    };
    return vr_take_decide(&state);
}

/* Nobody would read its answer: the client has gone, or the deadline has passed, or will have when the batch is done.
 */
static bool is_dead(const struct vr_job *job, uint64_t done_us)
{
    return job->request.deadline_us <= done_us || __atomic_load_n(&job->cancelled, __ATOMIC_RELAXED);
}

/* When a batch of `count` will be done, for who waits behind others: work that is in time goes before work that will
 * not be. With nobody behind, work that may be late is better than none. */
static uint64_t expected_end(const struct vr_dispatch *dispatch, uint64_t now_us, uint32_t count)
{
    const struct vr_service *service = service_now(dispatch);
    bool others_wait = dispatch->lineup.length > count && service->seen > 0;
    return others_wait ? now_us + (uint64_t)vr_service_us(service, count) : now_us;
}

void vr_dispatch_take(struct vr_dispatch *dispatch, uint64_t now_us, uint32_t count, struct vr_taken *out)
{
    uint64_t longest_us = 0;
    uint64_t end_us = expected_end(dispatch, now_us, count);
    out->count = 0;
    out->dead = NULL;
    out->level = dispatch->governor.level;
    while (out->count < count && dispatch->lineup.length > 0) {
        struct vr_job *job = vr_lineup_pop(&dispatch->lineup);
        uint64_t received_us = job->request.received_us;
        uint64_t wait_us = now_us > received_us ? now_us - received_us : 0;
        longest_us = wait_us > longest_us ? wait_us : longest_us;
        bool dead = is_dead(job, end_us);
        job->next = dead ? out->dead : NULL;
        if (dead) {
            out->dead = job;
        } else {
            out->batch[out->count++] = job;
        }
    }
    bool explored = dispatch->full_batches + 1 >= EXPLORE_EVERY;
    dispatch->full_batches = out->count < batch_limit(dispatch) || explored ? 0 : dispatch->full_batches + 1;
    dispatch->hold = 0; /* for good, or every lane would wait for as many again */
    dispatch->in_flight += out->count > 0 ? 1 : 0;
    dispatch->working += out->count;
    dispatch->least_wait_us = longest_us < dispatch->least_wait_us ? longest_us : dispatch->least_wait_us;
}

/* A level that runs for the first time divides its time as the next better one does; what a batch costs by itself is
 * the same at all of them. */
static void learn(struct vr_dispatch *dispatch, const struct vr_batch_done *done)
{
    struct vr_service *service = &dispatch->service[done->on_device][done->level];
    const struct vr_service *better = service_at(dispatch, done->level);
    if (service->seen == 0 && better->seen > 0) {
        vr_service_guess(service, better->base_us, better->each_us);
    }
    vr_service_learn(service, done->requests, (double)done->us);
    for (uint32_t level = 0; level < VR_QUALITY_LEVELS; level++) {
        if (level != done->level) {
            vr_service_take_base(&dispatch->service[done->on_device][level], service->base_us);
        }
    }
}

void vr_dispatch_done(struct vr_dispatch *dispatch, const struct vr_batch_done *done)
{
    dispatch->in_flight--;
    dispatch->working -= done->jobs;
    if (done->requests > 0) {
        dispatch->on_device = done->on_device;
        learn(dispatch, done);
    }
}

/* ---- intervals ---- */

bool vr_dispatch_is_due(const struct vr_dispatch *dispatch, uint64_t now_us)
{
    return now_us >= dispatch->interval_ends_us;
}

/* Where no batch was taken, what waits has waited all the time. */
static uint64_t standing_wait(const struct vr_dispatch *dispatch, uint64_t now_us)
{
    const struct vr_lineup *lineup = &dispatch->lineup;
    if (dispatch->least_wait_us != UINT64_MAX || lineup->length == 0) {
        return dispatch->least_wait_us != UINT64_MAX ? dispatch->least_wait_us : 0;
    }
    uint64_t received_us = lineup->waiting[0].job->request.received_us;
    return now_us > received_us ? now_us - received_us : 0;
}

/* A wait of two batches is nothing that fewer jobs could do away with. */
static uint64_t target_wait(const struct vr_dispatch *dispatch)
{
    const struct vr_service *service = service_now(dispatch);
    uint64_t two_batches_us = (uint64_t)(2.0 * vr_service_us(service, largest_batch(dispatch, service)));
    uint64_t target_us = 1000ull * dispatch->limits.target_wait_ms;
    return target_us > two_batches_us ? target_us : two_batches_us;
}

/* By the estimate of the better level, which may be old and from few batches, or by this one's: what grows with the
 * candidates grows no more than they do. */
static bool better_level_fits(const struct vr_dispatch *dispatch)
{
    uint32_t level = dispatch->governor.level;
    if (level == 0) {
        return true;
    }
    double growth = (double)(VR_QUALITY_LEVELS - level + 1) / (VR_QUALITY_LEVELS - level);
    double better_us = job_us(dispatch, service_at(dispatch, level - 1));
    double grown_us = growth * job_us(dispatch, service_at(dispatch, level));
    double us = better_us < grown_us ? better_us : grown_us;
    return dispatch->rate * us < CARRIES_SHARE * dispatch->limits.count;
}

static void step(struct vr_dispatch *dispatch, uint64_t now_us, uint32_t refused)
{
    double rate = (double)(dispatch->arrived + refused) / VR_GOVERNOR_INTERVAL_US;
    dispatch->rate += INTERVAL_WEIGHT * (rate - dispatch->rate);
    struct vr_interval interval = {
        .wait_us = standing_wait(dispatch, now_us),
        .target_us = target_wait(dispatch),
        .arrived = dispatch->arrived + refused,
        .refused = refused,
        .inside = dispatch->lineup.length + dispatch->working,
        .least_limit = 2 * dispatch->limits.count * largest_batch(dispatch, service_now(dispatch)),
        .most_limit = most_inside(&dispatch->limits),
        .better_fits = better_level_fits(dispatch),
    };
    vr_governor_step(&dispatch->governor, &interval);
    dispatch->arrived = 0;
    dispatch->least_wait_us = UINT64_MAX;
}

void vr_dispatch_tick(struct vr_dispatch *dispatch, uint64_t now_us, uint32_t refused)
{
    uint64_t late = (now_us - dispatch->interval_ends_us) / VR_GOVERNOR_INTERVAL_US;
    step(dispatch, now_us, refused);
    for (uint64_t i = 0; i < late && i < IDLE_STEPS_MAX; i++) {
        step(dispatch, now_us, 0);
    }
    dispatch->interval_ends_us += (late + 1) * VR_GOVERNOR_INTERVAL_US;
}
