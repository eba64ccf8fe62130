/* The loops of selection_loops.h over vectors, included once by each instruction set's file, which defines the types
 * floats, doubles and words with their operations, INLINE and LOOP (attributes of functions) and TABLE. Sums are held
 * in four registers, so that the latency of one multiply-add hides behind the others. */
#include <math.h>

#include "selection_loops.h"

#define SUMS 4u
#define LANES (sizeof(floats) / sizeof(float))
#define HALF_LANES (sizeof(doubles) / sizeof(double))

_Static_assert(VR_SELECTION_BLOCK % (4 * 16) == 0, "a block is whole sets of sums");

LOOP void weigh(const float *row, const float *weight, uint32_t rows, uint32_t length, float *sum)
{
    for (size_t first = 0; first < length; first += SUMS * LANES) {
        floats part[SUMS] = {FLOATS(setzero)(), FLOATS(setzero)(), FLOATS(setzero)(), FLOATS(setzero)()};
        for (size_t k = 0; k < rows; k++) {
            const floats factor = FLOATS(set1)(weight[k]);
#pragma GCC unroll 4
            for (size_t s = 0; s < SUMS; s++) {
                part[s] = FLOATS(fmadd)(factor, FLOATS(loadu)(row + k * length + first + s * LANES), part[s]);
            }
        }
#pragma GCC unroll 4
        for (size_t s = 0; s < SUMS; s++) {
            FLOATS(storeu)(sum + first + s * LANES, part[s]);
        }
    }
}

LOOP void weigh_double(const double *row, const double *weight, uint32_t rows, uint32_t length, double *sum)
{
    for (size_t first = 0; first < length; first += SUMS * HALF_LANES) {
        doubles part[SUMS] = {DOUBLES(setzero)(), DOUBLES(setzero)(), DOUBLES(setzero)(), DOUBLES(setzero)()};
        for (size_t k = 0; k < rows; k++) {
            const doubles factor = DOUBLES(set1)(weight[k]);
#pragma GCC unroll 4
            for (size_t s = 0; s < SUMS; s++) {
                part[s] = DOUBLES(fmadd)(factor, DOUBLES(loadu)(row + k * length + first + s * HALF_LANES), part[s]);
            }
        }
#pragma GCC unroll 4
        for (size_t s = 0; s < SUMS; s++) {
            DOUBLES(storeu)(sum + first + s * HALF_LANES, part[s]);
        }
    }
}

LOOP void normalize(float *row, uint32_t rows, uint32_t length)
{
    const floats one = FLOATS(set1)(1.0f);
    for (size_t i = 0; i < length; i += LANES) {
        floats square = FLOATS(setzero)();
        for (size_t k = 0; k < rows; k++) {
            const floats own = FLOATS(loadu)(row + k * length + i);
            square = FLOATS(fmadd)(own, own, square);
        }
        const floats scale = FLOATS(div)(one, FLOATS(sqrt)(where_positive(square, one)));
        for (size_t k = 0; k < rows; k++) {
            float *at = row + k * length + i;
            FLOATS(storeu)(at, FLOATS(mul)(FLOATS(loadu)(at), scale));
        }
    }
}

LOOP uint32_t find(const float *value, const uint32_t *bits, float wanted, uint32_t from, uint32_t length)
{
    const floats own = FLOATS(set1)(wanted);
    uint32_t passed = (1u << from % LANES) - 1; /* lanes of the first vector that lie before `from` */
    for (size_t i = from - from % LANES; i < length; i += LANES) {
        const uint32_t hits = equal_and_none(FLOATS(loadu)(value + i), own, load_words(bits + i)) & ~passed;
        if (hits != 0) {
            return (uint32_t)i + (uint32_t)__builtin_ctz(hits);
        }
        passed = 0;
    }
    return length;
}

LOOP float largest(const float *value, const uint32_t *bits, uint32_t length)
{
    const floats none = FLOATS(set1)(-INFINITY);
    floats most[2] = {none, none};
    float each[LANES];
    for (size_t i = 0; i < length; i += 2 * LANES) {
        most[0] = FLOATS(max)(most[0], where_none(load_words(bits + i), FLOATS(loadu)(value + i), none));
        most[1] =
            FLOATS(max)(most[1], where_none(load_words(bits + i + LANES), FLOATS(loadu)(value + i + LANES), none));
    }
    FLOATS(storeu)(each, FLOATS(max)(most[0], most[1]));
    for (size_t i = 1; i < LANES; i++) {
        each[0] = each[i] > each[0] ? each[i] : each[0];
    }
    return each[0];
}

LOOP void count_group(const int32_t *group, int32_t mine, uint32_t step, uint32_t length, uint32_t *seen)
{
    const words own = WORDS(set1)(mine), by = WORDS(set1)((int32_t)step);
    for (size_t i = 0; i < length; i += LANES) {
        store_words(seen + i, add_where_equal(load_words(seen + i), load_words(group + i), own, by));
    }
}

LOOP void mark_full(const uint32_t *seen, uint32_t max, uint32_t bit, uint32_t length, uint32_t *bits)
{
    const words below = WORDS(set1)((int32_t)max - 1), mark = WORDS(set1)((int32_t)bit);
    for (size_t i = 0; i < length; i += LANES) {
        store_words(bits + i, or_where_above(load_words(bits + i), load_words(seen + i), below, mark));
    }
}

LOOP void relevance(const float *cosine, const float *quality, float lambda, uint32_t length, float *nearest,
                    float *value)
{
    const floats own = FLOATS(set1)(lambda), other = FLOATS(set1)(1.0f - lambda);
    for (size_t i = 0; i < length; i += LANES) {
        const floats near = FLOATS(max)(FLOATS(loadu)(nearest + i), FLOATS(loadu)(cosine + i));
        FLOATS(storeu)(nearest + i, near);
        FLOATS(storeu)(value + i, FLOATS(sub)(FLOATS(mul)(own, FLOATS(loadu)(quality + i)), FLOATS(mul)(other, near)));
    }
}

LOOP void determinant(const float *cosine, const double *weight, double scale, double root, double floor,
                      uint32_t length, double *row, double *residual, float *value)
{
    const doubles inverse = DOUBLES(set1)(1.0 / root), one = DOUBLES(set1)(scale), least = DOUBLES(set1)(floor);
    for (size_t i = 0; i < length; i += HALF_LANES) {
        const doubles similar = DOUBLES(fmadd)(one, widened(cosine + i), one);
        const doubles entry = DOUBLES(mul)(DOUBLES(sub)(similar, DOUBLES(loadu)(row + i)), inverse);
        const doubles rest = DOUBLES(fnmadd)(entry, entry, DOUBLES(loadu)(residual + i));
        DOUBLES(storeu)(row + i, entry);
        DOUBLES(storeu)(residual + i, rest);
        store_narrowed(value + i, DOUBLES(mul)(DOUBLES(loadu)(weight + i), DOUBLES(max)(rest, least)));
    }
}

const struct vr_selection_loops TABLE = {.weigh = weigh,
                                         .weigh_double = weigh_double,
                                         .normalize = normalize,
                                         .find = find,
                                         .largest = largest,
                                         .count_group = count_group,
                                         .mark_full = mark_full,
                                         .relevance = relevance,
                                         .determinant = determinant};
