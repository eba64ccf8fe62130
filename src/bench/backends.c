/* `vireo bench` (vireo/bench.h): open, compare, measure, tell. */
#include "vireo/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends_parts.h"

static void describe_cpu(struct bench *bench)
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "r");
    snprintf(bench->cpu, sizeof bench->cpu, "unknown");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':') != NULL) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(bench->cpu, sizeof bench->cpu, "%.90s", strchr(line, ':') + 2);
            break;
        }
    }
    if (info != NULL) {
        fclose(info);
    }
    bench->cores = sysconf(_SC_NPROCESSORS_ONLN);
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
            bench_side_open(&bench->side[i], bench->setup.backend[i], bench->bundle, &bench->config->retrieval);
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
    struct vr_bench_setup *setup = &bench->setup;
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
        for (uint32_t b = 0; b < bench->setup.batch_count && bench_side_is_open(&bench->side[i]); b++) {
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

static enum vr_status run(struct bench *bench)
{
    enum vr_status status = vr_config_default(&bench->config);
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

/* ---- the file: written beside its place, and put there when all of it is out ---- */

struct result_file {
    const char *path;
    char beside[4096];
    FILE *file;
};

/* Opened before the work, so that a wrong path costs none. */
static enum vr_status file_open(const char *path, struct result_file *out)
{
    *out = (struct result_file){.path = path};
    if (path == NULL) {
        return VR_OK;
    }
    if ((size_t)snprintf(out->beside, sizeof out->beside, "%s.part", path) >= sizeof out->beside) {
        return vr_fail(VR_ERR_INVALID, "--json: the path is too long");
    }
    out->file = fopen(out->beside, "w");
    return out->file != NULL ? VR_OK : vr_fail(VR_ERR_IO, "--json: %s: %s", out->beside, strerror(errno));
}

static enum vr_status file_finish(struct result_file *file, const struct bench *bench, enum vr_status status)
{
    if (file->file == NULL) {
        return status;
    }
    if (status == VR_OK) {
        status = bench_write_json(bench, file->file);
    }
    const bool closed = fclose(file->file) == 0;
    if (status == VR_OK && (!closed || rename(file->beside, file->path) != 0)) {
        status = vr_fail(VR_ERR_IO, "--json: %s: %s", file->path, strerror(errno));
    }
    if (status != VR_OK) {
        (void)unlink(file->beside);
    }
    return status;
}

enum vr_status vr_bench_run(const struct vr_bench_setup *setup, FILE *out)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct result_file file;
    if (bench == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a bench");
    }
    bench->setup = *setup;
    vr_bench_defaults(&bench->setup);
    describe_cpu(bench);
    describe_gpu(bench);
    enum vr_status status = file_open(setup->json, &file);
    if (status == VR_OK) {
        status = run(bench);
        status = file_finish(&file, bench, status);
    }
    if (status == VR_OK) {
        bench_print(bench, out);
    }
    close_all(bench);
    free(bench);
    return status;
}
