/* Dot products of float32 rows with float32 rows, 64 x 64 of them by a block of 256 threads: thread t has rows
 * t / 16 * 4 .. and columns t % 16 * 4 .. of the tile. Each product is one chain of fused multiply-adds in the order of
 * the dimensions: the same bits wherever the row stands. */
#ifndef VIREO_KERNELS_KMEANS_TILE_CUH
#define VIREO_KERNELS_KMEANS_TILE_CUH

#include "kernel.cuh"

#define VR_DOT_TILE 64u
#define VR_DOT_THREADS 256u
#define VR_DOT_OWN 4u    /* rows and columns of a thread */
#define VR_DOT_DEPTH 16u /* dimensions in shared memory at a time */
#define VR_DOT_STRIDE (VR_DOT_TILE + 4u)

/* A matrix of `rows` rows, `dim` floats each. */
struct vr_dot_matrix {
    const float *value;
    uint32_t rows, dim;
};

/* part[d][r] = matrix[first + r][begin + d], zeros outside the matrix. */
static __device__ __forceinline__ void vr_dot_load(float *part, const vr_dot_matrix &matrix, uint32_t first,
                                                   uint32_t begin)
{
    for (unsigned i = threadIdx.x; i < VR_DOT_TILE * VR_DOT_DEPTH; i += VR_DOT_THREADS) {
        const uint32_t r = i / VR_DOT_DEPTH, d = i % VR_DOT_DEPTH, row = first + r, column = begin + d;
        const bool inside = row < matrix.rows && column < matrix.dim;
        part[d * VR_DOT_STRIDE + r] = inside ? matrix.value[static_cast<size_t>(row) * matrix.dim + column] : 0.0f;
    }
}

/* sum[i][j] of a thread's rows first_x + .. of x and first_y + .. of y. All threads of the block call it. */
static __device__ __forceinline__ void vr_dot_tile(float sum[VR_DOT_OWN][VR_DOT_OWN], const vr_dot_matrix &x,
                                                   uint32_t first_x, const vr_dot_matrix &y, uint32_t first_y)
{
    VR_SHARED(float4, x_quads, VR_DOT_DEPTH * VR_DOT_STRIDE / 4); /* for their alignment: [DEPTH, STRIDE] floats */
    VR_SHARED(float4, y_quads, VR_DOT_DEPTH * VR_DOT_STRIDE / 4);
    float *x_part = reinterpret_cast<float *>(x_quads), *y_part = reinterpret_cast<float *>(y_quads);
    const unsigned own_x = threadIdx.x / 16 * VR_DOT_OWN, own_y = threadIdx.x % 16 * VR_DOT_OWN;
    for (uint32_t begin = 0; begin < x.dim; begin += VR_DOT_DEPTH) {
        vr_dot_load(x_part, x, first_x, begin);
        vr_dot_load(y_part, y, first_y, begin);
        __syncthreads();
        VR_UNROLL
        for (unsigned d = 0; d < VR_DOT_DEPTH; d++) {
            const float4 a = *reinterpret_cast<const float4 *>(x_part + d * VR_DOT_STRIDE + own_x);
            const float4 b = *reinterpret_cast<const float4 *>(y_part + d * VR_DOT_STRIDE + own_y);
            const float of_x[VR_DOT_OWN] = {a.x, a.y, a.z, a.w}, of_y[VR_DOT_OWN] = {b.x, b.y, b.z, b.w};
            VR_UNROLL
            for (unsigned i = 0; i < VR_DOT_OWN; i++) {
                VR_UNROLL
                for (unsigned j = 0; j < VR_DOT_OWN; j++) {
                    sum[i][j] = __fmaf_rn(of_x[i], of_y[j], sum[i][j]);
                }
            }
        }
        __syncthreads(); /* the parts are read: they may be filled again */
    }
}

#endif
