/* Intended send times: counts and gaps of even and of Poisson arrivals, through changes of the rate. */
#include <criterion/criterion.h>
#include <math.h>

#include "bench/schedule.h"

#define MANY 400000u

static double at[MANY];

/* All times of a schedule; they never fall and lie inside it. */
static uint32_t times_of(struct bench_schedule schedule)
{
    uint32_t count = 0;
    const double end = schedule.piece[schedule.pieces - 1].until_s;
    while (bench_schedule_next(&schedule, &at[count])) {
        cr_assert(at[count] >= (count > 0 ? at[count - 1] : 0.0) && at[count] < end);
        cr_assert_lt(++count, MANY);
    }
    cr_assert_not(bench_schedule_next(&schedule, &at[count]), "over is over");
    return count;
}

static uint32_t between(uint32_t count, double from, double to)
{
    uint32_t inside = 0;
    for (uint32_t i = 0; i < count; i++) {
        inside += at[i] >= from && at[i] < to;
    }
    return inside;
}

Test(schedule, even_arrivals_are_evenly_spaced)
{
    const uint32_t count = times_of((struct bench_schedule){.piece = {{10.0, 250.0}}, .pieces = 1});
    cr_assert_eq(count, 2500);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_float_eq(at[i], i / 250.0, 1e-9);
    }
}

Test(schedule, the_rate_changes_where_it_is_said_to)
{
    const struct bench_schedule spike = {.piece = {{2.0, 100.0}, {3.0, 1000.0}, {5.0, 100.0}}, .pieces = 3};
    const uint32_t count = times_of(spike);
    cr_assert_float_eq(bench_schedule_expected(&spike), 1400.0, 1e-9);
    cr_assert_eq(count, 1400);
    cr_assert_eq(between(count, 0.0, 2.0), 200);
    cr_assert_eq(between(count, 2.0, 3.0), 1000);
    cr_assert_eq(between(count, 3.0, 5.0), 200);
}

/* Counts of a Poisson process vary as their mean, and its gaps are exponential: the standard deviation is the mean. */
Test(schedule, poisson_arrivals_are_poisson)
{
    const struct bench_schedule step = {
        .piece = {{100.0, 500.0}, {200.0, 1500.0}}, .pieces = 2, .poisson = true, .random = 3};
    const uint32_t count = times_of(step);
    const uint32_t first = between(count, 0.0, 100.0), second = between(count, 100.0, 200.0);
    cr_assert_lt(fabs((double)first - 50000.0), 5.0 * sqrt(50000.0), "%u", first);
    cr_assert_lt(fabs((double)second - 150000.0), 5.0 * sqrt(150000.0), "%u", second);
    double sum = 0.0, squares = 0.0;
    for (uint32_t i = 1; i < first; i++) {
        const double gap = at[i] - at[i - 1];
        sum += gap;
        squares += gap * gap;
    }
    const double mean = sum / (first - 1), deviation = sqrt(squares / (first - 1) - mean * mean);
    cr_assert_float_eq(deviation / mean, 1.0, 0.05);
}

Test(schedule, the_seed_decides)
{
    struct bench_schedule one = {.piece = {{1.0, 1000.0}}, .pieces = 1, .poisson = true, .random = 1};
    struct bench_schedule same = one, other = one;
    other.random = 2;
    bool differs = false;
    for (double a, b, c; bench_schedule_next(&one, &a) && bench_schedule_next(&same, &b);) {
        cr_assert_eq(a, b);
        differs = differs || !bench_schedule_next(&other, &c) || a != c;
    }
    cr_assert(differs);
}
