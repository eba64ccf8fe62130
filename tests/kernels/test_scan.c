/* The scan index over its sizes: rows about the capacity and the sample, queries about a tile and a pass, dimensions
 * about a chunk and a step, all tables, both codings, k past the rows. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_parity.h"
#include "support_scan.h"

TestSuite(scan, .init = open_cuda, .fini = close_cuda);

/* Without exclusions and with every third row excluded for odd queries; the first queries in float64 too. */
static void check_size(const struct setting *s, uint64_t seed)
{
    vr_emulator_seed(seed);
    struct pair pair;
    pair_open(&pair, s);
    pair_compare(&pair, NULL, NULL);
    for (uint32_t q = 0; q < s->queries && q < 2; q++) {
        const uint32_t found = check_answer(&pair.cuda, s, q, NULL, NULL), most = s->rows < s->k ? s->rows : s->k;
        cr_assert_eq(found, most);
        const double last = dot64(&pair.cuda, q, pair.cuda.row[(size_t)q * s->k + found - 1]);
        cr_assert_lt(clearly_above(&pair.cuda, s, q, last, NULL, NULL), found);
    }
    uint32_t *offset;
    int32_t *exclude = exclusions(s, 3, &offset);
    pair_compare(&pair, offset, exclude);
    const struct vr_scan_counts counts = pair_counts(&pair);
    const uint64_t all = 2ull * s->queries, small = s->rows <= VR_SCAN_CAPACITY ? all : 0;
    cr_assert_eq(counts.whole, small, "%llu", counts.whole);
    cr_assert_eq(counts.unbounded, 0);
    cr_assert_eq(counts.whole + counts.proved + counts.overflowed + counts.unproved, all);
    if (s->dim > 2) {
        cr_assert_eq(counts.whole + counts.proved, all, "%llu overflowed, %llu unproved", counts.overflowed,
                     counts.unproved);
    }
    parity_same_bits(s->kind == VR_INDEX_EXACT ? "scan f16" : "scan int8", 2, seed);
    free(offset);
    free(exclude);
    pair_close(&pair);
}

static struct setting sizes[] = {
    {.dtype = VR_TABLE_F16, .rows = 1, .queries = 3, .k = 1000, .dim = 24},
    {.dtype = VR_TABLE_I8, .rows = 127, .queries = 16, .k = 1, .dim = 1},
    {.dtype = VR_TABLE_F32, .rows = 129, .queries = 129, .k = 140, .dim = 31},
    {.dtype = VR_TABLE_F16, .rows = 8191, .queries = 17, .k = 100, .dim = 33},
    {.dtype = VR_TABLE_F32, .rows = 8192, .queries = 16, .k = 1000, .dim = 32},
    {.dtype = VR_TABLE_I8, .rows = 8193, .queries = 2, .k = 1, .dim = 31},
    {.dtype = VR_TABLE_F16, .rows = 8193, .queries = 130, .k = 10, .dim = 24},
    {.dtype = VR_TABLE_F32, .rows = 8300, .queries = 128, .k = 10, .dim = 40},
    {.dtype = VR_TABLE_F16, .rows = 500, .queries = 18, .k = 30, .dim = 256},
    {.dtype = VR_TABLE_F32, .rows = 10000, .queries = 3, .k = 10, .dim = 1},
    {.dtype = VR_TABLE_F16, .rows = 8300, .queries = 1, .k = 100, .dim = 96},
    {.dtype = VR_TABLE_F32, .rows = 1250, .queries = 1, .k = 1000, .dim = 128},
    {.dtype = VR_TABLE_I8, .rows = 8320, .queries = 2, .k = 100, .dim = 200},
    /* about the sample, and past it: what is not sampled has to be collected */
    {.dtype = VR_TABLE_F16, .rows = 32767, .queries = 1, .k = 100, .dim = 16},
    {.dtype = VR_TABLE_F32, .rows = 32768, .queries = 2, .k = 1000, .dim = 8},
    {.dtype = VR_TABLE_I8, .rows = 32769, .queries = 1, .k = 100, .dim = 12},
    {.dtype = VR_TABLE_F16, .rows = 41000, .queries = 17, .k = 100, .dim = 24},
    {.dtype = VR_TABLE_F32, .rows = 41000, .queries = 1, .k = 1000, .dim = 16},
};
#define SIZES (sizeof sizes / sizeof sizes[0])

ParameterizedTestParameters(scan, sizes)
{
    return cr_make_param_array(struct setting, sizes, SIZES);
}

/* Small ones under every seed, large ones under one that changes from row to row. */
ParameterizedTest(struct setting *given, scan, sizes)
{
    const bool large = given->rows > 128;
    const bool turns = given->rows > 30000 && getenv("VIREO_LONG") == NULL; /* the codings take turns */
    for (unsigned i = 0; i < 2 * SEEDS; i += large ? SEEDS : 1) {
        if (turns && (given->queries + given->k) % 2 != i / SEEDS) {
            continue;
        }
        struct setting s = *given;
        s.kind = scan_kinds[i / SEEDS];
        check_size(&s, 1 + (large ? s.rows + s.queries + s.dim : i) % SEEDS);
    }
}

/* Small whole numbers: the reference's plain C has the same sums, and ties abound. */
Test(scan, ties_are_the_references)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        check_ties(cuda, 9001);
    }
}

