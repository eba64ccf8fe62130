/* A product of packed rows and panels by AVX-512, for whatever multiplies two registers of groups: 12 rows by one
 * panel keep 24 sums in registers; few rows take four panels at a time, so that enough independent chains hide the
 * latency. The file that includes this defines first
 *   TARGET                      the instruction sets it is compiled for
 *   SUM                         the type of a register of sums
 *   STEP(sum, x, w)             sum + x * w, of __m512i groups
 *   AS_FLOATS(p, r, lane, sum)  the sums of row r and 16 outputs from `lane` on as float32
 * and what panel_finish_avx512.h asks for. */
#ifndef VIREO_COMPUTE_PANEL_AVX512_H
#define VIREO_COMPUTE_PANEL_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "panel_finish_avx512.h"

#define BLOCK_ROWS 12u
#define FEW_ROWS 3u

INLINE __m512i group_at(const char *x)
{
    int32_t group;
    memcpy(&group, x, sizeof group);
    return _mm512_set1_epi32(group);
}

/* Rows first .. first + R against P panels from `panel` on; both are constants after inlining. Every third row has a
 * pointer, kept opaque, and its two neighbours are addressed from it: a pointer a row would not leave registers for the
 * compiler to work with. */
INLINE void block_of(const struct vr_panel_product *p, uint32_t first, uint32_t panel, uint32_t R, uint32_t P)
{
    SUM sum[BLOCK_ROWS][8];
    const char *x[BLOCK_ROWS / 3];
    const size_t panel_bytes = (size_t)p->groups * VR_PANEL_LANES * VR_PANEL_GROUP, stride = p->stride;
    const char *weight = p->weight + panel * panel_bytes;
#pragma GCC unroll 12
    for (uint32_t r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (uint32_t t = 0; t < 2 * P; t++) {
            sum[r][t] = (SUM)_mm512_setzero_si512();
        }
        x[r / 3] = p->x + (first + r / 3 * 3) * stride;
    }
    for (size_t g = 0; g < p->groups; g++) {
        __m512i w[8];
#pragma GCC unroll 8
        for (uint32_t t = 0; t < 2 * P; t++) {
            w[t] = _mm512_loadu_si512(weight + (t / 2) * panel_bytes + t % 2 * 64);
        }
#pragma GCC unroll 12
        for (uint32_t r = 0; r < R; r++) {
            const __m512i group = group_at(x[r / 3] + r % 3 * stride);
#pragma GCC unroll 8
            for (uint32_t t = 0; t < 2 * P; t++) {
                sum[r][t] = STEP(sum[r][t], group, w[t]);
            }
        }
        weight += VR_PANEL_LANES * VR_PANEL_GROUP;
#pragma GCC unroll 4
        for (uint32_t r = 0; r < R; r += 3) {
            x[r / 3] += VR_PANEL_GROUP;
            __asm__("" : "+r"(x[r / 3]));
        }
    }
#pragma GCC unroll 12
    for (uint32_t r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (uint32_t t = 0; t < 2 * P; t++) {
            const uint32_t lane = panel * VR_PANEL_LANES + t * 16;
            finish(p, first + r, lane, AS_FLOATS(p, first + r, lane, sum[r][t]));
        }
    }
}

/* `rows` rows, at most BLOCK_ROWS, against one panel. */
INLINE void rows_of(const struct vr_panel_product *p, uint32_t first, uint32_t rows, uint32_t panel)
{
    switch (rows) {
    case 12: block_of(p, first, panel, 12, 1); break;
    case 11: block_of(p, first, panel, 11, 1); break;
    case 10: block_of(p, first, panel, 10, 1); break;
    case 9: block_of(p, first, panel, 9, 1); break;
    case 8: block_of(p, first, panel, 8, 1); break;
    case 7: block_of(p, first, panel, 7, 1); break;
    case 6: block_of(p, first, panel, 6, 1); break;
    case 5: block_of(p, first, panel, 5, 1); break;
    case 4: block_of(p, first, panel, 4, 1); break;
    case 3: block_of(p, first, panel, 3, 1); break;
    case 2: block_of(p, first, panel, 2, 1); break;
    default: block_of(p, first, panel, 1, 1); break;
    }
}

INLINE void few_rows_of(const struct vr_panel_product *p, uint32_t panel)
{
    switch (p->rows) {
    case 3: block_of(p, 0, panel, 3, 4); break;
    case 2: block_of(p, 0, panel, 2, 4); break;
    default: block_of(p, 0, panel, 1, 4); break;
    }
}

/* A panel stays in the cache while all rows run over it. */
INLINE void multiply_all(const struct vr_panel_product *p)
{
    const uint32_t panels = (p->out + VR_PANEL_LANES - 1) / VR_PANEL_LANES;
    uint32_t panel = 0;
    for (; p->rows <= FEW_ROWS && panel + 4 <= panels; panel += 4) {
        few_rows_of(p, panel);
    }
    for (; panel < panels; panel++) {
        for (uint32_t r = 0; r < p->rows; r += BLOCK_ROWS) {
            rows_of(p, r, p->rows - r < BLOCK_ROWS ? p->rows - r : BLOCK_ROWS, panel);
        }
    }
}

#endif
