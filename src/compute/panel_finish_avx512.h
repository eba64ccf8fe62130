/* The end of a product by AVX-512 (panels.h): bias, hoisted part, ReLU and the write, 16 outputs at a time. The file
 * that includes this defines first
 *   TARGET           the instruction sets it is compiled for
 *   AS_BF16(floats)  16 floats as 32 bytes of bfloat16 */
#ifndef VIREO_COMPUTE_PANEL_FINISH_AVX512_H
#define VIREO_COMPUTE_PANEL_FINISH_AVX512_H

#include <immintrin.h>

#include "panels.h"

#define INLINE static inline __attribute__((always_inline, target(TARGET)))

#define ROWS_AHEAD 4u   /* rows of a table that are fetched before they are added, where nothing is multiplied */
#define TABLE_AHEAD 64u /* halves of a row that are fetched before they are added: two panels */

/* Bit i: output lane + i is one. */
INLINE __mmask16 lanes_of(uint32_t lane, uint32_t out)
{
    return out >= lane + 16 ? 0xffff : out > lane ? (__mmask16)((1u << (out - lane)) - 1) : 0;
}

/* Sums of one row and 16 outputs as float32: as they are, or of int8's codes, with the bits of the plain form. */
INLINE __m512 floats_of(const struct vr_panel_product *p, uint32_t r, __m512i sum, __m512i w_sum, __m512 w_scale,
                        bool codes)
{
    if (!codes) {
        return _mm512_castsi512_ps(sum);
    }
    const __m512i shift = _mm512_mullo_epi32(_mm512_set1_epi32(p->x_zero[r]), w_sum);
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(p->x_scale[r]), w_scale);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sum, shift)), scale);
}

/* The 16 outputs from `lane` on of rows first .. end, given their sums, `apart` numbers from one row's to the next's.
 * `codes` and `wide` (y is float32) are constants after inlining. */
INLINE void finish_lanes(const struct vr_panel_product *p, uint32_t first, uint32_t end, uint32_t lane,
                         const int32_t *part, size_t apart, bool codes, bool wide)
{
    const __mmask16 lanes = lanes_of(lane, p->out);
    const __m512 bias = p->bias != NULL ? _mm512_maskz_loadu_ps(lanes, p->bias + lane) : _mm512_setzero_ps();
    const __m512i w_sum = codes ? _mm512_loadu_si512(p->w_sum + lane) : _mm512_setzero_si512();
    const __m512 w_scale = codes ? _mm512_loadu_ps(p->w_scale + lane) : _mm512_setzero_ps();
    const bool relu = p->relu;
    for (uint32_t r = first; r < end; r++, part += apart) {
        __m512 value = _mm512_add_ps(floats_of(p, r, _mm512_load_si512(part), w_sum, w_scale, codes), bias);
        if (p->add != NULL) {
            value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, p->add[r] + lane));
        }
        if (p->table != NULL) {
            const __mmask16 there = p->table[r] != NULL ? lanes : 0;
            _mm_prefetch(p->table[r] + lane + TABLE_AHEAD, _MM_HINT_T0);
            value = _mm512_add_ps(value, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, p->table[r] + lane)));
        }
        if (relu) {
            value = _mm512_max_ps(_mm512_setzero_ps(), value); /* of a NaN the second operand is taken: it stays */
        }
        const size_t at = r * p->y_stride + lane;
        if (wide) {
            _mm512_mask_storeu_ps((float *)p->y + at, lanes, value);
        } else {
            _mm256_mask_storeu_epi16((uint16_t *)p->y + at, lanes, AS_BF16(value));
        }
    }
}

/* All of rows first .. first + rows and `count` outputs from `lane` on, a multiple of 16; part [rows, count]. */
INLINE void finish_rows(const struct vr_panel_product *p, uint32_t first, uint32_t rows, uint32_t lane, uint32_t count,
                        const int32_t *part, bool codes)
{
    for (uint32_t i = 0; i < count; i += 16) {
        if (p->y_element == VR_ELEMENT_F32) {
            finish_lanes(p, first, first + rows, lane + i, part + i, count, codes, true);
        } else {
            finish_lanes(p, first, first + rows, lane + i, part + i, count, codes, false);
        }
    }
}

/* A product without inputs: what is added to it, row by row, as a table's rows lie. */
INLINE void finish_alone(const struct vr_panel_product *p, bool codes)
{
    static const int32_t nothing[16] __attribute__((aligned(64)));
    for (uint32_t r = 0; r < p->rows; r++) {
        const uint32_t later = r + ROWS_AHEAD < p->rows ? r + ROWS_AHEAD : r;
        for (uint32_t lane = 0; lane < p->out; lane += 16) {
            if (p->table != NULL && lane % 32 == 0) {
                _mm_prefetch(p->table[later] + lane, _MM_HINT_T0);
            }
            if (p->y_element == VR_ELEMENT_F32) {
                finish_lanes(p, r, r + 1, lane, nothing, 0, codes, true);
            } else {
                finish_lanes(p, r, r + 1, lane, nothing, 0, codes, false);
            }
        }
    }
}

#endif
