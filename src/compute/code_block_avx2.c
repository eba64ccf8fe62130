/* The sums of code_block.h by AVX2. VPMADDUBSW adds two products of unsigned and signed bytes in 16 bits and saturates:
 * with rows stored as c + 128 the two could reach 2 * 255 * 127. So a row's absolute value is multiplied by the query's
 * code with the row's sign, and two products are at most 2 * 127 * 127 = 32,258: nothing saturates, and a query begins
 * at zero. */
#include <immintrin.h>
#include <string.h>

#include "code_block.h"

#define TARGET __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline, target("avx2")))

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

/* R queries against one tile, R <= 2; a constant after inlining. */
INLINE void tile_of(const uint8_t *tile, uint32_t t, uint32_t groups, const struct vr_code_query *query, uint32_t R,
                    struct vr_code_sums *out)
{
    const __m256i ones = _mm256_set1_epi16(1), bias = _mm256_set1_epi8(-128);
    __m256i sum[2][2];
    for (uint32_t r = 0; r < R; r++) {
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    }
    for (uint32_t g = 0; g < groups; g++) {
        for (uint32_t h = 0; h < 2; h++) {
            const uint8_t *at = tile + ((uint64_t)t * groups + g) * VR_CODE_LANES * 4 + h * 32u;
            const __m256i rows = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)at), bias);
            const __m256i sizes = _mm256_abs_epi8(rows);
#pragma GCC unroll 2
            for (uint32_t r = 0; r < R; r++) {
                const __m256i pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(codes_of(&query[r], g), rows));
                sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    for (uint32_t r = 0; r < R; r++) {
        const __m256i limit = _mm256_set1_epi32(query[r].limit);
        int32_t *to = &out[r].sum[t * VR_CODE_LANES];
        _mm256_storeu_si256((__m256i *)(void *)to, sum[r][0]);
        _mm256_storeu_si256((__m256i *)(void *)(to + 8), sum[r][1]);
        out[r].reaching[t] = (uint16_t)(reaching(sum[r][0], limit) | reaching(sum[r][1], limit) << 8);
    }
}

TARGET void vr_code_block_avx2(const uint8_t *tile, uint32_t tiles, uint32_t groups, const struct vr_code_query *query,
                               uint32_t queries, struct vr_code_sums *out)
{
    uint32_t q = 0;
    for (; q + 2 <= queries; q += 2) {
        for (uint32_t t = 0; t < tiles; t++) {
            tile_of(tile, t, groups, query + q, 2, out + q);
        }
    }
    for (uint32_t t = 0; q < queries && t < tiles; t++) {
        tile_of(tile, t, groups, query + q, 1, out + q);
    }
}
