/* The ranker alone on one thread, through the engine: one request of ROWS candidates in each precision that this
 * processor has, without and with a video table, in turns, beside the processor's limit (multiply-adds of registers, in
 * the same run). Medians of the process's CPU time, which other programs on the machine disturb less than the clock's.
 *
 * Usage: bench_ranker BUNDLE [ROWS [TURNS [HEADS [KIND]]]]; one line of JSON a kind: fp32, bf16, int8, fp32_table,
 * bf16_table, int8_table. HEADS is a prefix: the heads of the first request go to HEADS.KIND as float32 [ROWS, 4], so
 * that bench/peers/ranker.py can judge them. The request is golden case 0 with rows 3, 3 + 7919, ... modulo the number
 * of videos. */
#include <immintrin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vireo/engine.h"

#define TURNS_MAX 201u
#define KINDS 6u
#define FAR (UINT64_MAX / 2)

static const struct {
    enum vr_precision precision;
    const char *name;
    bool table;
} kinds[KINDS] = {
    {VR_PRECISION_F32, "fp32", false},       {VR_PRECISION_BF16, "bf16", false},
    {VR_PRECISION_INT8, "int8", false},      {VR_PRECISION_F32, "fp32_table", true},
    {VR_PRECISION_BF16, "bf16_table", true}, {VR_PRECISION_INT8, "int8_table", true},
};

/* One kind's engine and times. */
struct entry {
    struct vr_engine *engine;
    struct vr_engine_slot *slot;
    double us[TURNS_MAX];
};

struct bench {
    struct vr_bundle *bundle;
    struct vr_backend *backend;
    struct vr_engine_rank request;
    struct entry entry[KINDS];
    double limit[TURNS_MAX]; /* GFLOP/s */
    uint32_t turns;
    const char *only; /* this kind; NULL: all */
};

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *value, uint32_t count)
{
    qsort(value, count, sizeof *value, ascending);
    return value[count / 2];
}

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

/* ---- the limit ---- */

#define CHAINS 12u
#define STEPS 200000u

__attribute__((target("avx512f"))) static double chains_avx512(void)
{
    __m512 sum[CHAINS];
    const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
#pragma GCC unroll 12
    for (uint32_t i = 0; i < CHAINS; i++) {
        sum[i] = _mm512_set1_ps((float)i);
    }
    const double start = cpu_us();
    for (uint32_t s = 0; s < STEPS; s++) {
#pragma GCC unroll 12
        for (uint32_t i = 0; i < CHAINS; i++) {
            sum[i] = _mm512_fmadd_ps(sum[i], x, y);
            __asm__ volatile("" : "+v"(sum[i]));
        }
    }
    return (double)STEPS * CHAINS * 32.0 / (cpu_us() - start) / 1e3;
}

__attribute__((target("avx2,fma"))) static double chains_avx2(void)
{
    __m256 sum[CHAINS];
    const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
#pragma GCC unroll 12
    for (uint32_t i = 0; i < CHAINS; i++) {
        sum[i] = _mm256_set1_ps((float)i);
    }
    const double start = cpu_us();
    for (uint32_t s = 0; s < STEPS; s++) {
#pragma GCC unroll 12
        for (uint32_t i = 0; i < CHAINS; i++) {
            sum[i] = _mm256_fmadd_ps(sum[i], x, y);
            __asm__ volatile("" : "+x"(sum[i]));
        }
    }
    return (double)STEPS * CHAINS * 16.0 / (cpu_us() - start) / 1e3;
}

