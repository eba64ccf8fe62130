/* The selector's loops (src/feed/selection_loops.h) of every instruction set that this processor has, against the plain
 * ones: words are the same, sums are within a few roundings, for all lengths and for odd values. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "feed/selection_loops.h"
#include "support_rerank.h"

#define MOST (5 * VR_SELECTION_BLOCK)
#define ROWS 40u

static const struct vr_selection_loops *const plain = &vr_selection_loops_plain;

/* What there is beside the plain loops. */
static uint32_t others(const struct vr_selection_loops *out[2])
{
    uint32_t count = 0;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        out[count++] = &vr_selection_loops_avx2;
    }
    if (__builtin_cpu_supports("avx512f")) {
        out[count++] = &vr_selection_loops_avx512;
    }
    return count;
}

static struct random r = {7};
static float row[ROWS * MOST], weight[ROWS], value[MOST], a[MOST], b[MOST];
static double row_d[ROWS * MOST], weight_d[ROWS], x[MOST], y[MOST];
static uint32_t bits[MOST], seen[MOST], seen_too[MOST];
static int32_t group[MOST];

static void fill(float *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = 2.0f * random_unit(&r) - 1.0f;
    }
}

static void fill_all(void)
{
    fill(row, ROWS * MOST);
    fill(weight, ROWS);
    fill(value, MOST);
    for (size_t i = 0; i < (size_t)ROWS * MOST; i++) {
        row_d[i] = (double)row[i];
    }
    for (size_t i = 0; i < ROWS; i++) {
        weight_d[i] = (double)weight[i];
    }
    for (size_t i = 0; i < MOST; i++) {
        bits[i] = random_below(&r, 3);
        seen[i] = random_below(&r, 5);
        group[i] = (int32_t)random_below(&r, 6) - 1;
        value[i] = roundf(value[i] * 8.0f); /* ties */
    }
}

static void check_sums(const struct vr_selection_loops *loops, uint32_t rows, uint32_t length)
{
    plain->weigh(row, weight, rows, length, a);
    loops->weigh(row, weight, rows, length, b);
    plain->weigh_double(row_d, weight_d, rows, length, x);
    loops->weigh_double(row_d, weight_d, rows, length, y);
    for (uint32_t i = 0; i < length; i++) {
        cr_assert_float_eq(a[i], b[i], 1e-5f);
        cr_assert_float_eq(x[i], y[i], 1e-14 * ROWS);
    }
}

static void check_choice(const struct vr_selection_loops *loops, uint32_t length)
{
    const float most = plain->largest(value, bits, length);
    cr_assert_eq(loops->largest(value, bits, length), most);
    for (uint32_t from = 0; from <= length; from++) {
        cr_assert_eq(loops->find(value, bits, most, from, length), plain->find(value, bits, most, from, length),
                     "from %u of %u", from, length);
    }
    memcpy(seen_too, seen, sizeof seen);
    plain->count_group(group, 2, (uint32_t)-1, length, seen);
    loops->count_group(group, 2, (uint32_t)-1, length, seen_too);
    cr_assert_arr_eq(seen, seen_too, sizeof seen);
    plain->count_group(group, 2, 1, length, seen);
    memcpy(seen_too, bits, sizeof bits);
    plain->mark_full(seen, 3, 8, length, bits);
    loops->mark_full(seen, 3, 8, length, seen_too);
    cr_assert_arr_eq(bits, seen_too, sizeof bits);
}

static void check_gains(const struct vr_selection_loops *loops, uint32_t length)
{
    static float nearest[2][MOST], gain[2][MOST];
    static double factor[2][MOST], residual[2][MOST];
    for (uint32_t side = 0; side < 2; side++) {
        const struct vr_selection_loops *own = side == 0 ? plain : loops;
        memset(nearest[side], 0, sizeof nearest[side]);
        own->relevance(row, value, 0.8f, length, nearest[side], gain[side]);
    }
    for (uint32_t i = 0; i < length; i++) {
        cr_assert_eq(nearest[0][i], nearest[1][i]);
        cr_assert_float_eq(gain[0][i], gain[1][i], 1e-5f);
    }
    for (uint32_t side = 0; side < 2; side++) {
        const struct vr_selection_loops *own = side == 0 ? plain : loops;
        for (uint32_t i = 0; i < length; i++) {
            factor[side][i] = 0.1 * row_d[i];
            residual[side][i] = 0.3;
            x[i] = 1.0 + row_d[MOST + i];
        }
        own->determinant(row + 2 * MOST, x, 0.495, 0.9, 0.005, length, factor[side], residual[side], gain[side]);
    }
    for (uint32_t i = 0; i < length; i++) {
        cr_assert_float_eq(factor[0][i], factor[1][i], 1e-14);
        cr_assert_float_eq(residual[0][i], residual[1][i], 1e-14);
        cr_assert_float_eq(gain[0][i], gain[1][i], 1e-6f);
    }
}

static void check_lengths(const struct vr_selection_loops *loops, uint32_t length)
{
    static float columns[2][ROWS * MOST];
    for (uint32_t k = 0; k < 12; k++) {
        row[k * length + 3] = 0.0f; /* a candidate without content */
    }
    memcpy(columns[0], row, sizeof row);
    memcpy(columns[1], row, sizeof row);
    plain->normalize(columns[0], 12, length);
    loops->normalize(columns[1], 12, length);
    for (uint32_t i = 0; i < length; i++) {
        float square = 0.0f;
        for (uint32_t k = 0; k < 12; k++) {
            cr_assert_float_eq(columns[0][k * length + i], columns[1][k * length + i], 1e-6f);
            square += columns[1][k * length + i] * columns[1][k * length + i];
        }
        cr_assert_float_eq(square, i == 3 ? 0.0f : 1.0f, 1e-5f);
    }
}

Test(selection_loops, every_instruction_set_gives_what_the_plain_ones_give)
{
    const struct vr_selection_loops *loops[2];
    const uint32_t count = others(loops);
    if (count == 0) {
        cr_skip_test("this processor has the plain loops alone");
    }
    for (uint32_t n = 0; n < count * 20; n++) {
        for (uint32_t length = VR_SELECTION_BLOCK; length <= MOST; length += VR_SELECTION_BLOCK) {
            fill_all();
            check_sums(loops[n % count], random_below(&r, ROWS + 1), length);
            check_choice(loops[n % count], length);
            check_gains(loops[n % count], length);
            check_lengths(loops[n % count], length);
        }
    }
}

Test(selection_loops, nobody_is_found_among_none)
{
    const struct vr_selection_loops *loops[3] = {plain};
    const uint32_t count = 1 + others(loops + 1);
    for (uint32_t n = 0; n < count; n++) {
        fill_all();
        memset(bits, 1, sizeof bits);
        cr_assert_eq(loops[n]->largest(value, bits, MOST), -INFINITY);
        cr_assert_eq(loops[n]->find(value, bits, -INFINITY, 0, MOST), MOST);
        cr_assert_eq(loops[n]->largest(value, bits, 0), -INFINITY);
        cr_assert_eq(loops[n]->find(value, bits, -INFINITY, 0, 0), 0u);
        bits[77] = 0;
        value[77] = NAN;
        cr_assert_eq(loops[n]->find(value, bits, 1.0f, 0, MOST), MOST);
        value[77] = -3.0f;
        cr_assert_eq(loops[n]->largest(value, bits, MOST), -3.0f);
        cr_assert_eq(loops[n]->find(value, bits, -3.0f, 0, MOST), 77u);
    }
}
