/* expert_mix: for each gate g, w = softmax over its listed experts of logit[r, g, :] and
 * y[r, g, :] = sum_e w[e] * expert[r, e, :]. logit float [rows, gates * experts], expert float [rows, experts * width],
 * y float [rows, gates * width]; weights, if wanted, float [rows, gates * experts].
 *
 * One warp a row: its lanes first make every gate's weights in shared memory, then the outputs. Sums of at most 64
 * terms in float32; an expert that is not listed has weight 0 and is not read. NaN or infinity among a gate's listed
 * logits makes that gate NaN, as in the reference. */
#include "numbers.cuh"

namespace
{

constexpr unsigned WARPS = 4; /* of a block */
constexpr unsigned GATES = 16, EXPERTS = 64;

struct mix_args {
    uint32_t rows, gates, experts, width;
    uint64_t listed[GATES];
    const float *logit, *expert;
    float *y, *weights;
};

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
    largest = warp_max(largest);
    for (uint32_t e = lane; e < experts; e += VR_WARP) {
        weight[e] = (listed >> e & 1u) != 0 ? expf(logit[e] - largest) : 0.0f;
        sum += weight[e];
    }
    sum = warp_sum(sum);
    for (uint32_t e = lane; e < experts; e += VR_WARP) {
        weight[e] = (listed >> e & 1u) != 0 ? weight[e] / sum : 0.0f;
    }
}

__global__ void expert_mix_f32_kernel(const mix_args args)
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
    const float *expert = args.expert + row * args.experts * args.width;
    for (uint32_t o = lane; o < args.gates * args.width; o += VR_WARP) {
        const uint32_t g = o / args.width, column = o % args.width;
        float sum = 0.0f;
        for (uint32_t e = 0; e < args.experts; e++) {
            if ((args.listed[g] >> e & 1u) != 0) {
                sum = __fmaf_rn(weight[g * args.experts + e], expert[e * args.width + column], sum);
            }
        }
        args.y[row * args.gates * args.width + o] = sum;
    }
    for (uint32_t i = lane; args.weights != nullptr && i < logits; i += VR_WARP) {
        args.weights[row * logits + i] = weight[i];
    }
}

} // namespace

enum vr_status vr_cuda_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args)
{
    if (args->gates > GATES || args->experts > EXPERTS) {
        return vr_fail(VR_ERR_INVALID, "expert_mix: %u gates over %u experts", args->gates, args->experts);
    }
    mix_args given = {args->rows, args->gates, args->experts, args->width, {}, nullptr, nullptr, nullptr, nullptr};
    for (uint32_t g = 0; g < args->gates; g++) {
        given.listed[g] = args->listed[g];
    }
    const size_t rows = args->rows, logits = static_cast<size_t>(args->gates) * args->experts;
    given.logit = static_cast<const float *>(vr_cuda_at(args->logit, rows * logits, 4, "expert_mix: logit"));
    given.expert = static_cast<const float *>(
        vr_cuda_at(args->expert, rows * args->experts * args->width, 4, "expert_mix: expert"));
    given.y = static_cast<float *>(vr_cuda_at(args->y, rows * args->gates * args->width, 4, "expert_mix: y"));
    if (given.logit == nullptr || given.expert == nullptr || given.y == nullptr) {
        return VR_ERR_INVALID;
    }
    if (args->want_weights) {
        given.weights = static_cast<float *>(vr_cuda_at(args->weights, rows * logits, 4, "expert_mix: weights"));
        if (given.weights == nullptr) {
            return VR_ERR_INVALID;
        }
    }
    return args->rows == 0 ? VR_OK
                           : vr_launch(stream->seam, "expert_mix", expert_mix_f32_kernel, vr_blocks_for(rows, WARPS),
                                       WARPS * VR_WARP, WARPS * logits * sizeof(float), given);
}
