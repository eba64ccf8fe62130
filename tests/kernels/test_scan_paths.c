/* The ways of a query through the scan: each test brings one about and sees in the index's counts that it was taken. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_scan.h"

TestSuite(scan_paths, .init = open_cuda, .fini = close_cuda);

#define SAMPLE 1024u /* slots, where a test makes it smaller than an index of its size has it */

/* For each coding and some seeds: pair_open, `check`, pair_close. */
static void with_seeds(struct setting s, uint64_t first, uint64_t last, void (*check)(struct pair *pair))
{
    for (unsigned kind = 0; kind < 2; kind++) {
        for (uint64_t seed = first; seed <= last; seed++) {
            if (first < last && seed % 2 != kind && getenv("VIREO_LONG") == NULL) {
                continue; /* shortly, the codings take turns */
            }
            vr_emulator_seed(seed);
            s.kind = scan_kinds[kind];
            struct pair pair;
            pair_open(&pair, &s);
            check(&pair);
            pair_close(&pair);
        }
    }
}

static void each(struct setting s, void (*check)(struct pair *pair))
{
    with_seeds(s, 1, SEEDS, check);
}

/* Each type of table under a seed of its own, and one under two. */
static void each_table(struct setting s, void (*check)(struct pair *pair))
{
    s.dtype = VR_TABLE_F16;
    with_seeds(s, 1, 2, check);
    s.dtype = VR_TABLE_F32;
    with_seeds(s, 3, 3, check);
    s.dtype = VR_TABLE_I8;
    with_seeds(s, 4, 4, check);
}

static struct setting of(uint32_t rows, uint32_t queries, uint32_t k,
                         void (*shape)(struct world *, const struct setting *, struct dice *))
{
    return (struct setting){.dtype = VR_TABLE_F16, .rows = rows, .queries = queries, .k = k, .dim = 32, .shape = shape};
}

/* ---- proved by a threshold from a sample of some of the rows ---- */

static void check_proved(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.proved, pair->setting.queries, "%llu unproved, %llu overflowed", counts.unproved,
                 counts.overflowed);
    cr_assert_geq(counts.noted, (uint64_t)pair->setting.queries * pair->setting.k);
    cr_assert_lt(counts.noted, (uint64_t)pair->setting.queries * pair->setting.rows / 3, "the threshold lets in %llu",
                 counts.noted);
}

Test(scan_paths, proved_unclustered)
{
    each(of(12000, 5, 50, shape_unit), check_proved);
}

Test(scan_paths, proved_clustered)
{
    each(of(12000, 5, 50, shape_clustered), check_proved);
}

/* ---- exclusions ---- */

/* Rows by falling score of a query. */
static const float *score_of;
static int by_falling_score(const void *a, const void *b)
{
    const float left = score_of[*(const int32_t *)a], right = score_of[*(const int32_t *)b];
    return (left < right) - (left > right);
}
static int by_row(const void *a, const void *b)
{
    const int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

/* The best `count` rows of each query, ascending, with rows that the index does not have before and after. */
#define STRANGERS 4u
static int32_t *best_rows(const struct world *w, const struct setting *s, uint32_t count, uint32_t *offset)
{
    int32_t *out = must_alloc((size_t)s->queries * (count + STRANGERS) * sizeof *out);
    int32_t *order = must_alloc(s->rows * sizeof *order);
    float *score = must_alloc(s->rows * sizeof *score);
    uint32_t end = 0;
    for (uint32_t q = 0; q < s->queries; q++) {
        for (uint32_t r = 0; r < s->rows; r++) {
            order[r] = (int32_t)r;
            score[r] = (float)dot64(w, q, (int32_t)r);
        }
        score_of = score;
        qsort(order, s->rows, sizeof *order, by_falling_score);
        qsort(order, count, sizeof *order, by_row);
        offset[q] = end;
        out[end++] = INT32_MIN;
        out[end++] = -1;
        memcpy(out + end, order, count * sizeof *order);
        end += count;
        out[end++] = (int32_t)s->rows;
        out[end++] = INT32_MAX;
        offset[q + 1] = end;
    }
    free(order);
    free(score);
    return out;
}

/* Thousands of a query's best rows are excluded: were they not struck from the sample, its threshold would lie above
 * everything that is left. */
static void check_top_excluded(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    uint32_t offset[8] = {0};
    int32_t *row = best_rows(&pair->cpu, &pair->setting, 3000, offset);
    pair_compare(pair, offset, row);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.proved, pair->setting.queries, "%llu unproved, %llu overflowed", counts.unproved,
                 counts.overflowed);
    free(row);
}

