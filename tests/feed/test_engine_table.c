/* The engine with a video table: heads near those without it and within the golden bound in every architecture and
 * precision, the same bits alone, in a batch and in any chunk, its memory told and bounded, and when there is none. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_engine.h"

#define REQUESTS 5u
#define CANDIDATES 60u
#define PLENTY (64u << 20)

static const enum vr_precision precisions[] = {VR_PRECISION_F32, VR_PRECISION_BF16, VR_PRECISION_INT8};
static const enum vr_element element_of[] = {VR_ELEMENT_F32, VR_ELEMENT_BF16, VR_ELEMENT_I8};
static const char *const architectures[] = {"mmoe", "ple", "hard", "moe"};

static const struct vr_backend_ops *plain;
static struct rig {
    struct vr_bundle *bundle;
    struct vr_backend *cpu;
    struct vr_backend_ops ops; /* the CPU's, to be changed */
} rig;

static void rig_open(const char *architecture)
{
    rig.bundle = engine_bundle(architecture);
    cr_assert_eq(vr_backend_open("cpu", 1, &rig.cpu), VR_OK);
    plain = rig.cpu->ops;
    rig.ops = *plain;
    rig.cpu->ops = &rig.ops;
}

static void rig_close(void)
{
    rig.cpu->ops = plain;
    vr_backend_destroy(rig.cpu);
    vr_bundle_close(rig.bundle);
}

static bool is_there(size_t p)
{
    size_t bytes = 0;
    return rig.cpu->ops->weights_bytes(rig.cpu, element_of[p], 8, 8, &bytes) == VR_OK;
}

static struct vr_engine_options options_of(enum vr_precision precision, uint64_t table_bytes)
{
    return (struct vr_engine_options){
        .index = {.kind = VR_INDEX_EXACT}, .precision = precision, .video_table_bytes = table_bytes};
}

static struct vr_engine *engine_of(enum vr_precision precision, uint64_t table_bytes)
{
    const struct vr_engine_options options = options_of(precision, table_bytes);
    struct vr_engine *engine = NULL;
    cr_assert_eq(vr_engine_create_with(rig.cpu, rig.bundle, &options, &engine), VR_OK, "%s", vr_error_text());
    return engine;
}

static struct vr_engine_slot *slot_of(struct vr_engine *engine, uint32_t requests)
{
    struct vr_engine_slot *slot = NULL;
    cr_assert_eq(vr_engine_slot_create(engine, requests, CANDIDATES, 1, &slot), VR_OK, "%s", vr_error_text());
    return slot;
}

/* ---- answers ---- */

static struct engine_case cases[REQUESTS];

/* Rows of videos with counters, one of them unknown to the bundle. */
static void make_ranks(const struct vr_engine *engine, struct vr_engine_rank *rank)
{
    const uint32_t fields = vr_feature_field_count(rig.bundle->features, VR_ENTITY_VIDEO);
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(engine, 300 + r, r == 3 ? 0 : 1 + r * 14, r % 2 == 1, &cases[r]);
        for (uint32_t c = 0; c < cases[r].candidates; c++) {
            for (uint32_t f = VR_VIDEO_IMPRESSIONS; f <= VR_VIDEO_WATCH_S; f++) {
                cases[r].video_raw[c * fields + f] = (r + 1) * 10.0 + c % 7 * 3.0 + f;
            }
        }
        rank[r] = engine_case_rank(&cases[r]);
        rank[r].want_gates = true;
    }
}

static void score(struct vr_engine_slot *slot, const struct vr_engine_rank *rank, uint32_t requests,
                  struct vr_engine_ranked *result)
{
    cr_assert_eq(vr_engine_score(slot, requests, rank, ENGINE_SOON, result), VR_OK, "%s", vr_error_text());
}

/* The largest difference of a probability, or of the seconds relative to them. */
static double difference(const struct vr_engine_ranked *a, const struct vr_engine_ranked *b)
{
    double largest = 0.0;
    for (uint32_t r = 0; r < REQUESTS; r++) {
        for (uint32_t i = 0; i < cases[r].candidates * VR_HEAD_COUNT; i++) {
            const bool seconds = i % VR_HEAD_COUNT == VR_HEAD_WATCH_S;
            const double scale = seconds ? fmax(fabs((double)b[r].heads[i]), 1.0) : 1.0;
            largest = fmax(largest, fabs((double)a[r].heads[i] - (double)b[r].heads[i]) / scale);
        }
    }
    return largest;
}

