/* coarse, probe, plan: which lists each query looks into, and the worklists of their tiles (ivf.h). The choice is
 * exact: the best `probes` centroids by their float32 scores, of equal ones those of smaller numbers. */
#include "ivf.h"
#include "kmeans_tile.cuh"
#include "radix.cuh"
#include "scan_tile.cuh"

namespace
{

constexpr unsigned PLAN_WARPS = 8; /* of a block: one a list */

__global__ void __launch_bounds__(VR_DOT_THREADS) ivf_coarse_kernel(const vr_ivf_pass pass)
{
    const vr_dot_matrix query = {pass.scan.query, pass.scan.queries, pass.scan.vectors.dim};
    const vr_dot_matrix centroid = {pass.centroid, pass.lists, pass.scan.vectors.dim};
    const uint32_t first_list = blockIdx.x * VR_DOT_TILE, first_query = blockIdx.y * VR_DOT_TILE;
    float sum[VR_DOT_OWN][VR_DOT_OWN] = {};
    vr_dot_tile(sum, query, first_query, centroid, first_list);
    VR_UNROLL
    for (unsigned i = 0; i < VR_DOT_OWN; i++) {
        VR_UNROLL
        for (unsigned j = 0; j < VR_DOT_OWN; j++) {
            const uint32_t q = first_query + threadIdx.x / 16 * VR_DOT_OWN + i;
            const uint32_t list = first_list + threadIdx.x % 16 * VR_DOT_OWN + j;
            if (q < query.rows && list < pass.lists) {
                pass.coarse[static_cast<size_t>(q) * pass.lists + list] = sum[i][j];
            }
        }
    }
}

/* Keys of one query's lists, larger ones better; scores that are NaN come last. */
struct list_keys {
    const float *score; /* [lists] */

    __device__ uint64_t operator()(uint32_t list) const
    {
        const uint64_t key = score[list] != score[list] ? 0 : vr_ordered(score[list]);
        return key << 32 | (0xffffffffu - list);
    }
};

/* One block a query. */
__global__ void __launch_bounds__(VR_RADIX_THREADS) ivf_probe_kernel(const vr_ivf_pass pass)
{
    const uint32_t q = blockIdx.x;
    const list_keys key_of = {pass.coarse + static_cast<size_t>(q) * pass.lists};
    const uint64_t least = vr_radix_nth<uint64_t, VR_RADIX_CUT>(pass.lists, pass.probes, key_of);
    uint32_t slots = 0;
    for (uint32_t list = threadIdx.x; list < pass.lists; list += VR_RADIX_THREADS) {
        if (key_of(list) >= least) {
            atomicOr(&pass.asked[list * VR_IVF_WORDS + q / 32], 1u << q % 32);
            slots += pass.list[list].count;
        }
    }
    for (int bits = 16; bits > 0; bits /= 2) {
        slots += __shfl_xor_sync(VR_ALL_LANES, slots, bits);
    }
    if (threadIdx.x % VR_WARP == 0) {
        atomicAdd(&pass.query[q].slots, slots);
    }
}

/* Append the tiles of the first `slots` of a list to a worklist. One warp. */
__device__ void append_tiles(const vr_ivf_list &list, uint32_t slots, const uint32_t *asked, uint32_t *works,
                             vr_ivf_item *work)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t tiles = (slots + VR_SCAN_TILE - 1) / VR_SCAN_TILE;
    uint32_t begin = 0;
    if (lane == 0 && tiles > 0) {
        begin = atomicAdd(works, tiles);
    }
    begin = __shfl_sync(VR_ALL_LANES, begin, 0);
    for (uint32_t i = lane; i < tiles; i += VR_WARP) {
        const uint32_t left = slots - i * VR_SCAN_TILE;
        vr_ivf_item item = {list.tile + i, left < VR_SCAN_TILE ? left : VR_SCAN_TILE, {}};
        VR_UNROLL
        for (unsigned w = 0; w < VR_IVF_WORDS; w++) {
            item.asked[w] = asked[w];
        }
        work[begin + i] = item;
    }
}

__global__ void __launch_bounds__(PLAN_WARPS *VR_WARP) ivf_plan_kernel(const vr_ivf_pass pass)
{
    const uint32_t number = blockIdx.x * PLAN_WARPS + threadIdx.x / VR_WARP;
    if (number >= pass.lists) {
        return;
    }
    const uint32_t *asked = pass.asked + number * VR_IVF_WORDS;
    uint32_t any = 0;
    for (unsigned w = 0; w < VR_IVF_WORDS; w++) {
        any |= asked[w];
    }
    if (any != 0) {
        const vr_ivf_list list = pass.list[number];
        append_tiles(list, list.sample, asked, &pass.works[0], pass.sample_work);
        append_tiles(list, list.count, asked, &pass.works[1], pass.work);
    }
}

} // namespace

enum vr_status vr_ivf_probe(struct vr_stream *stream, const struct vr_ivf_pass *pass)
{
    const dim3 tiles(vr_blocks_for(pass->lists, VR_DOT_TILE), vr_blocks_for(pass->scan.queries, VR_DOT_TILE));
    enum vr_status status = vr_launch(stream->seam, "ivf_coarse", ivf_coarse_kernel, tiles, VR_DOT_THREADS, 0, *pass);
    if (status == VR_OK) {
        status = vr_launch(stream->seam, "ivf_probe", ivf_probe_kernel, pass->scan.queries, VR_RADIX_THREADS, 0, *pass);
    }
    return status == VR_OK ? vr_launch(stream->seam, "ivf_plan", ivf_plan_kernel,
                                       vr_blocks_for(pass->lists, PLAN_WARPS), PLAN_WARPS * VR_WARP, 0, *pass)
                           : status;
}
