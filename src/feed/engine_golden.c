/* The self-test before serving: the bundle's golden cases (float64, made elsewhere) against what this engine computes.
 * Tolerances are docs/bundle.md's. Lists of top rows are judged for exact indexes only: an approximate index may miss
 * some by design, so its agreement is reported and refuses nothing. */
#include <math.h>
#include <stdlib.h>

#include "engine_parts.h"
#include "vireo/clock.h"
#include "vireo/log.h"

#define BATCH 64u
#define TOP 10u
#define TOP_AGREE 9u
#define LIMIT_US 60000000u
#define USER_TOWER_TOLERANCE 1e-4

/* The table is of halves. */
struct vr_golden_bound vr_golden_bound_of(const struct vr_engine *engine)
{
    static const struct vr_golden_bound bounds[] = {
        [VR_PRECISION_AUTO] = {1e-4, 1e-3}, [VR_PRECISION_F32] = {1e-4, 1e-3},  [VR_PRECISION_F16] = {5e-4, 5e-3},
        [VR_PRECISION_BF16] = {4e-3, 4e-2}, [VR_PRECISION_INT8] = {1e-2, 1e-1},
    };
    const bool halves = engine_has_table(engine) && engine->runs_in == VR_PRECISION_F32;
    return bounds[halves ? VR_PRECISION_F16 : engine->runs_in];
}

static const char *const head_names[VR_HEAD_COUNT] = {"click", "watch_s", "like", "finish"};

/* One batch of cases and what the engine made of it. */
struct batch {
    struct vr_engine *engine;
    struct vr_engine_slot *slot;
    uint32_t first, count;
    struct vr_engine_rank request[BATCH];
    struct vr_engine_ranked result[BATCH];
};

static void fill_batch(struct batch *batch)
{
    const struct vr_bundle *bundle = batch->engine->bundle;
    const struct vr_golden *golden = &bundle->golden;
    const size_t viewer = vr_feature_field_count(bundle->features, VR_ENTITY_VIEWER);
    const size_t context = vr_feature_field_count(bundle->features, VR_ENTITY_CONTEXT);
    const size_t video = vr_feature_field_count(bundle->features, VR_ENTITY_VIDEO);
    for (uint32_t i = 0; i < batch->count; i++) {
        const size_t at = batch->first + i;
        batch->request[i] = (struct vr_engine_rank){
            .viewer_raw = golden->viewer_raw + at * viewer,
            .context_raw = golden->context_raw + at * context,
            .hist_tower = golden->hist_tower + at * bundle->tower_dim,
            .hist_content = golden->hist_content + at * bundle->content_dim,
            .row = golden->video_row + at,
            .video_raw = golden->video_raw + at * video,
            .pair_raw = golden->pair_raw + at * VR_PAIR_FIELDS,
            .candidates = 1,
        };
    }
}

static enum vr_status check_user_tower(const struct batch *batch, uint32_t i, struct vr_golden_report *worst)
{
    const struct vr_bundle *bundle = batch->engine->bundle;
    const uint32_t dim = bundle->tower_dim;
    const float *got = (const float *)batch->slot->ranking.vector[ENGINE_USER_TOWER].host + (size_t)i * dim;
    const double *want = bundle->golden.user_tower + (size_t)(batch->first + i) * dim;
    for (uint32_t c = 0; c < dim; c++) {
        const double off = fabs((double)got[c] - want[c]);
        worst->user_tower = off > worst->user_tower ? off : worst->user_tower;
        if (!(off <= USER_TOWER_TOLERANCE)) {
            return vr_fail(VR_ERR_CHECKSUM, "golden case %u: user_tower[%u] is %.9g, expected %.9g, off by %.3g",
                           batch->first + i, c, (double)got[c], want[c], off);
        }
    }
    return VR_OK;
}

/* A case may tell of another video than the bundle's row is. Its heads say nothing of a video table, which knows the
 * row alone. */
static bool is_of_row(const struct batch *batch, uint32_t i)
{
    const struct vr_bundle *bundle = batch->engine->bundle;
    const uint32_t fields = vr_feature_field_count(bundle->features, VR_ENTITY_VIDEO);
    const double *told = batch->request[i].video_raw;
    double own[VR_VIDEO_FIELDS + VR_DECLARED_FIELDS_MAX];
    vr_engine_video_raw(batch->engine, *batch->request[i].row, own);
    for (uint32_t f = 0; f < fields; f++) {
        if (!vr_video_field_is_counter(f) && told[f] != own[f] && !(isnan(told[f]) && isnan(own[f]))) {
            return false;
        }
    }
    return true;
}

static enum vr_status check_heads(const struct batch *batch, uint32_t i, struct vr_golden_report *worst)
{
    const double *want = batch->engine->bundle->golden.heads + (size_t)(batch->first + i) * VR_HEAD_COUNT;
    const float *got = batch->result[i].heads;
    const struct vr_golden_bound bound = vr_golden_bound_of(batch->engine);
    for (uint32_t h = 0; h < VR_HEAD_COUNT; h++) {
        const double off = fabs((double)got[h] - want[h]);
        const double relative = off / fmax(fabs(want[h]), 1.0);
        double *largest = h == VR_HEAD_WATCH_S ? &worst->watch_s_relative : &worst->probability;
        const double judged = h == VR_HEAD_WATCH_S ? relative : off;
        const double allowed = h == VR_HEAD_WATCH_S ? bound.watch_s : bound.probability;
        *largest = judged > *largest ? judged : *largest;
        if (!(judged <= allowed)) {
            return vr_fail(VR_ERR_CHECKSUM, "golden case %u: %s is %.9g, expected %.9g, off by %.3g", batch->first + i,
                           head_names[h], (double)got[h], want[h], off);
        }
    }
    return VR_OK;
}

