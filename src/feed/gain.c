/* Gains of candidates (gain.h). DPP is greedy MAP with the incremental Cholesky factor of Chen, Zhang and Zhou, "Fast
 * Greedy MAP Inference for Determinantal Point Process", NeurIPS 2018: the k-th placed video costs O(k + dim) for each
 * candidate. */
#include "gain.h"

#include <math.h>

/* theta / (1 - theta) up to which floats hold q^2: exp(-80). Above (theta over .987) logarithms are taken. */
#define ODDS_MAX 80.0

/* Rounding may take a residual to 0 or below where S is all but singular; the nugget is its true lower bound. */
#define RESIDUAL_FLOOR (0.5 * VR_DPP_NUGGET)

/* One component of all candidates after the other. */
static void lay_out_vectors(struct vr_gains *gains)
{
    const struct vr_rerank_input *input = gains->input;
    for (uint32_t k = 0; k < input->dim; k++) {
        float *row = gains->unit + (size_t)k * gains->length;
        for (uint32_t i = 0; i < input->count; i++) {
            row[i] = input->vector[(size_t)i * input->dim + k];
        }
        for (uint32_t i = input->count; i < gains->length; i++) {
            row[i] = 0.0f;
        }
    }
    gains->loops->normalize(gains->unit, input->dim, gains->length);
}

static void scale_scores(struct vr_gains *gains, const struct vr_filtered *filtered)
{
    const struct vr_rerank_input *input = gains->input;
    float low = INFINITY, high = -INFINITY;
    for (uint32_t i = 0; i < input->count; i++) {
        if (filtered->passed[i]) {
            low = input->score[i] < low ? input->score[i] : low;
            high = input->score[i] > high ? input->score[i] : high;
        }
    }
    const double spread = (double)high - (double)low;
    for (uint32_t i = 0; i < input->count; i++) {
        const bool usable = filtered->passed[i] || filtered->reserve[i];
        gains->quality[i] = usable && spread > 0.0 ? (float)(((double)input->score[i] - (double)low) / spread) : 1.0f;
    }
}

static enum vr_status create_mmr(struct vr_gains *gains, struct vr_arena *arena)
{
    gains->nearest = vr_arena_calloc(arena, gains->length, sizeof *gains->nearest);
    if (gains->nearest == NULL) {
        return VR_ERR_NOMEM;
    }
    gains->loops->relevance(gains->cosine, gains->quality, gains->input->config->mmr_lambda, gains->length,
                            gains->nearest, gains->value); /* cosines are still 0 */
    return VR_OK;
}

static double dpp_gain(const struct vr_gains *gains, uint32_t candidate)
{
    const double theta = gains->input->config->dpp_theta;
    const double residual = fmax(gains->residual[candidate], RESIDUAL_FLOOR);
    return theta * (double)gains->quality[candidate] + (1.0 - theta) * log(residual);
}

static void take_logarithms(struct vr_gains *gains)
{
    for (uint32_t i = 0; i < gains->length; i++) {
        gains->value[i] = (float)dpp_gain(gains, i);
    }
}

/* q_i^2, all divided by that of a scaled score of 1: q_i^2 * residual orders candidates as the gain does, and needs no
 * logarithm. */
static void weigh_qualities(struct vr_gains *gains)
{
    const double theta = gains->input->config->dpp_theta;
    const double odds = gains->has_weights ? theta / (1.0 - theta) : 0.0;
    for (uint32_t i = 0; i < gains->length; i++) {
        gains->weight[i] = exp(odds * ((double)gains->quality[i] - 1.0));
        gains->residual[i] = 1.0;
        gains->value[i] = (float)gains->weight[i];
    }
    if (!gains->has_weights) {
        take_logarithms(gains);
    }
}

