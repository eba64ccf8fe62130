/* Dot products of a few float rows with many vectors: the inner loop of the exact scan and of `linear`. The vectors
 * are stored in tiles of 16, transposed: tile[i][lane] is component i of vector `lane`, as float or half.
 *
 * Each result is one chain of multiply-adds over i = 0, 1, .. dim - 1 in float32, whatever the kernel's blocking and
 * wherever the row stands, so a row gets the same bits alone and in any batch. With FMA (AVX2 and AVX-512 alike) each
 * step rounds once. OpenBLAS cannot take this place: its Haswell kernel gives a row other bits at other places of the
 * same panel. */
#ifndef VIREO_COMPUTE_DOT_TILES_H
#define VIREO_COMPUTE_DOT_TILES_H

#include <stdbool.h>
#include <stdint.h>

#define VR_TILE_LANES 16u
#define VR_BLOCK_TILES 16u /* tiles of one call at most: 256 vectors */
#define VR_BLOCK_LANES (VR_TILE_LANES * VR_BLOCK_TILES)
#define VR_DOT_ROWS 8u /* rows of one call at most */

/* x: `rows` rows of `dim` floats, `stride` apart; dot[row][tile * 16 + lane] is written for all lanes of all tiles. */
typedef void vr_dot_block(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                          uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES]);

vr_dot_block vr_dot_block_f32_plain, vr_dot_block_f16_plain;
vr_dot_block vr_dot_block_f32_avx2, vr_dot_block_f16_avx2;
vr_dot_block vr_dot_block_f32_avx512, vr_dot_block_f16_avx512;

/* The best for tiles of floats or halves that this processor runs. */
vr_dot_block *vr_dot_block_choose(bool half);

#endif
