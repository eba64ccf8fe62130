/* IEEE half precision to float, one value and a row at a time. Exact: every half is a float. */
#ifndef VIREO_COMPUTE_HALF_H
#define VIREO_COMPUTE_HALF_H

#include <stddef.h>
#include <stdint.h>

float vr_half_to_float(uint16_t half);

/* count values; uses F16C where the processor has it. */
void vr_half_to_floats(const uint16_t *half, size_t count, float *out);

/* The nearest half of a float, ties to even; used to pack values that were halves before, so it is exact there. */
uint16_t vr_half_from_float(float value);

#endif
