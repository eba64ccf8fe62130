/* Where the codes of a slot lie (scan.h), its exact score, and keys that sort answers. */
#ifndef VIREO_KERNELS_SCAN_TILE_CUH
#define VIREO_KERNELS_SCAN_TILE_CUH

#include "numbers.cuh"
#include "scan.h"

#define VR_CHUNK 16u /* bytes */

/* What chunk numbers of row `row` are crossed with. Rows of 8 or more chunks begin at the same bank: 8 rows need 8
 * numbers; of 4 chunks, two rows share the banks. */
static __device__ __forceinline__ unsigned vr_swizzle(unsigned row, unsigned chunks)
{
    return chunks >= 8 ? row & 7u : row >> 1 & 3u;
}

/* First byte of chunk `chunk` of row `row` of a tile. */
static __device__ __forceinline__ unsigned vr_chunk_at(unsigned row, unsigned chunk, unsigned row_bytes)
{
    return row * row_bytes + (chunk ^ vr_swizzle(row, row_bytes / VR_CHUNK)) * VR_CHUNK;
}

static __device__ __forceinline__ unsigned char *vr_tile_of(const vr_scan_vectors &vectors, uint32_t slot)
{
    return vectors.tile + static_cast<size_t>(slot / VR_SCAN_TILE) * VR_SCAN_TILE * vectors.row_bytes;
}

/* The sum over the halves of a slot. */
static __device__ __forceinline__ float vr_score_of_tile(const vr_scan_vectors &vectors, const float *query,
                                                         uint32_t slot)
{
    constexpr unsigned HALVES = VR_CHUNK / sizeof(uint16_t);
    const unsigned char *tile = vr_tile_of(vectors, slot);
    float sum = 0.0f;
    for (unsigned chunk = 0; chunk * HALVES < vectors.dim; chunk++) {
        const unsigned char *from = tile + vr_chunk_at(slot % VR_SCAN_TILE, chunk, vectors.row_bytes);
        const uint4 packed = *reinterpret_cast<const uint4 *>(from);
        const uint32_t word[4] = {packed.x, packed.y, packed.z, packed.w};
        VR_UNROLL
        for (unsigned i = 0; i < HALVES; i++) {
            const uint16_t bits = static_cast<uint16_t>(word[i / 2] >> i % 2 * 16);
            const unsigned at = chunk * HALVES + i;
            sum = at < vectors.dim ? __fmaf_rn(query[at], vr_float_of_half(bits), sum) : sum;
        }
    }
    return sum;
}

/* The true score of a slot, which holds `row`: one chain of fused multiply-adds, query [dim]. */
static __device__ __forceinline__ float vr_exact_score(const vr_scan_vectors &vectors, const float *query,
                                                       uint32_t slot, int32_t row)
{
    if (vectors.exact.data == nullptr) {
        return vr_score_of_tile(vectors, query, slot);
    }
    float sum = 0.0f;
    for (unsigned i = 0; i < vectors.dim; i++) {
        sum = __fmaf_rn(query[i], vr_table_value(vectors.exact, row, i), sum);
    }
    return sum;
}

/* Floats as integers of the same order. */
static __device__ __forceinline__ uint32_t vr_ordered(float value)
{
    const uint32_t bits = __float_as_uint(value + 0.0f); /* -0 is 0 */
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
static __device__ __forceinline__ float vr_unordered(uint32_t ordered)
{
    return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

/* Scores as keys of a radix select. */
struct vr_score_keys {
    const float *score;

    __device__ uint32_t operator()(uint32_t i) const
    {
        return vr_ordered(score[i]);
    }
};

/* A larger key is a better answer: by score, then by smaller row. 0 is none: a NaN score is never taken. */
static __device__ __forceinline__ uint64_t vr_key_of(float score, int32_t row)
{
    return score != score ? 0
                          : static_cast<uint64_t>(vr_ordered(score)) << 32 | (0xffffffffu - static_cast<uint32_t>(row));
}
static __device__ __forceinline__ int32_t vr_key_row(uint64_t key)
{
    return key == 0 ? -1 : static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key));
}
static __device__ __forceinline__ float vr_key_score(uint64_t key)
{
    return key == 0 ? 0.0f : vr_unordered(static_cast<uint32_t>(key >> 32));
}

/* The key of a slot's true score; 0 where it holds no row any more. That is asked once: a removal beside it must not
 * make a score without a row of it, nor a row without its score. */
static __device__ __forceinline__ uint64_t vr_slot_key(const vr_scan_vectors &vectors, const float *query,
                                                       uint32_t slot)
{
    const int32_t row = vectors.row_of_slot[slot];
    return row < 0 ? 0 : vr_key_of(vr_exact_score(vectors, query, slot, row), row);
}

/* A query's exclusions: rows from `begin` on, `count` of them. */
struct vr_excluded {
    const int32_t *begin;
    uint32_t count;
};

