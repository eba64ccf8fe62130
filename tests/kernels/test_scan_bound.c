/* The bound that prepare gives each query (scan_query.cu) against what coding and the sums really cost: no score may be
 * further off, and for unit vectors the bound is not much wider than the worst score. The emulator adds in float32 in
 * an order of its own; what the tensor cores' sums lose is in the bound by reasoning, not by this test. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_parity.h"
#include "support_scan.h"
#include "vireo/clock.h"

TestSuite(scan_bound, .init = open_cuda, .fini = close_cuda);

#define ROWS 300u
#define QUERIES 16u
#define LOOSEST 20.0 /* bound / worst error, of unit vectors */

/* prepare, sample and threshold alone, over all rows. */
struct run {
    struct vr_scan_pass pass;
    struct vr_scan_query state[QUERIES];
    float sampled[QUERIES][ROWS]; /* by slot */
};

static void run_pass(const struct pair *pair, uint32_t rank, struct run *run)
{
    struct vr_stream *stream = pair->cuda.rig.stream;
    struct vr_scan_pass *pass = &run->pass;
    const size_t query_bytes = (size_t)QUERIES * pair->cuda.dim * sizeof(float);
    void *query = NULL, *code = NULL, *state = NULL, *sampled = NULL, *staging = NULL;
    *pass = (struct vr_scan_pass){.vectors = vr_scan_index_of(pair->cuda.index)->vectors,
                                  .counts = vr_scan_index_of(pair->cuda.index)->counts,
                                  .queries = QUERIES,
                                  .k = 1,
                                  .sample = ROWS,
                                  .rank = rank};
    cr_assert_eq(vr_seam_memory_create(false, query_bytes, &query), VR_OK);
    cr_assert_eq(vr_seam_memory_create(false, (size_t)QUERIES * pass->vectors.row_bytes, &code), VR_OK);
    cr_assert_eq(vr_seam_memory_create(false, sizeof run->state, &state), VR_OK);
    cr_assert_eq(vr_seam_memory_create(false, sizeof run->sampled, &sampled), VR_OK);
    cr_assert_eq(vr_seam_memory_create(true, query_bytes, &staging), VR_OK);
    memcpy(staging, pair->cuda.query, query_bytes);
    cr_assert_eq(vr_seam_copy(stream->seam, query, staging, query_bytes), VR_OK);
    pass->query = query;
    pass->code = code;
    pass->state = state;
    pass->sampled = sampled;
    cr_assert_eq(vr_scan_prepare(stream, pass), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_scan_sample(stream, pass), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_scan_threshold(stream, pass), VR_OK, "%s", vr_error_text());
    read_device(stream, state, sizeof run->state, run->state);
    read_device(stream, sampled, sizeof run->sampled, run->sampled);
    vr_seam_memory_destroy(false, query);
    vr_seam_memory_destroy(false, code);
    vr_seam_memory_destroy(false, state);
    vr_seam_memory_destroy(false, sampled);
    vr_seam_memory_destroy(true, staging);
}

static float chain(const struct world *w, uint32_t q, int32_t row)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < w->dim; i++) {
        sum = fmaf(w->query[q * w->dim + i], w->vector[(size_t)row * w->dim + i], sum);
    }
    return sum;
}

/* The worst error of any score, in bounds of its query: at most 1. */
static double worst_error(const struct pair *pair)
{
    struct run *run = must_alloc(sizeof *run);
    int32_t *row = pair_rows_of_slots(pair);
    double worst = 0.0;
    run_pass(pair, 1, run);
    for (uint32_t q = 0; q < QUERIES; q++) {
        const struct vr_scan_query *state = &run->state[q];
        cr_assert_eq(state->unsafe, 0);
        for (uint32_t slot = 0; slot < ROWS; slot++) {
            const double got = run->sampled[q][slot], real = dot64(&pair->cuda, q, row[slot]) * state->scale;
            const double chained = (double)chain(&pair->cuda, q, row[slot]) * state->scale;
            const double error = fmax(fabs(got - real), fabs(got - chained));
            cr_assert_leq(error, state->bound, "query %u row %d: %.9g is %.9g off, bound %.9g", q, row[slot], got,
                          error, (double)state->bound);
            worst = fmax(worst, error / state->bound);
        }
    }
    free(row);
    free(run);
    return worst;
}

/* All values of vectors and queries lie as far from a code as they can, on the same side: every loss adds up. */
static void shape_midpoints(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    const float value = s->kind == VR_INDEX_EXACT ? 0.5f + 0x1p-12f : 50.4999f / 127.0f;
    for (size_t i = 0; i < (size_t)s->rows * w->dim; i++) {
        w->vector[i] = value;
    }
    w->vector[5 * w->dim] = 1.0f; /* the unit of int8 is 1 / 127 */
    for (size_t i = 0; i < (size_t)s->queries * w->dim; i++) {
        w->query[i] = s->kind == VR_INDEX_EXACT || i % w->dim > 0 ? value : 1.0f;
    }
}

