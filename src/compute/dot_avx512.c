/* The dot products by AVX-512 (see dot_tiles.h): a tile's component is one register of 16 rows, a component of x a
 * broadcast. Eight rows by two tiles keep 16 sums in registers; fewer rows take more tiles at a time instead, so
 * that enough independent chains hide the latency of the multiply-add. */
#include <immintrin.h>

#include "dot_tiles.h"

#define TARGET __attribute__((target("avx512f")))
#define INLINE static inline __attribute__((always_inline, target("avx512f")))

INLINE __m512 load(const void *tile, uint64_t component, bool half)
{
    if (half) {
        const uint16_t *p = (const uint16_t *)tile + component * VR_TILE_LANES;
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
    }
    return _mm512_loadu_ps((const float *)tile + component * VR_TILE_LANES);
}

/* R rows against T neighbouring tiles; both are constants after inlining, so `sum` lives in registers. */
INLINE void tiles_of(const void *tile, uint32_t first, uint32_t dim, const float *x, uint32_t stride, bool half,
                     uint32_t R, uint32_t T, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    __m512 sum[VR_DOT_ROWS][4];
    for (uint32_t r = 0; r < R; r++) {
        for (uint32_t t = 0; t < T; t++) {
            sum[r][t] = _mm512_setzero_ps();
        }
    }
    for (uint32_t i = 0; i < dim; i++) {
        __m512 component[4];
        for (uint32_t t = 0; t < T; t++) {
            component[t] = load(tile, (uint64_t)(first + t) * dim + i, half);
        }
#pragma GCC unroll 8
        for (uint32_t r = 0; r < R; r++) {
            const __m512 factor = _mm512_set1_ps(x[(uint64_t)r * stride + i]);
#pragma GCC unroll 4
            for (uint32_t t = 0; t < T; t++) {
                sum[r][t] = _mm512_fmadd_ps(factor, component[t], sum[r][t]);
            }
        }
    }
    for (uint32_t r = 0; r < R; r++) {
        for (uint32_t t = 0; t < T; t++) {
            _mm512_storeu_ps(&dot[r][(first + t) * VR_TILE_LANES], sum[r][t]);
        }
    }
}

/* All tiles of the block for the first R rows at `x`. */
INLINE void block_of(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride, bool half,
                     uint32_t R, uint32_t T, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    uint32_t t = 0;
    for (; t + T <= tiles; t += T) {
        tiles_of(tile, t, dim, x, stride, half, R, T, dot);
    }
    for (; t < tiles; t++) {
        tiles_of(tile, t, dim, x, stride, half, R, 1, dot);
    }
}

INLINE void block(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride, uint32_t rows,
                  bool half, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    if (rows == VR_DOT_ROWS) {
        block_of(tile, tiles, dim, x, stride, half, 8, 2, dot);
        return;
    }
    uint32_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        block_of(tile, tiles, dim, x + (uint64_t)r * stride, stride, half, 4, 4, dot + r);
    }
    for (; r < rows; r++) {
        block_of(tile, tiles, dim, x + (uint64_t)r * stride, stride, half, 1, 4, dot + r);
    }
}

TARGET void vr_dot_block_f32_avx512(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                                    uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    block(tile, tiles, dim, x, stride, rows, false, dot);
}

TARGET void vr_dot_block_f16_avx512(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                                    uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    block(tile, tiles, dim, x, stride, rows, true, dot);
}
