/* Intended send times (schedule.h). */
#include "schedule.h"

#include <math.h>

uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double bench_random_unit(uint64_t *state)
{
    return (double)((bench_random(state) >> 11) + 1) * 0x1p-53;
}

static double gap(struct bench_schedule *schedule)
{
    if (schedule->poisson) {
        return -log(bench_random_unit(&schedule->random));
    }
    return schedule->started ? 1.0 : 0.0;
}

bool bench_schedule_next(struct bench_schedule *schedule, double *at_s)
{
    schedule->due += gap(schedule);
    schedule->started = true;
    for (; schedule->at_piece < schedule->pieces; schedule->at_piece++) {
        const struct bench_piece *piece = &schedule->piece[schedule->at_piece];
        const double at = schedule->piece_began_s + (schedule->due - schedule->due_before) / piece->rate;
        if (at < piece->until_s) {
            *at_s = at;
            return true;
        }
        schedule->due_before += (piece->until_s - schedule->piece_began_s) * piece->rate;
        schedule->piece_began_s = piece->until_s;
    }
    return false;
}

double bench_schedule_expected(const struct bench_schedule *schedule)
{
    double requests = 0.0, began = 0.0;
    for (uint32_t i = 0; i < schedule->pieces; i++) {
        requests += (schedule->piece[i].until_s - began) * schedule->piece[i].rate;
        began = schedule->piece[i].until_s;
    }
    return requests;
}
