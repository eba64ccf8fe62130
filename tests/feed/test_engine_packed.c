/* The engine with weights that the CPU packed, in float32, bfloat16 and int8: golden outputs of all architectures, the
 * same bits alone, in a batch and in any chunk, experts one at a time or together, and what is refused when. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_engine.h"

#define REQUESTS 7u
#define CANDIDATES 60u

static const enum vr_precision precisions[] = {VR_PRECISION_F32, VR_PRECISION_BF16, VR_PRECISION_INT8};
static const enum vr_element element_of[] = {VR_ELEMENT_F32, VR_ELEMENT_BF16, VR_ELEMENT_I8};
static const char *const names[] = {"float32", "bfloat16", "int8"};
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

static struct vr_engine *engine_of(enum vr_precision precision)
{
    const struct vr_engine_options options = {.index = {.kind = VR_INDEX_EXACT}, .precision = precision};
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

Test(engine_packed, golden_outputs_of_every_architecture)
{
    for (size_t a = 0; a < sizeof architectures / sizeof architectures[0]; a++) {
        rig_open(architectures[a]);
        for (size_t p = 0; p < 3; p++) {
            if (!is_there(p)) {
                continue;
            }
            struct vr_golden_report worst;
            struct vr_engine *engine = engine_of(precisions[p]);
            cr_assert_eq(vr_engine_precision(engine), precisions[p]);
            cr_expect_eq(vr_engine_selftest(engine, &worst), VR_OK, "%s, %s: %s", architectures[a], names[p],
                         vr_error_text());
            cr_log_info("%s, %s: probability %.2g, watch_s %.2g", architectures[a], names[p], worst.probability,
                        worst.watch_s_relative);
            cr_expect_eq(worst.precision, precisions[p]);
            vr_engine_destroy(engine);
        }
        rig_close();
    }
}

/* ---- bits ---- */

static struct engine_case cases[REQUESTS];

static void make_ranks(const struct vr_engine *engine, struct vr_engine_rank *rank)
{
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(engine, 100 + r, r == 4 ? 0 : 1 + r * 9, r % 2 == 1, &cases[r]);
        rank[r] = engine_case_rank(&cases[r]);
        rank[r].want_gates = true;
    }
}

static void check_same(const struct vr_engine_ranked *a, const struct vr_engine_ranked *b, uint32_t r, const char *name)
{
    const struct vr_level *last = &rig.bundle->ranker.level[rig.bundle->ranker.level_count - 1];
    const size_t rows = cases[r].candidates, gates = (size_t)last->gates * last->experts;
    cr_assert_eq(memcmp(a->heads, b->heads, rows * VR_HEAD_COUNT * sizeof(float)), 0, "%s: heads of %u", name, r);
    cr_assert_eq(memcmp(a->gates, b->gates, rows * gates * sizeof(float)), 0, "%s: gates of %u", name, r);
}

/* Slots of one request, of all, in chunks of 32 rows, and with all experts at a time. */
static void check_bits(size_t p)
{
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked whole[REQUESTS], other[REQUESTS], together[REQUESTS], one;
    struct vr_engine *engine = engine_of(precisions[p]);
    struct vr_engine_slot *large = slot_of(engine, REQUESTS), *alone = slot_of(engine, 1);
    rig.ops.preferred_rows = 32;
    struct vr_engine_slot *small = slot_of(engine, REQUESTS);
    make_ranks(engine, rank);
    cr_assert_eq(vr_engine_score(large, REQUESTS, rank, ENGINE_SOON, whole), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_score(small, REQUESTS, rank, ENGINE_SOON, other), VR_OK, "%s", vr_error_text());
    rig.ops.preferred_experts = 0;
    struct vr_engine_slot *all = slot_of(engine, REQUESTS);
    cr_assert_eq(vr_engine_score(all, REQUESTS, rank, ENGINE_SOON, together), VR_OK, "%s", vr_error_text());
    rig.ops.preferred_experts = plain->preferred_experts;
    for (uint32_t r = 0; r < REQUESTS; r++) {
        cr_assert_eq(vr_engine_score(alone, 1, &rank[r], ENGINE_SOON, &one), VR_OK, "%s", vr_error_text());
        check_same(&whole[r], &one, r, names[p]);
        check_same(&whole[r], &other[r], r, names[p]);
        check_same(&whole[r], &together[r], r, names[p]);
    }
    vr_engine_slot_destroy(large);
    vr_engine_slot_destroy(alone);
    vr_engine_slot_destroy(small);
    vr_engine_slot_destroy(all);
    vr_engine_destroy(engine);
}

Test(engine_packed, same_answer_alone_in_a_batch_and_in_any_chunk)
{
    for (size_t a = 0; a < 2; a++) {
        rig_open(architectures[a]);
        for (size_t p = 0; p < 3; p++) {
            if (is_there(p)) {
                check_bits(p);
            }
        }
        rig_close();
    }
}

/* Packed float32 and rows of float32: the same sums, so the same bits. */
Test(engine_packed, float32_is_the_same_packed_and_in_rows)
{
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked packed[REQUESTS], rows[REQUESTS];
    rig_open("ple");
    struct vr_engine *engine = engine_of(VR_PRECISION_F32);
    rig.ops.weights_bytes = NULL;
    struct vr_engine *other = engine_of(VR_PRECISION_F32);
    struct vr_engine_slot *slot = slot_of(engine, REQUESTS), *other_slot = slot_of(other, REQUESTS);
    make_ranks(engine, rank);
    cr_assert_eq(vr_engine_score(slot, REQUESTS, rank, ENGINE_SOON, packed), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_score(other_slot, REQUESTS, rank, ENGINE_SOON, rows), VR_OK, "%s", vr_error_text());
    for (uint32_t r = 0; r < REQUESTS; r++) {
        check_same(&packed[r], &rows[r], r, "rows");
    }
    vr_engine_slot_destroy(slot);
    vr_engine_slot_destroy(other_slot);
    vr_engine_destroy(engine);
    vr_engine_destroy(other);
    rig_close();
}

