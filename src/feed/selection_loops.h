/* The selector's loops over all candidates, compiled for each instruction set and chosen once: what one placed video
 * changes for every other. Arrays have a length that is a multiple of VR_SELECTION_BLOCK and do not overlap. */
#ifndef VIREO_FEED_SELECTION_LOOPS_H
#define VIREO_FEED_SELECTION_LOOPS_H

#include <stdint.h>

#define VR_SELECTION_BLOCK 64u

struct vr_selection_loops {
    /* sum[i] = sum over k of weight[k] * row[k * length + i]; added up in the order of k. */
    void (*weigh)(const float *row, const float *weight, uint32_t rows, uint32_t length, float *sum);
    void (*weigh_double)(const double *row, const double *weight, uint32_t rows, uint32_t length, double *sum);

    /* Columns of row [rows, length] divided by their length, those of length 0 left alone. */
    void (*normalize)(float *row, uint32_t rows, uint32_t length);

    /* The largest value[i] with bits[i] == 0; -infinity where there is none. No such value is NaN. */
    float (*largest)(const float *value, const uint32_t *bits, uint32_t length);

    /* The first i >= from with bits[i] == 0 and value[i] == wanted; `length` where there is none. */
    uint32_t (*find)(const float *value, const uint32_t *bits, float wanted, uint32_t from, uint32_t length);

    /* seen[i] += step where group[i] == mine. */
    void (*count_group)(const int32_t *group, int32_t mine, uint32_t step, uint32_t length, uint32_t *seen);

    /* bits[i] = bits[i] | bit where seen[i] >= max. */
    void (*mark_full)(const uint32_t *seen, uint32_t max, uint32_t bit, uint32_t length, uint32_t *bits);

    /* nearest[i] = max(nearest[i], cosine[i]); value[i] = lambda * quality[i] - (1 - lambda) * nearest[i]. */
    void (*relevance)(const float *cosine, const float *quality, float lambda, uint32_t length, float *nearest,
                      float *value);

    /* row[i] = (scale * (1 + cosine[i]) - row[i]) / root, residual[i] -= row[i]^2,
     * value[i] = weight[i] * max(residual[i], floor). */
    void (*determinant)(const float *cosine, const double *weight, double scale, double root, double floor,
                        uint32_t length, double *row, double *residual, float *value);
};

/* The best for this processor. */
const struct vr_selection_loops *vr_selection_loops_choose(void);

extern const struct vr_selection_loops vr_selection_loops_plain, vr_selection_loops_avx2, vr_selection_loops_avx512;

#endif
