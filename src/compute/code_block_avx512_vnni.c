/* The sums of code_block.h by AVX-512 VNNI: one register is a group of 16 rows, one instruction adds 64 products. Four
 * queries by four tiles keep 16 sums in registers, which share each load of rows and each broadcast of a query's
 * codes; a single query takes eight tiles, so that as many chains hide the latency of the instruction. */
#include <immintrin.h>
#include <string.h>

#include "code_block.h"

#define TARGET __attribute__((target("avx512f,avx512vnni")))
#define INLINE static inline __attribute__((always_inline, target("avx512f,avx512vnni")))

INLINE __m512i codes_of(const struct vr_code_query *query, uint32_t group)
{
    int32_t four;
    memcpy(&four, query->code + 4 * (uint64_t)group, sizeof four);
    return _mm512_set1_epi32(four);
}

/* sum + rows * codes. In assembly because GCC 12 gives the intrinsic a register of its own and copies each sum twice a
 * step, which cost a fifth of the speed. */
INLINE __m512i add_products(__m512i sum, __m512i rows, __m512i codes)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(rows), "v"(codes));
    return sum;
}

/* R queries against T neighbouring tiles; both are constants after inlining, so `sum` lives in registers. */
INLINE void tiles_of(const uint8_t *tile, uint32_t first, uint32_t groups, const struct vr_code_query *query,
                     uint32_t R, uint32_t T, struct vr_code_sums *out)
{
    __m512i sum[4][8];
    for (uint32_t r = 0; r < R; r++) {
        for (uint32_t t = 0; t < T; t++) {
            sum[r][t] = _mm512_set1_epi32(query[r].start);
        }
    }
    uint32_t g = 0;
    do {
        __m512i rows[8];
        for (uint32_t t = 0; t < T; t++) {
            rows[t] = _mm512_loadu_si512(tile + ((uint64_t)(first + t) * groups + g) * VR_CODE_LANES * 4);
        }
#pragma GCC unroll 4
        for (uint32_t r = 0; r < R; r++) {
            const __m512i codes = codes_of(&query[r], g);
#pragma GCC unroll 8
            for (uint32_t t = 0; t < T; t++) {
                sum[r][t] = add_products(sum[r][t], rows[t], codes);
            }
        }
    } while (++g < groups);
    for (uint32_t r = 0; r < R; r++) {
        const __m512i limit = _mm512_set1_epi32(query[r].limit);
        for (uint32_t t = 0; t < T; t++) {
            _mm512_storeu_si512(&out[r].sum[(first + t) * VR_CODE_LANES], sum[r][t]);
            out[r].reaching[first + t] = (uint16_t)_mm512_cmpge_epi32_mask(sum[r][t], limit);
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

TARGET void vr_code_block_avx512_vnni(const uint8_t *tile, uint32_t tiles, uint32_t groups,
                                      const struct vr_code_query *query, uint32_t queries, struct vr_code_sums *out)
{
    uint32_t q = 0;
    for (; q + 4 <= queries; q += 4) {
        block_of(tile, tiles, groups, query + q, 4, 4, out + q);
    }
    if (q + 2 <= queries) {
        block_of(tile, tiles, groups, query + q, 2, 4, out + q);
        q += 2;
    }
    if (q < queries) {
        block_of(tile, tiles, groups, query + q, 1, 8, out + q);
    }
}
