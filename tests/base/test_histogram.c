/* The histogram against sorted values: error bound of quantiles, merge, cells' ends. */
#include "vireo/histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 11;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

Test(histogram, quantiles_are_within_the_stated_error)
{
    enum { VALUES = 20000 };
    static uint64_t value[VALUES];
    static struct vr_histogram h;
    uint64_t state = 5;
    uint64_t sum = 0;
    for (int i = 0; i < VALUES; i++) { /* log-uniform over 0 .. 2^39 */
        value[i] = next_random(&state) % ((uint64_t)1 << (1 + next_random(&state) % 39));
        vr_histogram_record(&h, value[i]);
        sum += value[i];
    }
    qsort(value, VALUES, sizeof value[0], compare);
    cr_assert_eq(h.count, VALUES);
    cr_assert_eq(h.sum, sum);
    cr_assert_eq(h.max, value[VALUES - 1]);
    for (int permille = 0; permille <= 1000; permille++) {
        double q = permille / 1000.0;
        int rank = (int)ceil(q * VALUES);
        uint64_t exact = value[rank > 0 ? rank - 1 : 0];
        uint64_t found = vr_histogram_quantile(&h, q);
        cr_assert_geq(found, exact);
        cr_assert_leq((double)(found - exact), 0.0625 * (double)exact);
    }
}

Test(histogram, small_values_are_exact)
{
    struct vr_histogram h = {0};
    for (uint64_t v = 0; v < 16; v++) {
        vr_histogram_record(&h, v);
    }
    for (uint64_t v = 0; v < 16; v++) {
        cr_assert_eq(vr_histogram_quantile(&h, ((double)v + 1) / 16), v);
        cr_assert_eq(vr_histogram_count_below(&h, v), v + 1);
    }
}

Test(histogram, empty_and_odd_quantiles)
{
    struct vr_histogram h = {0};
    cr_assert_eq(vr_histogram_quantile(&h, 0.5), 0);
    cr_assert_eq(vr_histogram_count_below(&h, UINT64_MAX), 0);
    vr_histogram_record(&h, 7);
    cr_assert_eq(vr_histogram_quantile(&h, -1), 7);
    cr_assert_eq(vr_histogram_quantile(&h, 2), 7);
    cr_assert_eq(vr_histogram_quantile(&h, NAN), 7);
}

/* Every power of two and its neighbours: counted at or below their own bound, never below half of it. */
Test(histogram, cells_cover_every_magnitude)
{
    for (unsigned bit = 4; bit < 40; bit++) {
        for (int offset = -1; offset <= 1; offset++) {
            struct vr_histogram h = {0};
            uint64_t v = ((uint64_t)1 << bit) + (uint64_t)(int64_t)offset;
            vr_histogram_record(&h, v);
            cr_assert_eq(vr_histogram_count_below(&h, v), 1);
            cr_assert_eq(vr_histogram_count_below(&h, v - v / 8), 0);
        }
    }
    struct vr_histogram h = {0};
    vr_histogram_record(&h, UINT64_MAX);
    cr_assert_eq(h.cell[VR_HISTOGRAM_CELLS - 1], 1);
    cr_assert_eq(h.max, UINT64_MAX);
}

Test(histogram, merge_adds)
{
    static struct vr_histogram a;
    static struct vr_histogram b;
    static struct vr_histogram both;
    uint64_t state = 9;
    for (int i = 0; i < 5000; i++) {
        uint64_t v = next_random(&state) % 100000;
        vr_histogram_record(i % 3 == 0 ? &a : &b, v);
        vr_histogram_record(&both, v);
    }
    vr_histogram_merge(&a, &b);
    cr_assert_eq(memcmp(&a, &both, sizeof a), 0);
}

Test(histogram, fine_quantiles_are_within_the_stated_error)
{
    enum { VALUES = 20000 };
    static uint64_t value[VALUES];
    static struct vr_histogram_fine h[2];
    uint64_t state = 11;
    uint64_t sum = 0;
    for (int i = 0; i < VALUES; i++) {
        value[i] = next_random(&state) % ((uint64_t)1 << (1 + next_random(&state) % 39));
        vr_histogram_fine_record(&h[i % 2], value[i]);
        sum += value[i];
    }
    vr_histogram_fine_merge(&h[0], &h[1]);
    qsort(value, VALUES, sizeof value[0], compare);
    cr_assert_eq(h[0].count, VALUES);
    cr_assert_eq(h[0].sum, sum);
    cr_assert_eq(h[0].max, value[VALUES - 1]);
    for (int permille = 0; permille <= 1000; permille++) {
        double q = permille / 1000.0;
        int rank = (int)ceil(q * VALUES);
        uint64_t exact = value[rank > 0 ? rank - 1 : 0];
        uint64_t found = vr_histogram_fine_quantile(&h[0], q);
        cr_assert_geq(found, exact);
        cr_assert_leq((double)(found - exact), 0.004 * (double)exact);
    }
    cr_assert_eq(vr_histogram_fine_quantile(&h[0], 1), h[0].max);
}

Test(histogram, fine_values_past_the_range_count_in_the_last_cell)
{
    static struct vr_histogram_fine h;
    cr_assert_eq(vr_histogram_fine_quantile(&h, 0.99), 0);
    vr_histogram_fine_record(&h, ((uint64_t)1 << 40) - 1);
    cr_assert_eq(h.cell[VR_HISTOGRAM_FINE_CELLS - 1], 1);
    vr_histogram_fine_record(&h, UINT64_MAX);
    cr_assert_eq(h.cell[VR_HISTOGRAM_FINE_CELLS - 1], 2);
}
