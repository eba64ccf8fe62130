/* The dot products of dot_tiles.h in plain C, for processors without AVX2, and the choice by processor. */
#include <string.h>

#include "dot_tiles.h"
#include "vireo/half.h"

#define INLINE static inline __attribute__((always_inline)) /* `half` is a constant after it */

INLINE float component(const void *tile, uint64_t at, bool half)
{
    return half ? vr_half_to_float(((const uint16_t *)tile)[at]) : ((const float *)tile)[at];
}

/* The tile that begins at element `first` against one row. */
INLINE void tile_of(const void *tile, uint64_t first, uint32_t dim, const float *x, bool half, float *dot)
{
    float sum[VR_TILE_LANES] = {0};
    for (uint32_t i = 0; i < dim; i++) {
        for (uint32_t lane = 0; lane < VR_TILE_LANES; lane++) {
            sum[lane] += x[i] * component(tile, first + i * VR_TILE_LANES + lane, half);
        }
    }
    memcpy(dot, sum, sizeof sum);
}

INLINE void block(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride, uint32_t rows,
                  bool half, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    for (uint32_t t = 0; t < tiles; t++) {
        for (uint32_t r = 0; r < rows; r++) {
            tile_of(tile, (uint64_t)t * dim * VR_TILE_LANES, dim, x + (uint64_t)r * stride, half,
                    dot[r] + t * VR_TILE_LANES);
        }
    }
}

void vr_dot_block_f32_plain(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                            uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    block(tile, tiles, dim, x, stride, rows, false, dot);
}

void vr_dot_block_f16_plain(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                            uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    block(tile, tiles, dim, x, stride, rows, true, dot);
}

vr_dot_block *vr_dot_block_choose(bool half)
{
    if (__builtin_cpu_supports("avx512f")) {
        return half ? vr_dot_block_f16_avx512 : vr_dot_block_f32_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) { /* and so F16C: see src/base/half.c */
        return half ? vr_dot_block_f16_avx2 : vr_dot_block_f32_avx2;
    }
    return half ? vr_dot_block_f16_plain : vr_dot_block_f32_plain;
}
