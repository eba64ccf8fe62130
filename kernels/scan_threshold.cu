/* threshold: the r-th best of each query's sample, found by its digits, less a margin in bounds. One block a query.
 *
 * Two bounds are always enough: the r-th best of the sample is at most one bound above its true score, and what is
 * proved lies a bound above the threshold. For halves they cost nothing. For int8 they let in much that is never an
 * answer, and an error as large as the bound was never met (docs/benchmarks.md has the figures): half a bound less, and
 * where that was too little the safe pass answers.
 *
 * Excluded rows are first struck from the sample: they are no answers, and a viewer's own history is what scores best.
 */
#include "scan_tile.cuh"

namespace
{

constexpr unsigned THREADS = 256;
constexpr unsigned DIGITS = 256; /* 8 bits at a time, the highest first */

__device__ void strike_excluded(const vr_scan_pass &pass, float *sampled)
{
    const vr_excluded list = vr_excluded_of(pass.exclude, pass.first + blockIdx.x);
    for (uint32_t i = threadIdx.x; i < list.count; i += THREADS) {
        const int32_t row = list.begin[i];
        if (row < 0 || static_cast<uint32_t>(row) >= pass.vectors.rows) {
            continue;
        }
        const uint32_t slot = static_cast<uint32_t>(pass.vectors.slot_of_row[row]);
        if (slot < pass.sample) {
            sampled[slot] = -INFINITY;
        }
    }
}

/* The digit in which the r-th largest lies, and its place there: suffix sums of the counts by one thread, which is 256
 * additions in some microseconds of a kernel that reads the sample four times. */
__device__ void choose_digit(const uint32_t *count, unsigned shift, uint32_t *prefix, uint32_t *rank)
{
    uint32_t above = 0;
    for (unsigned digit = DIGITS; digit-- > 0;) {
        if (above + count[digit] >= *rank) {
            *prefix |= digit << shift;
            *rank -= above;
            return;
        }
        above += count[digit];
    }
}

/* The rank-th largest of value[0 .. count), 1 <= rank <= count, by radix select; the answer is the block's. The block
 * meets before it reads a value. */
__device__ float nth_largest(const float *value, uint32_t count, uint32_t rank)
{
    VR_SHARED(uint32_t, digits, DIGITS);
    VR_SHARED(uint32_t, found, 2); /* prefix, rank within it */
    if (threadIdx.x == 0) {
        found[0] = 0;
        found[1] = rank;
    }
    for (unsigned shift = 32; shift > 0;) {
        shift -= 8;
        digits[threadIdx.x] = 0;
        __syncthreads();
        const uint32_t prefix = found[0], fixed = shift == 24 ? 0 : 0xffffffffu << (shift + 8);
        for (uint32_t i = threadIdx.x; i < count; i += THREADS) {
            const uint32_t ordered = vr_ordered(value[i]);
            if ((ordered & fixed) == prefix) {
                atomicAdd(&digits[ordered >> shift & (DIGITS - 1)], 1u);
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            choose_digit(digits, shift, &found[0], &found[1]);
        }
        __syncthreads();
    }
    return vr_unordered(found[0]);
}

__global__ void __launch_bounds__(THREADS) scan_threshold_kernel(const vr_scan_pass pass)
{
    float *sampled = pass.sampled + static_cast<size_t>(blockIdx.x) * pass.sample;
    vr_scan_query *state = &pass.state[blockIdx.x];
    if (state->unsafe != 0 || state->zeros != 0) { /* its threshold is infinity: nothing is noted */
        return;
    }
    strike_excluded(pass, sampled);
    const float margin = pass.vectors.coding == VR_SCAN_S8 ? 1.5f : 2.0f;
    const float nth = nth_largest(sampled, pass.sample, pass.rank);
    if (threadIdx.x == 0) {
        state->threshold = nth - margin * state->bound; /* -infinity where so few are not excluded */
    }
}

} // namespace

enum vr_status vr_scan_threshold(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return vr_launch(stream->seam, "scan_threshold", scan_threshold_kernel, pass->queries, THREADS, 0, *pass);
}