/* Sizes over many powers of ten, down to what halves and squares lose. */
static void shape_spread(struct world *w, const struct setting *s, struct dice *dice)
{
    for (size_t i = 0; i < (size_t)s->rows * w->dim; i++) {
        w->vector[i] *= powf(10.0f, (float)dice_below(dice, 40) - 36.0f);
    }
    for (size_t i = 0; i < (size_t)s->queries * w->dim; i++) {
        w->query[i] *= powf(10.0f, -(float)dice_below(dice, 30));
    }
}

static void shape_huge_queries(struct world *w, const struct setting *s, struct dice *dice)
{
    shape_unit(w, s, dice);
    for (size_t i = 0; i < (size_t)s->queries * w->dim; i++) {
        w->query[i] *= 3e38f;
    }
}

static void shape_outlier(struct world *w, const struct setting *s, struct dice *dice)
{
    shape_unit(w, s, dice);
    w->vector[7 * w->dim] = 5000.0f;
    w->query[0] = 300.0f;
}

static double worst_of(enum vr_index_kind kind, enum vr_table_dtype dtype, uint32_t dim,
                       void (*shape)(struct world *, const struct setting *, struct dice *))
{
    const struct setting s = {
        .kind = kind, .dtype = dtype, .rows = ROWS, .queries = QUERIES, .k = 1, .dim = dim, .shape = shape};
    struct pair pair;
    pair_open(&pair, &s);
    const double worst = worst_error(&pair);
    pair_close(&pair);
    return worst;
}

static const uint32_t dims[] = {1, 2, 31, 64, 129, 256};

static void check_shape(void (*shape)(struct world *, const struct setting *, struct dice *))
{
    for (unsigned i = 0; i < 2 * 3 * 6; i++) {
        const uint64_t seed = 1 + i / 2 % SEEDS;
        vr_emulator_seed(seed);
        const double worst = worst_of(scan_kinds[i % 2], (enum vr_table_dtype)(i / 2 % 3), dims[i / 6], shape);
        parity_row(i % 2 == 0 ? "scan f16, codes" : "scan int8, codes", 1, seed, worst, "the query's, scan_query.cu");
    }
}

Test(scan_bound, uniform)
{
    check_shape(NULL);
}

Test(scan_bound, sizes_over_many_powers_of_ten)
{
    check_shape(shape_spread);
}

Test(scan_bound, huge_queries)
{
    check_shape(shape_huge_queries);
}

Test(scan_bound, one_row_is_long)
{
    check_shape(shape_outlier);
}

/* The bound is reached: a smaller one would be wrong. */
Test(scan_bound, every_loss_adds_up)
{
    check_shape(shape_midpoints);
    for (unsigned i = 0; i < 2; i++) {
        const double worst = worst_of(scan_kinds[i], VR_TABLE_F32, 64, shape_midpoints);
        cr_assert_gt(worst, 0.9, "kind %d: %.3f", (int)scan_kinds[i], worst);
    }
}

Test(scan_bound, is_not_loose_for_unit_vectors)
{
    for (unsigned i = 0; i < 12; i++) {
        static const uint32_t usual[] = {32, 64, 128, 256};
        for (unsigned kind = 0; kind < 2; kind++) {
            const enum vr_table_dtype dtype = (enum vr_table_dtype)(i / 4);
            const double worst = worst_of(scan_kinds[kind], dtype, usual[i % 4], shape_unit);
            cr_assert_gt(worst, 1.0 / LOOSEST, "kind %u table %d dim %u: %.1f times", kind, (int)dtype, usual[i % 4],
                         1.0 / worst);
        }
    }
}

/* ---- the threshold ---- */

static int falling(const void *a, const void *b)
{
    const float one = *(const float *)a, other = *(const float *)b;
    return (one < other) - (one > other);
}

/* The rank-th best of the very scores that were sampled, less the margin: the device may fuse the last two steps. */
static void check_threshold(const struct pair *pair, uint32_t rank)
{
    struct run *run = must_alloc(sizeof *run);
    const float margin = pair->setting.kind == VR_INDEX_EXACT_INT8 ? 1.5f : 2.0f;
    run_pass(pair, rank, run);
    for (uint32_t q = 0; q < QUERIES; q++) {
        const struct vr_scan_query *state = &run->state[q];
        qsort(run->sampled[q], ROWS, sizeof(float), falling);
        const float nth = run->sampled[q][rank - 1], apart = nth - margin * state->bound;
        cr_assert(state->threshold == apart || state->threshold == fmaf(-margin, state->bound, nth),
                  "rank %u query %u: %.9g, not %.9g", rank, q, (double)state->threshold, (double)apart);
    }
    free(run);
}

/* Scores that all differ, and ties in great number, whose last digits are wanted in part. */
Test(scan_bound, threshold_is_the_best_but_so_many)
{
    static const uint32_t rank[] = {1, 2, 7, 32, 150, 257, 299, 300};
    for (unsigned i = 0; i < 2 * 2 * SEEDS; i++) {
        const struct setting s = {.kind = scan_kinds[i % 2],
                                  .dtype = VR_TABLE_F32,
                                  .rows = ROWS,
                                  .queries = QUERIES,
                                  .k = 1,
                                  .dim = i / 2 % 2 == 0 ? 24 : 3,
                                  .whole = i / 2 % 2 == 1};
        struct pair pair;
        vr_emulator_seed(1 + i / 4);
        pair_open(&pair, &s);
        for (size_t r = i % 2; r < sizeof rank / sizeof rank[0]; r += 2) {
            check_threshold(&pair, rank[r]);
        }
        pair_close(&pair);
    }
}

