/* The CUDA backend's index "ivf" in the emulator: with all lists probed it is exact search; with fewer its answer is,
 * bit for bit, plain search of the probed lists; on every path (threshold, few slots, overflow, odd numbers), each
 * under several seeds of the emulator's dice. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/index.h"
#include "support_ivf.h"
#include "support_parity.h"
#include "support_scan.h"
#include "vireo/clock.h"

TestSuite(ivf, .init = open_cuda, .fini = close_cuda);

/* Once a seed, so that each is a process of its own with its own time. */
#define WITH_SEEDS(name, check) \
    Test(ivf, name##_seed_1)    \
    {                           \
        check(1);               \
    }                           \
    Test(ivf, name##_seed_2)    \
    {                           \
        check(2);               \
    }                           \
    Test(ivf, name##_seed_3)    \
    {                           \
        check(3);               \
    }                           \
    Test(ivf, name##_seed_4)    \
    {                           \
        check(4);               \
    }

/* The settings take turns with the seeds: with fewer lists the same kernels run under all of them below. */
Test(ivf, all_lists_are_exact_search)
{
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        check_some(cuda, VR_INDEX_IVF, seed - 1, SEEDS);
    }
}

/* dtype, rows, dim, queries, k, lists, probes, clusters */
static const struct ivf_setting settings[] = {
    {VR_TABLE_F16, 1, 8, 2, 3, 0, 1, 1},         {VR_TABLE_F16, 20, 24, 3, 30, 100, 5, 4},
    {VR_TABLE_F32, 300, 1, 3, 10, 5, 1, 2},      {VR_TABLE_F16, 1500, 24, 17, 20, 0, 8, 40},
    {VR_TABLE_F16, 1500, 24, 6, 400, 0, 20, 40}, /* fewer rows than asked for: negative scores are among them */
    {VR_TABLE_F32, 1000, 64, 9, 33, 20, 3, 12},  {VR_TABLE_I8, 900, 100, 5, 10, 30, 5, 15},
    {VR_TABLE_F32, 700, 200, 3, 7, 9, 4, 6},     {VR_TABLE_F16, 600, 256, 4, 100, 6, 2, 5},
};

static void check_some_lists(uint64_t seed)
{
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct ivf_world w;
        vr_emulator_seed(seed);
        ivf_open(&w, cuda, &settings[i], seed);
        ivf_index(&w);
        ivf_check_lists(&w);
        ivf_search(&w, w.s.queries);
        ivf_check(&w, w.s.queries);
        ivf_exclude(&w, 15, 3);
        ivf_search(&w, w.s.queries);
        ivf_check(&w, w.s.queries);
        ivf_close(&w);
        parity_same_bits("ivf", 2, seed);
    }
}
WITH_SEEDS(some_lists_are_plain_search_of_them, check_some_lists)

/* Lists so long that a sample gives a threshold; two passes of queries; and the thresholds do what they are for. */
static void check_thresholds(uint64_t seed)
{
    const struct ivf_setting s = {VR_TABLE_F16, 9000, 32, 130, 20, 12, 4, 30};
    const uint32_t queries = seed == 1 ? s.queries : 9;
    struct ivf_world w;
    vr_emulator_seed(seed);
    ivf_open(&w, cuda, &s, seed);
    ivf_index(&w);
    cr_assert_gt(w.ivf->sample_room, 0);
    ivf_exclude(&w, 50, 0);
    ivf_search(&w, queries);
    ivf_check(&w, queries);
    if (queries <= VR_SCAN_QUERIES) {
        ivf_check_counts(&w, queries);
    }
    struct vr_scan_query *state = ivf_states(&w);
    for (uint32_t q = 0; q < 2; q++) {
        cr_assert(isfinite(state[q].threshold), "query %u has no threshold", q);
        cr_assert_eq(state[q].unsafe, 0, "query %u went the safe way", q);
        cr_assert_lt(state[q].noted, 1500, "query %u notes %u slots", q, state[q].noted);
    }
    free(state);
    ivf_close(&w);
}
WITH_SEEDS(thresholds, check_thresholds)

/* The most that can be asked for, from about as many rows as there are. */
Test(ivf, thousand_of_few)
{
    const struct ivf_setting s = {VR_TABLE_F16, 6000, 16, 3, 1000, 10, 4, 20};
    struct ivf_world w;
    ivf_open(&w, cuda, &s, 5);
    ivf_index(&w);
    ivf_search(&w, s.queries);
    ivf_check(&w, s.queries);
    ivf_exclude(&w, 1500, 2);
    ivf_search(&w, s.queries);
    ivf_check(&w, s.queries);
    ivf_close(&w);
}

/* All rows are the same: one list is left, all scores reach the threshold, more than can be noted. */
Test(ivf, overflow)
{
    const struct ivf_setting s = {VR_TABLE_F16, 9001, 20, 3, 100, 4, 2, 0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct ivf_world w;
        vr_emulator_seed(seed);
        ivf_open(&w, cuda, &s, seed);
        for (uint32_t d = 0; d < s.dim; d++) { /* negative scores: an empty slot's 0 would be above them */
            w.query[2 * s.dim + d] *= -1.0f;
        }
        ivf_index(&w);
        cr_assert_eq(w.ivf->lists, 1);
        ivf_search(&w, s.queries);
        ivf_check(&w, s.queries);
        for (uint32_t i = 0; i < s.k; i++) {
            cr_assert_eq(w.row[i], (int32_t)i);
        }
        struct vr_scan_query *state = ivf_states(&w);
        cr_assert_gt(state[0].noted, VR_SCAN_CAPACITY);
        cr_assert_eq(state[0].unsafe, 1);
        free(state);
        ivf_exclude(&w, 4000, 0); /* query 1 can note its 5,001 rows, beside others that note too many */
        ivf_search(&w, s.queries);
        ivf_check(&w, s.queries);
        cr_assert_eq(w.row[s.k], 4000);
        state = ivf_states(&w);
        cr_assert_eq(state[1].noted, 5001);
        cr_assert_eq(state[1].unsafe, 0);
        cr_assert_eq(state[0].unsafe, 1);
        free(state);
        ivf_exclude(&w, 100, 0); /* and here it cannot */
        ivf_search(&w, s.queries);
        ivf_check(&w, s.queries);
        ivf_close(&w);
    }
}

Test(ivf, odd_queries)
{
    check_odd_queries(cuda, VR_INDEX_IVF);
    const struct ivf_setting s = {VR_TABLE_F32, 1200, 24, 6, 1000, 16, 9, 12};
    struct ivf_world w;
    ivf_open(&w, cuda, &s, 3);
    w.query[2] = NAN;
    w.query[s.dim] = INFINITY;
    memset(w.query + 2 * s.dim, 0, s.dim * sizeof(float));
    w.query[3 * s.dim + 5] = -INFINITY;
    w.query[4 * s.dim] = 3e38f;
    ivf_index(&w);
    ivf_search(&w, s.queries);
    ivf_check(&w, s.queries);
    cr_assert_eq(w.row[0], -1);
    cr_assert_geq(w.row[5 * s.k], 0);
    ivf_close(&w);
}

/* Rows without a direction are in some list, found where plain search finds them, and spoil no centroid. */
Test(ivf, odd_vectors)
{
    const struct ivf_setting s = {VR_TABLE_F32, 1200, 24, 6, 1000, 16, 16, 12};
    struct ivf_world w;
    ivf_open(&w, cuda, &s, 4);
    w.vector[7 * s.dim + 3] = NAN;
    w.vector[8 * s.dim] = INFINITY;
    w.vector[9 * s.dim + 1] = -INFINITY;
    w.vector[10 * s.dim + 2] = 3e38f;
    memset(w.vector + (size_t)11 * s.dim, 0, s.dim * sizeof(float));
    ivf_index(&w);
    ivf_check_lists(&w);
    for (size_t i = 0; i < (size_t)w.ivf->lists * s.dim; i++) {
        cr_assert(isfinite(w.got.centroid[i]));
    }
    ivf_search(&w, s.queries);
    ivf_check(&w, s.queries);
    bool found = false;
    for (size_t i = 0; i < (size_t)s.queries * s.k; i++) {
        cr_assert_neq(w.row[i], 7, "a row with a NaN is no answer");
        found = found || w.row[i] == 8;
    }
    cr_assert(found, "a row with an infinity is");
    ivf_close(&w);
}

Test(ivf, alone_and_in_a_batch)
{
    const struct setting uniform = {.kind = VR_INDEX_IVF, .rows = 3000, .queries = 37, .k = 25, .probes = 20};
    check_alone_and_in_a_batch(cuda, &uniform);
}

/* ---- devices with less shared memory ---- */

#define THICK 64u /* queries that have all their values */

/* The others have one value each: their thresholds are far below. */
static void make_queries_thin(struct ivf_world *w)
{
    for (uint32_t q = THICK; q < w->s.queries; q++) {
        memset(w->query + (size_t)q * w->s.dim, 0, w->s.dim * sizeof(float));
        w->query[(size_t)q * w->s.dim + q] = 1.0f;
    }
}

/* Nobody went the safe way, and many of either kind had a threshold. */
static void check_all_proved(struct ivf_world *w)
{
    struct vr_scan_query *state = ivf_states(w);
    uint32_t finite[2] = {0, 0};
    for (uint32_t q = 0; q < w->s.queries; q++) {
        finite[q >= THICK] += isfinite(state[q].threshold);
        cr_assert_eq(state[q].unsafe, 0, "query %u went the safe way", q);
    }
    cr_assert(finite[0] > 30 && finite[1] > 5, "%u and %u have a threshold", finite[0], finite[1]);
    free(state);
}

/* A block that has room for the stages alone is refused; the next search answers. */
static void check_too_small(struct ivf_world *w)
{
    const size_t shared = cuda->device->seam.shared_bytes;
    cuda->device->seam.shared_bytes = 64 * 1024;
    const struct vr_index_search args = ivf_put_search(w, 1);
    cr_assert_eq(cuda->ops->index_search(w->rig.stream, w->index, &args), VR_ERR_UNSUPPORTED);
    cr_assert_eq(vr_stream_wait(cuda, w->rig.stream, vr_clock_mono_us() + 10000000), VR_OK, "%s", vr_error_text());
    cuda->device->seam.shared_bytes = shared;
    rig_clear(&w->rig);
    ivf_search(w, 1);
    ivf_check(w, 1);
}

/* Rows of 512 bytes: a launch holds 64 queries with the 99 KiB of compute capability 8.6, all of them with the 163 of
 * 8.0, so sample and collect are launched twice or once. Every score is sampled once. */
static void check_device(size_t shared, unsigned launches, uint64_t seed)
{
    const struct ivf_setting s = {VR_TABLE_F16, 2700, 256, 85, 10, 4, 3, 9};
    struct ivf_world w;
    reopen_with_shared(&cuda, shared);
    vr_emulator_seed(seed);
    ivf_open(&w, cuda, &s, seed);
    make_queries_thin(&w);
    ivf_index(&w);
    ivf_exclude(&w, 20, 0);
    const uint64_t before = vr_seam_calls(VR_SEAM_LAUNCH);
    ivf_search(&w, s.queries);
    cr_assert_eq(vr_seam_calls(VR_SEAM_LAUNCH) - before, launches);
    ivf_check(&w, s.queries);
    ivf_check_counts(&w, s.queries);
    check_all_proved(&w);
    check_too_small(&w);
    ivf_close(&w);
}

Test(ivf, devices_with_less_shared_memory)
{
    check_device(SHARED_OF_86, 12, 1);
    check_device(SHARED_OF_80, 10, 2);
}

/* The other widths, on the smallest device. */
Test(ivf, every_width_fits_the_smallest_device)
{
    static const uint32_t dim[] = {32, 64, 128};
    for (uint64_t i = 0; i < 3; i++) {
        const struct ivf_setting s = {VR_TABLE_F16, 600, dim[i], 100, 10, 8, 3, 9};
        struct ivf_world w;
        reopen_with_shared(&cuda, SHARED_OF_86);
        vr_emulator_seed(2 + i);
        ivf_open(&w, cuda, &s, i);
        ivf_index(&w);
        ivf_search(&w, s.queries);
        ivf_check(&w, s.queries);
        ivf_close(&w);
    }
}

/* A captured search reads the queries and exclusions of each launch. */
Test(ivf, plan)
{
    const struct ivf_setting s = {VR_TABLE_F16, 4000, 24, 6, 30, 8, 6, 20};
    const struct vr_backend_ops *ops = cuda->ops;
    struct ivf_world w;
    ivf_open(&w, cuda, &s, 6);
    ivf_index(&w);
    ivf_exclude(&w, 10, 7);
    const struct vr_index_search args = ivf_put_search(&w, s.queries);
    struct vr_plan *plan = NULL;
    cr_assert_eq(ops->plan_begin(w.rig.stream), VR_OK);
    cr_assert_eq(ops->index_search(w.rig.stream, w.index, &args), VR_ERR_INVALID, "its scratch is not there yet");
    cr_assert_eq(ops->plan_end(w.rig.stream, &plan), VR_OK);
    ops->plan_destroy(plan);
    cr_assert_eq(ops->index_search(w.rig.stream, w.index, &args), VR_OK, "%s", vr_error_text());
    cr_assert_eq(ops->plan_begin(w.rig.stream), VR_OK);
    const uint64_t taken = vr_seam_calls(VR_SEAM_MEMORY);
    cr_assert_eq(ops->index_search(w.rig.stream, w.index, &args), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_seam_calls(VR_SEAM_MEMORY), taken, "a search allocates nothing after the first");
    cr_assert_eq(ops->plan_end(w.rig.stream, &plan), VR_OK);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < s.dim; i++) { /* the queries change places */
            const float first = w.query[i];
            for (uint32_t q = 0; q + 1 < s.queries; q++) {
                w.query[q * s.dim + i] = w.query[(q + 1) * s.dim + i];
            }
            w.query[(s.queries - 1) * s.dim + i] = first;
        }
        const struct vr_view fresh = rig_put(&w.rig, w.query, (size_t)s.queries * s.dim * sizeof(float));
        cr_assert_eq(ops->copy(w.rig.stream, args.query, fresh, (size_t)s.queries * s.dim * sizeof(float)), VR_OK);
        cr_assert_eq(ops->plan_launch(w.rig.stream, plan), VR_OK);
        rig_get(&w.rig, args.row, (size_t)s.queries * s.k * sizeof(int32_t), w.row);
        rig_get(&w.rig, args.score, (size_t)s.queries * s.k * sizeof(float), w.score);
        ivf_check(&w, s.queries);
    }
    ops->plan_destroy(plan);
    ivf_close(&w);
}

