/* `vireo bench ops` (vireo/bench.h): buffers, timing, and the ratio to the limits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops_parts.h"
#include "schedule.h"
#include "vireo/clock.h"

#define STAGING_BYTES ((size_t)16 << 20)
#define LIMIT_US 60000000u
#define WARM_UP 3u
#define SAMPLES_MAX 20000u
#define SAMPLES_MIN 5u
#define SAMPLE_US 100.0 /* a sample is as many calls as take this long, so that the clock's own time is nothing */

/* ---- memory ---- */

static enum vr_status wait(struct ops_bench *bench)
{
    return vr_stream_wait(bench->backend, bench->stream, vr_clock_mono_us() + LIMIT_US);
}

static enum vr_status copy_and_wait(struct ops_bench *bench, struct vr_view to, struct vr_view from, size_t bytes)
{
    const enum vr_status status = bench->backend->ops->copy(bench->stream, to, from, bytes);
    return status == VR_OK ? wait(bench) : status;
}

static enum vr_status take(struct ops_bench *bench, size_t bytes, struct vr_view *out)
{
    *out = (struct vr_view){NULL, 0};
    if (bench->buffers == OPS_BUFFERS_MAX) {
        return vr_fail(VR_ERR_NOMEM, "more buffers than a case may have");
    }
    const enum vr_status status =
        bench->backend->ops->buffer_create(bench->backend, VR_MEMORY_DEVICE, bytes, &out->buffer);
    if (status == VR_OK) {
        bench->buffer[bench->buffers++] = out->buffer;
    }
    return status;
}

enum vr_status ops_put(struct ops_bench *bench, const void *data, size_t bytes, struct vr_view *out)
{
    enum vr_status status = take(bench, bytes, out);
    for (size_t done = 0; status == VR_OK && done < bytes; done += STAGING_BYTES) {
        const size_t part = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
        memcpy(bench->backend->ops->buffer_host(bench->staging), (const char *)data + done, part);
        status = copy_and_wait(bench, (struct vr_view){out->buffer, done}, (struct vr_view){bench->staging, 0}, part);
    }
    return status;
}

enum vr_status ops_get(struct ops_bench *bench, struct vr_view from, size_t bytes, void *to)
{
    enum vr_status status = VR_OK;
    for (size_t done = 0; status == VR_OK && done < bytes; done += STAGING_BYTES) {
        const size_t part = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
        status = copy_and_wait(bench, (struct vr_view){bench->staging, 0},
                               (struct vr_view){from.buffer, from.offset + done}, part);
        memcpy((char *)to + done, bench->backend->ops->buffer_host(bench->staging), part);
    }
    return status;
}

static enum vr_status put_filled(struct ops_bench *bench, size_t count, bool random, struct vr_view *out)
{
    float *values = calloc(count, sizeof *values);
    if (values == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for %zu floats", count);
    }
    for (size_t i = 0; random && i < count; i++) {
        values[i] = (float)(2.0 * bench_random_unit(&bench->random) - 1.0);
    }
    const enum vr_status status = ops_put(bench, values, count * sizeof *values, out);
    free(values);
    return status;
}

enum vr_status ops_zeros(struct ops_bench *bench, size_t bytes, struct vr_view *out)
{
    return put_filled(bench, (bytes + sizeof(float) - 1) / sizeof(float), false, out);
}

enum vr_status ops_floats(struct ops_bench *bench, size_t count, struct vr_view *out)
{
    return put_filled(bench, count, true, out);
}

void ops_release(struct ops_bench *bench)
{
    while (bench->buffers > 0) {
        bench->backend->ops->buffer_destroy(bench->buffer[--bench->buffers]);
    }
}

/* ---- timing ---- */

static enum vr_status gather(struct ops_bench *bench, const struct ops_case *one, uint32_t number)
{
    struct vr_gather args = one->of.gather;
    args.index.offset += number % OPS_ROTATIONS * one->rotate;
    return bench->backend->ops->gather(bench->stream, &args);
}

static enum vr_status pool(struct ops_bench *bench, const struct ops_case *one, uint32_t number)
{
    struct vr_pool_rows args = one->of.pool;
    args.index.offset += number % OPS_ROTATIONS * one->rotate;
    return bench->backend->ops->pool_rows(bench->stream, &args);
}

static enum vr_status call(struct ops_bench *bench, const struct ops_case *one, uint32_t number)
{
    const struct vr_backend_ops *ops = bench->backend->ops;
    struct vr_stream *stream = bench->stream;
    switch (one->kind) {
    case OPS_COPIES: return ops->copy(stream, one->of.copy.to, one->of.copy.from, one->of.copy.bytes);
    case OPS_GATHER: return gather(bench, one, number);
    case OPS_POOL: return pool(bench, one, number);
    case OPS_LINEAR: return ops->linear(stream, &one->of.linear);
    case OPS_MIX: return ops->expert_mix(stream, &one->of.mix);
    case OPS_HEADS: return ops->task_heads(stream, &one->of.heads);
    case OPS_NORMALIZE: return ops->normalize(stream, &one->of.normalize);
    case OPS_SEARCH: return ops->index_search(stream, one->index, &one->of.search);
    }
    return VR_ERR_INVALID;
}

/* Microseconds of a call, out of `repeats` that are waited for together. */
static enum vr_status sample(struct ops_bench *bench, const struct ops_case *one, uint32_t repeats, double *us)
{
    const uint64_t begin = vr_clock_mono_ns();
    enum vr_status status = VR_OK;
    for (uint32_t i = 0; status == VR_OK && i < repeats; i++) {
        status = call(bench, one, bench->calls++);
    }
    if (status == VR_OK) {
        status = wait(bench);
    }
    *us = (double)(vr_clock_mono_ns() - begin) / 1e3 / repeats;
    return status == VR_OK ? status : vr_fail_in(status, "%s", one->name);
}

