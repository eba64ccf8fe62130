/* Buffered selection (compute/select.h) against a full sort: any room, k and length, ties, signed zeros, infinities,
 * NaN and the orders that are worst for a quickselect. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "compute/select.h"
#include "support_ops.h"

#define ROWS_MAX 5000u

struct scored {
    float score;
    int32_t row;
};

static int better_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return (x->row > y->row) - (x->row < y->row);
}

/* The rows whose score is a number, all sorted. */
static uint32_t sorted(const float *score, uint32_t rows, struct scored *out)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < rows; r++) {
        if (!isnan(score[r])) {
            out[count++] = (struct scored){score[r], (int32_t)r};
        }
    }
    qsort(out, count, sizeof *out, better_first);
    return count;
}

static void check(const float *score, uint32_t rows, uint32_t k, uint32_t room)
{
    static struct scored want[ROWS_MAX];
    static uint64_t key[ROWS_MAX];
    static float got_score[ROWS_MAX];
    static int32_t got_row[ROWS_MAX];
    struct vr_select select = vr_select_open(key, room, k, true);
    for (uint32_t r = 0; r < rows; r++) {
        if (score[r] >= select.limit) {
            vr_select_push(&select, score[r], (int32_t)r);
        }
        if (select.count == select.room) {
            vr_select_shrink(&select);
            cr_assert_eq(select.count, k);
        }
    }
    vr_select_finish(&select, got_score, got_row);
    const uint32_t found = sorted(score, rows, want);
    for (uint32_t i = 0; i < k; i++) {
        cr_assert_eq(got_row[i], i < found ? want[i].row : -1, "rows %u, k %u, room %u, place %u", rows, k, room, i);
        cr_assert_eq(got_score[i], i < found ? want[i].score : 0.0f);
    }
}

static void check_rooms(const float *score, uint32_t rows)
{
    static const uint32_t k[] = {1, 2, 15, 100, 1000};
    static const uint32_t slack[] = {1, 16, 17, 512};
    for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
        for (size_t j = 0; j < sizeof slack / sizeof slack[0]; j++) {
            check(score, rows, k[i], k[i] + slack[j]);
        }
    }
}

Test(select, equals_a_full_sort)
{
    static float score[ROWS_MAX];
    static const uint32_t rows[] = {0, 1, 2, 16, 99, 100, 101, 1016, ROWS_MAX};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dice dice = {rows[i] + 1};
        dice_floats(&dice, score, rows[i]);
        check_rooms(score, rows[i]);
    }
}

/* A score as a function of its row. */
static float falling(uint32_t row)
{
    return -(float)row;
}
static float rising(uint32_t row)
{
    return (float)row;
}
static float equal(uint32_t row)
{
    (void)row;
    return 0.25f;
}
static float few_values(uint32_t row)
{
    return (float)(row * 7u % 5u) - 2.0f;
}
static float organ_pipe(uint32_t row)
{
    return (float)(row < ROWS_MAX / 2 ? row : ROWS_MAX - row);
}
static float odd_values(uint32_t row)
{
    static const float value[] = {0.0f, -0.0f, NAN, INFINITY, -INFINITY, 1e-45f, -1e-45f, 3e38f, -3e38f, -NAN};
    return value[row * row % 10u];
}
static float none(uint32_t row)
{
    (void)row;
    return NAN;
}
static float lowest(uint32_t row)
{
    (void)row;
    return -INFINITY;
}

Test(select, ties_odd_values_and_hard_orders)
{
    static float (*const order[])(uint32_t) = {falling,    rising,     equal, few_values,
                                               organ_pipe, odd_values, none,  lowest};
    static float score[ROWS_MAX];
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        for (uint32_t r = 0; r < ROWS_MAX; r++) {
            score[r] = order[i](r);
        }
        check_rooms(score, ROWS_MAX);
    }
}