/* In float32 the table's halves are all that differs; in the others the still columns are multiplied more exactly. */
static void check_near(const char *architecture, size_t p)
{
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked with[REQUESTS], without[REQUESTS];
    struct vr_engine *engine = engine_of(precisions[p], PLENTY), *other = engine_of(VR_PRECISION_F32, 0);
    struct vr_engine_slot *slot = slot_of(engine, REQUESTS), *other_slot = slot_of(other, REQUESTS);
    struct vr_golden_report worst;
    cr_assert(vr_engine_table_bytes(engine) > 0 && vr_engine_table_bytes(other) == 0);
    make_ranks(engine, rank);
    score(slot, rank, REQUESTS, with);
    score(other_slot, rank, REQUESTS, without);
    const double off = difference(with, without), bound = p == 0 ? 1e-3 : vr_golden_bound_of(engine).watch_s;
    cr_expect(off > 0.0 && off <= bound, "%s, %zu: %g", architecture, p, off);
    cr_expect_eq(vr_engine_selftest(engine, &worst), VR_OK, "%s, %zu: %s", architecture, p, vr_error_text());
    cr_expect_eq(worst.heads, worst.cases);
    vr_engine_slot_destroy(slot);
    vr_engine_slot_destroy(other_slot);
    vr_engine_destroy(engine);
    vr_engine_destroy(other);
}

Test(engine_table, heads_are_near_those_without)
{
    for (size_t a = 0; a < sizeof architectures / sizeof architectures[0]; a++) {
        rig_open(architectures[a]);
        for (size_t p = 0; p < 3; p++) {
            if (is_there(p)) {
                check_near(architectures[a], p);
            }
        }
        rig_close();
    }
}

static void check_same(const struct vr_engine_ranked *a, const struct vr_engine_ranked *b, uint32_t r, const char *name)
{
    const struct vr_level *last = &rig.bundle->ranker.level[rig.bundle->ranker.level_count - 1];
    const size_t rows = cases[r].candidates, gates = (size_t)last->gates * last->experts;
    cr_assert_eq(memcmp(a->heads, b->heads, rows * VR_HEAD_COUNT * sizeof(float)), 0, "%s: heads of %u", name, r);
    cr_assert_eq(memcmp(a->gates, b->gates, rows * gates * sizeof(float)), 0, "%s: gates of %u", name, r);
}

Test(engine_table, same_answer_alone_in_a_batch_and_in_any_chunk)
{
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked whole[REQUESTS], other[REQUESTS], together[REQUESTS], one;
    rig_open("mmoe");
    struct vr_engine *engine = engine_of(VR_PRECISION_F32, PLENTY);
    struct vr_engine_slot *large = slot_of(engine, REQUESTS), *alone = slot_of(engine, 1);
    rig.ops.preferred_rows = 32;
    struct vr_engine_slot *small = slot_of(engine, REQUESTS);
    make_ranks(engine, rank);
    score(large, rank, REQUESTS, whole);
    score(small, rank, REQUESTS, other);
    rig.ops.preferred_experts = 0;
    struct vr_engine_slot *all = slot_of(engine, REQUESTS);
    score(all, rank, REQUESTS, together);
    rig.ops.preferred_experts = plain->preferred_experts;
    for (uint32_t r = 0; r < REQUESTS; r++) {
        score(alone, &rank[r], 1, &one);
        check_same(&whole[r], &one, r, "alone");
        check_same(&whole[r], &other[r], r, "in chunks of 32");
        check_same(&whole[r], &together[r], r, "with all experts at a time");
    }
    vr_engine_slot_destroy(large);
    vr_engine_slot_destroy(alone);
    vr_engine_slot_destroy(small);
    vr_engine_slot_destroy(all);
    vr_engine_destroy(engine);
    rig_close();
}

/* Packed weights and rows of weights, the table beside both: the same sums. */
Test(engine_table, is_the_same_beside_rows_of_weights)
{
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked packed[REQUESTS], rows[REQUESTS];
    rig_open("ple");
    struct vr_engine *engine = engine_of(VR_PRECISION_F32, PLENTY);
    rig.ops.weights_bytes = NULL;
    struct vr_engine *other = engine_of(VR_PRECISION_F32, PLENTY);
    struct vr_engine_slot *slot = slot_of(engine, REQUESTS), *other_slot = slot_of(other, REQUESTS);
    make_ranks(engine, rank);
    score(slot, rank, REQUESTS, packed);
    score(other_slot, rank, REQUESTS, rows);
    for (uint32_t r = 0; r < REQUESTS; r++) {
        check_same(&packed[r], &rows[r], r, "rows");
    }
    vr_engine_slot_destroy(slot);
    vr_engine_slot_destroy(other_slot);
    vr_engine_destroy(engine);
    vr_engine_destroy(other);
    rig_close();
}

/* ---- whether there is one ---- */

/* Bytes of the table of such an engine, which are told beforehand. */
static uint64_t table_of(uint64_t most)
{
    const struct vr_engine_options options = options_of(VR_PRECISION_F32, most);
    const struct vr_engine_shape shape = {1, 2, 8, 1};
    struct vr_engine_memory memory;
    cr_assert_eq(vr_engine_memory_needed(rig.cpu, rig.bundle, &options, &shape, &memory), VR_OK, "%s", vr_error_text());
    struct vr_engine *engine = engine_of(VR_PRECISION_F32, most);
    const uint64_t bytes = vr_engine_table_bytes(engine);
    cr_expect_eq(memory.video_table, bytes);
    cr_expect_eq(memory.engine, vr_engine_bytes(engine));
    vr_engine_destroy(engine);
    return bytes;
}

