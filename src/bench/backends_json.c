/* The results of `vireo bench` as one JSON document (backends_parts.h; docs/benchmarks.md names its members). */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "backends_parts.h"
#include "vireo/clock.h"
#include "vireo/json.h"

static void put_number(struct vr_json_writer *w, const char *key, double value)
{
    vr_json_key(w, key);
    vr_json_put_double(w, value); /* NaN gives null */
}

static void put_count(struct vr_json_writer *w, const char *key, uint64_t value)
{
    vr_json_key(w, key);
    vr_json_put_uint(w, value);
}

static void put_text(struct vr_json_writer *w, const char *key, const char *value)
{
    vr_json_key(w, key);
    vr_json_put_text(w, value);
}

static void put_hardware(struct vr_json_writer *w, const struct bench *bench)
{
    const struct vr_nvml *nvml = bench->nvml;
    vr_json_key(w, "hardware");
    vr_json_open_object(w);
    put_text(w, "cpu", bench->cpu);
    put_count(w, "cores", (uint64_t)bench->cores);
    put_text(w, "gpu", nvml != NULL ? vr_nvml_device(nvml) : NULL);
    put_text(w, "driver", nvml != NULL ? vr_nvml_driver(nvml) : NULL);
    put_text(w, "gpu_unknown", nvml != NULL ? NULL : bench->no_nvml);
    vr_json_close_object(w);
}

static void put_settings(struct vr_json_writer *w, const struct bench *bench)
{
    const struct vr_bench_setup *setup = &bench->setup;
    vr_json_key(w, "settings");
    vr_json_open_object(w);
    put_text(w, "model_version", bench->bundle->model_version);
    put_count(w, "videos", bench->bundle->videos.count);
    put_count(w, "lanes", 1);
    put_text(w, "index", vr_index_kind_name(bench->config->retrieval.kind));
    put_count(w, "candidates", setup->candidates);
    put_count(w, "k", setup->k);
    put_count(w, "requests", bench->pool.count);
    put_count(w, "seed", setup->seed);
    put_number(w, "seconds", setup->seconds);
    put_count(w, "calls", setup->calls);
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
    put_number(w, "user_tower", difference->user_tower);
    put_number(w, "score", difference->score);
    put_number(w, "probability", difference->probability);
    put_number(w, "watch_s_relative", difference->watch_s_relative);
    vr_json_close_object(w);
}

static void put_result(struct vr_json_writer *w, uint32_t batch, const struct bench_result *result)
{
    vr_json_open_object(w);
    put_count(w, "batch", batch);
    put_count(w, "calls", result->calls);
    put_number(w, "requests_per_s", result->requests_per_s);
    for (uint32_t s = 0; s < BENCH_STAGES; s++) {
        vr_json_key(w, bench_stage_name[s]);
        vr_json_open_object(w);
        put_number(w, "p50_us", result->p50_us[s]);
        put_number(w, "p99_us", result->p99_us[s]);
        vr_json_close_object(w);
    }
    put_number(w, "millijoules", result->millijoules);
    vr_json_close_object(w);
}

/* What the side has over the first one: agreement and crossover. */
static void put_comparison(struct vr_json_writer *w, const struct bench *bench, uint32_t i)
{
    const uint32_t crossover = bench_crossover(bench, &bench->side[i]);
    put_text(w, "compared_with", bench->side[bench->first].name);
    put_count(w, "answers", bench->worst[i].requests);
    put_difference(w, "largest_difference", &bench->worst[i]);
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
    put_text(w, "backend", side->name);
    vr_json_key(w, "measured");
    vr_json_put_bool(w, open);
    put_text(w, "reason", open ? NULL : side->reason);
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

enum vr_status bench_write_json(const struct bench *bench, FILE *out)
{
    struct vr_json_writer w = {0};
    vr_json_open_object(&w);
    put_text(&w, "bench", "engine");
    put_text(&w, "commit", vr_commit);
    vr_json_key(&w, "time_ms");
    vr_json_put_int(&w, vr_clock_wall_ms());
    put_hardware(&w, bench);
    put_settings(&w, bench);
    put_difference(&w, "bound", &bench_bound);
    vr_json_key(&w, "backends");
    vr_json_open_array(&w);
    for (uint32_t i = 0; i < bench->setup.backend_count; i++) {
        put_side(&w, bench, i);
    }
    vr_json_close_array(&w);
    vr_json_close_object(&w);
    enum vr_status status = w.failed ? vr_fail(VR_ERR_NOMEM, "no memory for the results") : VR_OK;
    if (status == VR_OK && (fwrite(w.data, 1, w.len, out) != w.len || fputc('\n', out) == EOF)) {
        status = vr_fail(VR_ERR_IO, "--json: %s", strerror(errno));
    }
    vr_json_writer_destroy(&w);
    return status;
}
