/* expert_mix: for each gate g, w = softmax over its listed experts of logit[r, g, :] and
 * y[r, g, :] = sum_e w[e] * expert[r, e, :]. logit float [rows, gates * experts], expert [rows, experts * width] and
 * y [rows, gates * width] floats or halves; weights, if wanted, float [rows, gates * experts].
 *
 * One warp a row: its lanes first make every gate's weights in shared memory, then the outputs. Sums of at most 64
 * terms in float32, fused, in the order of the experts; an expert that is not listed has weight 0 and is not read. NaN
 * or infinity among a gate's listed logits makes that gate NaN, as in the reference. Where both matrices are halves and
 * rows are whole 16-byte pieces, a lane takes 8 columns and reads each expert once for four gates; the sums are the
 * same. */
#include "numbers.cuh"
#include "warp.cuh"

namespace
{

constexpr unsigned WARPS = 4; /* of a block */
constexpr unsigned GATES = 16, EXPERTS = 64;
constexpr unsigned PIECE = 8;    /* halves, 16 bytes */
constexpr unsigned TOGETHER = 4; /* gates that share a reading of the experts */

struct mix_args {
    uint32_t rows, gates, experts, width;
    uint64_t listed[GATES];
    const float *logit;
    const void *expert;
    void *y;
    bool expert_half, y_half;
    float *weights;
};

/* weight[e] for the experts of one gate: lane l has experts l and l + 32. */
__device__ void softmax_listed(const float *logit, uint32_t experts, uint64_t listed, float *weight)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    float largest = -INFINITY, sum = 0.0f;
    for (uint32_t e = lane; e < experts; e += VR_WARP) {
        if ((listed >> e & 1u) != 0) {
            largest = fmaxf(largest, logit[e]);
        }
    }
    largest = vr_warp_max(largest);
    for (uint32_t e = lane; e < experts; e += VR_WARP) {
        weight[e] = (listed >> e & 1u) != 0 ? expf(logit[e] - largest) : 0.0f;
        sum += weight[e];
    }
    sum = vr_warp_sum(sum);
    for (uint32_t e = lane; e < experts; e += VR_WARP) {
        weight[e] = (listed >> e & 1u) != 0 ? weight[e] / sum : 0.0f;
    }
}

/* Any widths and elements: a lane an output. */
__device__ void mix_columns(const mix_args &args, size_t row, const float *weight)
{
    const size_t from = row * args.experts * args.width;
    for (uint32_t o = threadIdx.x % VR_WARP; o < args.gates * args.width; o += VR_WARP) {
        const uint32_t g = o / args.width, column = o % args.width;
        float sum = 0.0f;
        for (uint32_t e = 0; e < args.experts; e++) {
            if ((args.listed[g] >> e & 1u) != 0) {
                sum = __fmaf_rn(weight[g * args.experts + e],
                                vr_element_get(args.expert, args.expert_half, from + e * args.width + column), sum);
            }
        }
        vr_element_put(args.y, args.y_half, row * args.gates * args.width + o, sum);
    }
}

/* sum[g] += weight * the 8 halves of `packed`, for the gates from `first` on that list expert e. */
__device__ void add_expert(const mix_args &args, uint32_t first, uint32_t e, const float *weight, uint4 packed,
                           float sum[TOGETHER][PIECE])
{
    const uint32_t word[4] = {packed.x, packed.y, packed.z, packed.w};
    VR_UNROLL
    for (unsigned g = 0; g < TOGETHER; g++) {
        if (first + g < args.gates && (args.listed[first + g] >> e & 1u) != 0) {
            const float w = weight[(first + g) * args.experts + e];
            VR_UNROLL
            for (unsigned i = 0; i < PIECE; i++) {
                sum[g][i] = __fmaf_rn(w, vr_float_in(word[i / 2], i % 2), sum[g][i]);
            }
        }
    }
}