Test(engine_table, is_there_where_it_is_asked_for_and_fits)
{
    rig_open("mmoe");
    const struct vr_level *level = &rig.bundle->ranker.level[0];
    const uint64_t outputs = level->experts * level->hidden + level->gates * level->experts;
    const uint64_t bytes = table_of(PLENTY);
    cr_expect_eq(bytes, (rig.bundle->videos.count + 1) * ((outputs + 31) / 32 * 32) * 2);
    cr_expect_eq(table_of(bytes), bytes);
    cr_expect_eq(table_of(bytes - 1), 0);
    cr_expect_eq(table_of(0), 0);
    rig.ops.linear_tables = false;
    cr_expect_eq(table_of(PLENTY), 0, "the backend adds none");
    rig_close();
}

/* ---- what is refused ---- */

static enum vr_status tested(uint64_t table_bytes, struct vr_golden_report *report)
{
    const struct vr_engine_options options = options_of(VR_PRECISION_F32, table_bytes);
    struct vr_engine *engine = NULL;
    const enum vr_status status = vr_engine_create_tested(rig.cpu, rig.bundle, &options, report, &engine);
    vr_engine_destroy(engine);
    return status;
}

/* A weight that no input ever meets without a table: the video's part is what grows too large. */
Test(engine_table, numbers_that_halves_do_not_hold_are_refused)
{
    rig_open("mmoe");
    struct vr_level *level = &rig.bundle->ranker.level[0];
    const size_t count = (size_t)level->experts * level->hidden * level->in;
    float *scaled = malloc(count * sizeof *scaled);
    for (size_t i = 0; i < count; i++) {
        scaled[i] = level->w1[i] * 1e6f;
    }
    level->w1 = scaled;
    const struct vr_engine_options options = options_of(VR_PRECISION_F32, PLENTY);
    struct vr_engine *engine = engine_of(VR_PRECISION_F32, 0);
    vr_engine_destroy(engine);
    cr_expect_eq(vr_engine_create_with(rig.cpu, rig.bundle, &options, &engine), VR_ERR_UNSUPPORTED);
    cr_expect(strstr(vr_error_text(), "out of the range of halves") != NULL, "%s", vr_error_text());
    free(scaled);
    rig_close();
}

/* Golden cases of other videos than the bundle's rows judge no table. */
Test(engine_table, is_judged_by_cases_of_its_videos)
{
    struct vr_golden_report report;
    rig_open("mmoe");
    struct vr_golden *golden = &rig.bundle->golden;
    const uint32_t fields = vr_feature_field_count(rig.bundle->features, VR_ENTITY_VIDEO);
    double *raw = malloc((size_t)golden->count * fields * sizeof *raw);
    memcpy(raw, golden->video_raw, (size_t)golden->count * fields * sizeof *raw);
    golden->video_raw = raw;
    raw[VR_VIDEO_DURATION_S] = 1e9; /* of the first case alone */
    cr_expect_eq(tested(PLENTY, &report), VR_OK, "%s", vr_error_text());
    cr_expect_eq(report.heads, golden->count - 1);
    for (uint32_t i = 0; i < golden->count; i++) {
        raw[i * fields + VR_VIDEO_DURATION_S] = 1e9;
    }
    cr_expect_eq(tested(PLENTY, &report), VR_ERR_CHECKSUM);
    cr_expect(strstr(vr_error_text(), "no golden case") != NULL, "%s", vr_error_text());
    free(raw);
    rig_close();
}

/* A table that is wrong misses the golden outputs. */
static enum vr_status gather_wrongly(struct vr_stream *stream, const struct vr_gather *args)
{
    struct vr_gather wrong = *args;
    wrong.segments -= args->segments > 1; /* the last columns stay what they were */
    return plain->gather(stream, &wrong);
}

Test(engine_table, what_misses_the_golden_outputs_is_refused)
{
    struct vr_engine *engine = NULL;
    struct vr_golden_report report;
    rig_open("mmoe");
    const struct vr_engine_options options = options_of(VR_PRECISION_F32, PLENTY);
    rig.ops.gather = gather_wrongly;
    cr_assert_eq(vr_engine_create_with(rig.cpu, rig.bundle, &options, &engine), VR_OK, "%s", vr_error_text());
    rig.ops.gather = plain->gather;
    cr_expect_eq(vr_engine_selftest(engine, &report), VR_ERR_CHECKSUM);
    vr_engine_destroy(engine);
    engine = engine_of(VR_PRECISION_F32, PLENTY);
    cr_expect_eq(vr_engine_selftest(engine, &report), VR_OK, "%s", vr_error_text());
    vr_engine_destroy(engine);
    rig_close();
}