static double limit_now(void)
{
    if (__builtin_cpu_supports("avx512f")) {
        return chains_avx512();
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? chains_avx2() : NAN;
}

/* Columns of a row that are multiplied for it. */
static uint32_t own_columns(const struct vr_bundle *bundle, bool table)
{
    const struct vr_feature_block *video = &bundle->ranker.block[VR_ENTITY_VIDEO];
    struct vr_feature_block counters = {.width = video->width};
    if (table && vr_feature_block_part(bundle->features, video, false, &counters) == VR_OK) {
        vr_feature_block_destroy(&counters);
    }
    return counters.width + bundle->ranker.block[VR_ENTITY_PAIR].width;
}

/* MFLOP of one row's own part, as the engine does it. */
static double row_mflop(const struct vr_bundle *bundle, bool table)
{
    const struct vr_ranker *ranker = &bundle->ranker;
    double sum = 0.0;
    uint32_t width = 0;
    for (uint32_t l = 0; l < ranker->level_count; l++) {
        const struct vr_level *level = &ranker->level[l];
        const uint32_t own = l > 0 ? level->in : own_columns(bundle, table);
        width = level->width;
        sum += (double)level->experts * level->hidden * (own + level->width);
        sum += (double)level->gates * level->experts * (own + level->width);
    }
    for (uint32_t t = 0; t < VR_HEAD_COUNT; t++) {
        sum += (double)ranker->tower_hidden * (width + ranker->task[t].outputs);
    }
    return 2.0 * sum / 1e6;
}

/* ---- the request ---- */

static enum vr_status make_request(struct bench *bench, uint32_t rows)
{
    const struct vr_bundle *bundle = bench->bundle;
    const uint32_t fields = vr_feature_field_count(bundle->features, VR_ENTITY_VIDEO);
    const struct vr_engine *engine = NULL;
    for (uint32_t k = 0; k < KINDS && engine == NULL; k++) {
        engine = bench->entry[k].engine;
    }
    if (engine == NULL) {
        return vr_fail(VR_ERR_UNSUPPORTED, "no such precision here");
    }
    int32_t *row = calloc(rows, sizeof *row);
    double *video = calloc((size_t)rows * fields, sizeof *video);
    double *pair = calloc((size_t)rows * VR_PAIR_FIELDS, sizeof *pair);
    float *user = calloc(bundle->tower_dim, sizeof *user);
    if (row == NULL || video == NULL || pair == NULL || user == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the request");
    }
    for (uint32_t i = 0; i < rows; i++) {
        row[i] = (int32_t)((3 + 7919ull * i) % bundle->videos.count);
        vr_engine_video_raw(engine, row[i], video + (size_t)i * fields);
        pair[(size_t)i * VR_PAIR_FIELDS] = i;
    }
    for (uint32_t i = 0; i < bundle->tower_dim; i++) {
        user[i] = (float)bundle->golden.user_tower[i];
    }
    bench->request = (struct vr_engine_rank){
        .viewer_raw = bundle->golden.viewer_raw,
        .context_raw = bundle->golden.context_raw,
        .hist_tower = bundle->golden.hist_tower,
        .hist_content = bundle->golden.hist_content,
        .user_tower = user,
        .row = row,
        .video_raw = video,
        .pair_raw = pair,
        .candidates = rows,
    };
    return VR_OK;
}

static void drop_request(struct bench *bench)
{
    free((void *)(uintptr_t)bench->request.row);
    free((void *)(uintptr_t)bench->request.video_raw);
    free((void *)(uintptr_t)bench->request.pair_raw);
    free((void *)(uintptr_t)bench->request.user_tower);
}

/* ---- turns ---- */

static enum vr_status open_entry(struct bench *bench, uint32_t k, uint32_t rows)
{
    const struct vr_engine_options options = {.precision = kinds[k].precision,
                                              .video_table_bytes = kinds[k].table ? UINT64_MAX : 0};
    struct entry *entry = &bench->entry[k];
    enum vr_status status = vr_engine_create_with(bench->backend, bench->bundle, &options, &entry->engine);
    if (status == VR_ERR_UNSUPPORTED && kinds[k].precision != VR_PRECISION_F32) {
        fprintf(stderr, "%s: not there: %s\n", kinds[k].name, vr_error_text());
        return VR_OK;
    }
    return status == VR_OK ? vr_engine_slot_create(entry->engine, 1, rows, 1, &entry->slot) : status;
}

static enum vr_status one_turn(struct bench *bench, uint32_t turn)
{
    bench->limit[turn] = limit_now();
    for (uint32_t k = 0; k < KINDS; k++) {
        struct vr_engine_ranked ranked;
        struct entry *entry = &bench->entry[k];
        if (entry->slot == NULL) {
            continue;
        }
        enum vr_status status = VR_OK;
        double start = 0.0;
        for (uint32_t call = 0; status == VR_OK && call < 6; call++) { /* the first warms up */
            start = call == 1 ? cpu_us() : start;
            status = vr_engine_score(entry->slot, 1, &bench->request, FAR, &ranked);
        }
        entry->us[turn] = (cpu_us() - start) / 5.0;
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

static enum vr_status write_heads(struct bench *bench, uint32_t k, const char *prefix)
{
    char path[4096];
    struct vr_engine_ranked ranked;
    snprintf(path, sizeof path, "%s.%s", prefix, kinds[k].name);
    const enum vr_status status = vr_engine_score(bench->entry[k].slot, 1, &bench->request, FAR, &ranked);
    FILE *file = status == VR_OK ? fopen(path, "wb") : NULL;
    if (file == NULL) {
        return status != VR_OK ? status : vr_fail(VR_ERR_IO, "cannot write %s", path);
    }
    const size_t count = (size_t)bench->request.candidates * VR_HEAD_COUNT;
    const bool whole = fwrite(ranked.heads, sizeof(float), count, file) == count;
    return fclose(file) == 0 && whole ? VR_OK : vr_fail(VR_ERR_IO, "cannot write %s", path);
}

static void report(struct bench *bench)
{
    const double limit = median(bench->limit, bench->turns);
    for (uint32_t k = 0; k < KINDS; k++) {
        if (bench->entry[k].slot == NULL) {
            continue;
        }
        const double us = median(bench->entry[k].us, bench->turns), mflop = row_mflop(bench->bundle, kinds[k].table);
        const double gflops = mflop * bench->request.candidates / us * 1e3;
        printf("{\"engine\": \"vireo\", \"kind\": \"%s\", \"rows\": %u, \"us\": %.1f, \"requests_per_s\": %.1f, "
               "\"mflop_a_row\": %.3f, \"gflops\": %.1f, \"fma_limit_gflops\": %.1f, \"of_limit\": %.3f}\n",
               kinds[k].name, bench->request.candidates, us, 1e6 / us, mflop, gflops, limit, gflops / limit);
    }
}

static enum vr_status run(struct bench *bench, const char *bundle, uint32_t rows, const char *heads)
{
    enum vr_status status = vr_bundle_open(bundle, &bench->bundle);
    status = status == VR_OK ? vr_backend_open("cpu", 1, &bench->backend) : status;
    for (uint32_t k = 0; status == VR_OK && k < KINDS; k++) {
        const bool wanted = bench->only == NULL || strcmp(bench->only, kinds[k].name) == 0;
        status = wanted ? open_entry(bench, k, rows) : VR_OK;
    }
    status = status == VR_OK ? make_request(bench, rows) : status;
    for (uint32_t turn = 0; status == VR_OK && turn < bench->turns; turn++) {
        status = one_turn(bench, turn);
    }
    for (uint32_t k = 0; status == VR_OK && heads != NULL && k < KINDS; k++) {
        status = bench->entry[k].slot == NULL ? VR_OK : write_heads(bench, k, heads);
    }
    if (status == VR_OK) {
        report(bench);
    }
    return status;
}

static void close_all(struct bench *bench)
{
    drop_request(bench);
    for (uint32_t k = 0; k < KINDS; k++) {
        vr_engine_slot_destroy(bench->entry[k].slot);
        vr_engine_destroy(bench->entry[k].engine);
    }
    vr_backend_destroy(bench->backend);
    vr_bundle_close(bench->bundle);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    const long rows = argc > 2 ? strtol(argv[2], NULL, 10) : 300, turns = argc > 3 ? strtol(argv[3], NULL, 10) : 15;
    if (argc < 2 || argc > 6 || rows < 1 || rows > 100000 || turns < 1 || turns > (long)TURNS_MAX) {
        fprintf(stderr, "usage: bench_ranker BUNDLE [ROWS [TURNS [HEADS [KIND]]]]\n");
        return 2;
    }
    bench.turns = (uint32_t)turns;
    bench.only = argc > 5 ? argv[5] : NULL;
    const enum vr_status status = run(&bench, argv[1], (uint32_t)rows, argc > 4 ? argv[4] : NULL);
    if (status != VR_OK) {
        fprintf(stderr, "%s\n", vr_error_text());
    }
    close_all(&bench);
    return status == VR_OK ? 0 : 1;
}
