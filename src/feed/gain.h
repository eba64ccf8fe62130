/* The marginal gain of each candidate given those already placed: one array that the selector reads. Gains only fall as
 * videos are placed, so a gain that is behind is an upper bound; it is brought up to date (settled) only for a
 * candidate that could still win, which few can.
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
    double *value;     /* [count], the gain of placing the candidate next, or more where it is not settled */
    double *quality;   /* [count], the scaled score */
    double *scale;     /* [count], 1 / length of the candidate's vector; 0 without content */
    double *nearest;   /* mmr: [count], largest cosine to the videos it was settled against, at least 0 */
    double *residual;  /* dpp: [count], det S(placed + i) / det S(placed) of the same videos */
    double *factor;    /* dpp: [count, want], rows of the Cholesky factor of S */
    uint32_t *settled; /* [count], how many of the placed videos its value knows */
    uint32_t *placed;  /* [want], candidates by position */
    uint32_t placed_count;
};

/* Arena memory. VR_ERR_NOMEM. */
enum vr_status vr_gains_create(const struct vr_rerank_input *input, const struct vr_filtered *filtered,
                               struct vr_arena *arena, struct vr_gains *out);

/* Bring value[candidate] up to date with all placed videos. */
void vr_gains_settle(struct vr_gains *gains, uint32_t candidate);

/* A candidate, settled, was placed. */
void vr_gains_place(struct vr_gains *gains, uint32_t candidate);

/* The parts of each kind, used by gain.c alone; settle takes in the placed videos from settled[candidate] on. */
enum vr_status vr_mmr_create(struct vr_gains *gains, struct vr_arena *arena);
void vr_mmr_settle(struct vr_gains *gains, uint32_t candidate);
enum vr_status vr_dpp_create(struct vr_gains *gains, struct vr_arena *arena);
void vr_dpp_settle(struct vr_gains *gains, uint32_t candidate);

/* Cosine of the vectors of two candidates, 0 where one has none. */
double vr_gains_cosine(const struct vr_gains *gains, uint32_t a, uint32_t b);
#endif