static enum vr_status create_dpp(struct vr_gains *gains, struct vr_arena *arena)
{
    const size_t length = gains->length, want = gains->input->want;
    const double theta = gains->input->config->dpp_theta;
    gains->has_weights = theta <= ODDS_MAX * (1.0 - theta);
    gains->weight = vr_arena_calloc(arena, length, sizeof *gains->weight);
    gains->residual = vr_arena_calloc(arena, length, sizeof *gains->residual);
    gains->factor = vr_arena_alloc(arena, want * length * sizeof *gains->factor);
    gains->column = vr_arena_calloc(arena, want, sizeof *gains->column);
    if (gains->weight == NULL || gains->residual == NULL || gains->factor == NULL || gains->column == NULL) {
        return VR_ERR_NOMEM;
    }
    weigh_qualities(gains);
    return VR_OK;
}

static enum vr_status create_diverse(struct vr_gains *gains, const struct vr_filtered *filtered, struct vr_arena *arena)
{
    const uint32_t dim = gains->input->dim;
    gains->quality = vr_arena_calloc(arena, gains->length, sizeof *gains->quality);
    gains->unit = vr_arena_alloc(arena, (size_t)dim * gains->length * sizeof *gains->unit);
    gains->own = vr_arena_calloc(arena, dim, sizeof *gains->own);
    gains->cosine = vr_arena_calloc(arena, gains->length, sizeof *gains->cosine);
    if (gains->quality == NULL || gains->unit == NULL || gains->own == NULL || gains->cosine == NULL) {
        return VR_ERR_NOMEM;
    }
    lay_out_vectors(gains);
    scale_scores(gains, filtered);
    return gains->input->config->gain == VR_GAIN_MMR ? create_mmr(gains, arena) : create_dpp(gains, arena);
}

enum vr_status vr_gains_create(const struct vr_rerank_input *input, const struct vr_filtered *filtered,
                               const struct vr_selection_loops *loops, struct vr_arena *arena, struct vr_gains *out)
{
    const uint32_t blocks = (input->count + VR_SELECTION_BLOCK - 1) / VR_SELECTION_BLOCK;
    *out = (struct vr_gains){.input = input, .loops = loops, .length = blocks * VR_SELECTION_BLOCK};
    out->value = vr_arena_calloc(arena, out->length, sizeof *out->value);
    if (out->value == NULL) {
        return VR_ERR_NOMEM;
    }
    if (input->config->gain != VR_GAIN_SCORE) {
        return create_diverse(out, filtered, arena);
    }
    for (uint32_t i = 0; i < input->count; i++) {
        out->value[i] = input->score[i];
    }
    return VR_OK;
}

float vr_gains_of(const struct vr_gains *gains, uint32_t candidate)
{
    if (gains->input->config->gain != VR_GAIN_DPP) {
        return gains->value[candidate];
    }
    return (float)dpp_gain(gains, candidate);
}

/* A new column of the factor, and with it every residual and value. */
static void place_in_determinant(struct vr_gains *gains, uint32_t candidate)
{
    const size_t length = gains->length;
    double *row = gains->factor + gains->placed * length;
    for (uint32_t k = 0; k < gains->placed; k++) {
        gains->column[k] = gains->factor[k * length + candidate];
    }
    gains->loops->weigh_double(gains->factor, gains->column, gains->placed, gains->length, row);
    gains->loops->determinant(gains->cosine, gains->weight, 0.5 * (1.0 - VR_DPP_NUGGET),
                              sqrt(fmax(gains->residual[candidate], RESIDUAL_FLOOR)), RESIDUAL_FLOOR, gains->length,
                              row, gains->residual, gains->value);
    if (!gains->has_weights) {
        take_logarithms(gains);
    }
}

void vr_gains_place(struct vr_gains *gains, uint32_t candidate)
{
    const struct vr_rerank_config *config = gains->input->config;
    if (config->gain != VR_GAIN_SCORE && gains->placed + 1 < gains->input->want) {
        for (uint32_t k = 0; k < gains->input->dim; k++) {
            gains->own[k] = gains->unit[(size_t)k * gains->length + candidate];
        }
        gains->loops->weigh(gains->unit, gains->own, gains->input->dim, gains->length, gains->cosine);
        if (config->gain == VR_GAIN_MMR) {
            gains->loops->relevance(gains->cosine, gains->quality, config->mmr_lambda, gains->length, gains->nearest,
                                    gains->value);
        } else {
            place_in_determinant(gains, candidate);
        }
    }
    gains->placed++;
}
