/* The selector's loops for processors with AVX-512 (selection_loops.h). */
#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline, target("avx512f")))
#define LOOP static __attribute__((target("avx512f")))
#define TABLE vr_selection_loops_avx512

typedef __m512 floats;
typedef __m512d doubles;
typedef __m512i words;

#define FLOATS(name) _mm512_##name##_ps
#define DOUBLES(name) _mm512_##name##_pd
#define WORDS(name) _mm512_##name##_epi32

INLINE words load_words(const void *from)
{
    return _mm512_loadu_si512(from);
}

INLINE void store_words(void *to, words value)
{
    _mm512_storeu_si512(to, value);
}

INLINE doubles widened(const float *from)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(from));
}

INLINE void store_narrowed(float *to, doubles value)
{
    _mm256_storeu_ps(to, _mm512_cvtpd_ps(value));
}

INLINE floats where_none(words bits, floats value, floats other)
{
    return _mm512_mask_mov_ps(other, _mm512_testn_epi32_mask(bits, bits), value);
}

INLINE floats where_positive(floats value, floats other)
{
    return _mm512_mask_mov_ps(other, _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_GT_OQ), value);
}

/* A bit a lane. */
INLINE uint32_t equal_and_none(floats a, floats b, words bits)
{
    return _mm512_mask_cmp_ps_mask(_mm512_testn_epi32_mask(bits, bits), a, b, _CMP_EQ_OQ);
}

INLINE words add_where_equal(words to, words a, words b, words step)
{
    return _mm512_mask_add_epi32(to, _mm512_cmpeq_epi32_mask(a, b), to, step);
}

INLINE words or_where_above(words to, words a, words b, words bit)
{
    return _mm512_mask_or_epi32(to, _mm512_cmpgt_epi32_mask(a, b), to, bit);
}

#include "selection_loops_vector.h"
