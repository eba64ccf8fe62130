/* What stands around an outside library's search (knn.h): queries without what it cannot take, and the true scores of
 * the rows that it found. */
#include "knn.h"
#include "remove.cuh"
#include "scan_tile.cuh"
#include "warp.cuh"

namespace
{

constexpr unsigned THREADS = 256;
constexpr unsigned WARPS = 4;

__global__ void knn_unpack_kernel(const vr_cuda_table table, uint64_t count, float *to)
{
    const uint64_t i = static_cast<uint64_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (i < count) {
        to[i] = vr_table_value(table, static_cast<int32_t>(i / table.width), static_cast<uint32_t>(i % table.width));
    }
}

/* One warp a query. */
__global__ void knn_prepare_kernel(uint32_t queries, uint32_t dim, const float *query, float *to)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const size_t number = static_cast<size_t>(blockIdx.x) * WARPS + threadIdx.x / VR_WARP;
    if (number >= queries) { /* the whole warp */
        return;
    }
    float odd = 0.0f;
    for (uint32_t c = lane; c < dim; c += VR_WARP) {
        odd = fabsf(query[number * dim + c]) < INFINITY ? odd : 1.0f; /* NaN is not less */
    }
    odd = vr_warp_max(odd);
    for (uint32_t c = lane; c < dim; c += VR_WARP) {
        to[number * dim + c] = odd > 0.0f ? 0.0f : query[number * dim + c];
    }
}

/* Whether the block's query is finite. All threads; ends with a barrier. */
__device__ bool is_finite(const float *query, uint32_t dim)
{
    VR_SHARED(uint32_t, odd, 1);
    if (threadIdx.x == 0) {
        odd[0] = 0;
    }
    __syncthreads();
    for (uint32_t c = threadIdx.x; c < dim; c += THREADS) {
        if (!(fabsf(query[c]) < INFINITY)) {
            odd[0] = 1; /* whoever writes it writes the same */
        }
    }
    __syncthreads();
    return odd[0] == 0;
}

/* The key of found row i of a query; 0 where it is none, or excluded. */
__device__ uint64_t key_of(const vr_knn_pass &args, const float *query, const vr_excluded &excluded, unsigned i)
{
    const int64_t id = args.id == nullptr ? i : args.id[static_cast<size_t>(blockIdx.x) * args.found + i];
    if (id < 0 || id >= static_cast<int64_t>(args.rows) || vr_is_excluded(excluded, static_cast<int32_t>(id)) ||
        (args.removed[id / 32] >> id % 32 & 1) != 0) {
        return 0;
    }
    const float *vector = args.vector + static_cast<size_t>(id) * args.dim;
    float sum = 0.0f;
    for (uint32_t c = 0; c < args.dim; c++) {
        sum = __fmaf_rn(query[c], vector[c], sum);
    }
    return vr_key_of(sum, static_cast<int32_t>(id));
}

/* A row that the library gave twice counts once: key is sorted, so the two stand side by side. All threads. */
__device__ void drop_repeated(uint64_t *key, unsigned count)
{
    VR_SHARED(uint32_t, dropped, 1);
    uint32_t repeated = 0; /* bit j: the thread's j-th key */
    static_assert(VR_KNN_FOUND_MAX / THREADS <= 32, "one bit for each key of a thread");
    if (threadIdx.x == 0) {
        dropped[0] = 0;
    }
    for (unsigned i = threadIdx.x, bit = 1; i < count; i += THREADS, bit *= 2) {
        repeated |= i > 0 && key[i] != 0 && key[i] == key[i - 1] ? bit : 0;
    }
    __syncthreads();
    for (unsigned i = threadIdx.x, bit = 1; i < count; i += THREADS, bit *= 2) {
        if ((repeated & bit) != 0) {
            key[i] = 0;
            dropped[0] = 1;
        }
    }
    __syncthreads();
    if (dropped[0] != 0) {
        vr_sort_keys(key, count);
    }
}

__global__ void __launch_bounds__(THREADS) knn_refine_kernel(const vr_knn_pass args)
{
    VR_SHARED(uint64_t, key, VR_KNN_FOUND_MAX);
    const float *query = args.query + static_cast<size_t>(blockIdx.x) * args.dim;
    const vr_excluded excluded =
        vr_excluded_of({args.exclude_offset, args.exclude, args.exclude_bound}, args.first + blockIdx.x);
    const bool finite = is_finite(query, args.dim);
    const unsigned count = vr_power_of_two(args.found);
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        key[i] = finite && i < args.found ? key_of(args, query, excluded, i) : 0;
    }
    vr_sort_keys(key, count);
    drop_repeated(key, count);
    for (unsigned i = threadIdx.x; i < args.k; i += THREADS) {
        const uint64_t found = i < count ? key[i] : 0;
        args.row[static_cast<size_t>(blockIdx.x) * args.k + i] = vr_key_row(found);
        args.score[static_cast<size_t>(blockIdx.x) * args.k + i] = vr_key_score(found);
    }
}

__global__ void __launch_bounds__(VR_REMOVE_THREADS) knn_remove_kernel(uint32_t *removed, const vr_some_rows some)
{
    if (threadIdx.x < some.count) {
        const uint32_t row = static_cast<uint32_t>(some.row[threadIdx.x]);
        atomicOr(&removed[row / 32], 1u << row % 32);
    }
}

} // namespace

enum vr_status vr_knn_remove(struct vr_stream *stream, uint32_t *removed, const int32_t *row, uint32_t count)
{
    return vr_remove_each(row, count, [=](const vr_some_rows &some) {
        return vr_launch(stream->seam, "knn_remove", knn_remove_kernel, 1, VR_REMOVE_THREADS, 0, removed, some);
    });
}

enum vr_status vr_knn_refine(struct vr_stream *stream, const struct vr_knn_pass *args)
{
    return vr_launch(stream->seam, "knn_refine", knn_refine_kernel, args->queries, THREADS, 0, *args);
}

enum vr_status vr_knn_prepare(struct vr_stream *stream, uint32_t queries, uint32_t dim, const float *query, float *to)
{
    return vr_launch(stream->seam, "knn_prepare", knn_prepare_kernel, vr_blocks_for(queries, WARPS), WARPS * VR_WARP, 0,
                     queries, dim, query, to);
}

enum vr_status vr_knn_unpack(struct vr_stream *stream, const struct vr_cuda_table *table, uint32_t rows, float *to)
{
    const uint64_t count = static_cast<uint64_t>(rows) * table->width;
    return vr_launch(stream->seam, "knn_unpack", knn_unpack_kernel, vr_blocks_for(count, THREADS), THREADS, 0, *table,
                     count, to);
}
