/* One run of `vireo bench feed`: a loop on the calling thread that submits requests and takes answers back. Closed, it
 * keeps so many in the feed; open, it submits them when they are due, whatever is still under way. */
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "feed_parts.h"
#include "schedule.h"
#include "vireo/clock.h"

#define DEADLINE_US 60000000u /* of a request: none is dropped for being late */
#define STANDSTILL_S 60
#define RETRY_NS 1000000 /* of a closed loop whose every request was refused */

/* Of preload/allocations.c, where the program was started with it. */
extern uint64_t vr_allocations_counted(void) __attribute__((weak));

bool feed_counts_allocations(void)
{
    return vr_allocations_counted != NULL;
}

/* Counters before and after a run. */
struct reading {
    struct vr_feed_metrics feed;
    uint64_t process_ns, own_ns, allocations;
};

struct run {
    struct feed_bench *bench;
    const struct feed_level *level;
    uint64_t begin_ns, end_ns; /* nothing is submitted from end_ns on */
    struct bench_schedule schedule;
    uint64_t due_ns; /* of the next request, open; UINT64_MAX: none is left */
    uint32_t out;    /* requests in the feed */
    uint64_t offered, answers, failed, refused, degraded;
    struct vr_job *free; /* linked by next */
    struct vr_histogram_fine latency, lag;
    struct reading before, after;
};

static uint64_t process_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static void take_reading(const struct feed_bench *bench, struct reading *out)
{
    vr_feed_metrics_read(bench->feed, &out->feed);
    out->process_ns = process_cpu_ns();
    out->own_ns = vr_clock_thread_cpu_ns();
    out->allocations = feed_counts_allocations() ? vr_allocations_counted() : 0;
}

/* Viewers in a stride that visits all of them, so that neighbours in a batch are strangers. */
static struct vr_str next_viewer(struct feed_bench *bench)
{
    const struct vr_bundle_state *seed = &bench->model->bundle->state;
    if (!seed->present || seed->viewer_id.count == 0) {
        return vr_str_of("nobody");
    }
    return vr_string_at(&seed->viewer_id, (uint32_t)(bench->next++ * 7919ull % seed->viewer_id.count));
}

/* Submit one request that was due at `due_ns`; refused when the feed is full. */
static enum vr_status submit(struct run *run, uint64_t due_ns)
{
    struct vr_job *job = run->free;
    enum vr_status status = VR_ERR_BUSY;
    run->offered++;
    if (job != NULL) {
        run->free = job->next;
        struct vr_arena *arena = job->arena;
        vr_arena_reset(arena);
        *job = (struct vr_job){.arena = arena, .home = run->bench->home};
        job->request = (struct vr_feed_request){
            .request_id = {"bench", 5},
            .user_id = next_viewer(run->bench),
            .count = VR_COUNT_DEFAULT,
            .dry_run = true, /* nothing recorded: every run asks the same questions of the same state */
            .now_ms = vr_clock_wall_ms(),
            .received_us = due_ns / 1000,
            .deadline_us = due_ns / 1000 + DEADLINE_US,
        };
        status = vr_feed_submit(run->bench->feed, job);
    }
    if (status == VR_OK) {
        run->out++;
    } else if (status == VR_ERR_BUSY) {
        run->refused++;
        if (job != NULL) {
            job->next = run->free;
            run->free = job;
        }
        status = VR_OK;
    }
    return status;
}

static void plan_next(struct run *run)
{
    double at_s = 0.0;
    run->due_ns =
        bench_schedule_next(&run->schedule, &at_s) ? run->begin_ns + (uint64_t)llround(at_s * 1e9) : UINT64_MAX;
}

/* Submit what is due now. */
static enum vr_status submit_due(struct run *run)
{
    enum vr_status status = VR_OK;
    if (run->level->concurrency > 0) {
        const uint64_t refused = run->refused; /* a refusal ends it: the next answer brings the next try */
        for (uint64_t now = vr_clock_mono_ns();
             status == VR_OK && run->refused == refused && run->out < run->level->concurrency && now < run->end_ns;
             now = vr_clock_mono_ns()) {
            status = submit(run, now);
        }
        return status;
    }
    for (uint64_t now = vr_clock_mono_ns(); status == VR_OK && run->due_ns <= now; plan_next(run)) {
        vr_histogram_fine_record(&run->lag, now - run->due_ns);
        status = submit(run, run->due_ns);
        now = vr_clock_mono_ns();
    }
    return status;
}

/* Take what has come back. */
static void take_answers(struct run *run)
{
    for (struct vr_job *job = vr_handback_drain(run->bench->home), *next; job != NULL; job = next) {
        const uint64_t now_us = vr_clock_mono_ns() / 1000;
        next = job->next;
        vr_histogram_fine_record(&run->latency, (now_us - job->request.received_us) * 1000);
        run->answers++;
        run->failed += job->reply.status != VR_OK;
        run->degraded += job->reply.degraded_count > 0;
        vr_job_release(job);
        job->next = run->free;
        run->free = job;
        run->out--;
    }
}

