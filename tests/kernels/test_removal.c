/* Rows taken out of the CUDA backend's indexes: against float64 for every kind, and against the CPU backend's exact
 * scan bit for bit, on each way of a query through the scan, in captured plans, with searches in flight, and where the
 * device fails. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_removal.h"
#include "support_scan.h"
#include "vireo/clock.h"

TestSuite(removal, .init = open_cuda, .fini = close_cuda);

static void check_kind(enum vr_index_kind kind)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        check_removals(cuda, kind, REMOVAL_EXACT, seed);
    }
}

Test(removal, from_exact)
{
    check_kind(VR_INDEX_EXACT);
}

Test(removal, from_exact_int8)
{
    check_kind(VR_INDEX_EXACT_INT8);
}

Test(removal, from_lists)
{
    check_kind(VR_INDEX_IVF);
}

/* Stand-ins search exhaustively, so their answers are exact too. Kinds and seeds take turns. */
Test(removal, from_outside_libraries)
{
    for (unsigned kind = 0; kind < VR_INDEX_KINDS; kind++) {
        if (vr_index_kind_is_in(cuda->ops->unplanned, (enum vr_index_kind)kind)) {
            vr_emulator_seed(1 + kind % SEEDS);
            check_removals(cuda, (enum vr_index_kind)kind, REMOVAL_EXACT, kind);
        }
    }
}

/* ---- the ways through the scan ---- */

static void pair_remove(struct pair *pair, const int32_t *row, uint32_t count)
{
    world_remove(&pair->cuda, row, count);
    world_remove(&pair->cpu, row, count);
}

static const struct world *ordered;
static int by_falling_score(const void *a, const void *b)
{
    const double left = dot64(ordered, 0, *(const int32_t *)a), right = dot64(ordered, 0, *(const int32_t *)b);
    return (left < right) - (left > right);
}

/* Take out what is best for query 0, all but the last `left` rows. */
static void remove_best(struct pair *pair, uint32_t left)
{
    const uint32_t rows = pair->setting.rows;
    int32_t *row = must_alloc(rows * sizeof *row);
    for (uint32_t r = 0; r < rows; r++) {
        row[r] = (int32_t)r;
    }
    ordered = &pair->cpu;
    qsort(row, rows, sizeof *row, by_falling_score);
    pair_remove(pair, row, rows - left);
    free(row);
}

/* `check` of a fresh pair, for both codings under the seeds in turn. */
static void each_fresh(struct setting s, void (*check)(struct pair *pair))
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct pair pair;
        s.kind = scan_kinds[seed % 2];
        vr_emulator_seed(seed);
        pair_open(&pair, &s);
        check(&pair);
        pair_close(&pair);
    }
}

/* Were they not struck from the sample, the threshold would lie above everything that is left. */
static void check_top(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    remove_best(pair, 2000);
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.proved, 1, "%llu unproved, %llu overflowed", counts.unproved, counts.overflowed);
}

Test(removal, of_a_whole_top)
{
    each_fresh(pair_setting(3000, 1, 20, shape_unit), check_top);
}

static void check_few(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    remove_best(pair, 7);
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.whole, 2);
    cr_assert_eq(counts.noted, 2 * 7);
}

Test(removal, of_all_but_a_few)
{
    each_fresh(pair_setting(2000, 2, 20, shape_unit), check_few);
}

static void shape_zero_queries(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    memset(w->query, 0, (size_t)s->queries * w->dim * sizeof(float));
}

/* The first rows that are left, beyond one step of a block; with every third one excluded too for query 1. */
static void check_zeros(struct pair *pair)
{
    uint32_t *offset;
    int32_t *exclude = exclusions(&pair->setting, 3, &offset), row[700];
    for (int32_t i = 0; i < 700; i++) {
        row[i] = i;
    }
    pair_remove(pair, row, 700);
    pair_compare(pair, NULL, NULL);
    cr_assert_eq(pair->cuda.row[0], 700);
    pair_compare(pair, offset, exclude);
    cr_assert_eq(pair_counts(pair).zeros, 4);
    free(offset);
    free(exclude);
}

