/* prepare: the queries of a pass as halves, and what that costs in accuracy. One warp a query. */
#include "scan_tile.cuh"

namespace
{

/* Rounding a half: 2^-11 of a value, or 2^-25 of one; a product sum of the tensor cores in float32: at most 2^-22 of
 * the absolute terms for each of them (they align and truncate, twice what rounding would lose). */
constexpr float HALF_ERROR = 0x1p-11f, SMALLEST_HALF_ERROR = 0x1p-25f, SUM_ERROR = 0x1p-22f;

__device__ float warp_max(float value)
{
    for (int bits = 16; bits > 0; bits /= 2) {
        value = fmaxf(value, __shfl_xor_sync(VR_ALL_LANES, value, bits));
    }
    return value;
}

__device__ float warp_sum(float value)
{
    for (int bits = 16; bits > 0; bits /= 2) {
        value += __shfl_xor_sync(VR_ALL_LANES, value, bits);
    }
    return value;
}

/* 2^-e for a largest value in [2^(e-1), 2^e): products with it are exact but where they leave float32's range. */
__device__ float scale_for(float largest)
{
    const int exponent = static_cast<int>(__float_as_uint(largest) >> 23) - 126;
    const int clamped = exponent < -100 ? -100 : exponent > 120 ? 120 : exponent;
    return __uint_as_float(static_cast<uint32_t>(127 - clamped) << 23);
}

__global__ void scan_prepare_kernel(const vr_scan_pass pass)
{
    const unsigned lane = threadIdx.x, q = blockIdx.x;
    const uint32_t dim = pass.vectors.dim, padded = pass.vectors.dim_padded;
    const float *query = pass.query + static_cast<size_t>(q) * dim;
    const bool there = q < pass.queries; /* else a row of zeros, so that tiles of 16 queries are whole */
    float largest = 0.0f, wrong = 0.0f;
    for (uint32_t i = lane; there && i < dim; i += VR_WARP) {
        largest = fmaxf(largest, fabsf(query[i]));
        wrong = query[i] - query[i] == 0.0f ? wrong : 1.0f; /* NaN or infinity */
    }
    largest = warp_max(largest);
    wrong = warp_max(wrong);
    const bool usable = wrong == 0.0f && largest > 0.0f;
    const float scale = usable ? scale_for(largest) : 0.0f;
    float squares = 0.0f;
    for (uint32_t i = lane; i < padded; i += VR_WARP) {
        const float value = usable && i < dim ? query[i] * scale : 0.0f;
        squares += value * value;
        pass.half[static_cast<size_t>(q) * padded + i] = vr_half_of_float(value);
    }
    squares = warp_sum(squares);
    if (lane == 0) {
        const float terms = static_cast<float>(dim);
        const float rounded = pass.vectors.exact.data == nullptr ? 1.0f : 2.0f; /* the query; the vectors too */
        const float of_query =
            sqrtf(squares) * (rounded * HALF_ERROR + terms * SUM_ERROR) + terms * SMALLEST_HALF_ERROR;
        const float of_vectors = (rounded - 1.0f) * terms * SMALLEST_HALF_ERROR; /* scaled queries are below 1 */
        const float bound = (of_query * pass.largest_norm + of_vectors) * 1.01f; /* 1.01: these sums are rounded too */
        const bool safe = usable && bound - bound == 0.0f;
        const bool zeros = wrong == 0.0f && largest == 0.0f && pass.largest_norm - pass.largest_norm == 0.0f;
        pass.state[q] =
            vr_scan_query{scale, bound, safe ? -INFINITY : INFINITY, 0u, there && !safe && !zeros ? 1u : 0u};
    }
}

} // namespace

enum vr_status vr_scan_prepare(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    const unsigned whole = vr_blocks_for(pass->queries, 16) * 16;
    return vr_launch(stream->seam, "scan_prepare", scan_prepare_kernel, whole, VR_WARP, 0, *pass);
}