/* ---- building ---- */

/* The same rows give the same index, whatever order the device works in. */
Test(ivf, same_rows_same_lists)
{
    const struct ivf_setting s = {VR_TABLE_F16, 1500, 24, 1, 1, 25, 4, 20};
    struct ivf_world first, other;
    vr_emulator_seed(1);
    ivf_open(&first, cuda, &s, 9);
    ivf_index(&first);
    cr_assert_eq(first.ivf->lists, 25, "%u lists have rows", first.ivf->lists);
    for (uint64_t seed = 2; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        ivf_open(&other, cuda, &s, 9);
        ivf_index(&other);
        cr_assert_eq(other.ivf->lists, first.ivf->lists);
        cr_assert_eq(other.ivf->vectors.rows, first.ivf->vectors.rows);
        const size_t slots = first.ivf->vectors.rows, values = (size_t)first.ivf->lists * s.dim;
        cr_assert_eq(memcmp(other.got.list, first.got.list, first.ivf->lists * sizeof *first.got.list), 0);
        cr_assert_eq(memcmp(other.got.row_of_slot, first.got.row_of_slot, slots * sizeof(int32_t)), 0);
        cr_assert_eq(memcmp(other.got.centroid, first.got.centroid, values * sizeof(float)), 0);
        ivf_close(&other);
    }
    ivf_close(&first);
}

