/* The marginal gain of each candidate given those already placed: one array that the selector reads. Placing a video
 * brings all of them up to date, a few vector operations a candidate.
 *
 * Scale: MMR and DPP weigh a score against a similarity, so they see the score scaled to [0, 1] by the smallest and
 * largest score among the candidates that passed the filters (1 for all where these are equal). Seen candidates that
 * come back are scaled by the same two numbers and may lie outside.
 *
 *   score  the score itself
 *   mmr    lambda * score - (1 - lambda) * max(0, largest cosine to a placed video)      (Carbonell, Goldstein 1998)
 *   dpp    theta * score + (1 - theta) * log(det S(placed + i) / det S(placed))          (Chen, Zhang, Zhou 2018)
 *
 * The DPP kernel is q_i S_ij q_j with q = exp(theta * score / (2 (1 - theta))): its greedy MAP step maximises the same
 * sum. S has ones on the diagonal and (1 - VR_DPP_NUGGET) * (1 + cosine) / 2 beside it: opposite videos count as
 * different, and S stays positive definite when there are more positions than dimensions.
 *
 * Cosines are float32: the vectors have one byte a component in a bundle. Gains are right to 1e-5, and candidates
 * nearer than that to each other may change places from one processor to another. */
#ifndef VIREO_FEED_GAIN_H
#define VIREO_FEED_GAIN_H

#include "filter.h"
#include "selection_loops.h"

#define VR_DPP_NUGGET 0.01

struct vr_gains {
    const struct vr_rerank_input *input;
    const struct vr_selection_loops *loops;
    uint32_t length;     /* candidates, and what makes it a multiple of VR_SELECTION_BLOCK */
    float *value;        /* [length], rises with the gain of placing the candidate next; dpp: q_i^2 * residual */
    float *quality;      /* [length], the scaled score */
    float *unit;         /* [dim, length], vectors of length 1, or of zeros */
    float *own, *cosine; /* [dim] of the placed video; [length], its cosines */
    float *nearest;      /* mmr: [length], largest cosine to the placed videos, at least 0 */
    double *weight;      /* dpp: [length], q_i^2 less a common factor */
    double *residual;    /* dpp: [length], det S(placed + i) / det S(placed) */
    double *factor;      /* dpp: [want, length], columns of the Cholesky factor of S */
    double *column;      /* dpp: [want], the placed video's */
    bool has_weights;    /* dpp: the value is weight * residual, else the gain itself */
    uint32_t placed;
};

/* Arena memory. VR_ERR_NOMEM. */
enum vr_status vr_gains_create(const struct vr_rerank_input *input, const struct vr_filtered *filtered,
                               const struct vr_selection_loops *loops, struct vr_arena *arena, struct vr_gains *out);

/* What placing the candidate next gains, by the formulas above. */
float vr_gains_of(const struct vr_gains *gains, uint32_t candidate);

/* The candidate was placed: every value is made anew. */
void vr_gains_place(struct vr_gains *gains, uint32_t candidate);
#endif
