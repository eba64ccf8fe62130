/* float32 panels by AVX2 and FMA (panels.h): six rows by half a panel, 16 outputs, keep 12 sums in registers. */
#include <immintrin.h>

#include "panels.h"
#include "vireo/half.h"

#define TARGET "avx2,fma"
#define INLINE static inline __attribute__((always_inline, target(TARGET)))
#define HALF_LANES 16u
#define BLOCK_ROWS 6u
#define TABLE_AHEAD 32u /* halves of a row that are fetched before they are added: a panel */

static bool runs(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* Whole registers, then what is left one by one. */
INLINE void finish(const struct vr_panel_product *p, uint32_t r, uint32_t lane, __m256 value)
{
    float bias[8] = {0}, add[8] = {0}, table[8] = {0}, out[8];
    const uint32_t lanes = p->out > lane + 8 ? 8 : p->out > lane ? p->out - lane : 0;
    for (uint32_t i = 0; i < lanes; i++) {
        bias[i] = p->bias != NULL ? p->bias[lane + i] : 0.0f;
        add[i] = p->add != NULL ? p->add[r][lane + i] : 0.0f;
    }
    if (p->table != NULL && p->table[r] != NULL) {
        _mm_prefetch(p->table[r] + lane + TABLE_AHEAD, _MM_HINT_T0);
        vr_half_to_floats(p->table[r] + lane, lanes, table);
    }
    value = _mm256_add_ps(_mm256_add_ps(value, _mm256_loadu_ps(bias)), _mm256_loadu_ps(add));
    value = _mm256_add_ps(value, _mm256_loadu_ps(table));
    if (p->relu) {
        value = _mm256_max_ps(_mm256_setzero_ps(), value); /* of a NaN the second operand is taken: it stays */
    }
    _mm256_storeu_ps(out, value);
    for (uint32_t i = 0; i < lanes; i++) {
        if (p->y_element == VR_ELEMENT_BF16) {
            ((uint16_t *)p->y)[r * p->y_stride + lane + i] = vr_bf16_from_float(out[i]);
        } else {
            ((float *)p->y)[r * p->y_stride + lane + i] = out[i];
        }
    }
}

/* Rows first .. first + R against the 16 outputs from `lane` on; R is a constant after inlining. Every third row has a
 * pointer, kept opaque, and its two neighbours are addressed from it (panel_avx512.h). */
INLINE void block_of(const struct vr_panel_product *p, uint32_t first, uint32_t lane, uint32_t R)
{
    __m256 sum[BLOCK_ROWS][2];
    const char *x[BLOCK_ROWS / 3];
    const size_t panel = lane / VR_PANEL_LANES, stride = p->stride;
    const float *weight = (const float *)(const void *)p->weight + panel * p->groups * VR_PANEL_LANES;
    weight += lane % VR_PANEL_LANES;
#pragma GCC unroll 6
    for (uint32_t r = 0; r < R; r++) {
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
        x[r / 3] = p->x + (first + r / 3 * 3) * stride;
    }
    for (size_t g = 0; g < p->groups; g++, weight += VR_PANEL_LANES) {
        const __m256 left = _mm256_loadu_ps(weight), right = _mm256_loadu_ps(weight + 8);
#pragma GCC unroll 6
        for (uint32_t r = 0; r < R; r++) {
            const __m256 value = _mm256_broadcast_ss((const float *)(const void *)(x[r / 3] + r % 3 * stride));
            sum[r][0] = _mm256_fmadd_ps(value, left, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(value, right, sum[r][1]);
        }
#pragma GCC unroll 2
        for (uint32_t r = 0; r < R; r += 3) {
            x[r / 3] += VR_PANEL_GROUP;
            __asm__("" : "+r"(x[r / 3]));
        }
    }
#pragma GCC unroll 6
    for (uint32_t r = 0; r < R; r++) {
        finish(p, first + r, lane, sum[r][0]);
        finish(p, first + r, lane + 8, sum[r][1]);
    }
}

INLINE void rows_of(const struct vr_panel_product *p, uint32_t first, uint32_t rows, uint32_t lane)
{
    switch (rows) {
    case 6: block_of(p, first, lane, 6); break;
    case 5: block_of(p, first, lane, 5); break;
    case 4: block_of(p, first, lane, 4); break;
    case 3: block_of(p, first, lane, 3); break;
    case 2: block_of(p, first, lane, 2); break;
    default: block_of(p, first, lane, 1); break;
    }
}

__attribute__((target(TARGET))) static void multiply(const struct vr_panel_product *p)
{
    for (uint32_t lane = 0; lane < p->out; lane += HALF_LANES) {
        for (uint32_t r = 0; r < p->rows; r += BLOCK_ROWS) {
            rows_of(p, r, p->rows - r < BLOCK_ROWS ? p->rows - r : BLOCK_ROWS, lane);
        }
    }
}

const struct vr_panel_form vr_panel_f32_avx2 = {"avx2", true, runs, vr_panel_take_f32, multiply};
