/* The search of the largest rate over servers that are a formula. */
#include <criterion/criterion.h>
#include <math.h>

#include "bench/search.h"

static uint32_t tries;

/* A server that holds every rate up to its capacity. */
static double found(double capacity, double first, uint32_t steps)
{
    struct bench_search search = bench_search_begin(first, steps);
    for (tries = 0; !search.done; tries++) {
        cr_assert_gt(search.next, 0.0);
        bench_search_tell(&search, search.next <= capacity);
    }
    return search.low;
}

Test(search, the_capacity_is_found_from_below_and_from_above)
{
    for (double capacity = 1.0; capacity < 2e5; capacity *= 1.37) {
        const double rate = found(capacity, 100.0, 40);
        cr_assert(rate <= capacity && rate >= capacity / BENCH_SEARCH_PRECISION, "%g of %g", rate, capacity);
        cr_assert_leq(tries, 20, "%u tries for %g", tries, capacity);
    }
}

Test(search, few_steps_give_what_passed)
{
    cr_assert_eq(found(1000.0, 100.0, 3), 400.0);
    cr_assert_eq(tries, 3);
    cr_assert_eq(found(1000.0, 3000.0, 2), 0.0, "neither 3000 nor 1500 passes");
    cr_assert_eq(found(1000.0, 3000.0, 3), 750.0);
    cr_assert_eq(found(5.0, 10.0, 0), 0.0);
    cr_assert_eq(tries, 0);
}

Test(search, a_server_that_holds_nothing_ends_it)
{
    cr_assert_eq(found(0.0, 100.0, 1000), 0.0);
    cr_assert_lt(tries, 20);
}

/* M/M/1: p99 of the time in system is ln(100) / (service - arrivals); a target gives the rate. */
Test(search, a_queue_gives_the_rate_of_its_formula)
{
    const double service = 2000.0, target_s = 0.01, answer = service - log(100.0) / target_s;
    struct bench_search search = bench_search_begin(50.0, 30);
    while (!search.done) {
        const double spare = service - search.next;
        bench_search_tell(&search, spare > 0.0 && log(100.0) / spare <= target_s);
    }
    cr_assert(search.low <= answer && search.low >= answer / BENCH_SEARCH_PRECISION, "%g of %g", search.low, answer);
}
