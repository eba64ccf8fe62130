/* Rows as bfloat16 and as int8 codes (panels.h) by AVX-512, with the bits of the plain form. */
#ifndef VIREO_COMPUTE_ROWS_AVX512_H
#define VIREO_COMPUTE_ROWS_AVX512_H

#include <string.h>

#include "avx512_bf16.h"
#include "panels.h"

#define ROWS_INLINE static inline __attribute__((always_inline, target(VR_AVX512)))

/* 16 values of row r from i on; zeros past its end. */
ROWS_INLINE __m512 row_values(const struct vr_panel_rows *rows, enum vr_element element, size_t r, uint32_t i)
{
    const size_t at = r * rows->from_stride + i;
    const __mmask16 some = rows->in >= i + 16 ? 0xffff : rows->in > i ? (__mmask16)((1u << (rows->in - i)) - 1) : 0;
    if (element == VR_ELEMENT_BF16) {
        return vr_avx512_from_bf16(_mm256_maskz_loadu_epi16(some, (const uint16_t *)rows->from + at));
    }
    return _mm512_maskz_loadu_ps(some, (const float *)rows->from + at);
}

ROWS_INLINE void rows_take_bf16(const struct vr_panel_rows *rows)
{
    const uint32_t width = rows->groups * 2;
    for (size_t r = 0; r < rows->rows; r++) {
        char *to = rows->to + r * rows->stride;
        for (uint32_t i = 0; i < width; i += 16) {
            const __m512 value = row_values(rows, rows->from_element, r, i);
            _mm256_store_si256((__m256i *)(void *)(to + i * (size_t)2), vr_avx512_bf16(value));
        }
    }
}

ROWS_INLINE struct vr_panel_range rows_range(const struct vr_panel_rows *rows, enum vr_element element, size_t r)
{
    __m512 least = _mm512_setzero_ps(), largest = least, odd = least;
    for (uint32_t i = 0; i < rows->in; i += 16) {
        const __m512 value = row_values(rows, element, r, i);
        least = _mm512_min_ps(least, value);
        largest = _mm512_max_ps(largest, value);
        odd = _mm512_fmadd_ps(value, _mm512_setzero_ps(), odd); /* NaN where the value is not finite */
    }
    return vr_panel_range_of(_mm512_reduce_min_ps(least), _mm512_reduce_max_ps(largest) + _mm512_reduce_add_ps(odd));
}

/* The codes of 16 values. */
ROWS_INLINE __m128i row_codes(__m512 value, __m512 inverse, __m512i zero)
{
    const __m512i near = _mm512_cvtps_epi32(_mm512_mul_ps(value, inverse));
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(_mm512_add_epi32(near, zero), _mm512_setzero_si512()));
}

ROWS_INLINE void rows_take_codes(const struct vr_panel_rows *rows, enum vr_element element)
{
    for (size_t r = 0; r < rows->rows; r++) {
        const struct vr_panel_range range = rows_range(rows, element, r);
        const __m512 inverse = _mm512_set1_ps(range.inverse);
        const __m512i zero = _mm512_set1_epi32(range.zero);
        char *to = rows->to + r * rows->stride;
        for (uint32_t i = 0; i < rows->groups * 4; i += 16) {
            _mm_store_si128((__m128i *)(void *)(to + i), row_codes(row_values(rows, element, r, i), inverse, zero));
        }
        rows->scale[r] = range.scale;
        rows->zero[r] = range.zero;
    }
}

ROWS_INLINE void rows_take_i8(const struct vr_panel_rows *rows)
{
    if (rows->from_element == VR_ELEMENT_BF16) {
        rows_take_codes(rows, VR_ELEMENT_BF16);
    } else {
        rows_take_codes(rows, VR_ELEMENT_F32);
    }
}

#endif
