/* The ways of a query through the scan: each test brings one about and sees in the index's counts that it was taken. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_scan.h"

TestSuite(scan_paths, .init = open_cuda, .fini = close_cuda);

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
    pair_each(pair_setting(4000, 5, 50, shape_unit), check_proved);
}

Test(scan_paths, proved_clustered)
{
    pair_each(pair_setting(4000, 5, 50, shape_clustered), check_proved);
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

#define TOP 1000u

/* A third of the rows, a query's best, is excluded: were they not struck from the sample, its threshold would lie above
 * everything that is left. */
static void check_top_excluded(struct pair *pair)
{
    pair_sample(pair, SAMPLE);
    uint32_t offset[8] = {0};
    int32_t *row = best_rows(&pair->cpu, &pair->setting, TOP, offset);
    pair_compare(pair, offset, row);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.proved, pair->setting.queries, "%llu unproved, %llu overflowed", counts.unproved,
                 counts.overflowed);
    free(row);
}

Test(scan_paths, a_whole_top_is_excluded)
{
    pair_each(pair_setting(3 * TOP, 3, 20, shape_unit), check_top_excluded);
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
    pair_each(pair_setting(2000, 2, 20, shape_unit), check_few_left);
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
        pair_sample(pair, small == 0 ? SAMPLE : 0);
        pair_compare(pair, NULL, NULL);
        check_clamped(pair);
    }
}

Test(scan_paths, lists_past_their_buffer)
{
    pair_each(pair_setting(1500, 3, 10, shape_unit), check_lists_past_the_end);
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
    pair_with_seeds(pair_setting(8500, 2, 100, shape_copies), 1, 2, check_overflow);
}

Test(scan_paths, overflow_of_near_copies)
{
    struct setting s = pair_setting(8500, 1, 1000, shape_near_copies);
    s.dtype = VR_TABLE_F32;
    pair_with_seeds(s, 3, 4, check_overflow);
}

/* More queries than groups of blocks of the safe pass: a group answers several, one after the other. */
static void check_many_unsafe(struct pair *pair)
{
    pair_compare(pair, NULL, NULL);
    cr_assert_geq(pair_counts(pair).overflowed, 3, "copies are the best of half of the queries");
}

Test(scan_paths, many_unsafe_queries)
{
    pair_with_seeds(pair_setting(8400, 9, 60, shape_copies), 2, 3, check_many_unsafe);
}

static void shape_zero_queries(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    memset(w->query, 0, (size_t)s->queries * w->dim * sizeof(float));
}

/* A query of zeros needs no scan, however many of the first rows are excluded: queries 1, 3 .. have a list of every
 * other row. */
static void check_zeros(struct pair *pair)
{
    uint32_t *offset;
    int32_t *exclude = exclusions(&pair->setting, 2, &offset);
    pair_compare(pair, offset, exclude);
    const struct vr_scan_counts counts = pair_counts(pair);
    cr_assert_eq(counts.zeros, pair->setting.queries);
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
    pair->cuda.query[last] = pair->cpu.query[last] = 0.0f;
}

Test(scan_paths, only_zero_queries)
{
    pair_each(pair_setting(8300, 18, 10, shape_zero_queries), check_not_read);
}

Test(scan_paths, zero_queries)
{
    pair_with_seeds(pair_setting(16600, 3, 100, shape_zero_queries), 1, 2, check_zeros);
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
    struct setting s = pair_setting(36000, 2, 1000, shape_zeros_and_nan);
    s.dim = 4;
    pair_with_seeds(s, 1, 2, check_cut);
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
    pair_each(pair_setting(8400, 1, 100, shape_blocks), check_full);
}

Test(scan_paths, one_more_than_fits)
{
    pair_each(pair_setting(8400, 1, 101, shape_blocks), check_full);
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
    struct setting s = pair_setting(3000, 1, 50, NULL);
    struct pair pair;
    pair_open(&pair, &s);
    int32_t *row = pair_rows_of_slots(&pair);
    pair_close(&pair);
    row_of_slot = row;
    s.shape = shape_unlucky;
    pair_each(s, check_unlucky);
    row_of_slot = NULL;
    free(row);
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
    pair_each(pair_setting(8193, 3, 50, shape_below_zero), check_below_zero);
    pair_each(pair_setting(65, 3, 50, shape_below_zero), check_below_zero);
}
