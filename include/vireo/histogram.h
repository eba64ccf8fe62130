/* Log-linear histogram of non-negative integers (microseconds, batch sizes): 16 linear steps per power of two, so a
 * quantile is off by at most 6.25 %. A recorder has one writer; readers on other threads see torn-free counts
 * (relaxed __atomic loads and stores) and merge recorders of several threads. */
#ifndef VIREO_HISTOGRAM_H
#define VIREO_HISTOGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VR_HISTOGRAM_CELLS 640u /* covers 0 .. 2^40 - 1; larger values count in the last cell */

struct vr_histogram {
    uint64_t cell[VR_HISTOGRAM_CELLS];
    uint64_t count;
    uint64_t sum;
    uint64_t max;
};

/* Zero-initialised memory is an empty histogram. */
void vr_histogram_record(struct vr_histogram *h, uint64_t value);

/* Add what `from` holds to `into`. */
void vr_histogram_merge(struct vr_histogram *into, const struct vr_histogram *from);

/* Upper bound of the cell that holds quantile q in [0, 1]; 0 when empty. */
uint64_t vr_histogram_quantile(const struct vr_histogram *h, double q);

/* How many recorded values are <= bound (bound rounded up to its cell's end); for Prometheus buckets. */
uint64_t vr_histogram_count_below(const struct vr_histogram *h, uint64_t bound);

/* The same with 256 steps a power of two: a quantile is off by at most 0.4 %. For what is measured once and compared
 * (vireo bench, in nanoseconds), where 66 KiB are no matter. Covers 0 .. 2^40 - 1. */
#define VR_HISTOGRAM_FINE_CELLS 8448u

struct vr_histogram_fine {
    uint64_t cell[VR_HISTOGRAM_FINE_CELLS];
    uint64_t count;
    uint64_t sum;
    uint64_t max;
};

void vr_histogram_fine_record(struct vr_histogram_fine *h, uint64_t value);
void vr_histogram_fine_merge(struct vr_histogram_fine *into, const struct vr_histogram_fine *from);

/* As vr_histogram_quantile, and never above the largest value recorded. */
uint64_t vr_histogram_fine_quantile(const struct vr_histogram_fine *h, double q);

#ifdef __cplusplus
}
#endif
#endif
