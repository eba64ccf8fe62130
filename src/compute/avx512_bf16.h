/* float32 to bfloat16 and back by AVX-512 without its bf16 instructions; as vr_bf16_from_float, bit for bit. */
#ifndef VIREO_COMPUTE_AVX512_BF16_H
#define VIREO_COMPUTE_AVX512_BF16_H

#include <immintrin.h>

#define VR_AVX512 "avx512f,avx512bw,avx512vl,avx512dq"

static inline __attribute__((always_inline, target(VR_AVX512))) __m256i vr_avx512_bf16(__m512 value)
{
    const __m512i bits = _mm512_castps_si512(value), one = _mm512_set1_epi32(1);
    const __m512i odd = _mm512_and_epi32(_mm512_srli_epi32(bits, 16), one);
    const __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_epi32(bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(near, nan, quiet), 16));
}

static inline __attribute__((always_inline, target(VR_AVX512))) __m512 vr_avx512_from_bf16(__m256i value)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(value), 16));
}

#endif
