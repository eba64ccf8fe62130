/* The sums of code_block.h in plain C: the reference of the others, and what processors without AVX2 run; and the
 * choice by processor. */
#include <cpuid.h>
#include <stddef.h>

#include "code_block.h"

static int32_t sum_of(const uint8_t *tile, uint32_t lane, uint32_t groups, const struct vr_code_query *query)
{
    int32_t sum = query->start;
    for (uint32_t g = 0; g < groups; g++) {
        const uint8_t *row = tile + ((size_t)g * VR_CODE_LANES + lane) * 4;
        for (uint32_t i = 0; i < 4; i++) {
            sum += row[i] * query->code[g * 4 + i];
        }
    }
    return sum;
}

static void tile_of(const uint8_t *tile, uint32_t t, uint32_t groups, const struct vr_code_query *query,
                    struct vr_code_sums *out)
{
    uint32_t reaching = 0;
    for (uint32_t lane = 0; lane < VR_CODE_LANES; lane++) {
        const int32_t sum = sum_of(tile, lane, groups, query);
        out->sum[t * VR_CODE_LANES + lane] = sum;
        reaching |= (uint32_t)(sum >= query->limit) << lane;
    }
    out->reaching[t] = (uint16_t)reaching;
}

void vr_code_block_plain(const uint8_t *tile, uint32_t tiles, uint32_t groups, const struct vr_code_query *query,
                         uint32_t queries, struct vr_code_sums *out)
{
    for (uint32_t q = 0; q < queries; q++) {
        for (uint32_t t = 0; t < tiles; t++) {
            tile_of(tile + (size_t)t * groups * VR_CODE_LANES * 4, t, groups, &query[q], &out[q]);
        }
    }
}

/* AVX-VNNI by CPUID itself: Clang 14 does not know the name in __builtin_cpu_supports. */
static bool has_avx_vnni(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1u) != 0;
}

bool vr_code_block_runs(vr_code_block *form)
{
    const bool avx2 = __builtin_cpu_supports("avx2");
    if (form == vr_code_block_avx512_vnni) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
    }
    return form == vr_code_block_plain || (form == vr_code_block_avx2 && avx2) ||
           (form == vr_code_block_avx_vnni && avx2 && has_avx_vnni());
}

vr_code_block *vr_code_block_choose(void)
{
    vr_code_block *const best_first[] = {vr_code_block_avx512_vnni, vr_code_block_avx_vnni, vr_code_block_avx2};
    for (size_t i = 0; i < sizeof best_first / sizeof best_first[0]; i++) {
        if (vr_code_block_runs(best_first[i])) {
            return best_first[i];
        }
    }
    return vr_code_block_plain;
}
