/* The inner loop of the exact scan. Vectors are stored in tiles of 16 rows, transposed: tile[i][lane] is component i
 * of row `lane`, as float or half. One call scores a group of queries against one block of tiles.
 *
 * A score is one chain of multiply-adds over i = 0, 1, .. dim - 1 in float32 whatever the kernel's blocking, so the
 * same query gets the same bits alone and in any batch. With FMA (AVX2 and AVX-512 alike) each step rounds once. */
#ifndef VIREO_COMPUTE_SCAN_KERNELS_H
#define VIREO_COMPUTE_SCAN_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#define VR_TILE_ROWS 16u
#define VR_BLOCK_TILES 16u /* tiles of one call: 256 rows */
#define VR_BLOCK_ROWS (VR_TILE_ROWS * VR_BLOCK_TILES)
#define VR_SCAN_QUERIES 8u /* queries of one call */

/* queries <= VR_SCAN_QUERIES, rows of `dim` floats; tiles <= VR_BLOCK_TILES; score[q][tile * 16 + lane]. */
typedef void vr_scan_block(const void *tile, uint32_t tiles, uint32_t dim, const float *query, uint32_t queries,
                           float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS]);

vr_scan_block vr_scan_block_f32_plain, vr_scan_block_f16_plain;
vr_scan_block vr_scan_block_f32_avx2, vr_scan_block_f16_avx2;
vr_scan_block vr_scan_block_f32_avx512, vr_scan_block_f16_avx512;

/* The best pair that this processor runs. */
vr_scan_block *vr_scan_block_choose(bool half);

#endif