Test(removal, and_queries_of_zeros)
{
    each_fresh(pair_setting(1500, 2, 100, shape_zero_queries), check_zeros);
}

/* Row 1001 is the best of every query whose first value is positive, and lies apart in int8. */
static void shape_one_infinite(struct world *w, const struct setting *s, struct dice *dice)
{
    shape_unit(w, s, dice);
    w->vector[(size_t)1001 * w->dim] = INFINITY;
    w->query[0] = 0.5f;
}

static void check_apart(struct pair *pair)
{
    const int32_t row = 1001;
    pair_compare(pair, NULL, NULL);
    cr_assert_eq(pair->cuda.row[0], row);
    pair_remove(pair, &row, 1);
    pair_compare(pair, NULL, NULL);
    cr_assert_neq(pair->cuda.row[0], row);
}

Test(removal, of_a_row_that_lies_apart)
{
    struct setting s = pair_setting(1500, 2, 30, shape_one_infinite);
    s.dtype = VR_TABLE_F32;
    each_fresh(s, check_apart);
}

/* ---- what is captured, and what is in flight ---- */

/* A search over a world whose arguments stay where they are. */
struct held {
    struct world w;
    struct setting s;
    struct vr_index_search args;
};

static void hold(struct held *held, enum vr_index_kind kind, uint64_t seed)
{
    *held = (struct held){.s = {.dtype = VR_TABLE_F16, .rows = 1400, .queries = 3, .k = 30, .probes = 1000000}};
    held->s.kind = kind;
    vr_emulator_seed(seed);
    world_open(&held->w, cuda, &held->s);
    struct world *w = &held->w;
    const size_t results = (size_t)held->s.queries * held->s.k;
    held->args = (struct vr_index_search){.queries = held->s.queries, .k = held->s.k};
    held->args.query = rig_put(&w->rig, w->query, held->s.queries * w->dim * sizeof(float));
    held->args.row = rig_put(&w->rig, w->row, results * sizeof(int32_t));
    held->args.score = rig_put(&w->rig, w->score, results * sizeof(float));
}

static void begin(struct held *held)
{
    cr_assert_eq(cuda->ops->index_search(held->w.rig.stream, held->w.index, &held->args), VR_OK, "%s", vr_error_text());
}

static void fetch(struct held *held)
{
    const size_t results = (size_t)held->s.queries * held->s.k;
    rig_get(&held->w.rig, held->args.row, results * sizeof(int32_t), held->w.row);
    rig_get(&held->w.rig, held->args.score, results * sizeof(float), held->w.score);
}

static const enum vr_index_kind own_kinds[] = {VR_INDEX_EXACT, VR_INDEX_EXACT_INT8, VR_INDEX_IVF};
#define OWN_KINDS (sizeof own_kinds / sizeof own_kinds[0])

/* The best row of each query, taken out. */
static void remove_found(struct held *held)
{
    int32_t row[3];
    for (uint32_t q = 0; q < 3; q++) {
        row[q] = held->w.row[q * held->s.k];
    }
    world_remove(&held->w, row, 3);
}

/* A plan that was captured before sees it, and a removal takes no memory. */
static void check_plan(struct held *held)
{
    struct vr_plan *plan = NULL;
    struct vr_stream *stream = held->w.rig.stream;
    begin(held);
    fetch(held);
    cr_assert_eq(cuda->ops->plan_begin(stream), VR_OK);
    begin(held);
    cr_assert_eq(cuda->ops->plan_end(stream, &plan), VR_OK, "%s", vr_error_text());
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t taken = vr_seam_calls(VR_SEAM_MEMORY);
        remove_found(held);
        cr_assert_eq(cuda->ops->plan_launch(stream, plan), VR_OK, "%s", vr_error_text());
        cr_assert_eq(vr_seam_calls(VR_SEAM_MEMORY), taken);
        fetch(held);
        check_exact(&held->w, &held->s, NULL, NULL);
    }
    cuda->ops->plan_destroy(plan);
}

