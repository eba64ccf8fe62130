/* bfloat16 panels by AVX512-BF16 (panel_avx512.h): vdpbf16ps adds the products of two neighbouring inputs. */
#include <immintrin.h>

#include "rows_avx512.h"

#define TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"
#define SUM __m512
#define STEP(sum, x, w) _mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(w))
#define CODES false
#define AS_BF16(floats) ((__m256i)_mm512_cvtneps_pbh(floats))

#include "panel_avx512.h"

static bool runs(void)
{
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

__attribute__((target(VR_AVX512))) static void take(const struct vr_panel_rows *rows)
{
    rows_take_bf16(rows);
}

__attribute__((target(TARGET))) static void multiply(const struct vr_panel_product *product)
{
    multiply_all(product);
}

const struct vr_panel_form vr_panel_bf16_avx512 = {"avx512_bf16", true, runs, take, multiply};
