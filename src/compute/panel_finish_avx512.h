/* The end of a product by AVX-512 (panels.h): bias, hoisted part, ReLU and the write, 16 outputs at a time. The file
 * that includes this defines first
 *   TARGET           the instruction sets it is compiled for
 *   AS_BF16(floats)  16 floats as 32 bytes of bfloat16 */
#ifndef VIREO_COMPUTE_PANEL_FINISH_AVX512_H
#define VIREO_COMPUTE_PANEL_FINISH_AVX512_H

#include <immintrin.h>

#include "panels.h"

#define INLINE static inline __attribute__((always_inline, target(TARGET)))

/* Bit i: output lane + i is one. */
INLINE __mmask16 lanes_of(uint32_t lane, uint32_t out)
{
    return out >= lane + 16 ? 0xffff : out > lane ? (__mmask16)((1u << (out - lane)) - 1) : 0;
}

/* The outputs of row r from `lane` on, given their sums. */
INLINE void finish(const struct vr_panel_product *p, uint32_t r, uint32_t lane, __m512 value)
{
    const __mmask16 lanes = lanes_of(lane, p->out);
    if (p->bias != NULL) {
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, p->bias + lane));
    }
    if (p->add != NULL) {
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, p->add[r] + lane));
    }
    if (p->relu) {
        value = _mm512_max_ps(_mm512_setzero_ps(), value); /* of a NaN the second operand is taken: it stays */
    }
    const size_t at = r * p->y_stride + lane;
    if (p->y_element == VR_ELEMENT_BF16) {
        const __m512i wide = _mm512_castsi256_si512(AS_BF16(value));
        _mm512_mask_storeu_epi16((uint16_t *)p->y + at, lanes, wide);
    } else {
        _mm512_mask_storeu_ps((float *)p->y + at, lanes, value);
    }
}

#endif