/* The same with int8, where 100 rows of the same score are nothing unusual: the smaller row comes first. */
Test(scan, ties_in_int8)
{
    const struct setting s = {
        .kind = VR_INDEX_EXACT_INT8, .rows = 9001, .queries = 5, .k = 100, .dtype = VR_TABLE_F16, .whole = true};
    struct pair pair;
    pair_open(&pair, &s);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        pair_compare(&pair, NULL, NULL);
    }
    pair_close(&pair);
}

Test(scan, alone_and_in_a_batch_of_7)
{
    for (unsigned i = 0; i < 2; i++) {
        vr_emulator_seed(1 + i);
        const struct setting s = {
            .kind = scan_kinds[i], .dtype = VR_TABLE_F32, .rows = 8300, .queries = 7, .k = 30, .dim = 48};
        check_alone_and_in_a_batch(cuda, &s);
    }
}

Test(scan, alone_and_in_a_batch_of_256)
{
    for (unsigned i = 0; i < 2; i++) {
        vr_emulator_seed(3 + i);
        const struct setting s = {
            .kind = scan_kinds[i], .dtype = VR_TABLE_F16, .rows = 300, .queries = 256, .k = 25, .dim = 24};
        check_alone_and_in_a_batch(cuda, &s);
    }
}

/* The queries past the 64th have one value each: their scores and thresholds are far below the others'. */
static void shape_thin_queries(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (uint32_t q = 64; q < s->queries; q++) {
        memset(w->query + (size_t)q * w->dim, 0, w->dim * sizeof(float));
        w->query[(size_t)q * w->dim + q] = 1.0f;
    }
}

/* Blocks with less shared memory take fewer queries a launch: here 64 and 16, each with its own threshold. */
Test(scan, small_devices)
{
    const struct setting s = {
        .dtype = VR_TABLE_F16, .rows = 8200, .queries = 80, .k = 10, .dim = 256, .shape = shape_thin_queries};
    reopen_with_shared(&cuda, SHARED_OF_86);
    vr_emulator_seed(1);
    struct pair pair;
    pair_open(&pair, &s);
    pair_sample(&pair, 1024);
    pair_compare(&pair, NULL, NULL);
    cr_assert_eq(pair_counts(&pair).proved, s.queries);
    cuda->device->seam.shared_bytes = 48 * 1024;
    cr_assert_eq(search(&pair.cuda, 1, s.k, pair.cuda.query, NULL, NULL), VR_ERR_UNSUPPORTED);
    pair_close(&pair);
}

Test(scan, devices_between)
{
    static const size_t shared[] = {SHARED_OF_86, SHARED_OF_80};
    for (unsigned i = 0; i < 2; i++) {
        reopen_with_shared(&cuda, shared[i]);
        struct setting s = {.dtype = VR_TABLE_F16, .rows = 140, .queries = 100, .k = 10, .dim = 256};
        check_size(&s, 1 + i);
        s.dtype = VR_TABLE_F32;
        s.dim = 128;
        check_size(&s, 3 + i);
    }
}

/* ---- failures of the device ---- */

/* Every call of the making fails once: nothing is left behind, and the next try succeeds. */
Test(scan, making_fails_at_every_call)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        const struct setting s = {.kind = scan_kinds[kind], .dtype = VR_TABLE_F32, .rows = 200, .queries = 2, .k = 5};
        struct world w = {0};
        world_open(&w, cuda, &s);
        struct vr_index_spec spec = {.config.kind = s.kind, .rows = s.rows, .dim = w.dim};
        spec.vectors = (struct vr_table){.rows = s.rows, .width = w.dim, .dtype = VR_TABLE_F32};
        spec.vectors.data = rig_put(&w.rig, w.vector, (size_t)s.rows * w.dim * sizeof(float));
        const size_t before = vr_emulator_memory_used();
        struct vr_index *index = NULL;
        enum vr_status status = VR_ERR_BACKEND;
        uint64_t failed = 0;
        for (; status != VR_OK; failed++) {
            vr_seam_fail(VR_SEAM_CALLS, failed + 1, VR_SEAM_FAIL_ONCE);
            status = cuda->ops->index_create(cuda, &spec, &index);
            vr_seam_heal();
            cr_assert(status == VR_OK || (index == NULL && vr_emulator_memory_used() == before), "call %u",
                      (unsigned)failed + 1);
        }
        cr_assert_gt(failed, 12);
        cuda->ops->index_destroy(index);
        cr_assert_eq(vr_emulator_memory_used(), before);
        world_close(&w);
    }
}

/* Every launch of a search fails once; the next search answers. */
Test(scan, searching_fails_at_every_launch)
{
    const struct setting s = {.dtype = VR_TABLE_F16, .rows = 8200, .queries = 2, .k = 5};
    struct pair pair;
    pair_open(&pair, &s);
    enum vr_status status = VR_ERR_BACKEND;
    uint64_t failed = 0;
    for (; status != VR_OK; failed++) {
        vr_seam_fail(VR_SEAM_LAUNCH, failed + 1, VR_SEAM_FAIL_ONCE);
        status = search(&pair.cuda, s.queries, s.k, pair.cuda.query, NULL, NULL);
        vr_seam_heal();
    }
    cr_assert_eq(failed, 8, "prepare, sample, threshold, collect, select and two of safe, and none: %u",
                 (unsigned)failed);
    pair_compare(&pair, NULL, NULL);
    pair_close(&pair);
}
