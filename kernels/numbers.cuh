/* Numbers as they are stored: halves and int8 rows as floats. Exact, and the same bits as the reference's. */
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
#endif

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
