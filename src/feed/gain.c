/* What the gains share (gain.h): the scaled score, cosines, and the choice of kind. */
#include "gain.h"

#include <math.h>

/* Four running sums, so that the compiler may keep them in vector registers; the order is fixed. */
static double dot(const float *a, const float *b, uint32_t dim)
{
    double sum[4] = {0.0, 0.0, 0.0, 0.0};
    uint32_t i = 0;
    for (; i + 4 <= dim; i += 4) {
        for (uint32_t k = 0; k < 4; k++) {
            sum[k] += (double)a[i + k] * (double)b[i + k];
        }
    }
    for (; i < dim; i++) {
        sum[0] += (double)a[i] * (double)b[i];
    }
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

static const float *vector_of(const struct vr_gains *gains, uint32_t candidate)
{
    return gains->input->vector + (size_t)candidate * gains->input->dim;
}

double vr_gains_cosine(const struct vr_gains *gains, uint32_t a, uint32_t b)
{
    double scale = gains->length[a] * gains->length[b];
    if (!(scale > 0.0)) {
        return 0.0;
    }
    double cosine = dot(vector_of(gains, a), vector_of(gains, b), gains->input->dim) / scale;
    return fmin(1.0, fmax(-1.0, cosine));
}

static void measure(struct vr_gains *gains)
{
    for (uint32_t i = 0; i < gains->input->count; i++) {
        const float *vector = vector_of(gains, i);
        gains->length[i] = sqrt(dot(vector, vector, gains->input->dim));
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
    gains->length = vr_arena_calloc(arena, count, sizeof *gains->length);
    bool whole = gains->value != NULL && gains->quality != NULL && gains->length != NULL;
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
    measure(out);
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
