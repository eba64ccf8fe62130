/* The two codings of the scan (scan.h), as types with the same members:
 *   code, sum               a stored value; what the tensor cores add products in
 *   unit_of(largest)        of the coding, for values up to `largest` in absolute value
 *   encode, decode          the nearest code of a value, and the value that a code stands for
 *   multiply                one mma step over 32 bytes of 16 queries and 8 slots
 *   limit_of(threshold)     the least sum that is not below a threshold
 *   sampled_of(sum)         as a float of the same order; what is not a number is below all */
#ifndef VIREO_KERNELS_SCAN_CODE_CUH
#define VIREO_KERNELS_SCAN_CODE_CUH

#include "ptx.cuh"
#include "scan_tile.cuh"

struct vr_code_f16 {
    using code = uint16_t;
    using sum = float;
    static __device__ __forceinline__ float unit_of(float)
    {
        return 1.0f;
    }
    static __device__ __forceinline__ code encode(float value, float)
    {
        return vr_half_of_float(value);
    }
    static __device__ __forceinline__ float decode(code from, float)
    {
        return vr_float_of_half(from);
    }
    static __device__ __forceinline__ void multiply(sum *d, const uint32_t *a, const uint32_t *b)
    {
        vr_mma_f16(d, a, b);
    }
    static __device__ __forceinline__ sum limit_of(float threshold)
    {
        return threshold;
    }
    static __device__ __forceinline__ float sampled_of(sum score)
    {
        return score == score ? score : -INFINITY;
    }
};

/* Sums stay below 127 * 127 * 256 < 2^22: exact as int32 and as float. */
struct vr_code_s8 {
    using code = int8_t;
    using sum = int32_t;
    static __device__ __forceinline__ float unit_of(float largest)
    {
        return largest >= 0x1p-40f ? largest / 127.0f : 1.0f; /* smaller ones all become 0: the residual knows */
    }
    static __device__ __forceinline__ code encode(float value, float unit)
    {
        const float steps = rintf(value / unit);
        return steps - steps == 0.0f ? static_cast<code>(fminf(fmaxf(steps, -127.0f), 127.0f)) : code{0};
    }
    static __device__ __forceinline__ float decode(code from, float unit)
    {
        return static_cast<float>(from) * unit;
    }
    static __device__ __forceinline__ void multiply(sum *d, const uint32_t *a, const uint32_t *b)
    {
        vr_mma_s8(d, a, b);
    }
    static __device__ __forceinline__ sum limit_of(float threshold)
    {
        const float whole = ceilf(threshold);
        return whole <= -0x1p30f ? INT32_MIN : whole >= 0x1p30f ? INT32_MAX : static_cast<sum>(whole);
    }
    static __device__ __forceinline__ float sampled_of(sum score)
    {
        return static_cast<float>(score);
    }
};

#endif
