/* The exact scan by AVX-512 (see scan_kernels.h): a tile's component is one register of 16 rows, a query's component a
 * broadcast. Eight queries by two tiles keep 16 sums in registers; fewer queries take more tiles at a time instead, so
 * that enough independent chains hide the latency of the multiply-add. */
#include <immintrin.h>

#include "scan_kernels.h"

#define TARGET __attribute__((target("avx512f")))
#define INLINE static inline __attribute__((always_inline, target("avx512f")))

INLINE __m512 load(const void *tile, uint64_t component, bool half)
{
    if (half) {
        const uint16_t *p = (const uint16_t *)tile + component * VR_TILE_ROWS;
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
    }
    return _mm512_loadu_ps((const float *)tile + component * VR_TILE_ROWS);
}

/* Q queries against T neighbouring tiles; both are constants after inlining, so `sum` lives in registers. */
INLINE void tiles_of(const void *tile, uint32_t first, uint32_t dim, const float *query, bool half, uint32_t Q,
                     uint32_t T, float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    __m512 sum[VR_SCAN_QUERIES][4];
    for (uint32_t q = 0; q < Q; q++) {
        for (uint32_t t = 0; t < T; t++) {
            sum[q][t] = _mm512_setzero_ps();
        }
    }
    for (uint32_t i = 0; i < dim; i++) {
        __m512 component[4];
        for (uint32_t t = 0; t < T; t++) {
            component[t] = load(tile, (uint64_t)(first + t) * dim + i, half);
        }
#pragma GCC unroll 8
        for (uint32_t q = 0; q < Q; q++) {
            const __m512 factor = _mm512_set1_ps(query[(uint64_t)q * dim + i]);
#pragma GCC unroll 4
            for (uint32_t t = 0; t < T; t++) {
                sum[q][t] = _mm512_fmadd_ps(factor, component[t], sum[q][t]);
            }
        }
    }
    for (uint32_t q = 0; q < Q; q++) {
        for (uint32_t t = 0; t < T; t++) {
            _mm512_storeu_ps(&score[q][(first + t) * VR_TILE_ROWS], sum[q][t]);
        }
    }
}

/* All tiles of the block for the first Q queries at `query`. */
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
    if (queries == VR_SCAN_QUERIES) {
        block_of(tile, tiles, dim, query, half, 8, 2, score);
        return;
    }
    uint32_t q = 0;
    for (; q + 4 <= queries; q += 4) {
        block_of(tile, tiles, dim, query + (uint64_t)q * dim, half, 4, 4, score + q);
    }
    for (; q < queries; q++) {
        block_of(tile, tiles, dim, query + (uint64_t)q * dim, half, 1, 4, score + q);
    }
}

TARGET void vr_scan_block_f32_avx512(const void *tile, uint32_t tiles, uint32_t dim, const float *query,
                                     uint32_t queries, float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    block(tile, tiles, dim, query, queries, false, score);
}

TARGET void vr_scan_block_f16_avx512(const void *tile, uint32_t tiles, uint32_t dim, const float *query,
                                     uint32_t queries, float score[VR_SCAN_QUERIES][VR_BLOCK_ROWS])
{
    block(tile, tiles, dim, query, queries, true, score);
}
