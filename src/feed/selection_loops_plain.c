/* The selector's loops for any processor, and the choice (selection_loops.h). */
#include <math.h>
#include <string.h>

#include "selection_loops.h"

static void weigh(const float *row, const float *weight, uint32_t rows, uint32_t length, float *sum)
{
    memset(sum, 0, length * sizeof *sum);
    for (uint32_t k = 0; k < rows; k++) {
        for (uint32_t i = 0; i < length; i++) {
            sum[i] += weight[k] * row[(size_t)k * length + i];
        }
    }
}

static void weigh_double(const double *row, const double *weight, uint32_t rows, uint32_t length, double *sum)
{
    memset(sum, 0, length * sizeof *sum);
    for (uint32_t k = 0; k < rows; k++) {
        for (uint32_t i = 0; i < length; i++) {
            sum[i] += weight[k] * row[(size_t)k * length + i];
        }
    }
}

static void normalize(float *row, uint32_t rows, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        float square = 0.0f;
        for (uint32_t k = 0; k < rows; k++) {
            square += row[(size_t)k * length + i] * row[(size_t)k * length + i];
        }
        const float scale = square > 0.0f ? 1.0f / sqrtf(square) : 1.0f;
        for (uint32_t k = 0; k < rows; k++) {
            row[(size_t)k * length + i] *= scale;
        }
    }
}

static uint32_t find(const float *value, const uint32_t *bits, float wanted, uint32_t from, uint32_t length)
{
    while (from < length && !(bits[from] == 0 && value[from] == wanted)) {
        from++;
    }
    return from;
}

static float largest(const float *value, const uint32_t *bits, uint32_t length)
{
    float most = -INFINITY;
    for (uint32_t i = 0; i < length; i++) {
        most = bits[i] == 0 && value[i] > most ? value[i] : most;
    }
    return most;
}

static void count_group(const int32_t *group, int32_t mine, uint32_t step, uint32_t length, uint32_t *seen)
{
    for (uint32_t i = 0; i < length; i++) {
        seen[i] += group[i] == mine ? step : 0;
    }
}

static void mark_full(const uint32_t *seen, uint32_t max, uint32_t bit, uint32_t length, uint32_t *bits)
{
    for (uint32_t i = 0; i < length; i++) {
        bits[i] |= seen[i] >= max ? bit : 0;
    }
}

static void relevance(const float *cosine, const float *quality, float lambda, uint32_t length, float *nearest,
                      float *value)
{
    for (uint32_t i = 0; i < length; i++) {
        nearest[i] = cosine[i] > nearest[i] ? cosine[i] : nearest[i];
        value[i] = lambda * quality[i] - (1.0f - lambda) * nearest[i];
    }
}

static void determinant(const float *cosine, const double *weight, double scale, double root, double floor,
                        uint32_t length, double *row, double *residual, float *value)
{
    for (uint32_t i = 0; i < length; i++) {
        row[i] = (scale * (1.0 + (double)cosine[i]) - row[i]) / root;
        residual[i] -= row[i] * row[i];
        value[i] = (float)(weight[i] * (residual[i] > floor ? residual[i] : floor));
    }
}

const struct vr_selection_loops vr_selection_loops_plain = {.weigh = weigh,
                                                            .weigh_double = weigh_double,
                                                            .normalize = normalize,
                                                            .find = find,
                                                            .largest = largest,
                                                            .count_group = count_group,
                                                            .mark_full = mark_full,
                                                            .relevance = relevance,
                                                            .determinant = determinant};

const struct vr_selection_loops *vr_selection_loops_choose(void)
{
    if (__builtin_cpu_supports("avx512f")) {
        return &vr_selection_loops_avx512;
    }
    const int wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return wide ? &vr_selection_loops_avx2 : &vr_selection_loops_plain;
}
