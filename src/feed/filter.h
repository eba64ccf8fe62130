/* The guardrails' filters: which candidates may be placed at all, and which only if VR_RULE_SEEN gives way. */
#ifndef VIREO_FEED_FILTER_H
#define VIREO_FEED_FILTER_H

#include "rerank.h"

/* What the filters decided, in arena memory. A reserve candidate was removed as seen or served and by nothing else. */
struct vr_filtered {
    bool *passed;          /* [count] */
    bool *reserve;         /* [count] */
    uint8_t *by;           /* [count], enum vr_filter that removed it; undefined where passed */
    uint32_t passed_count; /* candidates that passed */
    uint32_t removed[VR_FILTER_COUNT];
};

/* Apply the filters in the order of enum vr_filter; each removed candidate is counted under the first that hit it.
 * VR_ERR_NOMEM. */
enum vr_status vr_filter_apply(const struct vr_rerank_input *input, struct vr_arena *arena, struct vr_filtered *out);

/* Whether one filter removes one candidate; unknown safety, classifier score or age limit counts against it. */
bool vr_filter_removes(const struct vr_rerank_input *input, enum vr_filter filter, uint32_t candidate);
#endif
