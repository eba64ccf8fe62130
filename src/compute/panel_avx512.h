/* A product of packed rows and panels by AVX-512, for whatever multiplies two registers of groups: 12 rows by one
 * panel keep 24 sums in registers; few rows take four panels at a time, so that enough independent chains hide the
 * latency. The file that includes this defines first
 *   TARGET                      the instruction sets it is compiled for
 *   SUM                         the type of a register of sums
 *   STEP(sum, x, w)             sum + x * w, of __m512i groups
 *   CODES                       the sums are of int8 codes
 * and what panel_finish_avx512.h asks for. */
#ifndef VIREO_COMPUTE_PANEL_AVX512_H
#define VIREO_COMPUTE_PANEL_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "panel_finish_avx512.h"

#define BLOCK_ROWS 12u
#define FEW_ROWS 3u
#define BLOCK_GROUPS 256u /* of a panel: 32 KiB */
#define AHEAD 1536u       /* bytes that weights are fetched ahead: from the second level they come too late */

INLINE __m512i group_at(const char *x)
{
    int32_t group;
    memcpy(&group, x, sizeof group);
    return _mm512_set1_epi32(group);
}

/* What a kernel works on: some groups of P neighbouring panels against R rows, whose sums so far are in `part`. */
struct block {
    const char *x, *weight;
    size_t stride, panel_bytes; /* from one row of x, and from one panel, to the next */
    uint32_t groups;
    bool first;    /* nothing is in `part` yet */
    int32_t *part; /* [R, P * 32], aligned to 64 */
};

/* R and P are constants after inlining. Every third row has a pointer, kept opaque, and its two neighbours are
 * addressed from it: a pointer a row would not leave registers for the compiler to work with. */
INLINE void block_of(const struct block *block, uint32_t R, uint32_t P)
{
    SUM sum[BLOCK_ROWS][8];
    const char *x[BLOCK_ROWS / 3], *weight = block->weight;
    const size_t panel_bytes = block->panel_bytes, stride = block->stride;
#pragma GCC unroll 12
    for (uint32_t r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (uint32_t t = 0; t < 2 * P; t++) {
            const __m512i so_far = _mm512_load_si512(block->part + (r * 2 * P + t) * 16);
            sum[r][t] = (SUM)(block->first ? _mm512_setzero_si512() : so_far);
        }
        x[r / 3] = block->x + r / 3 * 3 * stride;
    }
    for (size_t g = 0; g < block->groups; g++) {
        __m512i w[8];
#pragma GCC unroll 8
        for (uint32_t t = 0; t < 2 * P; t++) {
            const char *at = weight + (t / 2) * panel_bytes + t % 2 * 64;
            w[t] = _mm512_loadu_si512(at);
            _mm_prefetch(at + AHEAD, _MM_HINT_T0);
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
            _mm512_store_si512(block->part + (r * 2 * P + t) * 16, (__m512i)sum[r][t]);
        }
    }
}

/* `rows` rows, at most BLOCK_ROWS, against one panel. */
INLINE void one_panel(const struct block *block, uint32_t rows)
{
    switch (rows) {
    case 12: block_of(block, 12, 1); break;
    case 11: block_of(block, 11, 1); break;
    case 10: block_of(block, 10, 1); break;
    case 9: block_of(block, 9, 1); break;
    case 8: block_of(block, 8, 1); break;
    case 7: block_of(block, 7, 1); break;
    case 6: block_of(block, 6, 1); break;
    case 5: block_of(block, 5, 1); break;
    case 4: block_of(block, 4, 1); break;
    case 3: block_of(block, 3, 1); break;
    case 2: block_of(block, 2, 1); break;
    default: block_of(block, 1, 1); break;
    }
}

/* At most FEW_ROWS rows against four panels. */
INLINE void four_panels(const struct block *block, uint32_t rows)
{
    switch (rows) {
    case 3: block_of(block, 3, 4); break;
    case 2: block_of(block, 2, 4); break;
    default: block_of(block, 1, 4); break;
    }
}

/* The groups of a panel that a first-level cache holds are run over by all rows before the next ones are. */
INLINE void multiply_panel(const struct vr_panel_product *p, uint32_t panel, size_t panel_bytes, int32_t *part)
{
    for (uint32_t g = 0; g < p->groups; g += BLOCK_GROUPS) {
        const bool last = p->groups - g <= BLOCK_GROUPS;
        for (uint32_t r = 0; r < p->rows; r += BLOCK_ROWS) {
            const uint32_t rows = p->rows - r < BLOCK_ROWS ? p->rows - r : BLOCK_ROWS;
            const struct block block = {
                .x = p->x + r * p->stride + (size_t)g * VR_PANEL_GROUP,
                .weight = p->weight + panel * panel_bytes + (size_t)g * VR_PANEL_LANES * VR_PANEL_GROUP,
                .stride = p->stride,
                .groups = last ? p->groups - g : BLOCK_GROUPS,
                .first = g == 0,
                .part = part + (size_t)r * VR_PANEL_LANES,
            };
            one_panel(&block, rows);
            if (last) {
                finish_rows(p, r, rows, panel * VR_PANEL_LANES, VR_PANEL_LANES, block.part, CODES);
            }
        }
    }
}

INLINE void multiply_all(const struct vr_panel_product *p)
{
    int32_t part[VR_PANEL_ROWS * VR_PANEL_LANES] __attribute__((aligned(64)));
    const size_t panel_bytes = (size_t)p->groups * VR_PANEL_LANES * VR_PANEL_GROUP;
    const uint32_t panels = (p->out + VR_PANEL_LANES - 1) / VR_PANEL_LANES;
    uint32_t panel = 0;
    if (p->groups == 0) {
        finish_alone(p, CODES);
        return;
    }
    for (; p->rows <= FEW_ROWS && panel + 4 <= panels; panel += 4) {
        const struct block block = {p->x, p->weight + panel * panel_bytes, p->stride, panel_bytes, p->groups, true,
                                    part};
        four_panels(&block, p->rows);
        finish_rows(p, 0, p->rows, panel * VR_PANEL_LANES, 4 * VR_PANEL_LANES, part, CODES);
    }
    for (; panel < panels; panel++) {
        multiply_panel(p, panel, panel_bytes, part);
    }
}

#endif
