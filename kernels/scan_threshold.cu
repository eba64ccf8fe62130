/* threshold: the r-th best of each query's sample, found by its digits, less a margin in bounds. One block a query.
 *
 * Two bounds are always enough: the r-th best of the sample is at most one bound above its true score, and what is
 * proved lies a bound above the threshold. For halves they cost nothing. For int8 they let in much that is never an
 * answer, and an error as large as the bound was never met (docs/benchmarks.md has the figures): half a bound less, and
 * where that was too little the safe pass answers.
 *
 * Excluded and removed rows are first struck from the sample: they are no answers, and a viewer's own history is what
 * scores best. */
#include "radix.cuh"
#include "scan_tile.cuh"

namespace
{

__device__ void strike_excluded(const vr_scan_pass &pass, float *sampled)
{
    const vr_excluded list = vr_excluded_of(pass.exclude, pass.first + blockIdx.x);
    for (uint32_t i = threadIdx.x; i < list.count; i += VR_RADIX_THREADS) {
        const int32_t row = list.begin[i];
        if (row < 0 || static_cast<uint32_t>(row) >= pass.vectors.rows + pass.vectors.apart) {
            continue;
        }
        const uint32_t slot = static_cast<uint32_t>(pass.vectors.slot_of_row[row]);
        if (slot < pass.sample) {
            sampled[slot] = -INFINITY;
        }
    }
}

__device__ void strike_removed(const vr_scan_pass &pass, float *sampled)
{
    for (uint32_t slot = threadIdx.x; slot < pass.sample; slot += VR_RADIX_THREADS) {
        if (pass.vectors.row_of_slot[slot] < 0) {
            sampled[slot] = -INFINITY;
        }
    }
}

__global__ void __launch_bounds__(VR_RADIX_THREADS) scan_threshold_kernel(const vr_scan_pass pass)
{
    float *sampled = pass.sampled + static_cast<size_t>(blockIdx.x) * pass.sample;
    vr_scan_query *state = &pass.state[blockIdx.x];
    if (state->unsafe != 0 || state->zeros != 0) { /* its threshold is infinity: nothing is noted */
        return;
    }
    strike_excluded(pass, sampled);
    if (pass.counts->removed > 0) {
        strike_removed(pass, sampled);
    }
    const float margin = pass.vectors.coding == VR_SCAN_S8 ? 1.5f : 2.0f;
    const uint32_t nth = vr_radix_nth<uint32_t, VR_RADIX_EXACT>(pass.sample, pass.rank, vr_score_keys{sampled});
    if (threadIdx.x == 0) {
        state->threshold = vr_unordered(nth) - margin * state->bound; /* -infinity where so few are not excluded */
    }
}

} // namespace

enum vr_status vr_scan_threshold(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return vr_launch(stream->seam, "scan_threshold", scan_threshold_kernel, pass->queries, VR_RADIX_THREADS, 0, *pass);
}
