/* `vireo bench backends` (vireo/bench.h): open, compare, measure, tell. */
#include <stdlib.h>
#include <string.h>

#include "backends_parts.h"

/* What was not given. */
static void set_defaults(struct vr_bench_backends_setup *setup)
{
    static const uint32_t batches[] = {1, 8, 32, 128};
    if (setup->backend_count == 0) {
        setup->backend[0] = "cpu";
        setup->backend[1] = "cuda";
        setup->backend_count = 2;
    }
    if (setup->batch_count == 0) {
        memcpy(setup->batch, batches, sizeof batches);
        setup->batch_count = sizeof batches / sizeof batches[0];
    }
    setup->seconds = setup->seconds > 0.0 ? setup->seconds : 2.0;
    setup->calls = setup->calls > 0 ? setup->calls : 50;
    setup->candidates = setup->candidates > 0 ? setup->candidates : 300;
    setup->k = setup->k > 0 ? setup->k : 100;
    setup->seed = setup->seed != 0 ? setup->seed : 1;
}

static void describe_gpu(struct bench *bench)
{
    if (vr_nvml_open(&bench->nvml) != VR_OK) {
        snprintf(bench->no_nvml, sizeof bench->no_nvml, "%.255s", vr_error_text());
    }
}

/* Each backend that can be opened; `first` is the first of them. */
static enum vr_status open_sides(struct bench *bench)
{
    const uint32_t count = bench->setup.backend_count;
    bench->first = count;
    for (uint32_t i = 0; i < count; i++) {
        const enum vr_status status =
            bench_side_open(&bench->side[i], bench->setup.backend[i], bench->bundle, bench->config);
        if (status != VR_OK) {
            return status;
        }
        if (bench_side_is_open(&bench->side[i]) && bench->first == count) {
            bench->first = i;
        }
    }
    if (bench->first == count) {
        return vr_fail(VR_ERR_UNSUPPORTED, "no backend could be opened; %s: %s", bench->side[0].name,
                       bench->side[0].reason);
    }
    return VR_OK;
}

static enum vr_status prepare(struct bench *bench)
{
    struct vr_bench_backends_setup *setup = &bench->setup;
    enum vr_status status = bench_pool_create(bench->side[bench->first].engine, setup, &bench->pool);
    setup->candidates = bench->pool.candidates;
    setup->k = bench->pool.k;
    for (uint32_t i = 0; status == VR_OK && i < setup->backend_count; i++) {
        if (bench_side_is_open(&bench->side[i])) {
            status = bench_side_prepare(&bench->side[i], &bench->pool, setup->batch[setup->batch_count - 1]);
        }
    }
    return status;
}

static enum vr_status compare(struct bench *bench)
{
    enum vr_status status = VR_OK;
    for (uint32_t i = bench->first + 1; i < bench->setup.backend_count; i++) {
        if (!bench_side_is_open(&bench->side[i])) {
            continue;
        }
        bench->bound[i] = bench_bound(&bench->side[bench->first], &bench->side[i]);
        for (uint32_t b = 0; b < bench->setup.batch_count; b++) {
            status = bench_agree(&bench->side[bench->first], &bench->side[i], &bench->pool, bench->setup.batch[b],
                                 &bench->worst[i]);
            if (status != VR_OK) {
                return status;
            }
        }
    }
    return VR_OK;
}

static enum vr_status measure(struct bench *bench)
{
    enum vr_status status = VR_OK;
    for (uint32_t b = 0; b < bench->setup.batch_count; b++) {
        for (uint32_t i = 0; status == VR_OK && i < bench->setup.backend_count; i++) {
            if (bench_side_is_open(&bench->side[i])) {
                status = bench_side_measure(&bench->side[i], &bench->pool, &bench->setup, b, bench->nvml);
            }
        }
    }
    return status;
}

uint32_t bench_crossover(const struct bench *bench, const struct bench_side *side)
{
    const struct bench_side *first = &bench->side[bench->first];
    uint32_t from = 0;
    for (uint32_t b = bench->setup.batch_count; b-- > 0;) {
        if (side->result[b].requests_per_s <= first->result[b].requests_per_s) {
            break;
        }
        from = bench->setup.batch[b];
    }
    return from;
}

static enum vr_status configure(struct bench *bench)
{
    enum vr_status status = vr_config_default(&bench->config);
    if (status == VR_OK && bench->setup.precision != NULL) {
        status = vr_config_set(bench->config, "compute.precision", bench->setup.precision);
    }
    if (status == VR_OK && bench->setup.index != NULL) {
        status = vr_config_set(bench->config, "retrieval.index", bench->setup.index);
    }
    return status;
}

static enum vr_status run(struct bench *bench)
{
    enum vr_status status = configure(bench);
    if (status == VR_OK) {
        status = vr_bundle_open(bench->setup.bundle, &bench->bundle);
    }
    enum vr_status (*const step[])(struct bench *) = {open_sides, prepare, compare, measure};
    for (size_t i = 0; status == VR_OK && i < sizeof step / sizeof step[0]; i++) {
        status = step[i](bench);
    }
    return status;
}

static void close_all(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->setup.backend_count; i++) {
        bench_side_close(&bench->side[i]);
    }
    bench_pool_destroy(&bench->pool);
    vr_bundle_close(bench->bundle);
    vr_config_destroy(bench->config);
    vr_nvml_close(bench->nvml);
}

enum vr_status vr_bench_backends_run(const struct vr_bench_backends_setup *setup, FILE *out)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct vr_json_writer json = {0};
    struct bench_file file;
    if (bench == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a bench");
    }
    bench->setup = *setup;
    set_defaults(&bench->setup);
    bench_machine_read(&bench->machine);
    describe_gpu(bench);
    enum vr_status status = bench_file_open(setup->json, &file);
    if (status == VR_OK) {
        status = run(bench);
        if (status == VR_OK) {
            bench_write_json(bench, &json);
        }
        status = bench_file_finish(&file, &json, status);
    }
    if (status == VR_OK) {
        bench_print(bench, out);
    }
    vr_json_writer_destroy(&json);
    close_all(bench);
    free(bench);
    return status;
}
