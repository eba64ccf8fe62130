/* The exact scan by AVX2, FMA and F16C (see scan_kernels.h): a tile's component is two registers of 8 rows. Four
 * queries by one tile keep 8 sums in registers; a single query takes four tiles at a time. */
#include <immintrin.h>

#include "scan_kernels.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline, target("avx2,fma,f16c")))

INLINE __m256 load(const void *tile, uint64_t component, uint32_t side, bool half)
{
    const uint64_t at = component * VR_TILE_ROWS + 8u * side;
    if (half) {
        const uint16_t *p = (const uint16_t *)tile + at;
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
    }
    return _mm256_loadu_ps((const float *)tile + at);
}

/* Q queries against T neighbouring tiles, Q * T <= 4; both are constants after inlining. */
INLINE void tiles_of(const void *tile, uint32_t first, uint32_t dim, const float *query, bool half, uint32_t Q,
                     uint32_t T, float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    __m256 sum[4][8];
    for (uint32_t q = 0; q < Q; q++) {
        for (uint32_t t = 0; t < 2 * T; t++) {
            sum[q][t] = _mm256_setzero_ps();
        }
    }
    for (uint32_t i = 0; i < dim; i++) {
#pragma GCC unroll 8
        for (uint32_t t = 0; t < 2 * T; t++) {
            const __m256 component = load(tile, (uint64_t)(first + t / 2) * dim + i, t % 2, half);
#pragma GCC unroll 4
            for (uint32_t q = 0; q < Q; q++) {
                sum[q][t] = _mm256_fmadd_ps(_mm256_set1_ps(query[(uint64_t)q * dim + i]), component, sum[q][t]);
            }
        }
    }
    for (uint32_t q = 0; q < Q; q++) {
        for (uint32_t t = 0; t < 2 * T; t++) {
            _mm256_storeu_ps(&score[q][first * VR_TILE_ROWS + 8 * t], sum[q][t]);
        }
    }
}

INLINE void block_of(const void *tile, uint32_t tiles, uint32_t dim, const float *query, bool half, uint32_t Q,
                     uint32_t T, float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    uint32_t t = 0;
    for (; t + T <= tiles; t += T) {
        tiles_of(tile, t, dim, query, half, Q, T, score);
    }
    for (; t < tiles; t++) {
        tiles_of(tile, t, dim, query, half, Q, 1, score);
    }
}

INLINE void block(const void *tile, uint32_t tiles, uint32_t dim, const float *query, uint32_t queries, bool half,
                  float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    uint32_t q = 0;
    for (; q + 4 <= queries; q += 4) {
        block_of(tile, tiles, dim, query + (uint64_t)q * dim, half, 4, 1, score + q);
    }
    for (; q < queries; q++) {
        block_of(tile, tiles, dim, query + (uint64_t)q * dim, half, 1, 4, score + q);
    }
}

TARGET void vr_scan_block_f32_avx2(const void *tile, uint32_t tiles, uint32_t dim, const float *query, uint32_t queries,
                                   float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    block(tile, tiles, dim, query, queries, false, score);
}

TARGET void vr_scan_block_f16_avx2(const void *tile, uint32_t tiles, uint32_t dim, const float *query, uint32_t queries,
                                   float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    block(tile, tiles, dim, query, queries, true, score);
}
