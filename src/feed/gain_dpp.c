/* Greedy MAP of a determinantal point process (gain.h) with the incremental Cholesky factor of Chen, Zhang and Zhou,
 * "Fast Greedy MAP Inference for Determinantal Point Process", NeurIPS 2018: the k-th placed video costs O(k + dim)
 * for each candidate that is settled. */
#include "gain.h"

#include <math.h>

/* Rounding may take a residual to 0 or below where S is all but singular; the nugget is its true lower bound. */
static double floored(double residual)
{
    return fmax(residual, 0.5 * VR_DPP_NUGGET);
}

static void refresh(struct vr_gains *gains, uint32_t i)
{
    double theta = gains->input->config->dpp_theta;
    gains->value[i] = theta * gains->quality[i] + (1.0 - theta) * log(floored(gains->residual[i]));
}

enum vr_status vr_dpp_create(struct vr_gains *gains, struct vr_arena *arena)
{
    uint32_t count = gains->input->count;
    gains->residual = vr_arena_calloc(arena, count, sizeof *gains->residual);
    gains->factor = vr_arena_calloc(arena, (size_t)count * gains->input->want, sizeof *gains->factor);
    if (gains->residual == NULL || gains->factor == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        gains->residual[i] = 1.0;
        refresh(gains, i);
    }
    return VR_OK;
}

static double *factor_row(const struct vr_gains *gains, uint32_t candidate)
{
    return gains->factor + (size_t)candidate * gains->input->want;
}

/* The entry of a candidate's row for the p-th placed video, whose own row and residual are complete. */
static double factor_entry(const struct vr_gains *gains, uint32_t candidate, uint32_t p)
{
    uint32_t placed = gains->placed[p];
    const double *mine = factor_row(gains, candidate);
    const double *its = factor_row(gains, placed);
    double rest = (1.0 - VR_DPP_NUGGET) * 0.5 * (1.0 + vr_gains_cosine(gains, candidate, placed));
    for (uint32_t k = 0; k < p; k++) {
        rest -= mine[k] * its[k];
    }
    return rest / sqrt(floored(gains->residual[placed]));
}

void vr_dpp_settle(struct vr_gains *gains, uint32_t candidate)
{
    double *row = factor_row(gains, candidate);
    for (uint32_t p = gains->settled[candidate]; p < gains->placed_count; p++) {
        row[p] = factor_entry(gains, candidate, p);
        gains->residual[candidate] -= row[p] * row[p];
    }
    refresh(gains, candidate);
}
