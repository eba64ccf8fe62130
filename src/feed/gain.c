/* What the gains share (gain.h): the scaled score, cosines, and the choice of kind. */
#include "gain.h"

#include <math.h>
#define SUMS 4u /* side by side, so that the compiler adds several at once */

/* Products of floats are exact in double. */
static double dot(const float *a, const float *b, uint32_t dim)
{
    double sum[SUMS] = {0.0};
    uint32_t whole = dim - dim % SUMS;
    for (uint32_t k = 0; k < whole; k += SUMS) {
        for (uint32_t s = 0; s < SUMS; s++) {
            sum[s] += (double)a[k + s] * (double)b[k + s];
        }
    }
    for (uint32_t k = whole; k < dim; k++) {
        sum[k % SUMS] += (double)a[k] * (double)b[k];
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static const float *vector_of(const struct vr_rerank_input *input, uint32_t candidate)
{
    return input->vector + (size_t)candidate * input->dim;
}

double vr_gains_cosine(const struct vr_gains *gains, uint32_t a, uint32_t b)
{
    const struct vr_rerank_input *input = gains->input;
    return dot(vector_of(input, a), vector_of(input, b), input->dim) * gains->scale[a] * gains->scale[b];
}

static void measure_vectors(struct vr_gains *gains)
{
    const struct vr_rerank_input *input = gains->input;
    for (uint32_t i = 0; i < input->count; i++) {
        const float *vector = vector_of(input, i);
        double square = dot(vector, vector, input->dim);
        gains->scale[i] = square > 0.0 ? 1.0 / sqrt(square) : 0.0;
    }
}

static void scale_scores(struct vr_gains *gains, const struct vr_filtered *filtered)
{
    const struct vr_rerank_input *input = gains->input;
    double low = INFINITY;
    double high = -INFINITY;
    for (uint32_t i = 0; i < input->count; i++) {
        if (filtered->passed[i]) {
            low = fmin(low, input->score[i]);
            high = fmax(high, input->score[i]);
        }
    }
    for (uint32_t i = 0; i < input->count; i++) {
        bool usable = filtered->passed[i] || filtered->reserve[i];
        bool spread = high > low;
        gains->quality[i] = usable && spread ? (input->score[i] - low) / (high - low) : 1.0;
    }
}

static enum vr_status allocate(struct vr_gains *gains, struct vr_arena *arena)
{
    uint32_t count = gains->input->count;
    gains->value = vr_arena_calloc(arena, count, sizeof *gains->value);
    gains->quality = vr_arena_calloc(arena, count, sizeof *gains->quality);
    gains->scale = vr_arena_calloc(arena, count, sizeof *gains->scale);
    gains->settled = vr_arena_calloc(arena, count, sizeof *gains->settled);
    gains->placed = vr_arena_calloc(arena, gains->input->want, sizeof *gains->placed);
    bool whole = gains->value != NULL && gains->quality != NULL && gains->scale != NULL && gains->settled != NULL &&
                 gains->placed != NULL;
    return whole ? VR_OK : VR_ERR_NOMEM;
}

enum vr_status vr_gains_create(const struct vr_rerank_input *input, const struct vr_filtered *filtered,
                               struct vr_arena *arena, struct vr_gains *out)
{
    *out = (struct vr_gains){.input = input};
    enum vr_status status = allocate(out, arena);
    if (status != VR_OK) {
        return status;
    }
    for (uint32_t i = 0; i < input->count; i++) {
        out->value[i] = input->score[i];
    }
    if (input->config->gain == VR_GAIN_SCORE) {
        return VR_OK;
    }
    measure_vectors(out);
    scale_scores(out, filtered);
    return input->config->gain == VR_GAIN_MMR ? vr_mmr_create(out, arena) : vr_dpp_create(out, arena);
}

void vr_gains_settle(struct vr_gains *gains, uint32_t candidate)
{
    if (gains->settled[candidate] == gains->placed_count) {
        return;
    }
    switch (gains->input->config->gain) {
    case VR_GAIN_SCORE: break;
    case VR_GAIN_MMR: vr_mmr_settle(gains, candidate); break;
    case VR_GAIN_DPP: vr_dpp_settle(gains, candidate); break;
    }
    gains->settled[candidate] = gains->placed_count;
}

void vr_gains_place(struct vr_gains *gains, uint32_t candidate)
{
    gains->placed[gains->placed_count++] = candidate;
}
