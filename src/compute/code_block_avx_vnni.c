/* The sums of code_block.h by AVX-VNNI, for processors that have the instruction without AVX-512: a tile's group is two
 * registers of 8 rows. Four queries by one tile keep 8 sums in registers; a single query takes four tiles. */
#include <immintrin.h>
#include <string.h>

#include "code_block.h"

#define TARGET __attribute__((target("avx2,avxvnni")))
#define INLINE static inline __attribute__((always_inline, target("avx2,avxvnni")))

INLINE __m256i codes_of(const struct vr_code_query *query, uint32_t group)
{
    int32_t four;
    memcpy(&four, query->code + 4 * (uint64_t)group, sizeof four);
    return _mm256_set1_epi32(four);
}

INLINE uint32_t reaching(__m256i sum, __m256i limit)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(limit, sum))) ^ 0xffu;
}

/* R queries against T neighbouring tiles, R * T <= 4; both are constants after inlining. */
INLINE void tiles_of(const uint8_t *tile, uint32_t first, uint32_t groups, const struct vr_code_query *query,
                     uint32_t R, uint32_t T, struct vr_code_sums *out)
{
    __m256i sum[4][8];
    for (uint32_t r = 0; r < R; r++) {
        for (uint32_t h = 0; h < 2 * T; h++) {
            sum[r][h] = _mm256_set1_epi32(query[r].start);
        }
    }
    for (uint32_t g = 0; g < groups; g++) {
#pragma GCC unroll 8
        for (uint32_t h = 0; h < 2 * T; h++) {
            const uint8_t *at = tile + ((uint64_t)(first + h / 2) * groups + g) * VR_CODE_LANES * 4 + h % 2 * 32;
            const __m256i rows = _mm256_loadu_si256((const __m256i *)(const void *)at);
#pragma GCC unroll 4
            for (uint32_t r = 0; r < R; r++) {
                sum[r][h] = _mm256_dpbusd_avx_epi32(sum[r][h], rows, codes_of(&query[r], g));
            }
        }
    }
    for (uint32_t r = 0; r < R; r++) {
        const __m256i limit = _mm256_set1_epi32(query[r].limit);
        for (uint32_t t = 0; t < T; t++) {
            int32_t *to = &out[r].sum[(first + t) * VR_CODE_LANES];
            _mm256_storeu_si256((__m256i *)(void *)to, sum[r][2 * t]);
            _mm256_storeu_si256((__m256i *)(void *)(to + 8), sum[r][2 * t + 1]);
            const uint32_t lanes = reaching(sum[r][2 * t], limit) | reaching(sum[r][2 * t + 1], limit) << 8;
            out[r].reaching[first + t] = (uint16_t)lanes;
        }
    }
}

INLINE void block_of(const uint8_t *tile, uint32_t tiles, uint32_t groups, const struct vr_code_query *query,
                     uint32_t R, uint32_t T, struct vr_code_sums *out)
{
    uint32_t t = 0;
    for (; t + T <= tiles; t += T) {
        tiles_of(tile, t, groups, query, R, T, out);
    }
    for (; t < tiles; t++) {
        tiles_of(tile, t, groups, query, R, 1, out);
    }
}

TARGET void vr_code_block_avx_vnni(const uint8_t *tile, uint32_t tiles, uint32_t groups,
                                   const struct vr_code_query *query, uint32_t queries, struct vr_code_sums *out)
{
    uint32_t q = 0;
    for (; q + 4 <= queries; q += 4) {
        block_of(tile, tiles, groups, query + q, 4, 1, out + q);
    }
    for (; q < queries; q++) {
        block_of(tile, tiles, groups, query + q, 1, 4, out + q);
    }
}
