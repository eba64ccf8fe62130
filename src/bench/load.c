/* `vireo bench load` (vireo/bench.h): one rate, or the search of the largest. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "load_parts.h"

#define INTERVALS_MAX 3600.0
#define DESCRIPTORS_BESIDE 256u /* of the program itself, and of its threads */
#define TRIAL_MAX_S 30.0        /* what at_least may make of a trial in a search */

static enum vr_status set_defaults(struct vr_bench_load_setup *setup)
{
    const bool replay = setup->schedule == VR_BENCH_REPLAY;
    if (replay && (setup->rate > 0.0 || setup->p99_ms > 0.0)) {
        return vr_fail(VR_ERR_INVALID, "--rate, --p99-ms: a replay has its own times; --speed makes it faster");
    }
    setup->rate = setup->rate > 0.0 ? setup->rate : 100.0;
    setup->to_rate = setup->to_rate > 0.0 ? setup->to_rate : 2.0 * setup->rate;
    setup->speed = setup->speed > 0.0 ? setup->speed : 1.0;
    setup->seconds = setup->seconds > 0.0 ? setup->seconds : replay ? 3600.0 : 10.0;
    setup->warm_up_s = setup->no_warm_up ? 0.0 : setup->warm_up_s > 0.0 ? setup->warm_up_s : 1.0;
    const double third = setup->seconds / 3.0;
    const double at = setup->schedule == VR_BENCH_SPIKE ? third : setup->seconds / 2.0;
    setup->step_at_s = setup->step_at_s > 0.0 ? setup->step_at_s : at;
    setup->step_for_s = setup->step_for_s > 0.0 ? setup->step_for_s : third;
    setup->interval_s = fmax(setup->interval_s > 0.0 ? setup->interval_s : 1.0, setup->seconds / INTERVALS_MAX);
    setup->loss = setup->loss > 0.0 ? setup->loss : 0.001;
    setup->degraded = setup->degraded > 0.0 ? setup->degraded : 0.01;
    setup->viewers = setup->viewers > 0 ? setup->viewers : 1000;
    setup->count = setup->count > 0 ? setup->count : 30;
    setup->threads = setup->threads > 0 ? setup->threads : 1;
    setup->connections = setup->connections > 0 ? setup->connections : 64 * setup->threads;
    setup->timeout_ms = setup->timeout_ms > 0 ? setup->timeout_ms : 2000;
    setup->limit = setup->limit > 0 ? setup->limit : 10000000;
    setup->steps = setup->steps > 0 ? setup->steps : 14;
    setup->at_least = setup->at_least > 0 ? setup->at_least : 300;
    setup->seed = setup->seed > 0 ? setup->seed : 1;
    return setup->connections >= setup->threads ? VR_OK
                                                : vr_fail(VR_ERR_INVALID, "--connections: fewer than the threads");
}

/* A replay lasts as long as its file. */
static void cut_to_file(struct load_bench *bench)
{
    const struct load_requests *requests = &bench->requests;
    if (bench->setup.schedule == VR_BENCH_REPLAY) {
        const double last = requests->at_s[requests->count - 1] / bench->setup.speed;
        bench->setup.seconds = fmin(bench->setup.seconds, fmax(last, 0.1) * (1.0 + 1e-9));
        bench->setup.interval_s = fmin(bench->setup.interval_s, bench->setup.seconds);
        bench->setup.rate = (double)requests->count / bench->setup.seconds;
    }
}

/* In a search a 99th percentile is made of enough requests to be one. */
static enum vr_status try_rate(struct load_bench *bench, double rate, struct load_result *result)
{
    struct vr_bench_load_setup setup = bench->setup;
    if (setup.p99_ms > 0.0) {
        setup.seconds = fmax(setup.seconds, fmin(setup.at_least / rate, TRIAL_MAX_S));
    }
    const enum vr_status status = load_trial_run(&setup, &bench->target, &bench->requests, rate, result);
    if (status == VR_OK && setup.p99_ms > 0.0) {
        const double p99_ms = load_ms(&result->counts.latency, 0.99);
        bench->tried[bench->tries++] = (struct load_tried){
            .rate = rate,
            .p99_ms = p99_ms,
            .lost = result->lost,
            .degraded = result->degraded,
            .passed = result->counts.ok > 0 && p99_ms <= setup.p99_ms && result->lost <= setup.loss &&
                      result->degraded <= setup.degraded,
            .sound = result->sound,
        };
    }
    return status;
}

/* Keeps the result of the largest rate that passed, or of the last one when none did. */
static enum vr_status search(struct load_bench *bench, struct load_result *result)
{
    enum vr_status status = VR_OK;
    bench->search = bench_search_begin(bench->setup.rate, bench->setup.steps);
    while (status == VR_OK && !bench->search.done) {
        status = try_rate(bench, bench->search.next, result);
        if (status != VR_OK) {
            break;
        }
        const bool passed = bench->tried[bench->tries - 1].passed;
        bench_search_tell(&bench->search, passed);
        if (passed || bench->search.low == 0.0) {
            load_result_free(&bench->result);
            bench->result = *result;
        } else {
            load_result_free(result);
        }
    }
    return status;
}

/* Each connection is a descriptor: the soft limit rises to what is needed, or as far as the hard one lets it. */
static enum vr_status allow_connections(uint32_t connections)
{
    const rlim_t needed = (rlim_t)connections + DESCRIPTORS_BESIDE;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) {
        return VR_OK;
    }
    if (limit.rlim_max < needed) {
        return vr_fail(VR_ERR_INVALID, "--connections: %u, and the limit of open files is %llu", connections,
                       (unsigned long long)limit.rlim_max);
    }
    limit.rlim_cur = needed;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? VR_OK : vr_fail(VR_ERR_IO, "setrlimit: %s", strerror(errno));
}

static enum vr_status run(struct load_bench *bench)
{
    enum vr_status status = set_defaults(&bench->setup);
    if (status == VR_OK) {
        status = allow_connections(bench->setup.connections);
    }
    if (status == VR_OK) {
        status = load_url_read(bench->setup.url, bench->setup.allow_remote, &bench->target);
    }
    if (status == VR_OK) {
        status = load_requests_make(&bench->setup, &bench->target, &bench->requests);
    }
    if (status != VR_OK) {
        return status;
    }
    cut_to_file(bench);
    if (bench->setup.p99_ms <= 0.0) {
        return try_rate(bench, bench->setup.rate, &bench->result);
    }
    struct load_result *result = malloc(sizeof *result);
    if (result == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a result");
    }
    status = search(bench, result);
    free(result);
    return status;
}

enum vr_status vr_bench_load_run(const struct vr_bench_load_setup *setup, FILE *out)
{
    struct load_bench *bench = calloc(1, sizeof *bench);
    struct vr_json_writer json = {0};
    struct bench_file file;
    if (bench == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a bench");
    }
    bench->setup = *setup;
    bench_machine_read(&bench->machine);
    enum vr_status status = bench_file_open(setup->json, &file);
    if (status == VR_OK) {
        status = run(bench);
        if (status == VR_OK) {
            load_report_json(bench, &json);
        }
        status = bench_file_finish(&file, &json, status);
    }
    if (status == VR_OK) {
        load_report_print(bench, out);
    }
    vr_json_writer_destroy(&json);
    load_result_free(&bench->result);
    load_requests_free(&bench->requests);
    free(bench);
    return status;
}
