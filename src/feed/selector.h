/* The greedy selector: fills the positions one by one with the candidate of the best marginal gain among those that
 * the rules allow there. Nothing reorders afterwards. When nothing is allowed, rules give way in the configured order:
 * the first that is listed, then that and the second, and so on; the position goes to the best candidate that breaks
 * only rules that have given way. VR_RULE_SEEN gives way only while the feed holds fewer than min_items. */
#ifndef VIREO_FEED_SELECTOR_H
#define VIREO_FEED_SELECTOR_H

#include "caps.h"
#include "filter.h"
#include "gain.h"

/* Fill out->item, count, gave_way and short_reason; `filtered` and `out->filtered` are as vr_filter_apply left them,
 * less the candidates brought back. VR_ERR_NOMEM. */
enum vr_status vr_select(const struct vr_rerank_input *input, const struct vr_filtered *filtered,
                         struct vr_arena *arena, struct vr_rerank_output *out);
#endif