Test(scan_paths, a_whole_top_is_excluded)
{
    each(of(9000, 3, 20, shape_unit), check_top_excluded);
}

/* All but a few rows are excluded: fewer than r are left in the sample, everything left is noted. */
static void check_few_left(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    uint32_t offset[8] = {0};
    int32_t *row = best_rows(&pair->cpu, &pair->setting, pair->setting.rows - 7, offset);
    pair_compare(pair, offset, row);
    cr_assert_eq(pair_counts(pair).whole, pair->setting.queries);
    free(row);
}

Test(scan_paths, few_rows_are_left)
{
    each(of(9000, 2, 20, shape_unit), check_few_left);
}

/* Lists that by their offsets end past the buffer, or before they begin, are cut at its end; the CPU backend gets them
 * as they are cut. */
static void check_clamped(struct pair *pair)
{
    static const uint32_t given[] = {0, 3, 1000, 4000000000u}, cut[] = {0, 3, 6, 6};
    const int32_t row[] = {pair->cpu.row[0],
                           pair->cpu.row[1],
                           pair->cpu.row[2],
                           pair->cpu.row[pair->setting.k],
                           pair->cpu.row[pair->setting.k + 1],
                           pair->cpu.row[pair->setting.k + 2]};
    int32_t list[6];
    memcpy(list, row, sizeof list);
    qsort(list, 3, sizeof *list, by_row);
    qsort(list + 3, 3, sizeof *list, by_row);
    struct world *w = &pair->cuda;
    const uint32_t k = pair->setting.k;
    struct vr_index_search args = {.queries = 3, .k = k, .has_exclude = true};
    args.query = rig_put(&w->rig, w->query, 3 * w->dim * sizeof(float));
    args.row = rig_put(&w->rig, w->row, 3 * k * sizeof(int32_t));
    args.score = rig_put(&w->rig, w->score, 3 * k * sizeof(float));
    args.exclude_offset = rig_put(&w->rig, given, sizeof given);
    args.exclude = rig_put(&w->rig, list, sizeof list);
    cr_assert_eq(cuda->ops->index_search(w->rig.stream, w->index, &args), VR_OK, "%s", vr_error_text());
    rig_get(&w->rig, args.row, 3 * k * sizeof(int32_t), w->row);
    cr_assert_eq(search(&pair->cpu, 3, k, pair->cpu.query, cut, list), VR_OK);
    cr_assert_eq(memcmp(w->row, pair->cpu.row, 3 * k * sizeof(int32_t)), 0);
}

static void check_lists_past_the_end(struct pair *pair)
{
    for (unsigned small = 0; small < 2; small++) {
        if (small == 0) {
            pair_sample(pair, SAMPLE);
        }
        pair_compare(pair, NULL, NULL);
        check_clamped(pair);
    }
}

Test(scan_paths, lists_past_their_buffer)
{
    each(of(8500, 3, 10, shape_unit), check_lists_past_the_end);
}

/* ---- overflow ---- */

/* Copies of one vector, the last 100 rows apart: half as long. */
static void shape_copies(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (size_t r = 1; r < s->rows; r++) {
        for (size_t i = 0; i < w->dim; i++) {
            w->vector[r * w->dim + i] = w->vector[i] * (r + 100 < s->rows ? 1.0f : 0.5f);
        }
    }
}

