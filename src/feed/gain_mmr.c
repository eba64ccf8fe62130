/* Maximal marginal relevance (gain.h): the largest cosine to a placed video is kept up to date, so that a position
 * costs one cosine a candidate. */
#include "gain.h"

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

void vr_mmr_place(struct vr_gains *gains, uint32_t candidate)
{
    vr_gains_compare(gains, candidate);
    for (uint32_t i = 0; i < gains->input->count; i++) {
        if (gains->cosine[i] > gains->nearest[i]) {
            gains->nearest[i] = gains->cosine[i];
            refresh(gains, i);
        }
    }
}
