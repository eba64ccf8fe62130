/* The results of `vireo bench backends` as one JSON document (backends_parts.h; docs/benchmarks.md names its members).
 */
#include "backends_parts.h"
#include "vireo/json.h"

static void put_hardware(struct vr_json_writer *w, const struct bench *bench)
{
    const struct vr_nvml *nvml = bench->nvml;
    bench_json_open_hardware(w, &bench->machine);
    bench_json_text(w, "gpu", nvml != NULL ? vr_nvml_device(nvml) : NULL);
    bench_json_text(w, "driver", nvml != NULL ? vr_nvml_driver(nvml) : NULL);
    bench_json_text(w, "gpu_unknown", nvml != NULL ? NULL : bench->no_nvml);
    vr_json_close_object(w);
}

static void put_settings(struct vr_json_writer *w, const struct bench *bench)
{
    const struct vr_bench_backends_setup *setup = &bench->setup;
    vr_json_key(w, "settings");
    vr_json_open_object(w);
    bench_json_text(w, "model_version", bench->bundle->model_version);
    bench_json_count(w, "videos", bench->bundle->videos.count);
    bench_json_count(w, "lanes", 1);
    bench_json_text(w, "index", vr_index_kind_name(bench->config->retrieval.kind));
    bench_json_count(w, "candidates", setup->candidates);
    bench_json_count(w, "k", setup->k);
    bench_json_count(w, "requests", bench->pool.count);
    bench_json_count(w, "seed", setup->seed);
    bench_json_number(w, "seconds", setup->seconds);
    bench_json_count(w, "calls", setup->calls);
    vr_json_key(w, "batches");
    vr_json_open_array(w);
    for (uint32_t b = 0; b < setup->batch_count; b++) {
        vr_json_put_uint(w, setup->batch[b]);
    }
    vr_json_close_array(w);
    vr_json_close_object(w);
}

static void put_difference(struct vr_json_writer *w, const char *key, const struct bench_difference *difference)
{
    vr_json_key(w, key);
    vr_json_open_object(w);
    bench_json_number(w, "user_tower", difference->user_tower);
    bench_json_number(w, "score", difference->score);
    bench_json_number(w, "probability", difference->probability);
    bench_json_number(w, "watch_s_relative", difference->watch_s_relative);
    vr_json_close_object(w);
}

static void put_result(struct vr_json_writer *w, uint32_t batch, const struct bench_result *result)
{
    vr_json_open_object(w);
    bench_json_count(w, "batch", batch);
    bench_json_count(w, "calls", result->calls);
    bench_json_number(w, "requests_per_s", result->requests_per_s);
    for (uint32_t s = 0; s < BENCH_STAGES; s++) {
        vr_json_key(w, bench_stage_name[s]);
        vr_json_open_object(w);
        bench_json_number(w, "p50_us", result->p50_us[s]);
        bench_json_number(w, "p99_us", result->p99_us[s]);
        vr_json_close_object(w);
    }
    bench_json_number(w, "millijoules", result->millijoules);
    vr_json_close_object(w);
}

/* What the side has over the first one: agreement and crossover. */
static void put_comparison(struct vr_json_writer *w, const struct bench *bench, uint32_t i)
{
    const uint32_t crossover = bench_crossover(bench, &bench->side[i]);
    bench_json_text(w, "compared_with", bench->side[bench->first].name);
    bench_json_count(w, "answers", bench->worst[i].requests);
    put_difference(w, "largest_difference", &bench->worst[i]);
    put_difference(w, "bound", &bench->bound[i]);
    vr_json_key(w, "crossover_batch");
    if (crossover > 0) {
        vr_json_put_uint(w, crossover);
    } else {
        vr_json_put_null(w);
    }
}

static void put_side(struct vr_json_writer *w, const struct bench *bench, uint32_t i)
{
    const struct bench_side *side = &bench->side[i];
    const bool open = bench_side_is_open(side);
    vr_json_open_object(w);
    bench_json_text(w, "backend", side->name);
    vr_json_key(w, "measured");
    vr_json_put_bool(w, open);
    bench_json_text(w, "reason", open ? NULL : side->reason);
    bench_json_text(w, "precision", open ? vr_precision_name(vr_engine_precision(side->engine)) : NULL);
    if (open && i != bench->first) {
        put_comparison(w, bench, i);
    }
    vr_json_key(w, "results");
    vr_json_open_array(w);
    for (uint32_t b = 0; open && b < bench->setup.batch_count; b++) {
        put_result(w, bench->setup.batch[b], &side->result[b]);
    }
    vr_json_close_array(w);
    vr_json_close_object(w);
}

void bench_write_json(const struct bench *bench, struct vr_json_writer *out)
{
    bench_json_begin(out, "engine");
    put_hardware(out, bench);
    put_settings(out, bench);
    vr_json_key(out, "backends");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < bench->setup.backend_count; i++) {
        put_side(out, bench, i);
    }
    vr_json_close_array(out);
    vr_json_close_object(out);
}