/* Nearly copies: each differs in its last bits, below what codes can tell apart. */
static void shape_near_copies(struct world *w, const struct setting *s, struct dice *dice)
{
    shape_copies(w, s, dice);
    for (size_t i = 0; i < (size_t)s->rows * w->dim; i++) {
        w->vector[i] *= 1.0f + 1e-6f * dice_unit(dice);
    }
}

static void check_overflow(struct pair *pair)
{
    for (uint32_t q = 0; q < pair->setting.queries; q++) { /* positive scores, so that the copies are the best */
        pair->cuda.query[q * pair->cuda.dim] += pair->cuda.vector[0] > 0.0f ? 20.0f : -20.0f;
        pair->cpu.query[q * pair->cuda.dim] = pair->cuda.query[q * pair->cuda.dim];
    }
    pair_compare(pair, NULL, NULL);
    cr_assert_eq(pair_counts(pair).overflowed, pair->setting.queries);
}

Test(scan_paths, overflow_of_copies)
{
    with_seeds(of(20000, 2, 100, shape_copies), 1, 2, check_overflow);
}

Test(scan_paths, overflow_of_near_copies)
{
    struct setting s = of(20000, 1, 1000, shape_near_copies);
    s.dtype = VR_TABLE_F32;
    with_seeds(s, 3, 4, check_overflow);
}

/* More queries than groups of blocks of the safe pass: a group answers several, one after the other. */
static void check_many_unsafe(struct pair *pair)
{
    pair_compare(pair, NULL, NULL);
    cr_assert_geq(pair_counts(pair).overflowed, 3, "copies are the best of half of the queries");
}

Test(scan_paths, many_unsafe_queries)
{
    with_seeds(of(8400, 9, 60, shape_copies), 2, 3, check_many_unsafe);
}

static void shape_zero_queries(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    memset(w->query, 0, (size_t)s->queries * w->dim * sizeof(float));
}

/* A query of zeros needs no scan, unless so much is excluded that the first rows do not fit: queries 1, 3 .. have a
 * list of every third row. */
static void check_zeros(struct pair *pair)
{
    uint32_t *offset;
    int32_t *exclude = exclusions(&pair->setting, 3, &offset);
    pair_compare(pair, offset, exclude);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.zeros, 2);
    cr_assert_eq(counts.overflowed, 1);
    free(offset);
    free(exclude);
}

/* Where all queries are zeros the vectors are not even read: here they would not be found. */
static void check_not_read(struct pair *pair)
{
    unsigned char **tile = &vr_scan_index_of(pair->cuda.index)->vectors.tile, *kept = *tile;
    *tile = NULL;
    pair_compare(pair, NULL, NULL);
    *tile = kept;
    cr_assert_eq(pair_counts(pair).zeros, pair->setting.queries);
    const size_t last = (size_t)(pair->setting.queries - 1) * pair->cuda.dim;
    pair->cuda.query[last] = pair->cpu.query[last] = 1.0f; /* one of them alone is scanned for */
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.zeros, pair->setting.queries - 1);
    cr_assert_eq(counts.proved, 1);
}

Test(scan_paths, only_zero_queries)
{
    each(of(8300, 18, 10, shape_zero_queries), check_not_read);
}

Test(scan_paths, zero_queries)
{
    with_seeds(of(26000, 3, 100, shape_zero_queries), 1, 2, check_zeros);
}

/* Zeros times a row that is not a number: no shortcut. */
static void shape_zeros_and_nan(struct world *w, const struct setting *s, struct dice *dice)
{
    shape_zero_queries(w, s, dice);
    w->vector[0] = NAN;
}

/* Blocks of the safe pass that gather more than they can hold, and cut it down to k: with one row in 50 excluded they
 * come to that in the middle of a step. */
static void check_cut(struct pair *pair)
{
    uint32_t *offset;
    int32_t *exclude = exclusions(&pair->setting, 50, &offset);
    pair_compare(pair, offset, exclude);
    cr_assert_eq(pair_counts(pair).unbounded, pair->setting.queries);
    free(offset);
    free(exclude);
}

