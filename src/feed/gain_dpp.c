/* Greedy MAP of a determinantal point process (gain.h) with the incremental Cholesky factor of Chen, Zhang and Zhou,
 * "Fast Greedy MAP Inference for Determinantal Point Process", NeurIPS 2018: position k costs O(k + dim) a candidate.
 */
#include "gain.h"

#include <math.h>

/* Rounding may take a residual to 0 or below where S is all but singular; the nugget is its true lower bound. */
static void refresh(struct vr_gains *gains, uint32_t i)
{
    double theta = gains->input->config->dpp_theta;
    double residual = fmax(gains->residual[i], 0.5 * VR_DPP_NUGGET);
    gains->value[i] = theta * gains->quality[i] + (1.0 - theta) * log(residual);
}

enum vr_status vr_dpp_create(struct vr_gains *gains, struct vr_arena *arena)
{
    uint32_t count = gains->input->count;
    gains->residual = vr_arena_calloc(arena, count, sizeof *gains->residual);
    gains->factor = vr_arena_calloc(arena, (size_t)gains->input->want * count, sizeof *gains->factor);
    if (gains->residual == NULL || gains->factor == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        gains->residual[i] = 1.0;
        refresh(gains, i);
    }
    return VR_OK;
}

/* row[i] += sum over earlier rows k of factor[k, candidate] * factor[k, i] */
static void accumulate(const struct vr_gains *gains, uint32_t candidate, double *row)
{
    uint32_t count = gains->input->count;
    for (uint32_t k = 0; k < gains->placed; k++) {
        const double *earlier = gains->factor + (size_t)k * count;
        double weight = earlier[candidate];
        for (uint32_t i = 0; i < count; i++) {
            row[i] += weight * earlier[i];
        }
    }
}

void vr_dpp_place(struct vr_gains *gains, uint32_t candidate)
{
    uint32_t count = gains->input->count;
    double *row = gains->factor + (size_t)gains->placed * count; /* zeros until now */
    double root = sqrt(fmax(gains->residual[candidate], 0.5 * VR_DPP_NUGGET));
    accumulate(gains, candidate, row);
    vr_gains_compare(gains, candidate);
    for (uint32_t i = 0; i < count; i++) {
        double similarity = i == candidate ? 1.0 : (1.0 - VR_DPP_NUGGET) * 0.5 * (1.0 + gains->cosine[i]);
        row[i] = (similarity - row[i]) / root;
        gains->residual[i] -= row[i] * row[i];
        refresh(gains, i);
    }
    gains->placed++;
}
