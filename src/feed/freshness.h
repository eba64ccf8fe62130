/* The freshness quota as deadlines on positions: at least `count` fresh videos among the first `by_position`. A
 * deadline past the end of the feed does not bind. */
#ifndef VIREO_FEED_FRESHNESS_H
#define VIREO_FEED_FRESHNESS_H

#include "rerank.h"

/* Younger than fresh_max_age_h; an unknown age is not fresh. */
static inline bool vr_is_fresh(const struct vr_rerank_input *input, uint32_t candidate)
{
    return input->age_h[candidate] < input->config->fresh_max_age_h;
}

/* Whether only a fresh video may stand at `position` (0-based), when `fresh` of those before it are fresh: the places
 * left up to some deadline, this one included, are no more than the fresh videos still missing. */
static inline bool vr_freshness_is_due(const struct vr_rerank_input *input, uint32_t position, uint32_t fresh)
{
    for (uint32_t d = 0; d < input->config->freshness_count; d++) {
        const struct vr_freshness_config *deadline = &input->config->freshness[d];
        bool open = position < deadline->by_position && deadline->by_position <= input->want;
        if (open && fresh + (deadline->by_position - position) <= deadline->count) {
            return true;
        }
    }
    return false;
}
#endif
