/* The dot products by AVX2, FMA and F16C (see dot_tiles.h): a tile's component is two registers of 8 rows. Four
 * rows by one tile keep 8 sums in registers; a single x takes four tiles at a time. */
#include <immintrin.h>

#include "dot_tiles.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline, target("avx2,fma,f16c")))

INLINE __m256 load(const void *tile, uint64_t component, uint32_t side, bool half)
{
    const uint64_t at = component * VR_TILE_LANES + 8u * side;
    if (half) {
        const uint16_t *p = (const uint16_t *)tile + at;
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
    }
    return _mm256_loadu_ps((const float *)tile + at);
}

/* R rows against T neighbouring tiles, R * T <= 4; both are constants after inlining. */
INLINE void tiles_of(const void *tile, uint32_t first, uint32_t dim, const float *x, uint32_t stride, bool half,
                     uint32_t R, uint32_t T, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    __m256 sum[4][8];
    for (uint32_t r = 0; r < R; r++) {
        for (uint32_t t = 0; t < 2 * T; t++) {
            sum[r][t] = _mm256_setzero_ps();
        }
    }
    for (uint32_t i = 0; i < dim; i++) {
#pragma GCC unroll 8
        for (uint32_t t = 0; t < 2 * T; t++) {
            const __m256 component = load(tile, (uint64_t)(first + t / 2) * dim + i, t % 2, half);
#pragma GCC unroll 4
            for (uint32_t r = 0; r < R; r++) {
                sum[r][t] = _mm256_fmadd_ps(_mm256_set1_ps(x[(uint64_t)r * stride + i]), component, sum[r][t]);
            }
        }
    }
    for (uint32_t r = 0; r < R; r++) {
        for (uint32_t t = 0; t < 2 * T; t++) {
            _mm256_storeu_ps(&dot[r][first * VR_TILE_LANES + 8 * t], sum[r][t]);
        }
    }
}

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
    uint32_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        block_of(tile, tiles, dim, x + (uint64_t)r * stride, stride, half, 4, 1, dot + r);
    }
    for (; r < rows; r++) {
        block_of(tile, tiles, dim, x + (uint64_t)r * stride, stride, half, 1, 4, dot + r);
    }
}

TARGET void vr_dot_block_f32_avx2(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                                  uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    block(tile, tiles, dim, x, stride, rows, false, dot);
}

TARGET void vr_dot_block_f16_avx2(const void *tile, uint32_t tiles, uint32_t dim, const float *x, uint32_t stride,
                                  uint32_t rows, float dot[VR_DOT_ROWS][VR_BLOCK_LANES])
{
    block(tile, tiles, dim, x, stride, rows, true, dot);
}