/* Until an answer comes or a request is due. */
static enum vr_status wait_for_either(const struct run *run)
{
    struct pollfd ready = {.fd = vr_handback_fd(run->bench->home), .events = POLLIN};
    struct timespec limit = {.tv_sec = STANDSTILL_S};
    const bool due = run->level->concurrency == 0 && run->due_ns != UINT64_MAX;
    const bool idle = run->level->concurrency > 0 && run->out == 0; /* all were refused */
    if (idle) {
        limit = (struct timespec){.tv_nsec = RETRY_NS};
    } else if (due) {
        const uint64_t now = vr_clock_mono_ns(), left = run->due_ns > now ? run->due_ns - now : 0;
        limit = (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    }
    return ppoll(&ready, 1, &limit, NULL) != 0 || due || idle ? VR_OK
                                                              : vr_fail(VR_ERR_TIMEOUT, "no answer within a minute");
}

static bool is_over(const struct run *run)
{
    const bool submits = run->level->concurrency > 0 ? vr_clock_mono_ns() < run->end_ns : run->due_ns != UINT64_MAX;
    return !submits && run->out == 0;
}

static enum vr_status walk(struct run *run)
{
    enum vr_status status = submit_due(run);
    while (status == VR_OK && !is_over(run)) {
        status = wait_for_either(run);
        take_answers(run);
        if (status == VR_OK) {
            status = submit_due(run);
        }
    }
    return status;
}

/* ---- figures ---- */

static double mean(const struct vr_histogram *before, const struct vr_histogram *after)
{
    const uint64_t count = after->count - before->count;
    return count > 0 ? (double)(after->sum - before->sum) / (double)count : 0.0;
}

/* The stages' histograms hold a batch's time once for each of its requests: means weigh batches by their size. */
static void stage_figures(const struct run *run, struct feed_result *out)
{
    const struct vr_feed_metrics *a = &run->before.feed, *z = &run->after.feed;
    const struct vr_histogram *from[VR_STAGE_COUNT] = {&a->retrieve_us, &a->merge_us, &a->rank_us, &a->rerank_us};
    const struct vr_histogram *to[VR_STAGE_COUNT] = {&z->retrieve_us, &z->merge_us, &z->rank_us, &z->rerank_us};
    const double requests = (double)(run->answers > 0 ? run->answers : 1);
    double steps_ns = 0.0;
    for (uint32_t s = 0; s < VR_STAGE_COUNT; s++) {
        const double ns = (double)(z->cpu_ns[s] - a->cpu_ns[s]);
        out->stage_us[s] = mean(from[s], to[s]);
        out->cpu_us[s] = ns / 1e3 / requests;
        steps_ns += ns;
    }
    const double own = (double)(run->after.own_ns - run->before.own_ns);
    const double whole = (double)(run->after.process_ns - run->before.process_ns);
    out->queue_us = mean(&a->queue_us, &z->queue_us);
    out->other_cpu_us = fmax(0.0, whole - own - steps_ns) / 1e3 / requests;
    out->driver_cpu_us = own / 1e3 / requests;
    const uint64_t batches = z->batches - a->batches;
    out->batch = batches > 0 ? (double)(z->jobs - a->jobs) / (double)batches : 0.0;
    out->allocations =
        feed_counts_allocations() ? (double)(run->after.allocations - run->before.allocations) / requests : NAN;
}

static double quantile_us(const struct vr_histogram_fine *h, double q)
{
    return (double)vr_histogram_fine_quantile(h, q) / 1e3;
}

static void figures(const struct run *run, double submitting_s, struct feed_result *out)
{
    const double seconds = (double)(vr_clock_mono_ns() - run->begin_ns) / 1e9;
    *out = (struct feed_result){
        .answers = run->answers,
        .failed = run->failed,
        .refused = run->refused,
        .degraded = run->degraded,
        .seconds = seconds,
        .offered = (double)run->offered / submitting_s,
        .rate = (double)run->answers / seconds,
        .p50_us = quantile_us(&run->latency, 0.5),
        .p90_us = quantile_us(&run->latency, 0.9),
        .p99_us = quantile_us(&run->latency, 0.99),
        .p999_us = quantile_us(&run->latency, 0.999),
        .max_us = (double)run->latency.max / 1e3,
        .lag_p99_us = run->level->concurrency > 0 ? NAN : quantile_us(&run->lag, 0.99),
    };
    stage_figures(run, out);
}

static void begin(struct run *run, double seconds)
{
    struct feed_bench *bench = run->bench;
    run->schedule = (struct bench_schedule){
        .piece = {{seconds, run->level->rate}}, .pieces = 1, .poisson = true, .random = bench_random(&bench->random)};
    for (uint32_t i = 0; i < FEED_JOBS; i++) {
        bench->job[i].next = run->free;
        run->free = &bench->job[i];
    }
    take_reading(bench, &run->before);
    run->begin_ns = vr_clock_mono_ns();
    run->end_ns = run->begin_ns + (uint64_t)(seconds * 1e9);
    if (run->level->concurrency == 0) {
        plan_next(run);
    }
}

enum vr_status feed_loop_run(struct feed_bench *bench, const struct feed_level *level, double seconds,
                             struct feed_result *out)
{
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a run");
    }
    run->bench = bench;
    run->level = level;
    begin(run, seconds);
    const enum vr_status status = walk(run);
    if (status == VR_OK) {
        take_reading(bench, &run->after);
        figures(run, seconds, out);
    }
    free(run);
    return status;
}
