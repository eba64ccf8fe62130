/* Numbers that are none, or hardly numbers, in rows and queries of the scan: each test sees in the index's counts which
 * way they went. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_scan.h"

TestSuite(scan_odd, .init = open_cuda, .fini = close_cuda);

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

Test(scan_odd, nan_rows)
{
    pair_each_table(pair_setting(2500, 3, 20, shape_wrong_rows), check_wrong_rows);
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

Test(scan_odd, infinite_rows)
{
    pair_each_table(pair_setting(2500, 3, 60, shape_infinite_rows), check_infinite_rows);
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

Test(scan_odd, few_wrong_rows)
{
    struct setting s = pair_setting(2500, 4, 20, shape_few_wrong_rows);
    s.dtype = VR_TABLE_F32;
    pair_each(s, check_few_wrong_rows);
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

Test(scan_odd, most_rows_are_wrong)
{
    for (uint32_t i = 0; i < 4; i++) { /* with k odd all of them */
        struct setting s = pair_setting(i / 2 == 0 ? 260 : 8300, 2, 30 + i % 2, shape_mostly_wrong_rows);
        s.dtype = VR_TABLE_F32;
        s.dim = 8;
        pair_with_seeds(s, 1 + i, 1 + i, check_mostly_wrong);
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

Test(scan_odd, odd_queries)
{
    pair_each_table(pair_setting(2500, 10, 20, shape_odd_queries), check_odd_pair);
}

Test(scan_odd, odd_queries_of_every_kind)
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

Test(scan_odd, tiny_rows)
{
    for (unsigned i = 0; i < 4; i++) {
        struct setting s = pair_setting(1500, 3, 10 + i, shape_nothing);
        s.dtype = VR_TABLE_F32;
        pair_with_seeds(s, 1 + i, 1 + i, check_nothing);
    }
}
