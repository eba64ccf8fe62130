/* The log-linear histograms of vireo/histogram.h. Values below 2^bits have a cell each; above, every power of two is
 * cut into 2^bits cells: cell 2^bits * (e - bits + 1) + the `bits` bits below the leading one, where e is the leading
 * bit's number. */
#include "vireo/histogram.h"

#include <math.h>

#define STEP_BITS 4u      /* of vr_histogram */
#define FINE_STEP_BITS 8u /* of vr_histogram_fine */

/* The cells of either kind. */
struct cells {
    const uint64_t *cell;
    unsigned count, bits;
};

static struct cells cells_of(const struct vr_histogram *h)
{
    return (struct cells){h->cell, VR_HISTOGRAM_CELLS, STEP_BITS};
}

static struct cells fine_cells_of(const struct vr_histogram_fine *h)
{
    return (struct cells){h->cell, VR_HISTOGRAM_FINE_CELLS, FINE_STEP_BITS};
}

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written to, through a builtin that the check does not know */
static void store(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static unsigned cell_of(uint64_t value, unsigned bits, unsigned count)
{
    const unsigned steps = 1u << bits;
    if (value < steps) {
        return (unsigned)value;
    }
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value);
    unsigned step = (unsigned)(value >> (exponent - bits)) & (steps - 1);
    unsigned cell = steps * (exponent - bits + 1) + step;
    return cell < count ? cell : count - 1;
}

/* The largest value that counts in `cell` (of the last one: that has its place there by right). */
static uint64_t cell_end(unsigned cell, unsigned bits)
{
    const unsigned steps = 1u << bits;
    if (cell < steps) {
        return cell;
    }
    unsigned shift = cell / steps - 1;
    uint64_t begin = (uint64_t)(steps + cell % steps) << shift;
    return begin + ((uint64_t)1 << shift) - 1;
}

/* The cells are summed rather than `count` read: a writer may be between the two. */
static uint64_t total(struct cells c)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < c.count; i++) {
        sum += load(&c.cell[i]);
    }
    return sum;
}

static uint64_t quantile(struct cells c, double q)
{
    uint64_t count = total(c);
    uint64_t rank = q > 0 ? (uint64_t)ceil(fmin(q, 1) * (double)count) : 1; /* 1-based */
    uint64_t seen = 0;
    for (unsigned i = 0; i < c.count; i++) {
        seen += load(&c.cell[i]);
        if (seen > 0 && seen >= rank) {
            return cell_end(i, c.bits);
        }
    }
    return count == 0 ? 0 : cell_end(c.count - 1, c.bits);
}

static void add(uint64_t *counter, uint64_t by)
{
    store(counter, load(counter) + by);
}

static void raise_to(uint64_t *most, uint64_t value)
{
    if (value > load(most)) {
        store(most, value);
    }
}

/* ---- 16 steps ---- */

void vr_histogram_record(struct vr_histogram *h, uint64_t value)
{
    add(&h->cell[cell_of(value, STEP_BITS, VR_HISTOGRAM_CELLS)], 1);
    add(&h->sum, value);
    raise_to(&h->max, value);
    add(&h->count, 1);
}

void vr_histogram_merge(struct vr_histogram *into, const struct vr_histogram *from)
{
    for (unsigned i = 0; i < VR_HISTOGRAM_CELLS; i++) {
        add(&into->cell[i], load(&from->cell[i]));
    }
    add(&into->count, load(&from->count));
    add(&into->sum, load(&from->sum));
    raise_to(&into->max, load(&from->max));
}

uint64_t vr_histogram_quantile(const struct vr_histogram *h, double q)
{
    return quantile(cells_of(h), q);
}

uint64_t vr_histogram_count_below(const struct vr_histogram *h, uint64_t bound)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= cell_of(bound, STEP_BITS, VR_HISTOGRAM_CELLS); i++) {
        count += load(&h->cell[i]);
    }
    return count;
}

/* ---- 256 steps ---- */

void vr_histogram_fine_record(struct vr_histogram_fine *h, uint64_t value)
{
    add(&h->cell[cell_of(value, FINE_STEP_BITS, VR_HISTOGRAM_FINE_CELLS)], 1);
    add(&h->sum, value);
    raise_to(&h->max, value);
    add(&h->count, 1);
}

void vr_histogram_fine_merge(struct vr_histogram_fine *into, const struct vr_histogram_fine *from)
{
    for (unsigned i = 0; i < VR_HISTOGRAM_FINE_CELLS; i++) {
        add(&into->cell[i], load(&from->cell[i]));
    }
    add(&into->count, load(&from->count));
    add(&into->sum, load(&from->sum));
    raise_to(&into->max, load(&from->max));
}

uint64_t vr_histogram_fine_quantile(const struct vr_histogram_fine *h, double q)
{
    const uint64_t value = quantile(fine_cells_of(h), q), most = load(&h->max);
    return value < most ? value : most;
}
