/* What the gains share (gain.h): the scaled score, cosines, and the choice of kind. */
#include "gain.h"

#include <math.h>
#include <string.h>

/* Candidates lie side by side, so that the compiler works on several at once; sums run over the dimensions in order. */
void vr_gains_compare(struct vr_gains *gains, uint32_t candidate)
{
    uint32_t count = gains->input->count;
    double *cosine = gains->cosine;
    memset(cosine, 0, count * sizeof *cosine);
    for (uint32_t k = 0; k < gains->input->dim; k++) {
        const double *row = gains->unit + (size_t)k * count;
        double weight = row[candidate];
        for (uint32_t i = 0; i < count; i++) {
            cosine[i] += weight * row[i];
        }
    }
}

static double length(const float *vector, uint32_t dim)
{
    double square = 0.0;
    for (uint32_t k = 0; k < dim; k++) {
        square += (double)vector[k] * (double)vector[k];
    }
    return sqrt(square);
}

static void normalize(struct vr_gains *gains)
{
    const struct vr_rerank_input *input = gains->input;
    for (uint32_t i = 0; i < input->count; i++) {
        const float *vector = input->vector + (size_t)i * input->dim;
        double scale = length(vector, input->dim);
        for (uint32_t k = 0; k < input->dim; k++) {
            gains->unit[(size_t)k * input->count + i] = scale > 0.0 ? vector[k] / scale : 0.0;
        }
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
    size_t dim = gains->input->config->gain == VR_GAIN_SCORE ? 0 : gains->input->dim;
    gains->value = vr_arena_calloc(arena, count, sizeof *gains->value);
    gains->quality = vr_arena_calloc(arena, count, sizeof *gains->quality);
    gains->cosine = vr_arena_calloc(arena, count, sizeof *gains->cosine);
    gains->unit = vr_arena_calloc(arena, dim * count, sizeof *gains->unit);
    bool whole = gains->value != NULL && gains->quality != NULL && gains->cosine != NULL && gains->unit != NULL;
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
    normalize(out);
    scale_scores(out, filtered);
    return input->config->gain == VR_GAIN_MMR ? vr_mmr_create(out, arena) : vr_dpp_create(out, arena);
}

void vr_gains_place(struct vr_gains *gains, uint32_t candidate)
{
    switch (gains->input->config->gain) {
    case VR_GAIN_SCORE: break;
    case VR_GAIN_MMR: vr_mmr_place(gains, candidate); break;
    case VR_GAIN_DPP: vr_dpp_place(gains, candidate); break;
    }
}
