/* The selector's loops for processors with AVX2 and FMA (selection_loops.h). */
#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline, target("avx2,fma")))
#define LOOP static __attribute__((target("avx2,fma")))
#define TABLE vr_selection_loops_avx2

typedef __m256 floats;
typedef __m256d doubles;
typedef __m256i words;

#define FLOATS(name) _mm256_##name##_ps
#define DOUBLES(name) _mm256_##name##_pd
#define WORDS(name) _mm256_##name##_epi32

INLINE words load_words(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

INLINE void store_words(void *to, words value)
{
    _mm256_storeu_si256((__m256i *)to, value);
}

INLINE doubles widened(const float *from)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(from));
}

INLINE void store_narrowed(float *to, doubles value)
{
    _mm_storeu_ps(to, _mm256_cvtpd_ps(value));
}

INLINE floats where_none(words bits, floats value, floats other)
{
    const words none = _mm256_cmpeq_epi32(bits, _mm256_setzero_si256());
    return _mm256_blendv_ps(other, value, _mm256_castsi256_ps(none));
}

INLINE floats where_positive(floats value, floats other)
{
    return _mm256_blendv_ps(other, value, _mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_GT_OQ));
}

/* A bit a lane. */
INLINE uint32_t equal_and_none(floats a, floats b, words bits)
{
    const __m256 none = _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, _mm256_setzero_si256()));
    return (uint32_t)_mm256_movemask_ps(_mm256_and_ps(none, _mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
}

INLINE words add_where_equal(words to, words a, words b, words step)
{
    return _mm256_add_epi32(to, _mm256_and_si256(_mm256_cmpeq_epi32(a, b), step));
}

/* The numbers are far below 2^31. */
INLINE words or_where_above(words to, words a, words b, words bit)
{
    return _mm256_or_si256(to, _mm256_and_si256(_mm256_cmpgt_epi32(a, b), bit));
}

#include "selection_loops_vector.h"
