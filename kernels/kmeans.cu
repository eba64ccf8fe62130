/* Spherical k-means, the device's part (kmeans.h): gather rows as directions, find the nearest centroid of each, move
 * the centroids. Once an index, so it is written to be read. */
#include "kmeans.h"

#include "kmeans_tile.cuh"
#include "numbers.cuh"
#include "warp.cuh"

namespace
{

constexpr unsigned WARPS = 4; /* of a block that gathers */

/* One warp a row. Divided by its largest number first, so that no square leaves float32's range. */
__global__ void kmeans_gather_kernel(const vr_kmeans_rows rows, float *out, int32_t *list)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t i = blockIdx.x * WARPS + threadIdx.x / VR_WARP, dim = rows.table.width;
    if (i >= rows.count) {
        return;
    }
    const int32_t row = rows.number == nullptr ? static_cast<int32_t>(rows.first + i) : rows.number[i];
    float largest = 0.0f, wrong = 0.0f;
    for (uint32_t d = lane; d < dim; d += VR_WARP) {
        const float value = vr_table_value(rows.table, row, d);
        largest = fmaxf(largest, fabsf(value));
        wrong = value - value == 0.0f ? wrong : 1.0f; /* NaN or infinity */
    }
    largest = vr_warp_max(largest);
    const bool usable = vr_warp_max(wrong) == 0.0f && largest > 0.0f;
    float squares = 0.0f;
    for (uint32_t d = lane; usable && d < dim; d += VR_WARP) {
        const float value = vr_table_value(rows.table, row, d) / largest;
        squares += value * value;
    }
    squares = vr_warp_sum(squares);
    for (uint32_t d = lane; d < dim; d += VR_WARP) {
        const float value = usable ? vr_table_value(rows.table, row, d) / largest / sqrtf(squares) : 0.0f;
        out[static_cast<size_t>(i) * dim + d] = value;
    }
    if (lane == 0) {
        list[i] = usable ? 0 : -1;
    }
}

/* The best of what 16 neighbours found: the larger score, then the smaller list. */
__device__ void reduce_best(float *score, int32_t *list)
{
    for (int bits = 8; bits > 0; bits /= 2) {
        const float other = __shfl_xor_sync(VR_ALL_LANES, *score, bits);
        const int32_t other_list = __shfl_xor_sync(VR_ALL_LANES, *list, bits);
        if (other > *score || (other == *score && other_list < *list)) {
            *score = other;
            *list = other_list;
        }
    }
}

/* 64 rows a block, which goes over all centroids. A list of -1 stays. */
__global__ void __launch_bounds__(VR_DOT_THREADS)
    kmeans_nearest_kernel(const vr_dot_matrix row, const vr_dot_matrix centroid, int32_t *list, float *score)
{
    float best[VR_DOT_OWN];
    int32_t best_list[VR_DOT_OWN];
    VR_UNROLL
    for (unsigned i = 0; i < VR_DOT_OWN; i++) {
        best[i] = -INFINITY;
        best_list[i] = 0;
    }
    const uint32_t first_row = blockIdx.x * VR_DOT_TILE;
    for (uint32_t first = 0; first < centroid.rows; first += VR_DOT_TILE) {
        float sum[VR_DOT_OWN][VR_DOT_OWN] = {};
        vr_dot_tile(sum, row, first_row, centroid, first);
        VR_UNROLL
        for (unsigned j = 0; j < VR_DOT_OWN; j++) {
            const uint32_t number = first + threadIdx.x % 16 * VR_DOT_OWN + j;
            VR_UNROLL
            for (unsigned i = 0; i < VR_DOT_OWN; i++) {
                const bool better = number < centroid.rows && sum[i][j] > best[i];
                best[i] = better ? sum[i][j] : best[i];
                best_list[i] = better ? static_cast<int32_t>(number) : best_list[i];
            }
        }
    }
    VR_UNROLL
    for (unsigned i = 0; i < VR_DOT_OWN; i++) {
        reduce_best(&best[i], &best_list[i]);
        const uint32_t r = first_row + threadIdx.x / 16 * VR_DOT_OWN + i;
        if (threadIdx.x % 16 == 0 && r < row.rows && list[r] >= 0) {
            list[r] = best_list[i];
            score[r] = best[i];
        }
    }
}

/* One block a list, one thread a dimension: the sum of its rows in their order, in float64, made of length 1. A list
 * whose rows cancel out keeps its centroid. */
__global__ void __launch_bounds__(VR_KMEANS_DIM_MAX)
    kmeans_move_kernel(const float *row, const int32_t *order, const uint32_t *offset, uint32_t dim, float *centroid)
{
    VR_SHARED(double, square, VR_KMEANS_DIM_MAX);
    VR_SHARED(double, length, 1);
    const unsigned d = threadIdx.x;
    double sum = 0.0;
    for (uint32_t i = offset[blockIdx.x]; d < dim && i < offset[blockIdx.x + 1]; i++) {
        sum += row[static_cast<size_t>(order[i]) * dim + d];
    }
    square[d] = sum * sum;
    __syncthreads();
    if (d == 0) {
        double squares = 0.0;
        for (unsigned i = 0; i < dim; i++) {
            squares += square[i];
        }
        *length = sqrt(squares);
    }
    __syncthreads();
    if (d<dim && * length> 1e-6) {
        centroid[static_cast<size_t>(blockIdx.x) * dim + d] = static_cast<float>(sum / *length);
    }
}

} // namespace

enum vr_status vr_kmeans_gather(struct vr_stream *stream, struct vr_kmeans *kmeans, const struct vr_kmeans_rows *rows)
{
    return vr_launch(stream->seam, "kmeans_gather", kmeans_gather_kernel, vr_blocks_for(rows->count, WARPS),
                     WARPS * VR_WARP, 0, *rows, kmeans->row, kmeans->list);
}

enum vr_status vr_kmeans_nearest(struct vr_stream *stream, struct vr_kmeans *kmeans, uint32_t count)
{
    const vr_dot_matrix row = {kmeans->row, count, kmeans->dim};
    const vr_dot_matrix centroid = {kmeans->centroid, kmeans->lists, kmeans->dim};
    return vr_launch(stream->seam, "kmeans_nearest", kmeans_nearest_kernel, vr_blocks_for(count, VR_DOT_TILE),
                     VR_DOT_THREADS, 0, row, centroid, kmeans->list, kmeans->score);
}

enum vr_status vr_kmeans_move(struct vr_stream *stream, struct vr_kmeans *kmeans)
{
    return vr_launch(stream->seam, "kmeans_move", kmeans_move_kernel, kmeans->lists, VR_KMEANS_DIM_MAX, 0, kmeans->row,
                     kmeans->order, kmeans->offset, kmeans->dim, kmeans->centroid);
}
