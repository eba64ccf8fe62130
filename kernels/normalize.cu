/* normalize: x[r] /= |x[r]| in place, rows with a norm under 1e-12 become zeros; x float [rows, stride].
 *
 * One warp a row. The sum of squares is in double, as the reference's: the square of a float never overflows it. Lanes
 * add their columns in order, then the 32 sums in a tree, so a row's bits do not depend on its neighbours. */
#include "numbers.cuh"
#include "warp.cuh"

namespace
{

constexpr unsigned WARPS = 4; /* of a block */

__global__ void normalize_f32_kernel(float *x, uint32_t rows, uint32_t width, uint32_t stride)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const size_t row = static_cast<size_t>(blockIdx.x) * WARPS + threadIdx.x / VR_WARP;
    if (row >= rows) { /* the whole warp */
        return;
    }
    float *own = x + row * stride;
    double squares = 0.0;
    for (uint32_t c = lane; c < width; c += VR_WARP) {
        squares += static_cast<double>(own[c]) * own[c];
    }
    const double norm = sqrt(vr_warp_sum(squares));
    for (uint32_t c = lane; c < width; c += VR_WARP) {
        own[c] = norm < 1e-12 ? 0.0f : static_cast<float>(own[c] / norm);
    }
}

} // namespace

enum vr_status vr_cuda_normalize(struct vr_stream *stream, const struct vr_normalize *args)
{
    if (args->stride < args->width) {
        return vr_fail(VR_ERR_INVALID, "normalize: rows of %u every %u", args->width, args->stride);
    }
    const size_t count = vr_cuda_extent(args->rows, args->stride, args->width);
    float *x = static_cast<float *>(vr_cuda_at(args->x, count, 4, "normalize: x"));
    if (x == nullptr) {
        return VR_ERR_INVALID;
    }
    return args->rows == 0
               ? VR_OK
               : vr_launch(stream->seam, "normalize", normalize_f32_kernel, vr_blocks_for(args->rows, WARPS),
                           WARPS * VR_WARP, 0, x, args->rows, args->width, args->stride);
}
