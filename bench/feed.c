/* Cost of a feed in process: no network, no JSON. Keeps `depth` requests in the feed at all times (a closed loop: it
 * shows what a request costs and how batches help, not the latency under an open load) and prints the median of several
 * runs for each depth, with the time of each stage. Usage: bench_feed BUNDLE [REQUESTS [RUNS [BACKEND]]]; the last line
 * is JSON. Settings come from the environment (VIREO_LANES_COUNT=1 ...). Exit status 77 and "no device" where the
 * backend's device is not there.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vireo/clock.h"
#include "vireo/feed.h"
#ifdef VIREO_HAVE_CUDA
#include "vireo/backend_cuda.h"
#endif

#define DEPTHS 4u
#define RUNS_MAX 15u
static const uint32_t depth_of[DEPTHS] = {1, 4, 16, 64};

struct bench {
    struct vr_config *config;
    struct vr_backend *backend;
    struct vr_state *state;
    struct vr_model *model;
    struct vr_feed *feed;
    struct vr_handback *home;
    struct vr_job *job; /* [largest depth] */
    uint32_t next;      /* viewer of the next request */
    uint64_t failed;
};

/* One run's figures. */
struct run {
    double rate;       /* answers a second */
    uint64_t p50, p99; /* microseconds from submit to hand-back */
    double batch;      /* mean requests a batch */
    double stage[5];   /* mean microseconds a batch: queue wait, retrieve, merge, rank, rerank */
};

static int by_rate(const void *a, const void *b)
{
    double x = ((const struct run *)a)->rate, y = ((const struct run *)b)->rate;
    return (x > y) - (x < y);
}

static enum vr_status submit_next(struct bench *b, struct vr_job *job)
{
    const struct vr_bundle_state *seed = &b->model->bundle->state;
    vr_arena_reset(job->arena);
    memset(&job->reply, 0, sizeof job->reply);
    memset(&job->request, 0, sizeof job->request);
    job->cancelled = false;
    job->home = b->home;
    job->request.request_id = vr_str_of("bench");
    /* Viewers in a stride that visits all of them, so that neighbours in a batch are strangers. */
    job->request.user_id = seed->present && seed->viewer_id.count > 0
                               ? vr_string_at(&seed->viewer_id, (uint32_t)(b->next * 7919ull % seed->viewer_id.count))
                               : vr_str_of("nobody");
    b->next++;
    job->request.count = VR_COUNT_DEFAULT;
    job->request.dry_run = true; /* nothing recorded: every run asks the same questions of the same state */
    job->request.now_ms = vr_clock_wall_ms();
    job->request.received_us = vr_clock_mono_us();
    job->request.deadline_us = job->request.received_us + 60000000u;
    return vr_feed_submit(b->feed, job);
}

/* Take what has come back, record it, and put new requests in its place while any are left. */
static enum vr_status turn_over(struct bench *b, struct vr_histogram *latency, uint32_t *left, uint32_t *out)
{
    struct pollfd ready = {.fd = vr_handback_fd(b->home), .events = POLLIN};
    if (poll(&ready, 1, 60000) <= 0)
        return vr_fail(VR_ERR_TIMEOUT, "no answer within a minute");
    for (struct vr_job *job = vr_handback_drain(b->home), *next; job; job = next) {
        next = job->next;
        vr_histogram_record(latency, vr_clock_mono_us() - job->request.received_us);
        b->failed += job->reply.status != VR_OK;
        vr_job_release(job);
        (*out)--;
        if (*left == 0)
            continue;
        (*left)--;
        (*out)++;
        enum vr_status status = submit_next(b, job);
        if (status != VR_OK)
            return status;
    }
    return VR_OK;
}

static void stage_means(const struct vr_feed_metrics *before, const struct vr_feed_metrics *after, struct run *run)
{
    const struct vr_histogram *a[5] = {&before->queue_us, &before->retrieve_us, &before->merge_us, &before->rank_us,
                                       &before->rerank_us};
    const struct vr_histogram *z[5] = {&after->queue_us, &after->retrieve_us, &after->merge_us, &after->rank_us,
                                       &after->rerank_us};
    for (int i = 0; i < 5; i++) {
        uint64_t count = z[i]->count - a[i]->count;
        run->stage[i] = count ? (double)(z[i]->sum - a[i]->sum) / (double)count : 0;
    }
    uint64_t batches = after->batches - before->batches;
    run->batch = batches ? (double)(after->jobs - before->jobs) / (double)batches : 0;
}

static enum vr_status one_run(struct bench *b, uint32_t depth, uint32_t requests, struct run *run)
{
    static struct vr_feed_metrics before, after;
    struct vr_histogram latency = {0};
    uint32_t left = requests, out = 0;
    enum vr_status status = VR_OK;
    vr_feed_metrics_read(b->feed, &before);
    uint64_t start = vr_clock_mono_us();
    for (; out < depth && left > 0 && status == VR_OK; out++, left--)
        status = submit_next(b, &b->job[out]);
    while (status == VR_OK && out > 0)
        status = turn_over(b, &latency, &left, &out);
    if (status != VR_OK)
        return status;
    run->rate = 1e6 * requests / (double)(vr_clock_mono_us() - start);
    run->p50 = vr_histogram_quantile(&latency, 0.50);
    run->p99 = vr_histogram_quantile(&latency, 0.99);
    vr_feed_metrics_read(b->feed, &after);
    stage_means(&before, &after, run);
    return VR_OK;
}

