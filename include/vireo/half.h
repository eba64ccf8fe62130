/* IEEE half precision to float and back, one value and a row at a time. Every half is a float, so reading is exact. */
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

#ifdef __cplusplus
}
#endif
#endif
