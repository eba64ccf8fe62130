/* Half precision without the compiler's _Float16, which clang 14 lacks on x86: bits by hand, rows by F16C. */
#include "vireo/half.h"

#include <immintrin.h>
#include <string.h>

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float vr_half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 0x1fu;
    const uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0) { /* zero or subnormal: mantissa * 2^-24, exact in float */
        const float magnitude = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    if (exponent == 31) {
        return float_of_bits(sign | 0x7f800000u | mantissa << 13);
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* Round the 13 bits that a half lacks to nearest even. */
static uint32_t round_13(uint32_t bits)
{
    return (bits + 0xfffu + ((bits >> 13) & 1u)) >> 13;
}

uint16_t vr_half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (bits >= 0x477ff000u) { /* 65520 and above round to infinity */
        return sign | 0x7c00u;
    }
    if (bits < 0x38800000u) { /* below 2^-14: adding 0.5 leaves units of 2^-24 in the low bits, rounded to even */
        const float shifted = float_of_bits(bits) + 0.5f;
        uint32_t low;
        memcpy(&low, &shifted, sizeof low);
        return sign | (uint16_t)(low - 0x3f000000u);
    }
    return sign | (uint16_t)(round_13(bits) - (112u << 10));
}

uint16_t vr_bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

__attribute__((target("avx,f16c"))) static void convert_f16c(const uint16_t *half, size_t count, float *out)
{
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(half + i))));
    }
    for (; i < count; i++) {
        out[i] = vr_half_to_float(half[i]);
    }
}

void vr_half_to_floats(const uint16_t *half, size_t count, float *out)
{
    if (__builtin_cpu_supports("avx2")) { /* which F16C comes with; Clang 14 does not know "f16c" here */
        convert_f16c(half, count, out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = vr_half_to_float(half[i]);
    }
}
