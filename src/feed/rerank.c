/* Re-ranking (rerank.h): filters, then the selector. */
#include "rerank.h"

#include <string.h>

#include "selector.h"

enum vr_status vr_rerank(const struct vr_rerank_input *input, struct vr_arena *arena, struct vr_rerank_output *out)
{
    struct vr_filtered filtered;
    *out = (struct vr_rerank_output){0};
    enum vr_status status = vr_filter_apply(input, arena, &filtered);
    if (status != VR_OK) {
        return status;
    }
    memcpy(out->filtered, filtered.removed, sizeof out->filtered);
    return vr_select(input, &filtered, arena, out);
}

bool vr_rule_may_give_way(const struct vr_rerank_config *config, enum vr_rule rule)
{
    for (uint32_t i = 0; i < config->give_way_count; i++) {
        if (config->give_way[i] == rule) {
            return true;
        }
    }
    return false;
}