Test(ivf, sizes)
{
    const struct ivf_setting s = {VR_TABLE_F32, 50, VR_SCAN_DIM_MAX, 1, 1, 3, 2, 3};
    struct vr_index_spec spec = {.rows = 50, .dim = s.dim};
    spec.config = (struct vr_index_config){VR_INDEX_IVF, 0, 0, 3, 2};
    float *vector = must_alloc((size_t)51 * 300 * sizeof *vector);
    struct rig rig;
    rig_open(&rig, cuda);
    spec.vectors = (struct vr_table){.data = rig_put(&rig, vector, (size_t)51 * 300 * sizeof *vector),
                                     .rows = 50,
                                     .width = s.dim,
                                     .dtype = VR_TABLE_F32};
    struct vr_index *index = NULL;
    cr_assert_eq(cuda->ops->index_create(cuda, &spec, &index), VR_OK, "zeros are vectors: %s", vr_error_text());
    cuda->ops->index_destroy(index);
    spec.dim = spec.vectors.width = VR_SCAN_DIM_MAX + 1;
    cr_assert_eq(cuda->ops->index_create(cuda, &spec, &index), VR_ERR_UNSUPPORTED);
    free(vector);
    rig_close(&rig);
}

/* What is told beforehand covers what is taken, and not by more than the tiles that might have ended short. */
static void check_memory(enum vr_table_dtype dtype, uint32_t rows, uint32_t lists)
{
    struct setting s = {.kind = VR_INDEX_IVF, .dtype = dtype, .rows = rows, .queries = 2, .k = 10, .probes = 4};
    struct vr_index_spec spec = {.rows = rows, .dim = DIM, .vectors = {.rows = rows, .width = DIM, .dtype = dtype}};
    spec.config = (struct vr_index_config){VR_INDEX_IVF, 32, 256, 0, 4};
    uint64_t told = 0, scratch = 0;
    cuda->ops->index_memory(&spec, &told, &scratch);
    struct world w = {0};
    world_open(&w, cuda, &s);
    const size_t with_table = vr_emulator_memory_used();
    w.rig.backend->ops->index_destroy(w.index);
    const size_t index_bytes = with_table - vr_emulator_memory_used();
    cr_expect_leq(index_bytes, told, "%zu taken, %zu told", index_bytes, (size_t)told);
    cr_expect_geq(index_bytes + (size_t)lists * VR_SCAN_TILE * 36 * 2, told, "%zu taken, %zu told", index_bytes,
                  (size_t)told);
    spec.vectors.data = rig_put(&w.rig, w.vector, (size_t)rows * DIM * (dtype == VR_TABLE_F32 ? 4 : 2));
    cr_assert_eq(cuda->ops->index_create(cuda, &spec, &w.index), VR_OK, "%s", vr_error_text());
    const size_t before = vr_emulator_memory_used();
    cr_assert_eq(search(&w, s.queries, s.k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
    const size_t taken = vr_emulator_memory_used() - before;
    cr_expect_leq(taken, scratch, "%zu taken, %zu told", taken, (size_t)scratch);
    world_close(&w);
}

Test(ivf, memory_is_told)
{
    check_memory(VR_TABLE_F16, 900, 120);
    check_memory(VR_TABLE_F32, 300, 69);
}

/* Each call of the device fails once: the build says so and leaves nothing behind. */
Test(ivf, failing_builds)
{
    const struct ivf_setting s = {VR_TABLE_I8, 200, 8, 2, 5, 4, 2, 6};
    struct ivf_world w;
    ivf_open(&w, cuda, &s, 2);
    ivf_index(&w);
    int8_t *byte = must_alloc((size_t)s.rows * s.dim);
    float *scale = must_alloc(s.rows * sizeof *scale);
    for (size_t i = 0; i < (size_t)s.rows * s.dim; i++) {
        byte[i] = (int8_t)(i * 37 % 251);
    }
    struct vr_table table = {.rows = s.rows, .width = s.dim, .dtype = s.dtype};
    table.data = rig_put(&w.rig, byte, (size_t)s.rows * s.dim);
    table.scale = rig_put(&w.rig, scale, s.rows * sizeof *scale);
    struct vr_index_spec spec = {.rows = s.rows, .dim = s.dim, .vectors = table};
    spec.config = (struct vr_index_config){VR_INDEX_IVF, 0, 0, s.lists, s.probes};
    const size_t used = vr_emulator_memory_used();
    struct vr_index *index = NULL;
    uint32_t failed = 0;
    for (;; failed++) {
        vr_seam_fail(VR_SEAM_CALLS, failed + 1, VR_SEAM_FAIL_ONCE);
        const enum vr_status status = cuda->ops->index_create(cuda, &spec, &index);
        vr_seam_heal();
        if (status == VR_OK) {
            break;
        }
        cr_assert_eq(status, VR_ERR_BACKEND);
        cr_assert_eq(vr_emulator_memory_used(), used, "call %u leaks", failed + 1);
    }
    cr_assert_gt(failed, 40, "only %u calls", failed);
    cuda->ops->index_destroy(index);
    cr_assert_eq(vr_emulator_memory_used(), used);
    free(byte);
    free(scale);
    ivf_close(&w);
}

Test(ivf, failing_searches)
{
    const struct ivf_setting s = {VR_TABLE_F16, 2600, 8, 3, 5, 4, 4, 6};
    struct ivf_world w;
    ivf_open(&w, cuda, &s, 2);
    ivf_index(&w);
    uint32_t failed = 0;
    for (;; failed++) {
        const struct vr_index_search args = ivf_put_search(&w, s.queries);
        vr_seam_fail(VR_SEAM_LAUNCH, failed + 1, VR_SEAM_FAIL_ONCE);
        const enum vr_status status = cuda->ops->index_search(w.rig.stream, w.index, &args);
        vr_seam_heal();
        bool done = false;
        while (!done) { /* what was put on the stream before */
            cr_assert_eq(cuda->ops->stream_poll(w.rig.stream, &done), VR_OK, "%s", vr_error_text());
        }
        rig_clear(&w.rig);
        if (status == VR_OK) {
            break;
        }
        cr_assert_eq(status, VR_ERR_BACKEND);
    }
    cr_assert_eq(failed, 10, "as many kernels as a pass has");
    ivf_search(&w, s.queries);
    ivf_check(&w, s.queries);
    ivf_close(&w);
}
