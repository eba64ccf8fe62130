/* Natural logarithms of many numbers: what most of a candidate's features cost. libm's is as exact, one at a time. */
#ifndef VIREO_MODEL_LOGARITHM_H
#define VIREO_MODEL_LOGARITHM_H

#include <stddef.h>

#define VR_LOG_BLOCK 8u

/* x[i] = log(x[i]) within two units of the last place, for x of at least 2^-1022; +infinity and NaN stay. `count` is a
 * multiple of VR_LOG_BLOCK. The same bits on every processor: no step is fused. */
void vr_logarithms(double *x, size_t count);

#endif
