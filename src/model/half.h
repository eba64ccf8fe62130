/* IEEE half precision to float, exact; for checks at load, not for the hot path. */
#ifndef VIREO_MODEL_HALF_H
#define VIREO_MODEL_HALF_H

#include <stdint.h>
#include <string.h>

/* Moves the exponent from bias 15 to bias 127 by a multiplication, which normalises subnormals on the way. */
static inline float vr_half_value(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7FFFu) << 13;
    float magnitude;
    if (bits >= 0x0F800000u) { /* infinity or NaN */
        bits |= 0x7F800000u;
        memcpy(&magnitude, &bits, sizeof magnitude);
    } else {
        memcpy(&magnitude, &bits, sizeof magnitude);
        magnitude *= 0x1p112f;
    }
    return half & 0x8000u ? -magnitude : magnitude;
}

#endif
