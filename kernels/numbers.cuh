/* Numbers as they are stored: halves and int8 rows as floats, floats as the nearest halves. The same bits as the
 * reference's. */
#ifndef VIREO_KERNELS_NUMBERS_CUH
#define VIREO_KERNELS_NUMBERS_CUH

#include "device.h"
#include "kernel.cuh"

#ifdef VIREO_EMULATOR
#include "vireo/half.h"
static inline float vr_float_of_half(uint16_t half)
{
    return vr_half_to_float(half);
}
static inline uint16_t vr_half_of_float(float value)
{
    return vr_half_from_float(value);
}
static inline uint32_t vr_halves_of_floats(float low, float high)
{
    return vr_half_from_float(low) | static_cast<uint32_t>(vr_half_from_float(high)) << 16;
}
#else
#include <cuda_fp16.h>
static __device__ __forceinline__ float vr_float_of_half(uint16_t half)
{
    return __half2float(__ushort_as_half(half));
}
static __device__ __forceinline__ uint16_t vr_half_of_float(float value)
{
    return __half_as_ushort(__float2half_rn(value));
}
static __device__ __forceinline__ uint32_t vr_halves_of_floats(float low, float high)
{
    const __half2 pair = __floats2half2_rn(low, high);
    return __half_as_ushort(__low2half(pair)) | static_cast<uint32_t>(__half_as_ushort(__high2half(pair))) << 16;
}
#endif

/* Half i (0, 1) of two that are packed in a word. */
static __device__ __forceinline__ float vr_float_in(uint32_t word, unsigned i)
{
    return vr_float_of_half(static_cast<uint16_t>(word >> 16 * i));
}

/* Element i of a matrix, as a float and back. */
static __device__ __forceinline__ float vr_element_get(const void *data, bool half, size_t i)
{
    return half ? vr_float_of_half(static_cast<const uint16_t *>(data)[i]) : static_cast<const float *>(data)[i];
}
static __device__ __forceinline__ void vr_element_put(void *data, bool half, size_t i, float value)
{
    if (half) {
        static_cast<uint16_t *>(data)[i] = vr_half_of_float(value);
    } else {
        static_cast<float *>(data)[i] = value;
    }
}

/* Column `column` of row `row`; 0 for a row outside the table. */
static __device__ __forceinline__ float vr_table_value(const vr_cuda_table &table, int32_t row, uint32_t column)
{
    if (row < 0 || static_cast<uint32_t>(row) >= table.rows) {
        return 0.0f;
    }
    const size_t at = static_cast<size_t>(row) * table.width + column;
    if (table.dtype == VR_TABLE_F32) {
        return static_cast<const float *>(table.data)[at];
    }
    if (table.dtype == VR_TABLE_F16) {
        return vr_float_of_half(static_cast<const uint16_t *>(table.data)[at]);
    }
    return static_cast<float>(static_cast<const int8_t *>(table.data)[at]) / 127.0f * table.scale[row];
}

#endif
