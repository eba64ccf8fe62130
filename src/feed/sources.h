/* The three sources that are look-ups on the CPU. Each fills at most `want` rows into `out` (arena memory), best first,
 * ties by smaller row (trending: by smaller number), videos in `skip` (ascending rows: excluded, seen, served) left
 * out. VR_OK with count 0 when there is nothing to give; VR_ERR_TIMEOUT, VR_ERR_NOMEM. */
#ifndef VIREO_FEED_SOURCES_H
#define VIREO_FEED_SOURCES_H

#include "candidate.h"

struct vr_source_input {
    struct vr_state *state;
    const struct vr_catalogue *catalogue;
    const struct vr_viewer *viewer;
    const struct vr_state_config *config;
    const int32_t *skip; /* [skip_count], ascending */
    uint32_t skip_count;
    int64_t now_ms;
    uint32_t want;
    uint64_t deadline_us; /* of the source's time budget, monotonic: VR_ERR_TIMEOUT when it passes */
    struct vr_arena *arena;
};

/* Trending: highest decayed weight of clicks, finishes and likes. */
enum vr_status vr_source_trending(const struct vr_source_input *input, struct vr_source_result *out);

/* Social: videos that friends finished, liked or watched long. A watch weighs 2 (like), else 1.5 (finish), else 1
 * (long_view), halved every social_half_life_h; watches of unknown time weigh nothing. Score: the sum over friends of
 * each one's heaviest watch of the video. */
enum vr_status vr_source_social(const struct vr_source_input *input, struct vr_source_result *out);

/* Subscriptions: uploads of followed creators from before now_ms, no older than subscription_max_age_h, newest first.
 * Score: minus age in hours. */
enum vr_status vr_source_subscriptions(const struct vr_source_input *input, struct vr_source_result *out);
#endif
