/* IEEE half precision and bfloat16 to float and back. Both are floats, so reading is exact. */
#ifndef VIREO_HALF_H
#define VIREO_HALF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

float vr_half_to_float(uint16_t half);

/* half [count] -> out [count]; uses F16C where the processor has it. */
void vr_half_to_floats(const uint16_t *half, size_t count, float *out);

/* The nearest half, ties to even; values of 65520 and above become infinity. */
uint16_t vr_half_from_float(float value);

/* bfloat16: the upper half of a float. To the nearest, ties to even; NaN stays NaN. */
static inline float vr_bf16_to_float(uint16_t value)
{
    const union {
        uint32_t bits;
        float value;
    } wide = {(uint32_t)value << 16};
    return wide.value;
}
uint16_t vr_bf16_from_float(float value);

#ifdef __cplusplus
}
#endif
#endif
