/* What is given up when more comes than can be done: first quality, then requests. A pure function of what happened in
 * one interval of 100 ms after the other.
 *
 * The signal is the standing wait: the least that the longest-waiting job of a batch had waited, over the interval's
 * batches (CoDel, Nichols and Jacobson 2012: a burst passes, a standing queue does not). Where it is above the target,
 * or jobs had to be refused, the feed is pressed: one quality level down an interval, and at the lowest level the limit
 * of jobs in the feed follows the ratio of the target to the wait, plus a little to find out whether there is more room
 * (the gradient limit of Netflix' concurrency-limits, with the wait in place of the round trip). Levels come back one
 * by one after calm intervals: a few where the estimate says that the better level can carry what arrives, many where
 * it does not, so that load between the capacities of two levels does not swing between them. */
#ifndef VIREO_FEED_GOVERNOR_H
#define VIREO_FEED_GOVERNOR_H

#include <stdbool.h>
#include <stdint.h>

#define VR_GOVERNOR_INTERVAL_US 100000u

struct vr_governor {
    uint32_t level; /* 0 .. VR_QUALITY_LEVELS - 1 */
    double limit;   /* jobs in the feed, waiting and worked on */
    uint32_t calm;  /* intervals without pressure, in a row */
};

/* What happened in an interval. */
struct vr_interval {
    uint64_t wait_us, target_us;      /* the standing wait and what it may be */
    uint32_t arrived, refused;        /* jobs; refused because of the load, not of what they asked for */
    uint32_t inside;                  /* jobs in the feed at its end */
    uint32_t least_limit, most_limit; /* between which the limit stays */
    bool better_fits;                 /* the next better level can carry what arrives */
};

void vr_governor_step(struct vr_governor *governor, const struct vr_interval *interval);
#endif
