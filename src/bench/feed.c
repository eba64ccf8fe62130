/* `vireo bench feed` (vireo/bench.h): open the feed, measure level by level, tell. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "feed_parts.h"
#include "vireo/clock.h"

#define ARENA_CHUNK (1u << 16)
#define WAIT_MS 60000u /* the most that the setting may be */

static void set_defaults(struct vr_bench_feed_setup *setup)
{
    static const uint32_t concurrency[] = {1, 4, 16, 64};
    if (setup->concurrency_count == 0) {
        memcpy(setup->concurrency, concurrency, sizeof concurrency);
        setup->concurrency_count = sizeof concurrency / sizeof concurrency[0];
    }
    setup->backend = setup->backend != NULL ? setup->backend : "cpu";
    setup->seconds = setup->seconds > 0.0 ? setup->seconds : 2.0;
    setup->runs = setup->runs > 0 ? setup->runs : 5;
    setup->seed = setup->seed != 0 ? setup->seed : 1;
}

/* Without a configuration of its own the bench asks what whole feeds cost: none is made smaller because many wait. */
static void set_lanes(const struct vr_bench_feed_setup *setup, struct vr_lane_config *lanes)
{
    lanes->count = setup->lanes > 0 ? setup->lanes : lanes->count;
    lanes->target_wait_ms = setup->config == NULL ? WAIT_MS : lanes->target_wait_ms;
}

static enum vr_status open_model(struct feed_bench *bench)
{
    struct vr_config **config = &bench->config;
    enum vr_status status =
        bench->setup.config != NULL ? vr_config_load(bench->setup.config, config) : vr_config_default(config);
    if (status == VR_OK) {
        set_lanes(&bench->setup, &bench->config->lanes);
        status = vr_backend_open(bench->setup.backend, 1, &bench->backend); /* 1: as a lane has it */
    }
    if (status == VR_OK) {
        status = vr_state_create(&bench->config->state, &bench->state);
    }
    if (status == VR_OK) {
        status = vr_model_load(bench->setup.bundle, bench->backend, bench->config, bench->state, vr_clock_wall_ms(),
                               &bench->model);
    }
    return status;
}

static enum vr_status open_feed(struct feed_bench *bench)
{
    const struct vr_feed_config feed = vr_feed_config_of(bench->config);
    enum vr_status status = vr_feed_create(&feed, bench->backend, bench->state, bench->model, &bench->feed);
    if (status == VR_OK) {
        status = vr_handback_create(&bench->home);
    }
    if (status != VR_OK) {
        return status;
    }
    bench->job = calloc(FEED_JOBS, sizeof *bench->job);
    if (bench->job == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for jobs");
    }
    for (uint32_t i = 0; status == VR_OK && i < FEED_JOBS; i++) {
        status = vr_arena_create(ARENA_CHUNK, &bench->job[i].arena);
    }
    return status;
}

static void close_all(struct feed_bench *bench)
{
    vr_feed_destroy(bench->feed);
    for (struct vr_job *job = bench->home != NULL ? vr_handback_drain(bench->home) : NULL; job != NULL;
         job = job->next) {
        vr_job_release(job); /* of a run that was given up */
    }
    for (uint32_t i = 0; bench->job != NULL && i < FEED_JOBS; i++) {
        vr_arena_destroy(bench->job[i].arena);
    }
    free(bench->job);
    if (bench->home != NULL) {
        vr_handback_destroy(bench->home);
    }
    vr_model_release(bench->model);
    vr_state_destroy(bench->state);
    vr_backend_destroy(bench->backend);
    vr_config_destroy(bench->config);
}

/* ---- levels ---- */

static int by_rate(const void *a, const void *b)
{
    const double x = ((const struct feed_result *)a)->rate, y = ((const struct feed_result *)b)->rate;
    return (x > y) - (x < y);
}

static int by_p99(const void *a, const void *b)
{
    const double x = ((const struct feed_result *)a)->p99_us, y = ((const struct feed_result *)b)->p99_us;
    return (x > y) - (x < y);
}

/* Warm up, then the median run: by rate in a closed loop, by p99 in an open one. */
static enum vr_status measure_level(struct feed_bench *bench, struct feed_level *level)
{
    struct feed_result run[VR_BENCH_RUNS_MAX];
    const uint32_t runs = bench->setup.runs;
    enum vr_status status = feed_loop_run(bench, level, bench->setup.seconds / 4, &run[0]);
    for (uint32_t r = 0; status == VR_OK && r < runs; r++) {
        status = feed_loop_run(bench, level, bench->setup.seconds, &run[r]);
    }
    if (status == VR_OK) {
        qsort(run, runs, sizeof *run, level->concurrency > 0 ? by_rate : by_p99);
        level->result = run[runs / 2];
        bench->levels++;
    }
    return status;
}

static double largest_rate(const struct feed_bench *bench)
{
    double largest = 0.0;
    for (uint32_t i = 0; i < bench->levels; i++) {
        largest = bench->level[i].result.rate > largest ? bench->level[i].result.rate : largest;
    }
    return largest;
}

/* Where no rates are given: shares of what the closed loop reached. */
static void choose_rates(struct feed_bench *bench)
{
    struct vr_bench_feed_setup *setup = &bench->setup;
    if (setup->rate_count == 0) {
        setup->rate[0] = 0.5 * largest_rate(bench);
        setup->rate[1] = 0.8 * largest_rate(bench);
        setup->rate_count = 2;
    }
}

static enum vr_status measure(struct feed_bench *bench)
{
    const struct vr_bench_feed_setup *setup = &bench->setup;
    enum vr_status status = VR_OK;
    for (uint32_t i = 0; status == VR_OK && i < setup->concurrency_count; i++) {
        struct feed_level *level = &bench->level[bench->levels];
        *level = (struct feed_level){.concurrency = setup->concurrency[i]};
        status = measure_level(bench, level);
    }
    choose_rates(bench);
    for (uint32_t i = 0; status == VR_OK && i < setup->rate_count; i++) {
        struct feed_level *level = &bench->level[bench->levels];
        *level = (struct feed_level){.rate = setup->rate[i]};
        status = measure_level(bench, level);
    }
    return status;
}

static enum vr_status run(struct feed_bench *bench)
{
    enum vr_status status = open_model(bench);
    if (status == VR_OK) {
        status = open_feed(bench);
    }
    return status == VR_OK ? measure(bench) : status;
}

enum vr_status vr_bench_feed_run(const struct vr_bench_feed_setup *setup, FILE *out)
{
    struct feed_bench *bench = calloc(1, sizeof *bench);
    struct vr_json_writer json = {0};
    struct bench_file file;
    if (bench == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a bench");
    }
    bench->setup = *setup;
    set_defaults(&bench->setup);
    bench->random = bench->setup.seed;
    bench_machine_read(&bench->machine);
    (void)prctl(PR_SET_TIMERSLACK, 1000ul); /* nanoseconds: the default wakes the loop 50 us late */
    enum vr_status status = bench_file_open(setup->json, &file);
    if (status == VR_OK) {
        status = run(bench);
        if (status == VR_OK) {
            feed_report_json(bench, &json);
        }
        status = bench_file_finish(&file, &json, status);
    }
    if (status == VR_OK) {
        feed_report_print(bench, out);
    }
    vr_json_writer_destroy(&json);
    close_all(bench);
    free(bench);
    return status;
}
