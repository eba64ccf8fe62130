/* float32 panels by AVX-512 (panel_avx512.h). */
#include <immintrin.h>

#include "panels.h"

#define TARGET "avx512f,avx512bw,avx512vl,avx512dq"
#define SUM __m512
#define STEP(sum, x, w) _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(w), sum)
#define CODES false
#define AS_BF16(floats) vr_avx512_bf16(floats)

#include "avx512_bf16.h"
#include "panel_avx512.h"

static bool runs(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

__attribute__((target(TARGET))) static void multiply(const struct vr_panel_product *product)
{
    multiply_all(product);
}

const struct vr_panel_form vr_panel_f32_avx512 = {"avx512", true, runs, vr_panel_take_f32, multiply};
