/* Sums of int8 codes as float32 (panels.h) by AVX-512, with the bits of the plain form. */
#ifndef VIREO_COMPUTE_I8_AVX512_H
#define VIREO_COMPUTE_I8_AVX512_H

#include "avx512_bf16.h"
#include "panels.h"

static inline __attribute__((always_inline, target(VR_AVX512))) __m512 as_floats(const struct vr_panel_product *p,
                                                                                 uint32_t r, uint32_t lane, __m512i sum)
{
    const __m512i codes = _mm512_loadu_si512(p->w_sum + lane);
    const __m512i shift = _mm512_mullo_epi32(_mm512_set1_epi32(p->x_zero[r]), codes);
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(p->x_scale[r]), _mm512_loadu_ps(p->w_scale + lane));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sum, shift)), scale);
}

#endif
