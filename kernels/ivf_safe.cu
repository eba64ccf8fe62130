/* safe: the exact top k of the probed lists for the queries that are marked unsafe, whatever their numbers are: as
 * scan_safe.cu, over the tiles that the query asks for. Blocks of queries that are not marked end at once. */
#include "ivf.h"
#include "scan_tile.cuh"

namespace
{

constexpr unsigned THREADS = 256;
constexpr unsigned TILES = THREADS / VR_SCAN_TILE; /* of a step: one thread a slot */

/* The key of this thread's slot of item `at`, 0 where it is no answer or not above `least`. */
__device__ uint64_t candidate(const vr_ivf_pass &pass, const vr_excluded &excluded, const float *query, uint32_t q,
                              uint32_t at, uint64_t least)
{
    if (at >= pass.works[1]) {
        return 0;
    }
    const vr_ivf_item *item = &pass.work[at];
    if ((item->asked[q / 32] >> q % 32 & 1) == 0 || threadIdx.x % VR_SCAN_TILE >= item->rows) {
        return 0;
    }
    const uint32_t slot = item->tile * VR_SCAN_TILE + threadIdx.x % VR_SCAN_TILE;
    const uint64_t key = vr_slot_key(pass.scan.vectors, query, slot);
    return key > least && !vr_is_excluded(excluded, vr_key_row(key)) ? key : 0;
}

__global__ void __launch_bounds__(THREADS) ivf_safe_parts_kernel(const vr_ivf_pass pass)
{
    VR_SHARED_LAUNCH(uint64_t, key); /* [VR_SAFE_KEYS] */
    VR_SHARED(float, query, VR_SCAN_DIM_MAX);
    VR_SHARED(unsigned, count, 1);
    const uint32_t q = blockIdx.y, k = pass.scan.k;
    if (pass.scan.state[q].unsafe == 0) {
        return;
    }
    if (threadIdx.x == 0) {
        *count = 0;
    }
    vr_load_query(pass.scan, q, query);
    const vr_excluded excluded = vr_excluded_of(pass.scan.exclude, pass.scan.first + q);
    uint64_t least = 0;
    for (uint32_t first = blockIdx.x * TILES; first < pass.works[1]; first += gridDim.x * TILES) {
        const uint64_t found = candidate(pass, excluded, query, q, first + threadIdx.x / VR_SCAN_TILE, least);
        vr_safe_gather(key, count, k, found, &least);
    }
    vr_safe_give(pass.scan, q, key, count);
}

} // namespace

enum vr_status vr_ivf_safe(struct vr_stream *stream, const struct vr_ivf_pass *pass)
{
    const dim3 grid(vr_safe_parts(pass->scan.k, pass->scan.vectors.rows), pass->scan.queries);
    const enum vr_status status = vr_launch(stream->seam, "ivf_safe_parts", ivf_safe_parts_kernel, grid, THREADS,
                                            VR_SAFE_KEYS * sizeof(uint64_t), *pass);
    return status == VR_OK ? vr_scan_safe_merge(stream, &pass->scan) : status;
}
