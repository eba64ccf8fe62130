/* r of the scan's threshold, against exact numbers: P(Binomial(k, sample / rows) >= r) < 1e-7 was computed with
 * Python's integers (math.comb and fractions.Fraction, nothing rounded) for the smallest such r and for r - 1. */
#include <criterion/criterion.h>
#include <math.h>

#include "kernels/scan.h"

Test(scan_rank, equals_exact_binomials)
{
    static const struct {
        uint32_t rows, sample, k, rank;
    } exact[] = {
        {9000, 1024, 1, 1},
        {9000, 1024, 2, 2},
        {9000, 1024, 10, 9},
        {9000, 1024, 100, 32},
        {9000, 1024, 300, 67},
        {9000, 1024, 1000, 170},
        {40000, 32768, 1, 1},
        {40000, 32768, 2, 2},
        {40000, 32768, 10, 10},
        {40000, 32768, 100, 99},
        {40000, 32768, 300, 278},
        {40000, 32768, 1000, 880},
        {41000, 32768, 1, 1},
        {41000, 32768, 2, 2},
        {41000, 32768, 10, 10},
        {41000, 32768, 100, 98},
        {41000, 32768, 300, 274},
        {41000, 32768, 1000, 863},
        {100000, 32768, 1, 1},
        {100000, 32768, 2, 2},
        {100000, 32768, 10, 10},
        {100000, 32768, 100, 59},
        {100000, 32768, 300, 143},
        {100000, 32768, 1000, 407},
        {1000000, 32768, 1, 1},
        {1000000, 32768, 2, 2},
        {1000000, 32768, 10, 7},
        {1000000, 32768, 100, 17},
        {1000000, 32768, 300, 30},
        {1000000, 32768, 1000, 67},
        {4194304, 32768, 1, 1},
        {4194304, 32768, 2, 2},
        {4194304, 32768, 10, 5},
        {4194304, 32768, 100, 10},
        {4194304, 32768, 300, 15},
        {4194304, 32768, 1000, 27},
        {10000000, 78208, 1, 1},
        {10000000, 78208, 2, 2},
        {10000000, 78208, 10, 5},
        {10000000, 78208, 100, 10},
        {10000000, 78208, 300, 15},
        {10000000, 78208, 1000, 27},
        {100000000, 781312, 1, 1},
        {100000000, 781312, 2, 2},
        {100000000, 781312, 10, 5},
        {100000000, 781312, 100, 10},
        {100000000, 781312, 300, 15},
        {100000000, 781312, 1000, 27},
        {2147483647, 16777216, 1, 1},
        {2147483647, 16777216, 2, 2},
        {2147483647, 16777216, 10, 5},
        {2147483647, 16777216, 100, 10},
        {2147483647, 16777216, 300, 15},
        {2147483647, 16777216, 1000, 27},
        {8193, 8193, 1, 1},
        {8193, 8193, 2, 2},
        {8193, 8193, 10, 10},
        {8193, 8193, 100, 100},
        {8193, 8193, 300, 300},
        {8193, 8193, 1000, 1000},
    };
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
        const uint32_t got = vr_scan_rank(exact[i].rows, exact[i].sample, exact[i].k);
        cr_expect_eq(got, exact[i].rank, "%u rows, sample %u, k %u: %u, not %u", exact[i].rows, exact[i].sample,
                     exact[i].k, got, exact[i].rank);
    }
}

/* P(Binomial(n, p) < r), from its terms in logarithms. */
static long double below(uint32_t n, long double p, uint32_t r)
{
    long double sum = 0.0L;
    for (uint32_t i = 0; i < r && i <= n; i++) {
        const long double ways = lgammal(n + 1.0L) - lgammal(i + 1.0L) - lgammal(n - i + 1.0L);
        sum += expl(ways + i * logl(p) + (n - i) * log1pl(-p));
    }
    return sum;
}

/* With exact scores, more than the capacity reach the threshold when fewer than r of the best 8,193 are in the sample:
 * rarer than one query in ten thousand for every k and number of rows. */
Test(scan_rank, what_is_noted_fits)
{
    static const uint32_t rows[] = {8193, 50000, 1000000, 4194304, 10000000, 100000000, 1000000000};
    static const uint32_t k[] = {1, 100, 300, 1000};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint32_t sample = vr_scan_sample_of(rows[i]);
        cr_expect(sample == rows[i] || sample % VR_SCAN_TILE == 0);
        cr_expect(sample >= VR_SCAN_SAMPLE || sample == rows[i]);
        for (size_t j = 0; j < 4; j++) {
            const long double p = (long double)sample / rows[i];
            const uint32_t rank = vr_scan_rank(rows[i], sample, k[j]);
            const long double fails = p < 1.0L ? below(VR_SCAN_CAPACITY + 1, p, rank) : 0.0L;
            cr_expect_lt((double)fails, 1e-4, "%u rows, k %u: %Lg", rows[i], k[j], fails);
        }
    }
    cr_expect_eq(vr_scan_sample_of(VR_SCAN_CAPACITY), 0, "no threshold is needed");
}
