/* The results of `vireo bench feed`, as tables and as JSON (feed_parts.h; docs/benchmarks.md names the members). */
#include <math.h>

#include "feed_parts.h"

static const char *const stage_name[VR_STAGE_COUNT] = {"retrieve", "merge", "rank", "rerank"};

static void print_head(const struct feed_bench *bench, FILE *out)
{
    const struct vr_bundle *bundle = bench->model->bundle;
    const struct vr_lane_config *lanes = &bench->config->lanes;
    fprintf(out, "%-12s %s, %u videos; backend %s\n", "bundle", bundle->model_version, bundle->videos.count,
            vr_backend_ops_of(bench->backend)->name);
    fprintf(out, "%-12s %u lanes, batches of up to %u, %u pool workers; %u runs of %.3g s a level, medians\n", "feed",
            lanes->count, lanes->max_batch, lanes->pool_workers, bench->setup.runs, bench->setup.seconds);
    bench_machine_print(&bench->machine, out);
}

static void print_level_name(const struct feed_level *level, FILE *out)
{
    if (level->concurrency > 0) {
        fprintf(out, "closed %6u", level->concurrency);
    } else {
        fprintf(out, "open %6.0f/s", level->rate);
    }
}

static void print_latency(const struct feed_bench *bench, FILE *out)
{
    fprintf(out, "\n%-13s %10s %9s %9s %9s %9s %9s %7s %8s %6s %8s %7s\n", "loop", "requests/s", "p50 us", "p90 us",
            "p99 us", "p99.9 us", "max us", "batch", "refused", "failed", "degraded", "lag p99");
    for (uint32_t i = 0; i < bench->levels; i++) {
        const struct feed_result *r = &bench->level[i].result;
        print_level_name(&bench->level[i], out);
        fprintf(out, " %10.1f %9.0f %9.0f %9.0f %9.0f %9.0f %7.2f %8llu %6llu %8llu", r->rate, r->p50_us, r->p90_us,
                r->p99_us, r->p999_us, r->max_us, r->batch, (unsigned long long)r->refused,
                (unsigned long long)r->failed, (unsigned long long)r->degraded);
        if (isnan(r->lag_p99_us)) {
            fprintf(out, " %7s\n", "-");
        } else {
            fprintf(out, " %7.0f\n", r->lag_p99_us);
        }
    }
}

/* The last batch's steps are counted when it ends, so CPU by step is a mean over whole batches. */
static void print_cost(const struct feed_bench *bench, FILE *out)
{
    fprintf(out, "\n%-13s | us a batch: %5s %9s %7s %8s %7s | CPU us a request: %8s %7s %8s %7s %7s | %9s\n", "loop",
            "queue", "retrieve", "merge", "rank", "rerank", "retrieve", "merge", "rank", "rerank", "other",
            "malloc/rq");
    for (uint32_t i = 0; i < bench->levels; i++) {
        const struct feed_result *r = &bench->level[i].result;
        print_level_name(&bench->level[i], out);
        fprintf(out, " |             %5.0f %9.0f %7.0f %8.0f %7.0f |                   %8.1f %7.1f %8.1f %7.1f %7.1f |",
                r->queue_us, r->stage_us[0], r->stage_us[1], r->stage_us[2], r->stage_us[3], r->cpu_us[0], r->cpu_us[1],
                r->cpu_us[2], r->cpu_us[3], r->other_cpu_us);
        if (isnan(r->allocations)) {
            fprintf(out, " %9s\n", "-");
        } else {
            fprintf(out, " %9.2f\n", r->allocations);
        }
    }
    if (!feed_counts_allocations()) {
        fprintf(out, "allocations are counted where the program runs with libvireo_allocations.so (bench/run.sh)\n");
    }
}

void feed_report_print(const struct feed_bench *bench, FILE *out)
{
    print_head(bench, out);
    print_latency(bench, out);
    print_cost(bench, out);
}

/* ---- JSON ---- */

static void put_settings(struct vr_json_writer *w, const struct feed_bench *bench)
{
    const struct vr_lane_config *lanes = &bench->config->lanes;
    vr_json_key(w, "settings");
    vr_json_open_object(w);
    bench_json_text(w, "backend", vr_backend_ops_of(bench->backend)->name);
    bench_json_text(w, "model_version", bench->model->bundle->model_version);
    bench_json_count(w, "videos", bench->model->bundle->videos.count);
    bench_json_text(w, "index", vr_index_kind_name(bench->config->retrieval.kind));
    bench_json_count(w, "lanes", lanes->count);
    bench_json_count(w, "max_batch", lanes->max_batch);
    bench_json_count(w, "pool_workers", lanes->pool_workers);
    bench_json_number(w, "seconds", bench->setup.seconds);
    bench_json_count(w, "runs", bench->setup.runs);
    bench_json_count(w, "seed", bench->setup.seed);
    vr_json_close_object(w);
}

static void put_stages(struct vr_json_writer *w, const char *key, const double us[VR_STAGE_COUNT])
{
    vr_json_key(w, key);
    vr_json_open_object(w);
    for (uint32_t s = 0; s < VR_STAGE_COUNT; s++) {
        bench_json_number(w, stage_name[s], us[s]);
    }
}

static void put_level(struct vr_json_writer *w, const struct feed_level *level)
{
    const struct feed_result *r = &level->result;
    vr_json_open_object(w);
    bench_json_text(w, "loop", level->concurrency > 0 ? "closed" : "open");
    if (level->concurrency > 0) {
        bench_json_count(w, "concurrency", level->concurrency);
    }
    bench_json_number(w, "offered_per_s", r->offered);
    bench_json_number(w, "requests_per_s", r->rate);
    bench_json_count(w, "answers", r->answers);
    bench_json_count(w, "failed", r->failed);
    bench_json_count(w, "refused", r->refused);
    bench_json_count(w, "degraded", r->degraded);
    bench_json_number(w, "p50_us", r->p50_us);
    bench_json_number(w, "p90_us", r->p90_us);
    bench_json_number(w, "p99_us", r->p99_us);
    bench_json_number(w, "p999_us", r->p999_us);
    bench_json_number(w, "max_us", r->max_us);
    bench_json_number(w, "lag_p99_us", r->lag_p99_us);
    bench_json_number(w, "batch", r->batch);
    put_stages(w, "wall_us_a_batch", r->stage_us);
    bench_json_number(w, "queue", r->queue_us);
    vr_json_close_object(w);
    put_stages(w, "cpu_us_a_request", r->cpu_us);
    bench_json_number(w, "other", r->other_cpu_us);
    bench_json_number(w, "driver", r->driver_cpu_us);
    vr_json_close_object(w);
    bench_json_number(w, "allocations_a_request", r->allocations);
    vr_json_close_object(w);
}

void feed_report_json(const struct feed_bench *bench, struct vr_json_writer *w)
{
    bench_json_begin(w, "feed");
    bench_json_hardware(w, &bench->machine);
    put_settings(w, bench);
    vr_json_key(w, "levels");
    vr_json_open_array(w);
    for (uint32_t i = 0; i < bench->levels; i++) {
        put_level(w, &bench->level[i]);
    }
    vr_json_close_array(w);
    vr_json_close_object(w);
}
