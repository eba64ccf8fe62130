/* The size of the scan's sample, and r of its threshold (scan.h). */
#include <math.h>

#include "scan.h"

#define FAILURE 1e-7

uint32_t vr_scan_rank(uint32_t rows, uint32_t sample, uint32_t k)
{
    const double p = (double)sample / rows;
    if (p >= 1.0) {
        return k < sample ? k : sample;
    }
    /* P(X = i) for X ~ Binomial(k, p), from i to i + 1 by its ratio, in logarithms: (1 - p)^k may underflow. */
    double log_mass = k * log1p(-p), tail = 1.0;
    for (uint32_t r = 1; r <= k; r++) {
        tail -= exp(log_mass); /* P(X >= r) */
        if (tail < FAILURE) {
            return r;
        }
        log_mass += log((double)(k - r + 1) / r) + log(p) - log1p(-p);
    }
    return k;
}

uint32_t vr_scan_sample_of(uint32_t rows)
{
    const uint32_t part = (rows / 128 + VR_SCAN_TILE - 1) / VR_SCAN_TILE * VR_SCAN_TILE;
    const uint32_t wanted = part > VR_SCAN_SAMPLE ? part : VR_SCAN_SAMPLE;
    return rows <= VR_SCAN_CAPACITY ? 0 : wanted < rows ? wanted : rows;
}
