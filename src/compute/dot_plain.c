/* The exact scan in plain C, for processors without AVX2 (see dot_tiles.h), and the choice by processor. */
#include "dot_tiles.h"
#include "vireo/half.h"

static void tile_plain(const float *tile, uint32_t dim, const float *x, float *dot)
{
    float sum[VR_TILE_LANES] = {0};
    for (uint32_t i = 0; i < dim; i++) {
        for (uint32_t lane = 0; lane < VR_TILE_LANES; lane++) {
            sum[lane] += x[i] * tile[i * VR_TILE_LANES + lane];
        }
    }
    for (uint32_t lane = 0; lane < VR_TILE_LANES; lane++) {
        dot[lane] = sum[lane];
    }
}

void vr_dot_block_f32_plain(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                            uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    const float *first = tile;
    for (uint32_t t = 0; t < tiles; t++) {
        for (uint32_t r = 0; r < rows; r++) {
            tile_plain(first + (uint64_t)t * dim * VR_TILE_LANES, dim, x + (uint64_t)r * stride,
                       dot[r] + t * VR_TILE_LANES);
        }
    }
}

static void tile_half(const uint16_t *tile, uint32_t dim, const float *x, float *dot)
{
    float sum[VR_TILE_LANES] = {0};
    for (uint32_t i = 0; i < dim; i++) {
        for (uint32_t lane = 0; lane < VR_TILE_LANES; lane++) {
            sum[lane] += x[i] * vr_half_to_float(tile[i * VR_TILE_LANES + lane]);
        }
    }
    for (uint32_t lane = 0; lane < VR_TILE_LANES; lane++) {
        dot[lane] = sum[lane];
    }
}

void vr_dot_block_f16_plain(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                            uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    const uint16_t *first = tile;
    for (uint32_t t = 0; t < tiles; t++) {
        for (uint32_t r = 0; r < rows; r++) {
            tile_half(first + (uint64_t)t * dim * VR_TILE_LANES, dim, x + (uint64_t)r * stride,
                      dot[r] + t * VR_TILE_LANES);
        }
    }
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