static enum vr_status open_backend(struct bench *b, const char *name)
{
    enum vr_status status = VR_OK;
#ifdef VIREO_HAVE_CUDA
    status = vr_backend_register("cuda", vr_cuda_backend_open);
#endif
    if (status == VR_OK)
        status = vr_backend_open(name, 1, &b->backend);
    if (status == VR_ERR_UNSUPPORTED) {
        fprintf(stderr, "no device: %s\n", vr_error_text());
        exit(77);
    }
    return status;
}

static enum vr_status open_all(struct bench *b, const char *folder, const char *backend)
{
    enum vr_status status = vr_config_default(&b->config);
    if (status == VR_OK) {
        b->config->lanes.target_wait_ms = 60000; /* every run answers with all candidates */
        status = vr_config_apply_environment(b->config, environ);
    }
    if (status == VR_OK)
        status = open_backend(b, backend);
    if (status == VR_OK)
        status = vr_state_create(&b->config->state, &b->state);
    if (status == VR_OK)
        status = vr_model_load(folder, b->backend, &b->config->retrieval, b->state, vr_clock_wall_ms(), &b->model);
    if (status != VR_OK)
        return status;
    struct vr_feed_config feed = {.lanes = b->config->lanes,
                                  .satisfaction = b->config->satisfaction,
                                  .rerank = b->config->rerank,
                                  .state = b->config->state};
    memcpy(feed.source, b->config->source, sizeof feed.source);
    status = vr_feed_create(&feed, b->backend, b->state, b->model, &b->feed);
    if (status == VR_OK)
        status = vr_handback_create(&b->home);
    b->job = calloc(depth_of[DEPTHS - 1], sizeof *b->job);
    if (status == VR_OK && !b->job)
        status = vr_fail(VR_ERR_NOMEM, "no memory for jobs");
    for (uint32_t i = 0; i < depth_of[DEPTHS - 1] && status == VR_OK; i++)
        status = vr_arena_create(1 << 16, &b->job[i].arena);
    return status;
}

static void close_all(struct bench *b)
{
    vr_feed_destroy(b->feed);
    for (uint32_t i = 0; b->job && i < depth_of[DEPTHS - 1]; i++)
        vr_arena_destroy(b->job[i].arena);
    free(b->job);
    if (b->home)
        vr_handback_destroy(b->home);
    vr_model_release(b->model);
    vr_state_destroy(b->state);
    vr_backend_destroy(b->backend);
    vr_config_destroy(b->config);
}

static void print_json(const struct bench *b, const struct run result[DEPTHS], uint32_t requests, uint32_t runs)
{
    printf("{\"bench\":\"feed\",\"backend\":\"%s\",\"model_version\":\"%s\","
           "\"videos\":%u,\"requests\":%u,\"runs\":%u,\"lanes\":%u,"
           "\"max_batch\":%u,\"failed\":%llu,\"depths\":[",
           vr_backend_ops_of(b->backend)->name, b->model->bundle->model_version, b->model->bundle->videos.count,
           requests, runs, b->config->lanes.count, b->config->lanes.max_batch, (unsigned long long)b->failed);
    for (uint32_t i = 0; i < DEPTHS; i++)
        printf("%s{\"depth\":%u,\"requests_per_s\":%.1f,\"p50_us\":%llu,\"p99_us\":%llu,\"batch\":%.2f}", i ? "," : "",
               depth_of[i], result[i].rate, (unsigned long long)result[i].p50, (unsigned long long)result[i].p99,
               result[i].batch);
    printf("]}\n");
}

static enum vr_status measure(struct bench *b, uint32_t requests, uint32_t runs)
{
    struct run run[RUNS_MAX], result[DEPTHS], warm;
    printf("%6s %12s %8s %8s %7s | mean us a request: %7s | a batch: %8s %7s %8s %7s\n", "depth", "requests/s",
           "p50 us", "p99 us", "batch", "queue", "retrieve", "merge", "rank", "rerank");
    for (uint32_t i = 0; i < DEPTHS; i++) {
        enum vr_status status = one_run(b, depth_of[i], requests / 4 + 1, &warm);
        for (uint32_t r = 0; r < runs && status == VR_OK; r++)
            status = one_run(b, depth_of[i], requests, &run[r]);
        if (status != VR_OK)
            return status;
        qsort(run, runs, sizeof *run, by_rate);
        result[i] = run[runs / 2];
        const struct run *m = &result[i];
        printf("%6u %12.1f %8llu %8llu %7.2f | %26.0f | %17.0f %7.0f %8.0f %7.0f\n", depth_of[i], m->rate,
               (unsigned long long)m->p50, (unsigned long long)m->p99, m->batch, m->stage[0], m->stage[1], m->stage[2],
               m->stage[3], m->stage[4]);
    }
    print_json(b, result, requests, runs);
    return VR_OK;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    uint32_t requests = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 400;
    uint32_t runs = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 5;
    const char *backend = argc > 4 ? argv[4] : "cpu";
    if (argc < 2 || argc > 5 || requests == 0 || runs == 0 || runs > RUNS_MAX) {
        fprintf(stderr, "usage: bench_feed BUNDLE [REQUESTS [RUNS, at most %u [BACKEND]]]\n", RUNS_MAX);
        return 2;
    }
    enum vr_status status = open_all(&b, argv[1], backend);
    if (status == VR_OK)
        status = measure(&b, requests, runs);
    if (status != VR_OK)
        fprintf(stderr, "bench_feed: %s: %s\n", vr_status_name(status), vr_error_text());
    close_all(&b);
    return status == VR_OK && b.failed == 0 ? 0 : 1;
}
