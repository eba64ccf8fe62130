/* Logarithms by blocks of eight (logarithm.h), compiled for each instruction set.
 *
 * x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), s = (m - 1) / (m +
 * 1). |s| < 0.172, so the first term left out, s^21 / 21, is below 2^-57 of s. log 2 stands in two parts, the first of
 * which has 21 zero bits, so that e times it is exact. */
#include "logarithm.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef double doubles __attribute__((vector_size(VR_LOG_BLOCK * sizeof(double))));
typedef int64_t words __attribute__((vector_size(VR_LOG_BLOCK * sizeof(int64_t))));

#define INLINE static inline __attribute__((always_inline))
#define ONE INT64_C(0x3ff0000000000000) /* the bits of 1.0 */
#define MANTISSA INT64_C(0x000fffffffffffff)
#define BIG INT64_C(0x4330000000000000) /* of 2^52: a small whole number in its low bits is added to it */
#define LOG_2_HIGH 0x1.62e42feep-1
#define LOG_2_LOW 0x1.a39ef35793c76p-33
#define SQRT_2 0x1.6a09e667f3bcdp0

INLINE void logarithms(double *x, size_t count)
{
    for (size_t i = 0; i < count; i += VR_LOG_BLOCK) {
        doubles v;
        memcpy(&v, x + i, sizeof v);
        const words bits = (words)v;
        doubles e = (doubles)(bits >> 52 | BIG) - (0x1p52 + 1023.0);
        doubles m = (doubles)((bits & MANTISSA) | ONE);
        const words large = m > SQRT_2;
        m = (doubles)(((words)(m * 0.5) & large) | ((words)m & ~large));
        e += (doubles)(large & ONE);
        const doubles s = (m - 1.0) / (m + 1.0), z = s * s;
        doubles series = z * (1.0 / 19) + 1.0 / 17;
        series = series * z + 1.0 / 15;
        series = series * z + 1.0 / 13;
        series = series * z + 1.0 / 11;
        series = series * z + 1.0 / 9;
        series = series * z + 1.0 / 7;
        series = series * z + 1.0 / 5;
        series = series * z + 1.0 / 3;
        const doubles twice = s + s;
        const doubles log_m = twice + (twice * (series * z) + e * LOG_2_LOW);
        const words finite = v < (double)INFINITY; /* false for NaN */
        const doubles result = e * LOG_2_HIGH + log_m;
        v = (doubles)(((words)result & finite) | (bits & ~finite));
        memcpy(x + i, &v, sizeof v);
    }
}

__attribute__((target("avx2"))) static void logarithms_avx2(double *x, size_t count)
{
    logarithms(x, count);
}

__attribute__((target("avx512f"))) static void logarithms_avx512(double *x, size_t count)
{
    logarithms(x, count);
}

void vr_logarithms(double *x, size_t count)
{
    if (__builtin_cpu_supports("avx512f")) {
        logarithms_avx512(x, count);
    } else if (__builtin_cpu_supports("avx2")) {
        logarithms_avx2(x, count);
    } else {
        logarithms(x, count);
    }
}
