/* safe: the exact top k of the queries that are marked unsafe, whatever their numbers are. Each block scores a part of
 * all slots in float32 and keeps the best k of it; then one block a query sorts the parts' answers. Queries that are
 * not marked are passed over. */
#include "scan_tile.cuh"

namespace
{

constexpr unsigned THREADS = 256;
constexpr unsigned GROUPS = 4; /* of blocks, which share the queries: most have nothing to do */

/* The key of one slot, 0 where it is no answer or not above `least`. */
__device__ uint64_t candidate(const vr_scan_pass &pass, const vr_excluded &excluded, const float *query, uint32_t slot,
                              uint64_t least)
{
    const uint64_t key = vr_slot_key(pass.vectors, query, slot);
    return key > least && !vr_is_excluded(excluded, vr_key_row(key)) ? key : 0;
}

/* The best k of this block's part of the slots, for query q; key [VR_SAFE_KEYS]. */
__device__ void scan_part(const vr_scan_pass &pass, uint32_t q, const float *query, uint64_t *key, unsigned *count)
{
    const uint32_t k = pass.k;
    const vr_excluded excluded = vr_excluded_of(pass.exclude, pass.first + q);
    const uint32_t slots = pass.vectors.rows + pass.vectors.apart;
    uint64_t least = 0;
    for (uint64_t first = static_cast<uint64_t>(blockIdx.x) * THREADS; first < slots;
         first += static_cast<uint64_t>(gridDim.x) * THREADS) {
        const uint64_t slot = first + threadIdx.x;
        const uint64_t found = slot < slots ? candidate(pass, excluded, query, static_cast<uint32_t>(slot), least) : 0;
        vr_safe_gather(key, count, k, found, &least);
    }
    vr_safe_give(pass, q, key, count);
}

__global__ void __launch_bounds__(THREADS) scan_safe_parts_kernel(const vr_scan_pass pass)
{
    VR_SHARED_LAUNCH(uint64_t, key); /* [VR_SAFE_KEYS] */
    VR_SHARED(float, query, VR_SCAN_DIM_MAX);
    VR_SHARED(unsigned, count, 1);
    for (uint32_t q = blockIdx.y; q < pass.queries; q += gridDim.y) {
        if (pass.state[q].unsafe == 0) {
            continue;
        }
        __syncthreads(); /* the query before is no longer read */
        if (threadIdx.x == 0) {
            *count = 0;
        }
        vr_load_query(pass, q, query);
        scan_part(pass, q, query, key, count);
    }
}

__global__ void __launch_bounds__(THREADS) scan_safe_merge_kernel(const vr_scan_pass pass, unsigned parts)
{
    VR_SHARED_LAUNCH(uint64_t, key); /* [VR_SCAN_CAPACITY] */
    const uint32_t q = blockIdx.x, count = parts * pass.k;
    if (pass.state[q].unsafe == 0) {
        return;
    }
    const unsigned whole = vr_power_of_two(count);
    for (unsigned i = threadIdx.x; i < whole; i += THREADS) {
        key[i] = i < count ? pass.part[static_cast<size_t>(q) * VR_SCAN_CAPACITY + i] : 0;
    }
    vr_sort_keys(key, whole);
    for (unsigned i = threadIdx.x; i < pass.k; i += THREADS) {
        pass.row[static_cast<size_t>(q) * pass.k + i] = vr_key_row(key[i]);
        pass.score[static_cast<size_t>(q) * pass.k + i] = vr_key_score(key[i]);
    }
}

} // namespace

enum vr_status vr_scan_safe(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    const dim3 grid(vr_safe_parts(pass->k, pass->vectors.rows), pass->queries < GROUPS ? pass->queries : GROUPS);
    const enum vr_status status = vr_launch(stream->seam, "scan_safe_parts", scan_safe_parts_kernel, grid, THREADS,
                                            VR_SAFE_KEYS * sizeof(uint64_t), *pass);
    return status == VR_OK ? vr_scan_safe_merge(stream, pass) : status;
}

enum vr_status vr_scan_safe_merge(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return vr_launch(stream->seam, "scan_safe_merge", scan_safe_merge_kernel, pass->queries, THREADS,
                     VR_SCAN_CAPACITY * sizeof(uint64_t), *pass, vr_safe_parts(pass->k, pass->vectors.rows));
}

enum vr_status vr_scan_safe_allow_shared(size_t most)
{
    (void)most; /* every device that is supported has this much */
    return vr_allow_shared(scan_safe_merge_kernel, VR_SCAN_CAPACITY * sizeof(uint64_t));
}
