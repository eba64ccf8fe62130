/* Reductions over a warp: every lane gets the result, added in one order whatever the values are. All lanes call. */
#ifndef VIREO_KERNELS_WARP_CUH
#define VIREO_KERNELS_WARP_CUH

#include "kernel.cuh"

static __device__ __forceinline__ float vr_warp_max(float value)
{
    for (int bits = 16; bits > 0; bits /= 2) {
        value = fmaxf(value, __shfl_xor_sync(VR_ALL_LANES, value, bits));
    }
    return value;
}

template <typename T> static __device__ __forceinline__ T vr_warp_sum(T value)
{
    for (int bits = 16; bits > 0; bits /= 2) {
        value += __shfl_xor_sync(VR_ALL_LANES, value, bits);
    }
    return value;
}

#endif