static __device__ __forceinline__ vr_excluded vr_excluded_of(const vr_scan_exclude &exclude, uint32_t query)
{
    if (exclude.offset == nullptr) {
        return {nullptr, 0};
    }
    const uint32_t begin = exclude.offset[query] < exclude.bound ? exclude.offset[query] : exclude.bound;
    const uint32_t end = exclude.offset[query + 1] < exclude.bound ? exclude.offset[query + 1] : exclude.bound;
    return {exclude.row + begin, end > begin ? end - begin : 0};
}

static __device__ __forceinline__ bool vr_is_excluded(const vr_excluded &list, int32_t row)
{
    uint32_t low = 0, end = list.count;
    while (low < end) {
        const uint32_t middle = low + (end - low) / 2;
        if (list.begin[middle] == row) {
            return true;
        }
        if (list.begin[middle] < row) {
            low = middle + 1;
        } else {
            end = middle;
        }
    }
    return false;
}

/* A slot that holds `row` may be an answer: -1 is none. */
static __device__ __forceinline__ bool vr_is_wanted(const vr_excluded &list, int32_t row)
{
    return row >= 0 && !vr_is_excluded(list, row);
}

/* The query of a pass as floats in shared memory, zeros behind. All threads of the block; a barrier follows. */
static __device__ __forceinline__ void vr_load_query(const vr_scan_pass &pass, uint32_t query, float *to)
{
    for (unsigned i = threadIdx.x; i < VR_SCAN_DIM_MAX; i += blockDim.x) {
        to[i] = i < pass.vectors.dim ? pass.query[static_cast<size_t>(query) * pass.vectors.dim + i] : 0.0f;
    }
    __syncthreads();
}

/* Sort key[0 .. count), a power of two, largest first. All threads of the block call it; ends with a barrier. Bitonic
 * (Batcher, 1968). */
static __device__ __forceinline__ void vr_sort_keys(uint64_t *key, unsigned count)
{
    for (unsigned run = 2; run <= count; run *= 2) {
        for (unsigned step = run / 2; step > 0; step /= 2) {
            __syncthreads();
            for (unsigned i = threadIdx.x; i < count / 2; i += blockDim.x) {
                const unsigned low = i / step * step * 2 + i % step, high = low + step;
                const bool falls = (low & run) == 0;
                const uint64_t a = key[low], b = key[high];
                if (falls ? a < b : a > b) {
                    key[low] = b;
                    key[high] = a;
                }
            }
        }
    }
    __syncthreads();
}

static __device__ __forceinline__ unsigned vr_power_of_two(unsigned at_least)
{
    unsigned power = 1;
    while (power < at_least) {
        power *= 2;
    }
    return power;
}

/* ---- the safe pass's lists (scan_safe.cu, ivf_safe.cu) ---- */

/* Parts of a query: as many lists of k as the pass's memory holds, and few where there are few slots. */
static inline unsigned vr_safe_parts(uint32_t k, uint32_t slots)
{
    const unsigned room = VR_SCAN_CAPACITY / k, most = room < 64 ? room : 64, needed = slots / 256 + 1;
    return needed < most ? needed : most;
}

/* Sort what is gathered and keep k: *count becomes at most k. All threads; ends with a barrier. */
static __device__ __forceinline__ void vr_safe_cut(uint64_t *key, unsigned *count, uint32_t k)
{
    const unsigned gathered = *count, whole = vr_power_of_two(gathered);
    for (unsigned i = gathered + threadIdx.x; i < whole; i += blockDim.x) {
        key[i] = 0;
    }
    vr_sort_keys(key, whole);
    if (threadIdx.x == 0) {
        *count = gathered < k ? gathered : k;
    }
    __syncthreads();
}

#define VR_SAFE_KEYS 4096u /* gathered before they are sorted and cut to k */

/* Gather the key that this thread found, 0 for none; what is not above *least need not be found from here on. All
 * threads; key [VR_SAFE_KEYS]; ends with a barrier. */
static __device__ __forceinline__ void vr_safe_gather(uint64_t *key, unsigned *count, uint32_t k, uint64_t found,
                                                      uint64_t *least)
{
    if (found != 0) {
        key[atomicAdd(count, 1u)] = found;
    }
    __syncthreads();
    if (*count > VR_SAFE_KEYS - blockDim.x) { /* the next step might not find room */
        vr_safe_cut(key, count, k);
        *least = *count == k ? key[k - 1] : 0;
    }
    __syncthreads();
}

/* What is gathered becomes this block's list of query q. All threads. */
static __device__ __forceinline__ void vr_safe_give(const vr_scan_pass &pass, uint32_t q, uint64_t *key,
                                                    unsigned *count)
{
    const uint32_t k = pass.k;
    vr_safe_cut(key, count, k);
    uint64_t *part = pass.part + static_cast<size_t>(q) * VR_SCAN_CAPACITY + static_cast<size_t>(blockIdx.x) * k;
    for (unsigned i = threadIdx.x; i < k; i += blockDim.x) {
        part[i] = i < *count ? key[i] : 0;
    }
}

#endif
