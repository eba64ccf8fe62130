/* safe: the exact top k of the probed lists for the queries that are marked unsafe, whatever their numbers are: as
 * scan_safe.cu, over the tiles that the query asks for. Blocks of queries that are not marked end at once. */
#include "ivf.h"
#include "scan_tile.cuh"

namespace
{

constexpr unsigned THREADS = 256;
constexpr unsigned TILES = THREADS / VR_SCAN_TILE; /* of a step: one thread a slot */
constexpr unsigned KEYS = 4096;                    /* gathered before they are sorted and cut to k */

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
    const int32_t row = pass.scan.vectors.row_of_slot[slot];
    const uint64_t key = vr_key_of(vr_exact_score(pass.scan.vectors, query, slot), row);
    return key > least && !vr_is_excluded(excluded, row) ? key : 0;
}

__global__ void __launch_bounds__(THREADS) ivf_safe_parts_kernel(const vr_ivf_pass pass)
{
    VR_SHARED_LAUNCH(uint64_t, key); /* [KEYS] */
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
        if (found != 0) {
            key[atomicAdd(count, 1u)] = found;
        }
        __syncthreads();
        if (*count > KEYS - THREADS) { /* the next step might not find room */
            vr_safe_cut(key, count, k);
            least = *count == k ? key[k - 1] : 0;
        }
        __syncthreads();
    }
    vr_safe_cut(key, count, k);
    uint64_t *part = pass.scan.part + static_cast<size_t>(q) * VR_SCAN_CAPACITY + static_cast<size_t>(blockIdx.x) * k;
    for (unsigned i = threadIdx.x; i < k; i += THREADS) {
        part[i] = i < *count ? key[i] : 0;
    }
}

} // namespace

enum vr_status vr_ivf_safe(struct vr_stream *stream, const struct vr_ivf_pass *pass)
{
    const dim3 grid(vr_safe_parts(pass->scan.k, pass->scan.vectors.rows), pass->scan.queries);
    const enum vr_status status =
        vr_launch(stream->seam, "ivf_safe_parts", ivf_safe_parts_kernel, grid, THREADS, KEYS * sizeof(uint64_t), *pass);
    return status == VR_OK ? vr_scan_safe_merge(stream, &pass->scan) : status;
}