Test(scan_paths, safe_pass_cuts)
{
    struct setting s = of(36000, 2, 1000, shape_zeros_and_nan);
    s.dim = 4;
    with_seeds(s, 1, 2, check_cut);
}

/* As many copies as can be noted, and with an odd k one more. */
static void shape_blocks(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (size_t r = 0; r < s->rows; r++) {
        const float value = r < VR_SCAN_CAPACITY + s->k % 2 ? 1.0f : 0.25f;
        for (size_t i = 0; i < w->dim; i++) {
            w->vector[r * w->dim + i] = value;
            w->query[i] = 1.0f;
        }
    }
}

static void check_full(struct pair *pair)
{
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    const bool full = pair->setting.k % 2 == 0;
    cr_assert_eq(counts.noted, VR_SCAN_CAPACITY + !full);
    cr_assert_eq(counts.proved, full);
    cr_assert_eq(counts.overflowed, !full);
}

Test(scan_paths, exactly_as_many_as_fit)
{
    each(of(8400, 1, 100, shape_blocks), check_full);
}

Test(scan_paths, one_more_than_fits)
{
    each(of(8400, 1, 101, shape_blocks), check_full);
}

/* ---- a threshold that was too high ---- */

static const int32_t *row_of_slot; /* of any index of as many rows: the shuffle is the same */

/* The sample gets the best 40 rows: its r-th best is then above the k-th best of all, which is what happens once in ten
 * million times by chance. */
static void shape_unlucky(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)s, (void)dice;
    for (uint32_t slot = 0; slot < 40; slot++) {
        for (uint32_t i = 0; row_of_slot != NULL && i < w->dim; i++) {
            w->vector[(size_t)row_of_slot[slot] * w->dim + i] = 3.0f * w->query[i];
        }
    }
}

static void check_unlucky(struct pair *pair)
{
    pair_sample(pair, 128);
    pair_compare(pair, NULL, NULL);
    cr_assert_eq(pair_counts(pair).unproved, 1);
}

Test(scan_paths, threshold_too_high)
{
    struct setting s = of(9000, 1, 50, NULL);
    struct pair pair;
    pair_open(&pair, &s);
    int32_t *row = pair_rows_of_slots(&pair);
    pair_close(&pair);
    row_of_slot = row;
    s.shape = shape_unlucky;
    each(s, check_unlucky);
    row_of_slot = NULL;
    free(row);
}

/* ---- numbers that are none ---- */

/* NaN, both infinities, and numbers that no half holds, each in a row of its own. */
static void shape_wrong_rows(struct world *w, const struct setting *s, struct dice *dice)
{
    shape_unit(w, s, dice);
    for (uint32_t r = 5; r < s->rows; r += 11) { /* more in the sample than r */
        const float wrong[] = {NAN, NAN, -NAN};
        w->vector[(size_t)r * w->dim + r % w->dim] = wrong[r % 3];
    }
}

/* Among them rows that halves would give -infinity, by their first value, and that are among the best by their second.
 */
static void shape_infinite_rows(struct world *w, const struct setting *s, struct dice *dice)
{
    shape_wrong_rows(w, s, dice);
    for (uint32_t r = 7; r < s->rows; r += 101) {
        const float wrong[] = {INFINITY, -INFINITY, 7e4f, -8e4f, 3e38f};
        w->vector[(size_t)r * w->dim + r % w->dim] = wrong[r % 5];
        w->vector[(size_t)r * w->dim + (r + 1) % w->dim] = r % 10 < 5 ? 6e4f : -6e4f;
    }
}

static void check_wrong_rows(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    pair_compare(pair, NULL, NULL);
    cr_assert_eq(pair_counts(pair).proved, pair->setting.queries, "NaN rows cost nobody the threshold");
}

Test(scan_paths, nan_rows)
{
    each_table(of(9000, 3, 20, shape_wrong_rows), check_wrong_rows);
}