static uint32_t agreement(const int32_t *got, const int32_t *want, uint32_t count)
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < count; j++) {
            hits += got[i] == want[j];
        }
    }
    return hits;
}

/* A bundle has at least ten videos, so both lists are full. */
static enum vr_status check_topk(const struct batch *batch, uint32_t i, struct vr_golden_report *worst)
{
    const struct vr_golden *golden = &batch->engine->bundle->golden;
    const uint32_t at = batch->first + i;
    if (at >= golden->topk_count) {
        return VR_OK;
    }
    const int32_t *got = (const int32_t *)batch->slot->retrieval.tower_row.host + (size_t)i * TOP;
    const uint32_t hits = agreement(got, golden->topk + (size_t)at * TOP, TOP);
    worst->topk_worst_agreement = hits < worst->topk_worst_agreement ? hits : worst->topk_worst_agreement;
    const enum vr_index_kind kind = vr_index_kind_on(batch->engine->backend, batch->engine->options.index.kind);
    const bool exact = kind == VR_INDEX_EXACT || kind == VR_INDEX_EXACT_INT8 || kind == VR_INDEX_FAISS_FLAT;
    if (exact && hits < TOP_AGREE) {
        return vr_fail(VR_ERR_CHECKSUM, "golden case %u: %u of the top %u rows agree", at, hits, TOP);
    }
    return VR_OK;
}

/* The users' vectors that the ranking computed, against all videos, for the cases that have a list. */
static enum vr_status search(struct batch *batch)
{
    struct vr_engine_slot *slot = batch->slot;
    if (batch->first >= slot->engine->bundle->golden.topk_count) {
        return VR_OK;
    }
    const struct vr_view users = slot->ranking.vector[ENGINE_USER_TOWER].device;
    slot_lay_retrieval(slot, batch->count, TOP, 0);
    const struct engine_retrieval *at = &slot->retrieval;
    const enum vr_status status =
        slot_search(slot, slot->engine->tower_index, users, batch->count, TOP, &at->tower_row, &at->tower_score, false);
    return status == VR_OK ? slot_copy(slot, slot->out.staging, slot->out.device, at->out_bytes) : status;
}

static enum vr_status run_batch(struct batch *batch)
{
    const uint64_t deadline = vr_clock_mono_us() + LIMIT_US;
    fill_batch(batch);
    enum vr_status status = vr_engine_score(batch->slot, batch->count, batch->request, deadline, batch->result);
    if (status == VR_OK) {
        status = search(batch);
    }
    return status == VR_OK ? slot_wait(batch->slot, deadline) : status;
}

static enum vr_status check_batch(struct batch *batch, struct vr_golden_report *worst)
{
    enum vr_status status = run_batch(batch);
    for (uint32_t i = 0; status == VR_OK && i < batch->count; i++) {
        status = check_user_tower(batch, i, worst);
        if (status == VR_OK && (!engine_has_table(batch->engine) || is_of_row(batch, i))) {
            worst->heads++;
            status = check_heads(batch, i, worst);
        }
        if (status == VR_OK) {
            status = check_topk(batch, i, worst);
        }
    }
    return status;
}

enum vr_status vr_engine_selftest(struct vr_engine *engine, struct vr_golden_report *worst)
{
    struct vr_golden_report report = {.topk_worst_agreement = TOP, .precision = vr_engine_precision(engine)};
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the self-test");
    }
    batch->engine = engine;
    enum vr_status status = vr_engine_slot_create(engine, BATCH, 1, TOP, &batch->slot);
    const uint32_t cases = engine->bundle->golden.count;
    const uint64_t begun_us = vr_clock_mono_us();
    for (batch->first = 0; status == VR_OK && batch->first < cases; batch->first += BATCH) {
        batch->count = cases - batch->first < BATCH ? cases - batch->first : BATCH;
        status = check_batch(batch, &report);
        report.cases += batch->count;
    }
    report.took_us = vr_clock_mono_us() - begun_us;
    if (status == VR_OK && report.heads == 0) {
        status =
            vr_fail(VR_ERR_CHECKSUM, "no golden case tells of a video as the bundle's row has it, so nothing shows "
                                     "that the video table is right");
    }
    vr_engine_slot_destroy(batch->slot);
    free(batch);
    if (worst != NULL) {
        *worst = report;
    }
    return status;
}

static enum vr_status create_tested(struct vr_backend *backend, const struct vr_bundle *bundle,
                                    const struct vr_engine_options *options, struct vr_golden_report *worst,
                                    struct vr_engine **out)
{
    struct vr_engine *engine = NULL;
    enum vr_status status = vr_engine_create_with(backend, bundle, options, &engine);
    if (status == VR_OK) {
        status = vr_engine_selftest(engine, worst);
    }
    if (status != VR_OK) {
        vr_engine_destroy(engine);
        return status;
    }
    *out = engine;
    return VR_OK;
}

enum vr_status vr_engine_create_tested(struct vr_backend *backend, const struct vr_bundle *bundle,
                                       const struct vr_engine_options *options, struct vr_golden_report *worst,
                                       struct vr_engine **out)
{
    struct vr_golden_report report = {0};
    enum vr_status status = create_tested(backend, bundle, options, &report, out);
    if (status == VR_ERR_CHECKSUM && options->precision == VR_PRECISION_AUTO && report.precision != VR_PRECISION_F32) {
        struct vr_engine_options exact = *options;
        exact.precision = VR_PRECISION_F32;
        vr_log(VR_LOG_WARN, "ranker_in_float32", "reason=\"%s\"", vr_error_text());
        status = create_tested(backend, bundle, &exact, &report, out);
    }
    if (worst != NULL) {
        *worst = report;
    }
    return status;
}
