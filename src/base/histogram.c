/* The log-linear histogram of vireo/histogram.h. Values below 16 have a cell each; above, every power of two is cut
 * into 16 cells: cell 16 * (e - 3) + the 4 bits below the leading one, where e is the leading bit's number. */
#include "vireo/histogram.h"

#include <math.h>

#define STEPS 16u    /* cells a power of two */
#define STEP_BITS 4u /* log2 of it */

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written to, through a builtin that the check does not know */
static void store(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static unsigned cell_of(uint64_t value)
{
    if (value < STEPS) {
        return (unsigned)value;
    }
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value);
    unsigned step = (unsigned)(value >> (exponent - STEP_BITS)) & (STEPS - 1);
    unsigned cell = STEPS * (exponent - STEP_BITS + 1) + step;
    return cell < VR_HISTOGRAM_CELLS ? cell : VR_HISTOGRAM_CELLS - 1;
}

/* The largest value that counts in `cell` (of the last one: that has its place there by right). */
static uint64_t cell_end(unsigned cell)
{
    if (cell < STEPS) {
        return cell;
    }
    unsigned shift = cell / STEPS - 1;
    uint64_t begin = (uint64_t)(STEPS + cell % STEPS) << shift;
    return begin + ((uint64_t)1 << shift) - 1;
}

void vr_histogram_record(struct vr_histogram *h, uint64_t value)
{
    uint64_t *cell = &h->cell[cell_of(value)];
    store(cell, load(cell) + 1);
    store(&h->sum, load(&h->sum) + value);
    if (value > load(&h->max)) {
        store(&h->max, value);
    }
    store(&h->count, load(&h->count) + 1);
}

void vr_histogram_merge(struct vr_histogram *into, const struct vr_histogram *from)
{
    for (unsigned i = 0; i < VR_HISTOGRAM_CELLS; i++) {
        store(&into->cell[i], load(&into->cell[i]) + load(&from->cell[i]));
    }
    store(&into->count, load(&into->count) + load(&from->count));
    store(&into->sum, load(&into->sum) + load(&from->sum));
    if (load(&from->max) > load(&into->max)) {
        store(&into->max, load(&from->max));
    }
}

/* The cells are summed rather than `count` read: a writer may be between the two. */
static uint64_t total(const struct vr_histogram *h)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < VR_HISTOGRAM_CELLS; i++) {
        sum += load(&h->cell[i]);
    }
    return sum;
}

uint64_t vr_histogram_quantile(const struct vr_histogram *h, double q)
{
    uint64_t count = total(h);
    uint64_t rank = q > 0 ? (uint64_t)ceil(fmin(q, 1) * (double)count) : 1; /* 1-based */
    uint64_t seen = 0;
    for (unsigned i = 0; i < VR_HISTOGRAM_CELLS; i++) {
        seen += load(&h->cell[i]);
        if (seen > 0 && seen >= rank) {
            return cell_end(i);
        }
    }
    return count == 0 ? 0 : cell_end(VR_HISTOGRAM_CELLS - 1);
}

uint64_t vr_histogram_count_below(const struct vr_histogram *h, uint64_t bound)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= cell_of(bound); i++) {
        count += load(&h->cell[i]);
    }
    return count;
}
