/* The index exact_int8 of the CPU backend: its answers are those of `exact`, bit for bit, whatever the vectors are. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_index.h"

static struct vr_backend *cpu(void)
{
    struct vr_backend *backend = NULL;
    cr_assert_eq(vr_backend_open("cpu", 1, &backend), VR_OK);
    return backend;
}

/* ---- vectors that are hard for codes with one unit a block ---- */

static float length_of(const float *vector, uint32_t dim)
{
    float squares = 0.0f;
    for (uint32_t i = 0; i < dim; i++) {
        squares += vector[i] * vector[i];
    }
    return sqrtf(squares);
}

static void scale(float *vector, uint32_t dim, float factor)
{
    for (uint32_t i = 0; i < dim; i++) {
        vector[i] *= factor;
    }
}

static void unit(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (uint32_t r = 0; r < s->rows; r++) {
        scale(w->vector + (size_t)r * w->dim, w->dim, 1.0f / length_of(w->vector + (size_t)r * w->dim, w->dim));
    }
}

/* Lengths from 2^-20 to 2^20. */
static void lengths(struct world *w, const struct setting *s, struct dice *dice)
{
    for (uint32_t r = 0; r < s->rows; r++) {
        scale(w->vector + (size_t)r * w->dim, w->dim, ldexpf(1.0f, (int)dice_below(dice, 41) - 20));
    }
    for (uint32_t q = 0; q < s->queries; q++) {
        scale(w->query + (size_t)q * w->dim, w->dim, ldexpf(1.0f, (int)dice_below(dice, 41) - 20));
    }
}

/* All rows alike: every score is the same. */
static void same(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (uint32_t r = 1; r < s->rows; r++) {
        memcpy(w->vector + (size_t)r * w->dim, w->vector, w->dim * sizeof *w->vector);
    }
}

/* Scores rise row by row, so that each one enters. */
static void rising(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (uint32_t r = 0; r < s->rows; r++) {
        memcpy(w->vector + (size_t)r * w->dim, w->query, w->dim * sizeof *w->vector);
        scale(w->vector + (size_t)r * w->dim, w->dim, (float)(r + 1) / (float)s->rows);
    }
}

/* A NaN, infinities, zeros, and rows whose products leave float32's range on both sides. */
static void odd(struct world *w, const struct setting *s, struct dice *dice)
{
    static const float value[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-44f, 1e-30f, 0.0f};
    for (uint32_t i = 0; i < 40; i++) {
        const size_t row = dice_below(dice, s->rows);
        w->vector[row * w->dim + dice_below(dice, w->dim)] = value[i % 8];
        if (i % 4 == 3) {
            scale(w->vector + row * w->dim, w->dim, value[3 + i / 4 % 5]);
        }
    }
    memset(w->vector, 0, w->dim * sizeof *w->vector);
    scale(w->query + w->dim, w->dim, 1e30f);
    scale(w->query + (size_t)2 * w->dim, w->dim, 1e-40f);
    memset(w->query + (size_t)3 * w->dim, 0, w->dim * sizeof *w->query);
    w->query[(size_t)4 * w->dim + 1] = INFINITY;
    w->query[(size_t)5 * w->dim] = NAN;
}

/* One row far longer than the others, in the middle. */
static void outlier(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    scale(w->vector + (size_t)(s->rows / 2) * w->dim, w->dim, 1e4f);
}

/* Rows near the end of float32's range, and queries that bring their scores back to 1. */
static void far(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    scale(w->vector, s->rows * w->dim, 0x1p122f);
    scale(w->query, s->queries * w->dim, 0x1p-122f);
}

/* One row whose unit times the query's is past float32's range: nothing is known of its block's rows. */
static void huge(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    scale(w->vector + (size_t)3 * w->dim, w->dim, 0x1p125f);
    scale(w->query, s->queries * w->dim, 0x1p20f);
}

/* Queries of zeros, one of them with exclusions, beside others. */
static void zeros(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)s;
    (void)dice;
    memset(w->query + w->dim, 0, w->dim * sizeof *w->query);
    for (uint32_t i = 0; i < w->dim; i++) {
        w->query[(size_t)4 * w->dim + i] = i % 2 == 0 ? -0.0f : 0.0f;
    }
}