/* ---- when ---- */

static enum vr_status refuse(const struct vr_backend *backend, enum vr_element element, uint32_t out, uint32_t in,
                             size_t *bytes)
{
    return element == VR_ELEMENT_F32 ? plain->weights_bytes(backend, element, out, in, bytes)
                                     : vr_fail(VR_ERR_UNSUPPORTED, "this processor has no such products");
}

static enum vr_status refuse_all(const struct vr_backend *backend, enum vr_element element, uint32_t out, uint32_t in,
                                 size_t *bytes)
{
    (void)backend, (void)element, (void)out, (void)in, (void)bytes;
    return vr_fail(VR_ERR_UNSUPPORTED, "nothing is packed here");
}

/* What an engine runs in, and memory is told for; -1: refused as unsupported with these words. */
static int runs_in(enum vr_precision precision, const char *words)
{
    const struct vr_engine_options options = {.index = {.kind = VR_INDEX_EXACT}, .precision = precision};
    const struct vr_engine_shape shape = {1, 2, 8, 1};
    struct vr_engine_memory memory;
    struct vr_engine *engine = NULL;
    const enum vr_status told = vr_engine_memory_needed(rig.cpu, rig.bundle, &options, &shape, &memory);
    const enum vr_status status = vr_engine_create_with(rig.cpu, rig.bundle, &options, &engine);
    cr_assert_eq(told, status);
    if (status != VR_OK) {
        cr_assert_eq(status, VR_ERR_UNSUPPORTED, "%s", vr_error_text());
        cr_assert(strstr(vr_error_text(), words) != NULL, "%s", vr_error_text());
        return -1;
    }
    const enum vr_precision got = vr_engine_precision(engine);
    cr_assert_eq(vr_engine_bytes(engine), memory.engine);
    vr_engine_destroy(engine);
    return (int)got;
}

Test(engine_packed, are_a_matter_of_the_processor)
{
    rig_open("mmoe");
    cr_expect_eq(runs_in(VR_PRECISION_F32, ""), VR_PRECISION_F32);
    for (size_t p = 1; p < 3; p++) {
        cr_expect_eq(runs_in(precisions[p], "no instructions"), is_there(p) ? (int)precisions[p] : -1);
    }
    cr_expect_eq(runs_in(VR_PRECISION_AUTO, ""), VR_PRECISION_F32, "nobody asked for less");
    rig.ops.weights_bytes = refuse;
    cr_expect_eq(runs_in(VR_PRECISION_F32, ""), VR_PRECISION_F32);
    cr_expect_eq(runs_in(VR_PRECISION_BF16, "no such products"), -1);
    cr_expect_eq(runs_in(VR_PRECISION_INT8, "no such products"), -1);
    cr_expect_eq(runs_in(VR_PRECISION_AUTO, ""), VR_PRECISION_F32);
    rig.ops.weights_bytes = refuse_all; /* rows serve for float32 */
    cr_expect_eq(runs_in(VR_PRECISION_F32, ""), VR_PRECISION_F32);
    rig.ops.weights_bytes = NULL;
    cr_expect_eq(runs_in(VR_PRECISION_F32, ""), VR_PRECISION_F32);
    cr_expect_eq(runs_in(VR_PRECISION_BF16, "backend has no bfloat16"), -1);
    cr_expect_eq(runs_in(VR_PRECISION_INT8, "backend has no bfloat16"), -1);
    cr_expect_eq(runs_in(VR_PRECISION_AUTO, ""), VR_PRECISION_F32);
    rig_close();
}

/* Weights that are wrong in bfloat16 and int8. */
static void pack_wrongly(enum vr_element element, uint32_t out, uint32_t in, const float *from, size_t from_stride,
                         void *to)
{
    plain->weights_pack(element, out, in, from, from_stride, to);
    if (element != VR_ELEMENT_F32) {
        memset(to, 0x3f, 64);
    }
}

static enum vr_status tested(enum vr_precision precision, struct vr_golden_report *report)
{
    const struct vr_engine_options options = {.index = {.kind = VR_INDEX_EXACT}, .precision = precision};
    struct vr_engine *engine = NULL;
    const enum vr_status status = vr_engine_create_tested(rig.cpu, rig.bundle, &options, report, &engine);
    vr_engine_destroy(engine);
    return status;
}

Test(engine_packed, what_misses_the_golden_outputs_is_refused)
{
    struct vr_golden_report report;
    rig_open("mmoe");
    for (size_t p = 0; p < 3; p++) {
        if (is_there(p)) {
            rig.ops.weights_pack = plain->weights_pack;
            cr_expect_eq(tested(precisions[p], &report), VR_OK, "%s: %s", names[p], vr_error_text());
            cr_expect_eq(report.precision, precisions[p]);
            rig.ops.weights_pack = pack_wrongly;
            cr_expect_eq(tested(precisions[p], &report), p == 0 ? VR_OK : VR_ERR_CHECKSUM, "%s", names[p]);
        }
    }
    rig_close();
}
