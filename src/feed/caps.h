/* Caps: at most `max` videos of one creator (or topic) in any `window` consecutive positions. Kept for each candidate
 * and cap: how many of its group stand in the window that ends before the next position. */
#ifndef VIREO_FEED_CAPS_H
#define VIREO_FEED_CAPS_H

#include "rerank.h"
#include "selection_loops.h"

struct vr_caps {
    const struct vr_rerank_input *input;
    const struct vr_selection_loops *loops;
    uint32_t length;                  /* as of struct vr_gains */
    int32_t *creator, *topic;         /* [length], the input's; -1 behind */
    uint32_t *in_window[VR_CAPS_MAX]; /* by cap, [length]: of the candidate's group in the last window - 1 positions */
    uint32_t *placed;                 /* [want], candidates by position */
    uint32_t placed_count;
};

/* Arena memory. VR_ERR_NOMEM. */
enum vr_status vr_caps_create(const struct vr_rerank_input *input, const struct vr_selection_loops *loops,
                              uint32_t length, struct vr_arena *arena, struct vr_caps *out);

/* Add to bits [length] the (1 << enum vr_rule) of each cap that forbids the candidate at the next position. */
void vr_caps_mark(const struct vr_caps *caps, uint32_t *bits);

/* Put the candidate at the next position. */
void vr_caps_place(struct vr_caps *caps, uint32_t candidate);

/* The group of a candidate under a cap; -1 belongs to no group. */
static inline const int32_t *vr_caps_groups(const struct vr_rerank_input *input, const struct vr_cap_config *cap)
{
    return cap->by == VR_CAP_CREATOR ? input->creator : input->topic;
}

static inline enum vr_rule vr_caps_rule(const struct vr_cap_config *cap)
{
    return cap->by == VR_CAP_CREATOR ? VR_RULE_CREATOR_CAP : VR_RULE_TOPIC_CAP;
}
#endif