/* ---- against exact ---- */

/* What a kind answers: rows and then the bits of scores, [2, queries, k]; every third row is excluded for odd queries.
 * The caller frees. */
static int32_t *answers_of(struct vr_backend *backend, const struct setting *s, enum vr_index_kind kind)
{
    struct setting own = *s;
    struct world w = {0};
    own.kind = kind;
    world_open(&w, backend, &own);
    uint32_t *offset;
    int32_t *exclude = exclusions(s, 3, &offset);
    cr_assert_eq(search(&w, s->queries, s->k, w.query, offset, exclude), VR_OK, "%s", vr_error_text());
    const size_t results = (size_t)s->queries * s->k;
    int32_t *answer = must_alloc(2 * results * sizeof *answer);
    memcpy(answer, w.row, results * sizeof *answer);
    memcpy(answer + results, w.score, results * sizeof *answer);
    free(offset);
    free(exclude);
    world_close(&w);
    return answer;
}

static void check_bits(const struct setting *s)
{
    struct vr_backend *backend = cpu();
    int32_t *want = answers_of(backend, s, VR_INDEX_EXACT), *got = answers_of(backend, s, VR_INDEX_EXACT_INT8);
    const size_t results = (size_t)s->queries * s->k;
    for (size_t i = 0; i < 2 * results; i++) {
        cr_assert_eq(got[i], want[i], "%s %zu of query %zu: %d, not %d", i < results ? "row" : "score",
                     i % results % s->k, i % results / s->k, got[i], want[i]);
    }
    free(want);
    free(got);
    vr_backend_destroy(backend);
}

typedef void shape(struct world *w, const struct setting *s, struct dice *dice);
static shape *const shapes[] = {NULL, unit, lengths, same, rising, odd, outlier, far, huge, zeros};
#define SHAPES (sizeof shapes / sizeof shapes[0])

Test(index_int8, floats)
{
    for (size_t i = 0; i < SHAPES; i++) {
        const struct setting s = {.rows = 5000, .queries = 11, .k = 30, .dim = 21, .shape = shapes[i]};
        check_bits(&s);
    }
}

/* More answers than a block has rows. */
Test(index_int8, many_answers)
{
    for (size_t i = 0; i < SHAPES; i++) {
        const struct setting s = {.rows = 5000, .queries = 7, .k = 400, .dim = 21, .shape = shapes[i]};
        check_bits(&s);
    }
}

Test(index_int8, halves)
{
    for (size_t i = 0; i < SHAPES; i++) {
        const struct setting s = {
            .dtype = VR_TABLE_F16, .rows = 9001, .queries = 70, .k = 100, .dim = 64, .shape = shapes[i]};
        check_bits(&s);
    }
}

Test(index_int8, bytes)
{
    for (size_t i = 0; i < SHAPES; i++) {
        const struct setting s = {
            .dtype = VR_TABLE_I8, .rows = 3000, .queries = 6, .k = 10, .dim = 40, .shape = shapes[i]};
        check_bits(&s);
    }
}

/* Ties everywhere: whole numbers, whose sums are exact. */
Test(index_int8, ties)
{
    const struct setting s = {.rows = 20000, .queries = 9, .k = 100, .whole = true};
    check_bits(&s);
}

/* The most answers, in groups smaller than the batch, and dimensions up to the most. */
Test(index_int8, sizes)
{
    static const uint32_t dims[] = {1, 2, 3, 4, 5, 7, 8, 9, 63, 65, 200, 4096};
    const struct setting most = {.dtype = VR_TABLE_F16, .rows = 12000, .queries = 130, .k = 1000, .shape = unit};
    check_bits(&most);
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        const struct setting s = {
            .dtype = i % 2 != 0 ? VR_TABLE_F16 : VR_TABLE_F32, .rows = 700, .queries = 6, .k = 20, .dim = dims[i]};
        check_bits(&s);
    }
}

Test(index_int8, every_setting)
{
    struct vr_backend *backend = cpu();
    check_all(backend, VR_INDEX_EXACT_INT8);
    check_odd_queries(backend, VR_INDEX_EXACT_INT8);
    vr_backend_destroy(backend);
}
