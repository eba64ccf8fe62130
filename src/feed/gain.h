/* The marginal gain of each candidate given those already placed. One array that the selector reads; placing a
 * candidate updates it.
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
 * different, and S stays positive definite when there are more positions than dimensions. */
#ifndef VIREO_FEED_GAIN_H
#define VIREO_FEED_GAIN_H

#include "filter.h"

#define VR_DPP_NUGGET 0.01

struct vr_gains {
    const struct vr_rerank_input *input;
    double *value;    /* [count], the gain of placing the candidate next */
    double *quality;  /* [count], the scaled score */
    double *unit;     /* [dim, count], vectors of length 1 (zeros without content), a column a candidate */
    double *cosine;   /* [count], scratch: cosines to the candidate that was placed last */
    double *nearest;  /* mmr: [count], largest cosine to a placed video, at least 0 */
    double *residual; /* dpp: [count], det S(placed + i) / det S(placed) */
    double *factor;   /* dpp: [want, count], rows of the Cholesky factor of S, a column a candidate */
    uint32_t placed;  /* rows of factor in use */
};

/* Arena memory. VR_ERR_NOMEM. */
enum vr_status vr_gains_create(const struct vr_rerank_input *input, const struct vr_filtered *filtered,
                               struct vr_arena *arena, struct vr_gains *out);

/* A candidate was placed: bring every other's gain up to date. */
void vr_gains_place(struct vr_gains *gains, uint32_t candidate);

/* The parts of each kind, used by gain.c alone. */
enum vr_status vr_mmr_create(struct vr_gains *gains, struct vr_arena *arena);
void vr_mmr_place(struct vr_gains *gains, uint32_t candidate);
enum vr_status vr_dpp_create(struct vr_gains *gains, struct vr_arena *arena);
void vr_dpp_place(struct vr_gains *gains, uint32_t candidate);

/* gains->cosine[i] = cosine of the vectors of `candidate` and i, 0 where one has none. */
void vr_gains_compare(struct vr_gains *gains, uint32_t candidate);
#endif
