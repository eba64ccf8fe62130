/* When requests are meant to be sent: a pure sequence of times, the same for the same seed. The rate is constant over
 * pieces of time, so one description holds a flat load, a step and a spike, each with a warm-up before it. */
#ifndef VIREO_BENCH_SCHEDULE_H
#define VIREO_BENCH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_PIECES_MAX 4u

struct bench_piece {
    double until_s; /* its end, seconds from the schedule's begin; rising */
    double rate;    /* requests a second, above 0 */
};

struct bench_schedule {
    struct bench_piece piece[BENCH_PIECES_MAX];
    uint32_t pieces;
    bool poisson;    /* gaps are exponential; else evenly spaced, the first at 0 */
    uint64_t random; /* state: the seed at first */
    /* Internal, 0 at first. */
    uint32_t at_piece;
    double piece_began_s, due, due_before; /* requests expected by the next one, and by the piece's begin */
    bool started;
};

/* The next time in seconds from the begin, never falling; false: the last piece is over. Poisson arrivals of a rate
 * that changes are those of rate 1 with time stretched by the rate's integral (Cinlar, Introduction to Stochastic
 * Processes, 4.7). */
bool bench_schedule_next(struct bench_schedule *schedule, double *at_s);

/* Requests that the whole schedule has in the mean. */
double bench_schedule_expected(const struct bench_schedule *schedule);

/* splitmix64: the next number of a sequence; and one in (0, 1]. */
uint64_t bench_random(uint64_t *state);
double bench_random_unit(uint64_t *state);

#endif
