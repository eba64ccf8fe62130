/* int8 panels by AVX512-VNNI (panel_avx512.h): vpdpbusd adds the products of four unsigned codes of x and four signed
 * ones of the weights, without saturation. */
#include <immintrin.h>

#include "rows_avx512.h"

#define TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
#define SUM __m512i
#define STEP(sum, x, w) _mm512_dpbusd_epi32(sum, x, w)
#define CODES true
#define AS_BF16(floats) vr_avx512_bf16(floats)

#include "panel_avx512.h"

static bool runs(void)
{
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

__attribute__((target(VR_AVX512))) static void take(const struct vr_panel_rows *rows)
{
    rows_take_i8(rows);
}

__attribute__((target(TARGET))) static void multiply(const struct vr_panel_product *product)
{
    multiply_all(product);
}

const struct vr_panel_form vr_panel_i8_vnni = {"avx512_vnni", true, runs, take, multiply};
