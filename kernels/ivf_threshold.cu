/* threshold: the r-th best of each query's sample, less twice the bound (ivf.h). One block a query. */
#include "ivf.h"
#include "radix.cuh"
#include "scan_tile.cuh"

namespace
{

__global__ void __launch_bounds__(VR_RADIX_THREADS) ivf_threshold_kernel(const vr_ivf_pass pass)
{
    vr_scan_query *state = &pass.scan.state[blockIdx.x];
    const vr_ivf_query query = pass.query[blockIdx.x];
    const uint32_t count = query.sampled < pass.sample_room ? query.sampled : pass.sample_room;
    if (state->unsafe != 0 || query.slots <= VR_IVF_FEW || count < pass.scan.rank) {
        return; /* as prepare left it */
    }
    const vr_score_keys key_of = {pass.scan.sampled + static_cast<size_t>(blockIdx.x) * pass.sample_room};
    const uint32_t nth = vr_radix_nth<uint32_t, VR_RADIX_CUT>(count, pass.scan.rank, key_of);
    if (threadIdx.x == 0) { /* should this be NaN, nothing is noted, and the safe pass answers */
        state->threshold = vr_unordered(nth) - 2.0f * state->bound;
    }
}

} // namespace

enum vr_status vr_ivf_threshold(struct vr_stream *stream, const struct vr_ivf_pass *pass)
{
    return vr_launch(stream->seam, "ivf_threshold", ivf_threshold_kernel, pass->scan.queries, VR_RADIX_THREADS, 0,
                     *pass);
}
