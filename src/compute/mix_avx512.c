/* Gates and heads by AVX-512 (mix.h). Experts are read once for up to four gates, whose sums stay in registers. */
#include <immintrin.h>
#include <math.h>

#include "avx512_bf16.h"
#include "mix.h"

#define TARGET VR_AVX512
#define INLINE static inline __attribute__((always_inline, target(TARGET)))
#define GATES 4u /* that share a pass over the experts */

static bool runs(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

/* ---- exp ---- */

/* e^x = 2^n * e^r, |r| <= ln 2 / 2. NaN stays NaN: of a NaN, min and max take the second operand. */
INLINE __m512 exp_of(__m512 x)
{
    static const float factor[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                   4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    x = _mm512_min_ps(_mm512_set1_ps(89.0f), _mm512_max_ps(_mm512_set1_ps(-104.0f), x));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504089f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 sum = _mm512_set1_ps(factor[0]);
#pragma GCC unroll 5
    for (uint32_t i = 1; i < 6; i++) {
        sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(factor[i]));
    }
    sum = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(r, r), sum, r), _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, n);
}

INLINE __mmask16 lanes_of(uint32_t first, uint32_t count)
{
    return count >= first + 16 ? 0xffff : count > first ? (__mmask16)((1u << (count - first)) - 1) : 0;
}

/* ---- expert_mix ---- */

/* weight[e] = softmax over the listed experts, 0 for others. */
INLINE void softmax_listed(const float *logit, uint32_t experts, uint64_t listed, float *weight)
{
    __m512 value[VR_MIX_EXPERTS_MAX / 16], largest = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    for (uint32_t e = 0; e < experts; e += 16) {
        const __mmask16 some = lanes_of(e, experts) & (__mmask16)(listed >> e);
        value[e / 16] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), some, logit + e);
        largest = _mm512_max_ps(largest, value[e / 16]);
    }
    largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    for (uint32_t e = 0; e < experts; e += 16) {
        const __mmask16 some = lanes_of(e, experts) & (__mmask16)(listed >> e);
        value[e / 16] = _mm512_maskz_mov_ps(some, exp_of(_mm512_sub_ps(value[e / 16], largest)));
        sum = _mm512_add_ps(sum, value[e / 16]);
    }
    const __m512 total = _mm512_set1_ps(_mm512_reduce_add_ps(sum));
    for (uint32_t e = 0; e < experts; e += 16) {
        const __mmask16 some = lanes_of(e, experts) & (__mmask16)(listed >> e);
        _mm512_mask_storeu_ps(weight + e, lanes_of(e, experts), _mm512_maskz_div_ps(some, value[e / 16], total));
    }
}

INLINE __m512 expert_at(const void *expert, enum vr_element element, size_t at, __mmask16 some)
{
    return element == VR_ELEMENT_BF16
               ? vr_avx512_from_bf16(_mm256_maskz_loadu_epi16(some, (const uint16_t *)expert + at))
               : _mm512_maskz_loadu_ps(some, (const float *)expert + at);
}

INLINE void put(void *y, enum vr_element element, size_t at, __mmask16 some, __m512 value)
{
    if (element == VR_ELEMENT_BF16) {
        _mm256_mask_storeu_epi16((uint16_t *)y + at, some, vr_avx512_bf16(value));
    } else {
        _mm512_mask_storeu_ps((float *)y + at, some, value);
    }
}

/* Row r of G gates from `gate` on, a constant after inlining; weight [gates, experts]. `all`: each lists every expert;
 * else one that is not listed is passed over, as it may be anything. */
