/* The exact scan in plain C, for processors without AVX2 (see scan_kernels.h), and the choice by processor. */
#include "half.h"
#include "scan_kernels.h"

static void tile_plain(const float *tile, uint32_t dim, const float *query, float *score)
{
    float sum[VR_TILE_ROWS] = {0};
    for (uint32_t i = 0; i < dim; i++) {
        for (uint32_t lane = 0; lane < VR_TILE_ROWS; lane++) {
            sum[lane] += query[i] * tile[i * VR_TILE_ROWS + lane];
        }
    }
    for (uint32_t lane = 0; lane < VR_TILE_ROWS; lane++) {
        score[lane] = sum[lane];
    }
}

void vr_scan_block_f32_plain(const void *tile, uint32_t tiles, uint32_t dim, const float *query, uint32_t queries,
                             float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    const float *first = tile;
    for (uint32_t t = 0; t < tiles; t++) {
        for (uint32_t q = 0; q < queries; q++) {
            tile_plain(first + (uint64_t)t * dim * VR_TILE_ROWS, dim, query + (uint64_t)q * dim,
                       score[q] + t * VR_TILE_ROWS);
        }
    }
}

static void tile_half(const uint16_t *tile, uint32_t dim, const float *query, float *score)
{
    float sum[VR_TILE_ROWS] = {0};
    for (uint32_t i = 0; i < dim; i++) {
        for (uint32_t lane = 0; lane < VR_TILE_ROWS; lane++) {
            sum[lane] += query[i] * vr_half_to_float(tile[i * VR_TILE_ROWS + lane]);
        }
    }
    for (uint32_t lane = 0; lane < VR_TILE_ROWS; lane++) {
        score[lane] = sum[lane];
    }
}

void vr_scan_block_f16_plain(const void *tile, uint32_t tiles, uint32_t dim, const float *query, uint32_t queries,
                             float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    const uint16_t *first = tile;
    for (uint32_t t = 0; t < tiles; t++) {
        for (uint32_t q = 0; q < queries; q++) {
            tile_half(first + (uint64_t)t * dim * VR_TILE_ROWS, dim, query + (uint64_t)q * dim,
                      score[q] + t * VR_TILE_ROWS);
        }
    }
}

vr_scan_block *vr_scan_block_choose(bool half)
{
    if (__builtin_cpu_supports("avx512f")) {
        return half ? vr_scan_block_f16_avx512 : vr_scan_block_f32_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
        return half ? vr_scan_block_f16_avx2 : vr_scan_block_f32_avx2;
    }
    return half ? vr_scan_block_f16_plain : vr_scan_block_f32_plain;
}
