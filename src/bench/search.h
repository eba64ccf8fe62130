/* The largest rate that passes: doubling until one fails (or halving until one passes), then bisection. */
#ifndef VIREO_BENCH_SEARCH_H
#define VIREO_BENCH_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

struct bench_search {
    double next;      /* the rate to try */
    double low, high; /* the largest that passed and the smallest that failed; 0: none */
    uint32_t left;    /* rates that may still be tried */
    bool done;
};

#define BENCH_SEARCH_PRECISION 1.04 /* high / low at the end, where the steps suffice */

struct bench_search bench_search_begin(double first, uint32_t steps);

/* `next` has passed or failed; sets the next one, or done: then `low` is the answer, 0 where none passed. */
void bench_search_tell(struct bench_search *search, bool passed);

#endif
