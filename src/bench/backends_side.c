/* One backend of `vireo bench backends` at work (backends_parts.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends_parts.h"
#include "vireo/clock.h"

#define LIMIT_US 60000000u  /* of one call */
#define SAMPLES_MAX 200000u /* timed calls at one batch size, at most */
#define WARM_UP_CALLS 3u    /* the first calls of a batch size may take memory, and clocks rise */
#define ENERGY_LEAST_S 0.5  /* the counter moves some ten times a second */

const char *const bench_stage_name[BENCH_STAGES] = {"retrieve", "rank", "both"};

bool bench_side_is_open(const struct bench_side *side)
{
    return side->engine != NULL && side->reason[0] == '\0';
}

enum vr_status bench_side_open(struct bench_side *side, const char *name, const struct vr_bundle *bundle,
                               const struct vr_config *config)
{
    *side = (struct bench_side){.name = name, .tower_dim = bundle->tower_dim, .content_dim = bundle->content_dim};
    enum vr_status status = vr_backend_open(name, 1, &side->backend); /* 1: as a lane has it */
    if (status == VR_OK) {
        const struct vr_engine_options options = vr_engine_options_of(config, side->backend);
        status = vr_engine_create_tested(side->backend, bundle, &options, NULL, &side->engine);
    }
    if (status == VR_ERR_CHECKSUM) {
        return vr_fail_in(status, "%s", name);
    }
    if (status != VR_OK) {
        snprintf(side->reason, sizeof side->reason, "%.*s", (int)sizeof side->reason - 1, vr_error_text());
    }
    return VR_OK;
}

enum vr_status bench_side_prepare(struct bench_side *side, const struct bench_pool *pool, uint32_t max_batch)
{
    const size_t floats = 2 * (size_t)side->tower_dim + side->content_dim;
    side->max_batch = max_batch;
    side->user = calloc(max_batch, sizeof *side->user);
    side->rank = calloc(max_batch, sizeof *side->rank);
    side->retrieved = calloc(max_batch, sizeof *side->retrieved);
    side->ranked = calloc(max_batch, sizeof *side->ranked);
    side->vector = calloc(max_batch * floats, sizeof *side->vector);
    if (side->user == NULL || side->rank == NULL || side->retrieved == NULL || side->ranked == NULL ||
        side->vector == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for batches of %u", max_batch);
    }
    const enum vr_status status =
        vr_engine_slot_create(side->engine, max_batch, pool->candidates, pool->k, &side->slot);
    return status == VR_OK ? VR_OK : vr_fail_in(status, "%s", side->name);
}

void bench_side_close(struct bench_side *side)
{
    vr_engine_slot_destroy(side->slot);
    vr_engine_destroy(side->engine);
    vr_backend_destroy(side->backend);
    free(side->user);
    free(side->rank);
    free(side->retrieved);
    free(side->ranked);
    free(side->vector);
    memset(side, 0, sizeof *side);
}

/* Retrieval's vectors of request i out of the slot's memory, which ranking overwrites, into the request for ranking. */
static void keep_vectors(struct bench_side *side, uint32_t i)
{
    const struct vr_engine_retrieved *from = &side->retrieved[i];
    const size_t tower = side->tower_dim, content = side->content_dim;
    float *to = side->vector + i * (2 * tower + content);
    memcpy(to, from->user_tower, tower * sizeof *to);
    memcpy(to + tower, from->hist_tower, tower * sizeof *to);
    memcpy(to + 2 * tower, from->hist_content, content * sizeof *to);
    side->rank[i].user_tower = to;
    side->rank[i].hist_tower = to + tower;
    side->rank[i].hist_content = to + 2 * tower;
}

enum vr_status bench_side_retrieve(struct bench_side *side, const struct bench_pool *pool, uint32_t first,
                                   uint32_t batch)
{
    for (uint32_t i = 0; i < batch; i++) {
        side->user[i] = pool->user[(first + i) % pool->count];
        side->rank[i] = pool->rank[(first + i) % pool->count];
    }
    const enum vr_status status =
        vr_engine_retrieve(side->slot, batch, side->user, vr_clock_mono_us() + LIMIT_US, side->retrieved);
    if (status != VR_OK) {
        return vr_fail_in(status, "%s: retrieval of %u", side->name, batch);
    }
    for (uint32_t i = 0; i < batch; i++) {
        keep_vectors(side, i);
    }
    return VR_OK;
}

enum vr_status bench_side_rank(struct bench_side *side, uint32_t batch)
{
    const enum vr_status status =
        vr_engine_score(side->slot, batch, side->rank, vr_clock_mono_us() + LIMIT_US, side->ranked);
    return status == VR_OK ? VR_OK : vr_fail_in(status, "%s: ranking of %u", side->name, batch);
}