static void check_infinite_rows(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    if (pair->setting.kind == VR_INDEX_EXACT) {
        cr_assert_eq(counts.proved, pair->setting.queries, "%llu unproved %llu unbounded", counts.unproved,
                     counts.unbounded);
    } else { /* beside 80,000 the codes of ordinary rows are 0: all are noted, which is too much */
        cr_assert_eq(counts.unbounded, 0);
    }
}

Test(scan_paths, infinite_rows)
{
    each_table(of(9000, 3, 60, shape_infinite_rows), check_infinite_rows);
}

#define WRONG 16u

/* Two rows of each kind that int8 has no codes for: they cost nobody the threshold. Those whose number is a multiple of
 * three are excluded for odd queries, among them 309, which would be every query's best. */
static void shape_few_wrong_rows(struct world *w, const struct setting *s, struct dice *dice)
{
    static const float wrong[] = {NAN, INFINITY, -INFINITY, 3e38f, -1e20f, 0x1p59f, NAN, INFINITY};
    shape_unit(w, s, dice);
    for (uint32_t i = 0; i < WRONG; i++) {
        w->vector[(size_t)(300 + i) * w->dim + i % 8] = wrong[i % 8];
    }
    w->vector[306 * w->dim + 20] = INFINITY; /* with a NaN already */
    w->vector[307 * w->dim + 20] = -INFINITY;
    for (uint32_t q = 0; q < s->queries; q++) {
        w->query[q * w->dim + 1] = fabsf(w->query[q * w->dim + 1]);
    }
}

/* Rows and slots name each other, and those apart come last. */
static void check_slots(struct pair *pair)
{
    const struct vr_scan_vectors *vectors = &vr_scan_index_of(pair->cuda.index)->vectors;
    const uint32_t rows = pair->setting.rows;
    int32_t *row_at = pair_rows_of_slots(pair), *slot_of_row = must_alloc(rows * sizeof *slot_of_row);
    read_device(pair->cuda.rig.stream, vectors->slot_of_row, rows * sizeof *slot_of_row, slot_of_row);
    cr_assert_eq(vectors->apart, pair->setting.kind == VR_INDEX_EXACT_INT8 ? WRONG : 0);
    cr_assert_eq(vectors->rows + vectors->apart, rows);
    for (uint32_t slot = 0; slot < rows; slot++) {
        const int32_t row = row_at[slot];
        cr_assert_eq(slot_of_row[row], (int32_t)slot);
        cr_assert(slot < vectors->rows || (row >= 300 && row < 300 + (int32_t)WRONG));
    }
    free(row_at);
    free(slot_of_row);
}

static void check_few_wrong_rows(struct pair *pair)
{
    uint32_t *offset;
    int32_t *exclude = exclusions(&pair->setting, 3, &offset);
    pair_sample(pair, SAMPLE);
    pair_compare(pair, NULL, NULL);
    const int32_t *best = pair->cuda.row;
    cr_assert_eq(best[0], 301, "an infinity is the best, not row %d", best[0]);
    pair_compare(pair, offset, exclude);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.proved, 2 * pair->setting.queries, "%llu unproved, %llu overflowed, %llu unbounded",
                 counts.unproved, counts.overflowed, counts.unbounded);
    cr_assert_lt(counts.noted, 2 * (uint64_t)pair->setting.queries * pair->setting.rows / 3, "noted: %llu",
                 counts.noted);
    check_slots(pair);
    free(offset);
    free(exclude);
}

Test(scan_paths, few_wrong_rows)
{
    struct setting s = of(9000, 4, 20, shape_few_wrong_rows);
    s.dtype = VR_TABLE_F32;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        with_seeds(s, seed, seed, check_few_wrong_rows);
    }
}

/* Only the first 40 rows are finite; some of the others' scores are not numbers. */
static void shape_mostly_wrong_rows(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (size_t r = s->k % 2 == 0 ? 40 : 0; r < s->rows; r++) {
        w->vector[r * w->dim + r % w->dim] = r % 7 == 0 ? NAN : r % 2 == 0 ? INFINITY : -3e38f;
    }
}