INLINE void mix_gates(const struct vr_expert_mix *args, const struct vr_mix_at *at, size_t r, uint32_t gate, uint32_t G,
                      bool all, enum vr_element element, const float *weight)
{
    const uint32_t experts = args->experts, width = args->width;
    for (uint32_t c = 0; c < width; c += 32) {
        const __mmask16 some[2] = {lanes_of(c, width), lanes_of(c + 16, width)};
        const size_t from = r * experts * width + c, to = (r * args->gates + gate) * width + c;
        __m512 sum[GATES][2];
#pragma GCC unroll 4
        for (uint32_t g = 0; g < G; g++) {
            sum[g][0] = sum[g][1] = _mm512_setzero_ps();
        }
        for (uint32_t e = 0; e < experts; e++) {
            const size_t place = from + (size_t)e * width;
            const __m512 left = expert_at(at->expert, element, place, some[0]);
            const __m512 right = expert_at(at->expert, element, place + 16, some[1]);
#pragma GCC unroll 4
            for (uint32_t g = 0; g < G; g++) {
                if (all || (args->listed[gate + g] >> e & 1u) != 0) {
                    const __m512 factor = _mm512_set1_ps(weight[(gate + g) * experts + e]);
                    sum[g][0] = _mm512_fmadd_ps(factor, left, sum[g][0]);
                    sum[g][1] = _mm512_fmadd_ps(factor, right, sum[g][1]);
                }
            }
        }
#pragma GCC unroll 4
        for (uint32_t g = 0; g < G; g++) {
            put(at->y, args->y_element, to + (size_t)g * width, some[0], sum[g][0]);
            put(at->y, args->y_element, to + (size_t)g * width + 16, some[1], sum[g][1]);
        }
    }
}

INLINE void mix_row(const struct vr_expert_mix *args, const struct vr_mix_at *at, size_t r, bool all,
                    enum vr_element element, const float *weight)
{
    uint32_t gate = 0;
    for (; gate + GATES <= args->gates; gate += GATES) {
        mix_gates(args, at, r, gate, GATES, all, element, weight);
    }
    for (; gate < args->gates; gate++) {
        mix_gates(args, at, r, gate, 1, all, element, weight);
    }
}

static bool lists_all(const struct vr_expert_mix *args)
{
    const uint64_t every = args->experts == 64 ? ~0ull : (1ull << args->experts) - 1;
    for (uint32_t g = 0; g < args->gates; g++) {
        if (args->listed[g] != every) {
            return false;
        }
    }
    return true;
}

INLINE void mix_rows(const struct vr_expert_mix *args, const struct vr_mix_at *at, bool all, enum vr_element element)
{
    float scratch[VR_MIX_GATES_MAX * VR_MIX_EXPERTS_MAX];
    const size_t logits = (size_t)args->gates * args->experts;
    for (size_t r = 0; r < args->rows; r++) {
        float *weight = at->weights == NULL ? scratch : at->weights + r * logits;
        for (uint32_t g = 0; g < args->gates; g++) {
            const size_t gate = (size_t)g * args->experts;
            softmax_listed(at->logit + r * logits + gate, args->experts, args->listed[g], weight + gate);
        }
        mix_row(args, at, r, all, element, weight);
    }
}

__attribute__((target(TARGET))) static void mix(const struct vr_expert_mix *args, const struct vr_mix_at *at)
{
    if (!lists_all(args)) {
        mix_rows(args, at, false, args->expert_element);
    } else if (args->expert_element == VR_ELEMENT_BF16) {
        mix_rows(args, at, true, VR_ELEMENT_BF16);
    } else {
        mix_rows(args, at, true, VR_ELEMENT_F32);
    }
}

/* ---- task_heads ---- */

__attribute__((target(TARGET))) static void heads(const struct vr_task_heads *args, const struct vr_heads_at *at)
{
    const uint32_t columns = (uint32_t)at->columns;
    const __m512 one = _mm512_set1_ps(1.0f);
    float part[VR_HEADS_COLUMNS_MAX] = {0};
    for (size_t r = 0; r < args->rows; r++) {
        for (uint32_t c = 0; c < columns; c += 16) {
            const __mmask16 some = lanes_of(c, columns);
            const __m512 z = expert_at(at->z, args->z_element, r * columns + c, some);
            const __m512 below = _mm512_add_ps(one, exp_of(_mm512_sub_ps(_mm512_setzero_ps(), z)));
            const __m512 width = _mm512_maskz_loadu_ps(some, at->widths + c);
            _mm512_mask_storeu_ps(part + c, some, _mm512_div_ps(width, below));
        }
        const float *own = part;
        for (uint32_t t = 0; t < args->tasks; t++) {
            float sum = 0.0f;
            for (uint32_t k = 0; k < args->outputs[t]; k++) {
                sum += *own++;
            }
            at->head[r * args->tasks + t] = sum;
        }
    }
}

const struct vr_mix_form vr_mix_avx512 = {"avx512", runs, mix, heads};