/* ---- timing ---- */

static enum vr_status one_call(struct bench_side *side, const struct bench_pool *pool, uint32_t first, uint32_t batch,
                               double us[BENCH_STAGES])
{
    const uint64_t start = vr_clock_mono_us();
    enum vr_status status = bench_side_retrieve(side, pool, first, batch);
    const uint64_t middle = vr_clock_mono_us();
    if (status == VR_OK) {
        status = bench_side_rank(side, batch);
    }
    const uint64_t end = vr_clock_mono_us();
    us[BENCH_RETRIEVE] = (double)(middle - start);
    us[BENCH_RANK] = (double)(end - middle);
    us[BENCH_BOTH] = (double)(end - start);
    return status;
}

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The sample of rank ceil(q * count): at least that share of the calls took no longer. */
static double quantile(const double *sorted, uint32_t count, double q)
{
    const double rank = ceil(q * (double)count);
    return sorted[rank < 1.0 ? 0 : (uint32_t)rank - 1];
}

/* sample [BENCH_STAGES, SAMPLES_MAX] */
static void summarise(struct bench_result *result, double *sample, uint32_t calls)
{
    result->calls = calls;
    for (uint32_t s = 0; s < BENCH_STAGES; s++) {
        double *of_stage = sample + (size_t)s * SAMPLES_MAX;
        qsort(of_stage, calls, sizeof *of_stage, rising);
        result->p50_us[s] = quantile(of_stage, calls, 0.50);
        result->p99_us[s] = calls >= BENCH_P99_CALLS ? quantile(of_stage, calls, 0.99) : NAN;
    }
}

/* Calls until there are enough of both calls and seconds. */
static enum vr_status sample_calls(struct bench_side *side, const struct bench_pool *pool,
                                   const struct vr_bench_backends_setup *setup, uint32_t batch, double *sample,
                                   uint32_t *calls)
{
    const uint64_t start = vr_clock_mono_us();
    enum vr_status status = VR_OK;
    uint32_t n = 0;
    while (status == VR_OK && n < SAMPLES_MAX &&
           (n < setup->calls || (double)(vr_clock_mono_us() - start) < setup->seconds * 1e6)) {
        double us[BENCH_STAGES];
        status = one_call(side, pool, (uint32_t)((uint64_t)n * batch % pool->count), batch, us);
        for (uint32_t s = 0; s < BENCH_STAGES; s++) {
            sample[(size_t)s * SAMPLES_MAX + n] = us[s];
        }
        n++;
    }
    *calls = n;
    return status;
}

static enum vr_status timed(struct bench_side *side, const struct bench_pool *pool,
                            const struct vr_bench_backends_setup *setup, uint32_t b, const struct vr_nvml *nvml,
                            double *sample)
{
    struct bench_result *result = &side->result[b];
    const uint32_t batch = setup->batch[b];
    enum vr_status status = VR_OK;
    double us[BENCH_STAGES];
    for (uint32_t i = 0; status == VR_OK && i < WARM_UP_CALLS; i++) {
        status = one_call(side, pool, i * batch % pool->count, batch, us);
    }
    uint64_t before = 0, after = 0;
    const bool counts = nvml != NULL && strcmp(side->name, "cuda") == 0 && vr_nvml_energy(nvml, &before);
    const uint64_t start = vr_clock_mono_us();
    uint32_t calls = 0;
    if (status == VR_OK) {
        status = sample_calls(side, pool, setup, batch, sample, &calls);
    }
    const double seconds = (double)(vr_clock_mono_us() - start) / 1e6;
    if (status != VR_OK) {
        return status;
    }
    const double requests = (double)calls * batch;
    result->requests_per_s = requests / (seconds > 0.0 ? seconds : 1e-6);
    result->millijoules =
        counts && seconds >= ENERGY_LEAST_S && vr_nvml_energy(nvml, &after) ? (double)(after - before) / requests : NAN;
    summarise(result, sample, calls);
    return VR_OK;
}

enum vr_status bench_side_measure(struct bench_side *side, const struct bench_pool *pool,
                                  const struct vr_bench_backends_setup *setup, uint32_t b, const struct vr_nvml *nvml)
{
    double *sample = calloc((size_t)BENCH_STAGES * SAMPLES_MAX, sizeof *sample);
    if (sample == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for samples");
    }
    const enum vr_status status = timed(side, pool, setup, b, nvml, sample);
    free(sample);
    return status;
}