/* Halves whose width is a multiple of 8, aligned to 16 bytes: a lane has 8 columns of four gates at a time. */
__device__ void mix_pieces(const mix_args &args, size_t row, const float *weight)
{
    const uint16_t *expert = static_cast<const uint16_t *>(args.expert) + row * args.experts * args.width;
    uint16_t *y = static_cast<uint16_t *>(args.y) + row * args.gates * args.width;
    for (uint32_t first = 0; first < args.gates; first += TOGETHER) {
        for (uint32_t c = threadIdx.x % VR_WARP * PIECE; c < args.width; c += VR_WARP * PIECE) {
            float sum[TOGETHER][PIECE] = {};
            for (uint32_t e = 0; e < args.experts; e++) {
                add_expert(args, first, e, weight, *reinterpret_cast<const uint4 *>(expert + e * args.width + c), sum);
            }
            VR_UNROLL
            for (unsigned g = 0; g < TOGETHER; g++) {
                if (first + g < args.gates) {
                    *reinterpret_cast<uint4 *>(y + (first + g) * args.width + c) = make_uint4(
                        vr_halves_of_floats(sum[g][0], sum[g][1]), vr_halves_of_floats(sum[g][2], sum[g][3]),
                        vr_halves_of_floats(sum[g][4], sum[g][5]), vr_halves_of_floats(sum[g][6], sum[g][7]));
                }
            }
        }
    }
}

template <bool PIECES> __global__ void expert_mix_kernel(const mix_args args)
{
    VR_SHARED_LAUNCH(float, shared); /* [WARPS, gates * experts] */
    const unsigned lane = threadIdx.x % VR_WARP, warp = threadIdx.x / VR_WARP;
    const size_t row = static_cast<size_t>(blockIdx.x) * WARPS + warp;
    const uint32_t logits = args.gates * args.experts;
    float *weight = shared + warp * logits;
    if (row >= args.rows) { /* the whole warp */
        return;
    }
    for (uint32_t g = 0; g < args.gates; g++) {
        softmax_listed(args.logit + row * logits + g * args.experts, args.experts, args.listed[g],
                       weight + g * args.experts);
    }
    __syncwarp();
    if (PIECES) {
        mix_pieces(args, row, weight);
    } else {
        mix_columns(args, row, weight);
    }
    for (uint32_t i = lane; args.weights != nullptr && i < logits; i += VR_WARP) {
        args.weights[row * logits + i] = weight[i];
    }
}

bool takes_pieces(const mix_args &args)
{
    return args.expert_half && args.y_half && args.width % PIECE == 0 &&
           (reinterpret_cast<uintptr_t>(args.expert) | reinterpret_cast<uintptr_t>(args.y)) % 16 == 0;
}

} // namespace

enum vr_status vr_cuda_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args)
{
    if (args->gates > GATES || args->experts > EXPERTS) {
        return vr_fail(VR_ERR_INVALID, "expert_mix: %u gates over %u experts", args->gates, args->experts);
    }
    mix_args given = {};
    given.rows = args->rows;
    given.gates = args->gates;
    given.experts = args->experts;
    given.width = args->width;
    for (uint32_t g = 0; g < args->gates; g++) {
        given.listed[g] = args->listed[g];
    }
    given.expert_half = args->expert_element == VR_ELEMENT_F16;
    given.y_half = args->y_element == VR_ELEMENT_F16;
    const size_t rows = args->rows, logits = static_cast<size_t>(args->gates) * args->experts;
    given.logit = static_cast<const float *>(vr_cuda_at(args->logit, rows * logits, 4, "expert_mix: logit"));
    given.expert = vr_cuda_at(args->expert, rows * args->experts * args->width, vr_element_bytes(args->expert_element),
                              "expert_mix: expert");
    given.y = vr_cuda_at(args->y, rows * args->gates * args->width, vr_element_bytes(args->y_element), "expert_mix: y");
    if (given.logit == nullptr || given.expert == nullptr || given.y == nullptr) {
        return VR_ERR_INVALID;
    }
    if (args->want_weights) {
        given.weights = static_cast<float *>(vr_cuda_at(args->weights, rows * logits, 4, "expert_mix: weights"));
        if (given.weights == nullptr) {
            return VR_ERR_INVALID;
        }
    }
    return args->rows == 0
               ? VR_OK
               : vr_launch(stream->seam, "expert_mix",
                           takes_pieces(given) ? expert_mix_kernel<true> : expert_mix_kernel<false>,
                           vr_blocks_for(rows, WARPS), WARPS * VR_WARP, WARPS * logits * sizeof(float), given);
}
