/* The machine's limits (limits.h). */
#include "limits.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "vireo/clock.h"

#define PASSES 7
#define ROUNDS 4000000u /* of multiply-adds: some tens of milliseconds */
#define SMALLEST ((size_t)256 << 10)
#define READ_AT_LEAST ((size_t)512 << 20) /* bytes of a pass */

/* Both give a value that depends on all that was done, so that nothing is left out. */
typedef float multiply_add_loop(uint32_t rounds);           /* 16 chains a round */
typedef uint64_t read_loop(const void *data, size_t bytes); /* bytes a multiple of 256 */

struct arithmetic {
    const char *name;
    multiply_add_loop *multiply_add;
    read_loop *read;
    uint32_t lanes;
};

#define CHAINS 16

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float multiply_add_avx512(uint32_t rounds)
{
    const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    __m512 x[CHAINS];
    for (int i = 0; i < CHAINS; i++) {
        x[i] = _mm512_set1_ps((float)i);
    }
    for (uint32_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            x[i] = _mm512_fmadd_ps(x[i], a, b);
        }
    }
    __m512 sum = x[0];
    for (int i = 1; i < CHAINS; i++) {
        sum = _mm512_add_ps(sum, x[i]);
    }
    return _mm512_reduce_add_ps(sum);
}

__attribute__((target("avx512f"))) static uint64_t read_avx512(const void *data, size_t bytes)
{
    const char *at = data;
    __m512i sum[4] = {0};
    for (size_t i = 0; i < bytes; i += 256) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            sum[k] = _mm512_or_si512(sum[k], _mm512_loadu_si512(at + i + 64 * k));
        }
    }
    return (uint64_t)_mm512_reduce_or_epi64(
        _mm512_or_si512(_mm512_or_si512(sum[0], sum[1]), _mm512_or_si512(sum[2], sum[3])));
}

__attribute__((target("avx2,fma"))) static float multiply_add_avx2(uint32_t rounds)
{
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    __m256 x[CHAINS];
    float lane[8], total = 0.0f;
    for (int i = 0; i < CHAINS; i++) {
        x[i] = _mm256_set1_ps((float)i);
    }
    for (uint32_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            x[i] = _mm256_fmadd_ps(x[i], a, b);
        }
    }
    for (int i = 0; i < CHAINS; i++) {
        _mm256_storeu_ps(lane, x[i]);
        total += lane[i % 8];
    }
    return total;
}

__attribute__((target("avx2"))) static uint64_t read_avx2(const void *data, size_t bytes)
{
    const char *at = data;
    __m256i sum[4] = {0};
    uint64_t lane[4];
    for (size_t i = 0; i < bytes; i += 128) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            sum[k] = _mm256_or_si256(sum[k], _mm256_loadu_si256((const __m256i *)(const void *)(at + i + 32 * k)));
        }
    }
    _mm256_storeu_si256((__m256i *)(void *)lane,
                        _mm256_or_si256(_mm256_or_si256(sum[0], sum[1]), _mm256_or_si256(sum[2], sum[3])));
    return lane[0] | lane[1] | lane[2] | lane[3];
}
#endif

static float multiply_add_plain(uint32_t rounds)
{
    float x[CHAINS], total = 0.0f;
    for (int i = 0; i < CHAINS; i++) {
        x[i] = (float)i;
    }
    for (uint32_t r = 0; r < rounds; r++) {
        for (int i = 0; i < CHAINS; i++) {
            x[i] = x[i] * 0.999f + 0.001f;
        }
    }
    for (int i = 0; i < CHAINS; i++) {
        total += x[i];
    }
    return total;
}

static uint64_t read_plain(const void *data, size_t bytes)
{
    const uint64_t *at = data;
    uint64_t sum[4] = {0};
    for (size_t i = 0; i < bytes / sizeof *at; i += 4) {
        for (size_t k = 0; k < 4; k++) {
            sum[k] += at[i + k];
        }
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static struct arithmetic best_arithmetic(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        return (struct arithmetic){"AVX-512", multiply_add_avx512, read_avx512, 16};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return (struct arithmetic){"AVX2", multiply_add_avx2, read_avx2, 8};
    }
#endif
    return (struct arithmetic){"plain C", multiply_add_plain, read_plain, 1};
}

/* ---- passes ---- */

static volatile uint64_t sink; /* so that no loop is left out */

static double since_s(uint64_t begin_ns)
{
    return (double)(vr_clock_mono_ns() - begin_ns) / 1e9;
}

static double best_gflops(const struct arithmetic *with)
{
    const uint32_t rounds = with->lanes > 1 ? ROUNDS : ROUNDS / 4;
    double best = 0.0;
    for (int pass = 0; pass < PASSES; pass++) {
        const uint64_t begin = vr_clock_mono_ns();
        sink += with->multiply_add(rounds) > 0.0f;
        best = fmax(best, 2.0 * CHAINS * with->lanes * (double)rounds / since_s(begin) / 1e9);
    }
    return best;
}

size_t bench_limits_size(uint32_t i)
{
    return SMALLEST << 2 * i;
}

/* Reads the first `bytes` of a block over and over. */
static double best_read(const struct arithmetic *with, const void *block, size_t bytes)
{
    double best = 0.0;
    for (int pass = 0; pass < PASSES; pass++) {
        const uint64_t begin = vr_clock_mono_ns();
        size_t done = 0;
        for (; done < READ_AT_LEAST; done += bytes) {
            sink += with->read(block, bytes);
        }
        best = fmax(best, (double)done / since_s(begin) / 1e9);
    }
    return best;
}

static double best_copy(char *block, size_t bytes)
{
    double best = 0.0;
    for (int pass = 0; pass < PASSES; pass++) {
        const uint64_t begin = vr_clock_mono_ns();
        memcpy(block + bytes / 2, block, bytes / 2);
        sink += (uint64_t)block[bytes - 1];
        best = fmax(best, (double)bytes / since_s(begin) / 1e9);
    }
    return best;
}

enum vr_status bench_limits_measure(struct bench_limits *out)
{
    const struct arithmetic with = best_arithmetic();
    const size_t largest = bench_limits_size(BENCH_READ_SIZES - 1);
    char *block = aligned_alloc(4096, largest);
    if (block == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the limits' block of %zu bytes", largest);
    }
    memset(block, 1, largest);
    *out = (struct bench_limits){
        .arithmetic = with.name, .gflops = best_gflops(&with), .copy_gb_s = best_copy(block, largest)};
    for (uint32_t i = 0; i < BENCH_READ_SIZES; i++) {
        out->read_gb_s[i] = best_read(&with, block, bench_limits_size(i));
    }
    free(block);
    return VR_OK;
}

double bench_limits_read(const struct bench_limits *limits, double bytes)
{
    uint32_t i = 0;
    while (i + 1 < BENCH_READ_SIZES && (double)bench_limits_size(i) < bytes) {
        i++;
    }
    return limits->read_gb_s[i];
}
