/* Planted bugs in warp collectives and in what lanes of a warp share. */
#include "ptx.cuh"
#include "rig.h"

namespace
{

constexpr unsigned THREADS = 2 * VR_WARP;

/* A reduction over the rows that exist, as if the lanes of the others had not gone. */
template <bool BUG> __global__ void ragged_sum(const int *in, int *out)
{
    const unsigned lane = threadIdx.x % VR_WARP, rows = 24;
    if (BUG && lane >= rows) {
        return;
    }
    int sum = lane < rows ? in[lane] : 0;
    for (int bits = 16; bits > 0; bits /= 2) {
        sum += __shfl_xor_sync(VR_ALL_LANES, sum, bits);
    }
    out[threadIdx.x] = lane < rows ? sum : 276;
}

int exited(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, ragged_sum<true>, ragged_sum<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned) { return 276; });
}

/* A shuffle that half of the lanes reach by way of a ballot of the whole warp. */
template <bool BUG> __global__ void two_collectives(const int *in, int *out)
{
    int value = in[threadIdx.x];
    if (!BUG || threadIdx.x % 2 == 0) {
        value += __ballot_sync(VR_ALL_LANES, value >= 0) == 0;
    }
    out[threadIdx.x] = __shfl_xor_sync(VR_ALL_LANES, value, 1);
}

int other_collective(bool bug)
{
    const rig rig;
    return rig.outcome(
        launch_twin(rig, bug, two_collectives<true>, two_collectives<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
        [](unsigned i) { return i ^ 1; });
}

template <bool BUG> __global__ void own_half(const int *in, int *out)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t mask = lane < 16 || BUG ? 0x0000ffffu : 0xffff0000u;
    out[threadIdx.x] = __shfl_xor_sync(mask, in[threadIdx.x], 1);
}

int caller_not_in_mask(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, own_half<true>, own_half<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned i) { return i ^ 1; });
}

template <bool BUG> __global__ void from_half(const int *in, int *out)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    out[threadIdx.x] = __shfl_xor_sync(mask, in[threadIdx.x], BUG ? 16 : 8);
}

int source_not_in_mask(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, from_half<true>, from_half<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return i ^ 8; });
}

/* Lanes that were told of different masks. */
template <bool BUG> __global__ void halves_and_all(const int *in, int *out)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t mask = BUG && lane == 3 ? 0x0000ffffu : VR_ALL_LANES;
    out[threadIdx.x] = __shfl_xor_sync(mask, in[threadIdx.x], 1);
}

int different_masks(bool bug)
{
    const rig rig;
    return rig.outcome(
        launch_twin(rig, bug, halves_and_all<true>, halves_and_all<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
        [](unsigned i) { return i ^ 1; });
}

/* Lanes of one warp hand values on through shared memory. */
template <bool BUG> __global__ void warp_exchange(const int *in, int *out)
{
    VR_SHARED(int, x, THREADS);
    x[threadIdx.x] = in[threadIdx.x];
    if (!BUG) {
        __syncwarp();
    }
    out[threadIdx.x] = x[threadIdx.x ^ 1u];
}

int missing_syncwarp(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, warp_exchange<true>, warp_exchange<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return i ^ 1; });
}

/* An instruction that a warp must run as one, in a branch. */
template <bool BUG> __global__ void divided_product(const int *, int *out)
{
    const uint32_t a[4] = {}, b[2] = {};
    int32_t d[4] = {};
    if (BUG && threadIdx.x % 2 == 0) {
        vr_mma_s8(d, a, b);
    } else {
        vr_mma_s8(d, a, b);
    }
    out[threadIdx.x] = d[0];
}

int divergent_mma(bool bug)
{
    const rig rig;
    return rig.outcome(
        launch_twin(rig, bug, divided_product<true>, divided_product<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
        [](unsigned) { return 0; });
}

} // namespace

const struct planted planted_warps[] = {
    {"a lane of the mask has exited", CATCH_TEXT, "a lane of the mask has exited", exited},
    {"a lane of the mask is at another collective", CATCH_TEXT, "a lane of the mask waits at", other_collective},
    {"the calling lane is not in the mask", CATCH_TEXT, "the mask leaves out the lane that calls", caller_not_in_mask},
    {"a shuffle's source is not in the mask", CATCH_TEXT, "which is outside its mask", source_not_in_mask},
    {"lanes of a shuffle with different masks", CATCH_TEXT, "a lane of the mask waits at", different_masks},
    {"no __syncwarp between write and read", CATCH_RESULT, nullptr, missing_syncwarp},
    {"an mma in both branches of a warp", CATCH_TEXT, "a lane of the warp waits at line", divergent_mma},
    {},
};
