/* prepare: the queries of a pass as codes, and what coding costs in accuracy. One warp a query.
 *
 * With q, x as they are and Q, X as they are coded, q.x - Q.X = (q - Q).X + q.(x - X), so by Cauchy and Schwarz
 *   |q.x - Q.X| <= |q - Q| max|X| + |q| max|x - X|,
 * where the norms of the query are computed here and those of the vectors were when the index was made. */
#include "scan_code.cuh"
#include "warp.cuh"

namespace
{

/* Of the absolute terms, a product: what float32 sums lose. Tensor cores align the terms of a step and truncate, at
 * most 17/16 * 2^-23; the chain of the true score rounds, 2^-24; the scale of int8 sums is rounded thrice. */
constexpr float SUM_ERROR = 0x1p-22f;

/* 2^-e for a largest value in [2^(e-1), 2^e): products with it are exact but where they leave float32's range. */
__device__ float scale_for(float largest)
{
    const int exponent = static_cast<int>(__float_as_uint(largest) >> 23) - 126;
    const int clamped = exponent < -100 ? -100 : exponent > 126 ? 126 : exponent;
    return __uint_as_float(static_cast<uint32_t>(127 - clamped) << 23);
}

/* norm, lost: |q| and |q - Q|, scaled; scale: of true scores to those of codes. The factor 1.01 is for the rounding of
 * these very numbers, the last term for true scores below the least normal float. */
__device__ float bound_of(const vr_scan_vectors &vectors, float norm, float lost, float unit, float scale)
{
    const float terms = static_cast<float>(vectors.dim);
    const float sums = terms * SUM_ERROR * (norm + lost) * (vectors.largest_norm + vectors.largest_residual);
    const float coding = lost * vectors.largest_norm + norm * vectors.largest_residual;
    return (coding + sums) / unit / vectors.unit * 1.01f + terms * 0x1p-49f * (scale * 0x1p-100f);
}

template <class Code> __global__ void scan_prepare_kernel(const vr_scan_pass pass)
{
    const unsigned lane = threadIdx.x, q = blockIdx.x;
    const uint32_t dim = pass.vectors.dim, codes = pass.vectors.row_bytes / sizeof(typename Code::code);
    const float *query = pass.query + static_cast<size_t>(q) * dim;
    const bool there = q < pass.queries; /* else a row of zeros, so that tiles of 16 queries are whole */
    float largest = 0.0f, wrong = 0.0f;
    for (uint32_t i = lane; there && i < dim; i += VR_WARP) {
        largest = fmaxf(largest, fabsf(query[i]));
        wrong = query[i] - query[i] == 0.0f ? wrong : 1.0f; /* NaN or infinity */
    }
    largest = vr_warp_max(largest);
    wrong = vr_warp_max(wrong);
    const bool usable = wrong == 0.0f && largest > 0.0f;
    const float scale = usable ? scale_for(largest) : 0.0f, unit = Code::unit_of(largest * scale);
    typename Code::code *to = reinterpret_cast<typename Code::code *>(pass.code) + static_cast<size_t>(q) * codes;
    float norm = 0.0f, lost = 0.0f; /* squared */
    for (uint32_t i = lane; i < codes; i += VR_WARP) {
        const float value = usable && i < dim ? query[i] * scale : 0.0f;
        to[i] = Code::encode(value, unit);
        const float difference = value - Code::decode(to[i], unit);
        norm = __fmaf_rn(value, value, norm);
        lost = __fmaf_rn(difference, difference, lost);
    }
    norm = sqrtf(vr_warp_sum(norm));
    lost = sqrtf(vr_warp_sum(lost));
    if (lane == 0) {
        const float to_codes = scale / unit / pass.vectors.unit;
        const float bound = bound_of(pass.vectors, norm, lost, unit, to_codes);
        const bool safe = usable && bound - bound == 0.0f;
        const bool zeros = there && wrong == 0.0f && largest == 0.0f && pass.vectors.all_finite;
        pass.state[q] = vr_scan_query{
            to_codes, bound, safe ? -INFINITY : INFINITY, 0u, there && !safe && !zeros ? 1u : 0u, zeros ? 1u : 0u};
    }
}

} // namespace

enum vr_status vr_scan_prepare(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    const unsigned whole = vr_blocks_for(pass->queries, 16) * 16;
    const auto kernel =
        pass->vectors.coding == VR_SCAN_S8 ? scan_prepare_kernel<vr_code_s8> : scan_prepare_kernel<vr_code_f16>;
    return vr_launch(stream->seam, "scan_prepare", kernel, whole, VR_WARP, 0, *pass);
}