enum vr_status ops_call_once(struct ops_bench *bench, const struct ops_case *one)
{
    double us = 0.0;
    return sample(bench, one, 1, &us);
}

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static enum vr_status median_us(struct ops_bench *bench, const struct ops_case *one, double *samples, double *us,
                                uint32_t *calls)
{
    enum vr_status status = VR_OK;
    double warm = 0.0;
    for (uint32_t i = 0; status == VR_OK && i < WARM_UP; i++) {
        status = sample(bench, one, 1, &warm);
    }
    const uint32_t repeats = warm < SAMPLE_US ? (uint32_t)(SAMPLE_US / fmax(warm, 0.1)) : 1;
    const uint64_t begin = vr_clock_mono_ns();
    uint32_t count = 0;
    while (status == VR_OK && count < SAMPLES_MAX &&
           (count < SAMPLES_MIN || (double)(vr_clock_mono_ns() - begin) < bench->setup.seconds * 1e9)) {
        status = sample(bench, one, repeats, &samples[count]);
        count++;
    }
    if (status == VR_OK) {
        qsort(samples, count, sizeof *samples, rising);
        *us = samples[count / 2];
        *calls = count * repeats;
    }
    return status;
}

/* ---- ratio ---- */

/* The least time that the limits leave a call, and which of them: microseconds. */
static double least_us(const struct ops_bench *bench, const struct ops_case *one, const char **bound)
{
    const struct bench_limits *limits = &bench->limits;
    *bound = NULL;
    if (!bench->has_limits || isnan(one->flops) || isnan(one->bytes)) {
        return NAN;
    }
    const bool copies = one->kind == OPS_COPIES;
    const double gb_s = copies ? limits->copy_gb_s : bench_limits_read(limits, one->footprint);
    const double arithmetic = one->flops / limits->gflops / 1e3, traffic = one->bytes / gb_s / 1e3;
    *bound = arithmetic > traffic ? "arithmetic" : copies ? "copying" : "reading";
    return fmax(arithmetic, traffic);
}

enum vr_status ops_measure(struct ops_bench *bench, const struct ops_case *one)
{
    double *samples = calloc(SAMPLES_MAX, sizeof *samples), us = 0.0;
    uint32_t calls = 0;
    if (samples == NULL || bench->results == OPS_RESULTS_MAX) {
        free(samples);
        return vr_fail(VR_ERR_NOMEM, "no memory for samples");
    }
    const enum vr_status status = median_us(bench, one, samples, &us, &calls);
    free(samples);
    if (status != VR_OK) {
        return status;
    }
    struct ops_result *result = &bench->result[bench->results++];
    *result = (struct ops_result){.us = us,
                                  .gflops = one->flops / us / 1e3,
                                  .gb_s = one->bytes / us / 1e3,
                                  .queries_per_s = one->kind == OPS_SEARCH ? one->queries * 1e6 / us : NAN,
                                  .recall = one->recall,
                                  .calls = calls};
    memcpy(result->name, one->name, sizeof result->name);
    memcpy(result->shape, one->shape, sizeof result->shape);
    result->ratio = least_us(bench, one, &result->bound) / us;
    return VR_OK;
}

/* ---- the command ---- */

static void set_defaults(struct vr_bench_ops_setup *setup)
{
    setup->backend = setup->backend != NULL ? setup->backend : "cpu";
    setup->rows = setup->rows > 0 ? setup->rows : 1000000;
    setup->dim = setup->dim > 0 ? setup->dim : 64;
    setup->seconds = setup->seconds > 0.0 ? setup->seconds : 0.5;
}

static enum vr_status run(struct ops_bench *bench)
{
    enum vr_status status = vr_backend_open(bench->setup.backend, 1, &bench->backend); /* 1: as a lane has it */
    if (status == VR_OK) {
        status = bench->backend->ops->stream_create(bench->backend, &bench->stream);
    }
    if (status == VR_OK) {
        status = bench->backend->ops->buffer_create(bench->backend, VR_MEMORY_STAGING, STAGING_BYTES, &bench->staging);
    }
    bench->has_limits = strcmp(bench->setup.backend, "cpu") == 0;
    if (status == VR_OK && bench->has_limits) {
        status = bench_limits_measure(&bench->limits);
    }
    if (status == VR_OK) {
        status = ops_cases_run(bench);
    }
    return status == VR_OK ? ops_search_run(bench) : status;
}

static void close_all(struct ops_bench *bench)
{
    if (bench->backend == NULL) {
        return;
    }
    ops_release(bench);
    if (bench->staging != NULL) {
        bench->backend->ops->buffer_destroy(bench->staging);
    }
    if (bench->stream != NULL) {
        bench->backend->ops->stream_destroy(bench->stream);
    }
    vr_backend_destroy(bench->backend);
}

enum vr_status vr_bench_ops_run(const struct vr_bench_ops_setup *setup, FILE *out)
{
    struct ops_bench *bench = calloc(1, sizeof *bench);
    struct vr_json_writer json = {0};
    struct bench_file file;
    if (bench == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a bench");
    }
    bench->setup = *setup;
    set_defaults(&bench->setup);
    bench->random = 1;
    bench_machine_read(&bench->machine);
    enum vr_status status = bench_file_open(setup->json, &file);
    if (status == VR_OK) {
        status = run(bench);
        if (status == VR_OK) {
            ops_report_json(bench, &json);
        }
        status = bench_file_finish(&file, &json, status);
    }
    if (status == VR_OK) {
        ops_report_print(bench, out);
    }
    vr_json_writer_destroy(&json);
    close_all(bench);
    free(bench);
    return status;
}