Test(removal, is_seen_by_plans)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (size_t i = 0; i < OWN_KINDS; i++) {
            struct held held;
            hold(&held, own_kinds[i], seed);
            check_plan(&held);
            world_close(&held.w);
        }
    }
}

/* A search that was under way may give removed rows, with their true scores; what is left it gives whole. */
static void check_flight(struct held *held, unsigned polls)
{
    bool done = false;
    begin(held);
    fetch(held);
    begin(held);
    for (unsigned i = 0; i < polls && !done; i++) {
        cr_assert_eq(cuda->ops->stream_poll(held->w.rig.stream, &done), VR_OK, "%s", vr_error_text());
    }
    bool *later = held->w.removed, *none = must_alloc(held->s.rows);
    remove_found(held);
    fetch(held);
    for (uint32_t q = 0; q < held->s.queries; q++) {
        held->w.removed = none;
        cr_assert_eq(check_answer(&held->w, &held->s, q, NULL, NULL), held->s.k);
        held->w.removed = later;
        const double last = dot64(&held->w, q, held->w.row[(q + 1) * held->s.k - 1]);
        cr_assert_lt(clearly_above(&held->w, &held->s, q, last, NULL, NULL), held->s.k);
    }
    free(none);
}

Test(removal, beside_a_search_in_flight)
{
    for (uint64_t seed = 1; seed <= 2 * SEEDS; seed++) {
        for (size_t i = 0; i < OWN_KINDS; i++) {
            struct held held;
            hold(&held, own_kinds[i], seed);
            check_flight(&held, (unsigned)(seed % 4));
            world_close(&held.w);
        }
    }
}

/* ---- a device that fails ---- */

/* The caller is told, and the same call made again does it. */
Test(removal, on_a_device_that_fails)
{
    static const enum vr_seam_call call[] = {VR_SEAM_LAUNCH, VR_SEAM_POLL};
    for (size_t i = 0; i < 2 * OWN_KINDS; i++) {
        struct held held;
        hold(&held, own_kinds[i / 2], 1 + i % SEEDS);
        begin(&held);
        fetch(&held);
        const int32_t row = held.w.row[0];
        vr_seam_fail(call[i % 2], 1, VR_SEAM_FAIL_ONCE);
        cr_assert_eq(cuda->ops->index_remove(held.w.index, &row, 1, vr_clock_mono_us() + REMOVAL_US), VR_ERR_BACKEND);
        vr_seam_heal();
        remove_found(&held);
        begin(&held);
        fetch(&held);
        check_exact(&held.w, &held.s, NULL, NULL);
        world_close(&held.w);
    }
}

/* A device that hangs costs the caller its deadline, one that is lost nothing. */
Test(removal, on_a_device_that_hangs)
{
    struct held held;
    const int32_t row = 3;
    hold(&held, VR_INDEX_EXACT, 1);
    vr_seam_fail(VR_SEAM_POLL, 1, VR_SEAM_FAIL_HANG);
    cr_assert_eq(cuda->ops->index_remove(held.w.index, &row, 1, vr_clock_mono_us() + 20000), VR_ERR_TIMEOUT);
    vr_seam_heal();
    vr_seam_fail(VR_SEAM_LAUNCH, 1, VR_SEAM_FAIL_LOST);
    cr_assert_eq(cuda->ops->index_remove(held.w.index, &row, 1, vr_clock_mono_us() + 20000), VR_ERR_DEVICE_LOST);
    vr_seam_heal();
    world_remove(&held.w, &row, 1);
    begin(&held);
    fetch(&held);
    check_exact(&held.w, &held.s, NULL, NULL);
    world_close(&held.w);
}