/* As many as fit are scored for every query, more send it to the safe pass. */
static void check_mostly_wrong(struct pair *pair)
{
    const bool fits = pair->setting.rows <= VR_SCAN_CAPACITY;
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.whole, fits ? pair->setting.queries : 0);
    cr_assert_eq(counts.overflowed, fits ? 0 : pair->setting.queries);
}

Test(scan_paths, most_rows_are_wrong)
{
    for (uint32_t i = 0; i < 4; i++) { /* with k odd all of them */
        struct setting s = of(i / 2 == 0 ? 260 : 8300, 2, 30 + i % 2, shape_mostly_wrong_rows);
        s.dtype = VR_TABLE_F32;
        s.dim = 8;
        with_seeds(s, 1 + i, 1 + i, check_mostly_wrong);
    }
}

/* Queries 0..9: ordinary, NaN, infinity, zero, then powers of ten down to the least float and up to the largest. */
static void shape_odd_queries(struct world *w, const struct setting *s, struct dice *dice)
{
    static const float by[10] = {1.0f, NAN, INFINITY, 0.0f, 1e-20f, 1e-32f, 1e-44f, 1e30f, 2e38f, -3e38f};
    shape_unit(w, s, dice);
    for (uint32_t q = 0; q < s->queries; q++) {
        for (uint32_t i = 0; i < w->dim; i++) {
            const float unit = w->query[q * w->dim + i];
            w->query[q * w->dim + i] = q == 1 || q == 2 ? (i == 5 ? by[q] : unit) : unit * by[q % 10];
        }
    }
}

static void check_odd_pair(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.unbounded, 2, "NaN and infinity alone, not %llu", counts.unbounded);
    cr_assert_eq(counts.zeros, 1);
    cr_assert_geq(counts.proved, 6, "%llu", counts.proved);
}

Test(scan_paths, odd_queries)
{
    each_table(of(8500, 10, 20, shape_odd_queries), check_odd_pair);
}

Test(scan_paths, odd_queries_of_every_kind)
{
    for (unsigned i = 0; i < 2 * SEEDS; i++) {
        vr_emulator_seed(1 + i % SEEDS);
        check_odd_queries(cuda, scan_kinds[i / SEEDS]);
    }
}

/* Rows of zeros only, and rows too small for the codes to tell apart. */
static void shape_nothing(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    const float by = s->k == 10 ? 0.0f : s->k == 11 ? 1e-10f : s->k == 12 ? 1e-25f : 1e-39f;
    for (size_t i = 0; i < (size_t)s->rows * w->dim; i++) {
        w->vector[i] *= by;
    }
}

static void check_nothing(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    pair_compare(pair, NULL, NULL);
}

Test(scan_paths, tiny_rows)
{
    for (unsigned i = 0; i < 4; i++) {
        struct setting s = of(8500, 3, 10 + i, shape_nothing);
        s.dtype = VR_TABLE_F32;
        with_seeds(s, 1 + i, 1 + i, check_nothing);
    }
}

/* A tile that is not whole: what lies behind the last row scores 0, which beats every row here. */
static void shape_below_zero(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (size_t i = 0; i < (size_t)s->rows * w->dim; i++) {
        w->vector[i] = -fabsf(w->vector[i]);
    }
    for (size_t i = 0; i < (size_t)s->queries * w->dim; i++) {
        w->query[i] = 0.01f + fabsf(w->query[i]);
    }
}

static void check_below_zero(struct pair *pair)
{
    pair_compare(pair, NULL, NULL);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.proved, pair->setting.rows > VR_SCAN_CAPACITY ? pair->setting.queries : 0);
    cr_assert_eq(counts.unproved + counts.overflowed, 0);
}

Test(scan_paths, every_score_is_negative)
{
    each(of(8193, 3, 50, shape_below_zero), check_below_zero);
    each(of(65, 3, 50, shape_below_zero), check_below_zero);
}