/* ---- the proof ---- */

#define BEST 20u

/* Device memory for one query, and a pinned place to change it from. */
struct proof {
    struct vr_scan_pass pass;
    void *query, *code, *state, *noted, *row, *score, *staging;
};

static void put(struct vr_stream *stream, struct proof *proof, void *to, const void *from, size_t bytes)
{
    memcpy(proof->staging, from, bytes);
    cr_assert_eq(vr_seam_copy(stream->seam, to, proof->staging, bytes), VR_OK);
    cr_assert_eq(vr_stream_wait(cuda, stream, vr_clock_mono_us() + 50000000), VR_OK, "%s", vr_error_text());
}

/* Every row of the index is noted for query 0. */
static void open_proof(const struct pair *pair, struct proof *proof)
{
    struct vr_stream *stream = pair->cuda.rig.stream;
    const struct vr_scan_index *index = vr_scan_index_of(pair->cuda.index);
    uint32_t slot[ROWS];
    const struct {
        void **at;
        size_t bytes;
    } part[] = {{&proof->query, pair->cuda.dim * sizeof(float)},
                {&proof->code, (size_t)VR_SCAN_QUERIES * index->vectors.row_bytes},
                {&proof->state, VR_SCAN_QUERIES * sizeof(struct vr_scan_query)},
                {&proof->noted, VR_SCAN_CAPACITY * sizeof *slot},
                {&proof->row, BEST * sizeof(int32_t)},
                {&proof->score, BEST * sizeof(float)}};
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        cr_assert_eq(vr_seam_memory_create(false, part[i].bytes, part[i].at), VR_OK);
    }
    cr_assert_eq(vr_seam_memory_create(true, sizeof slot, &proof->staging), VR_OK);
    for (uint32_t i = 0; i < ROWS; i++) {
        slot[i] = i;
    }
    put(stream, proof, proof->noted, slot, sizeof slot);
    put(stream, proof, proof->query, pair->cuda.query, pair->cuda.dim * sizeof(float));
    proof->pass = (struct vr_scan_pass){
        .vectors = index->vectors, .queries = 1, .k = BEST, .sample = ROWS, .rank = 1, .counts = index->counts};
    proof->pass.query = proof->query;
    proof->pass.code = proof->code;
    proof->pass.state = proof->state;
    proof->pass.noted = proof->noted;
    proof->pass.row = proof->row;
    proof->pass.score = proof->score;
}

static void close_proof(struct proof *proof)
{
    void *const device[] = {proof->query, proof->code, proof->state, proof->noted, proof->row, proof->score};
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++) {
        vr_seam_memory_destroy(false, device[i]);
    }
    vr_seam_memory_destroy(true, proof->staging);
}

/* Whether select takes the answer for proved when the k-th best lies so many bounds above the threshold. */
static bool is_proved(struct pair *pair, struct proof *proof, float bounds)
{
    struct vr_stream *stream = pair->cuda.rig.stream;
    struct vr_scan_query state;
    float score[ROWS];
    cr_assert_eq(vr_scan_prepare(stream, &proof->pass), VR_OK, "%s", vr_error_text());
    read_device(stream, proof->state, sizeof state, &state);
    for (uint32_t r = 0; r < ROWS; r++) {
        score[r] = chain(&pair->cuda, 0, (int32_t)r);
    }
    qsort(score, ROWS, sizeof(float), falling);
    state.threshold = score[BEST - 1] * state.scale - bounds * state.bound;
    state.noted = ROWS;
    put(stream, proof, proof->state, &state, sizeof state);
    cr_assert_eq(vr_scan_select(stream, &proof->pass), VR_OK, "%s", vr_error_text());
    read_device(stream, proof->state, sizeof state, &state);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.proved + counts.unproved, 1);
    cr_assert_eq(counts.unproved, state.unsafe, "what is not proved goes the safe way");
    return counts.proved == 1;
}

/* What was not noted may be a bound above the threshold. */
Test(scan_bound, proof_needs_a_whole_bound)
{
    for (unsigned i = 0; i < 2 * SEEDS; i++) {
        const struct setting s = {
            .kind = scan_kinds[i % 2], .dtype = VR_TABLE_F32, .rows = ROWS, .queries = QUERIES, .k = 1, .dim = 31};
        struct pair pair;
        struct proof proof;
        vr_emulator_seed(1 + i / 2);
        pair_open(&pair, &s);
        open_proof(&pair, &proof);
        cr_assert(is_proved(&pair, &proof, 1.01f) && is_proved(&pair, &proof, 1.5f));
        cr_assert(!is_proved(&pair, &proof, 0.99f) && !is_proved(&pair, &proof, 0.0f));
        close_proof(&proof);
        pair_close(&pair);
    }
}
