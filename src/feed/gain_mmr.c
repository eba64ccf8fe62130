/* Maximal marginal relevance (gain.h): a placed video costs one cosine for each candidate that is settled. */
#include "gain.h"

#include <math.h>

static void refresh(struct vr_gains *gains, uint32_t i)
{
    double lambda = gains->input->config->mmr_lambda;
    gains->value[i] = lambda * gains->quality[i] - (1.0 - lambda) * gains->nearest[i];
}

enum vr_status vr_mmr_create(struct vr_gains *gains, struct vr_arena *arena)
{
    gains->nearest = vr_arena_calloc(arena, gains->input->count, sizeof *gains->nearest);
    if (gains->nearest == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < gains->input->count; i++) {
        refresh(gains, i);
    }
    return VR_OK;
}

void vr_mmr_settle(struct vr_gains *gains, uint32_t candidate)
{
    for (uint32_t p = gains->settled[candidate]; p < gains->placed_count; p++) {
        double cosine = vr_gains_cosine(gains, candidate, gains->placed[p]);
        gains->nearest[candidate] = fmax(gains->nearest[candidate], cosine);
    }
    refresh(gains, candidate);
}
