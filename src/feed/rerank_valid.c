/* The invariants of a re-ranked feed, checked from the input and the output alone, by counting over windows rather than
 * by the selector's bookkeeping. For property tests and for `assert`. */
#include "rerank.h"

#include <math.h>

#include "caps.h"
#include "freshness.h"

/* Unknown safety, an unknown classifier score and an unknown age limit for a minor all forbid the video. */
static bool may_be_shown(const struct vr_rerank_input *in, uint32_t i)
{
    bool safe = in->safety[i] == VR_SAFETY_SAFE && !isnan(in->unsafe_score[i]) &&
                in->unsafe_score[i] <= in->config->safety_threshold;
    float age = isnan(in->viewer_age) || in->viewer_age < 0.0f ? 0.0f : in->viewer_age;
    bool minor = age < (float)in->config->adult_age;
    bool of_age = in->min_age[i] == VR_MIN_AGE_UNKNOWN ? !minor : (float)in->min_age[i] <= age;
    return safe && of_age && !in->blocked[i] && !in->excluded[i] && isfinite(in->score[i]);
}

static bool is_familiar(const struct vr_rerank_input *in, uint32_t i)
{
    return (in->config->drop_seen && in->seen[i]) || (in->config->drop_served && in->served[i]);
}

static const char *check_items(const struct vr_rerank_input *in, const struct vr_rerank_output *out)
{
    for (uint32_t p = 0; p < out->count; p++) {
        uint32_t candidate = out->item[p].candidate;
        if (candidate >= in->count) {
            return "an item is no candidate";
        }
        if (!may_be_shown(in, candidate)) {
            return "an item is blocked, unsafe, not for this age, excluded or without a score";
        }
        for (uint32_t q = 0; q < p; q++) {
            if (out->item[q].candidate == candidate) {
                return "an item stands twice";
            }
        }
    }
    return NULL;
}

/* Whether the item at p makes one group too many in the window that ends there. */
static bool breaks_cap(const struct vr_rerank_input *in, const struct vr_rerank_output *out,
                       const struct vr_cap_config *cap, uint32_t p)
{
    const int32_t *group = vr_caps_groups(in, cap);
    int32_t mine = group[out->item[p].candidate];
    uint32_t first = p + 1 >= cap->window ? p + 1 - cap->window : 0;
    uint32_t members = 0;
    for (uint32_t q = first; q <= p; q++) {
        members += group[out->item[q].candidate] == mine ? 1u : 0u;
    }
    return mine >= 0 && members > cap->max;
}

static bool breaks_caps_of(const struct vr_rerank_input *in, const struct vr_rerank_output *out, enum vr_rule rule,
                           uint32_t p)
{
    for (uint32_t c = 0; c < in->config->cap_count; c++) {
        const struct vr_cap_config *cap = &in->config->cap[c];
        if (vr_caps_rule(cap) == rule && breaks_cap(in, out, cap, p)) {
            return true;
        }
    }
    return false;
}

/* Positions at which each rule is broken, as the feed itself shows. */
static void count_broken(const struct vr_rerank_input *in, const struct vr_rerank_output *out,
                         uint32_t broken[VR_RULE_COUNT])
{
    uint32_t fresh = 0;
    for (uint32_t p = 0; p < out->count; p++) {
        uint32_t candidate = out->item[p].candidate;
        bool is_fresh = vr_is_fresh(in, candidate);
        broken[VR_RULE_FRESHNESS] += !is_fresh && vr_freshness_is_due(in, p, fresh) ? 1u : 0u;
        broken[VR_RULE_TOPIC_CAP] += breaks_caps_of(in, out, VR_RULE_TOPIC_CAP, p) ? 1u : 0u;
        broken[VR_RULE_CREATOR_CAP] += breaks_caps_of(in, out, VR_RULE_CREATOR_CAP, p) ? 1u : 0u;
        broken[VR_RULE_SEEN] += is_familiar(in, candidate) ? 1u : 0u;
        fresh += is_fresh ? 1u : 0u;
    }
}

static const char *check_rules(const struct vr_rerank_input *in, const struct vr_rerank_output *out)
{
    uint32_t broken[VR_RULE_COUNT] = {0};
    count_broken(in, out, broken);
    for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
        if (broken[r] != out->gave_way[r]) {
            return "a rule is broken at other positions than those where it gave way";
        }
        if (broken[r] > 0 && !vr_rule_may_give_way(in->config, (enum vr_rule)r)) {
            return "a rule gave way that never yields";
        }
    }
    return broken[VR_RULE_SEEN] <= in->config->min_items ? NULL : "seen videos came back past min_items";
}

/* Where no rule gave way for it, each deadline within the feed has its fresh videos. */
static const char *check_quota(const struct vr_rerank_input *in, const struct vr_rerank_output *out)
{
    for (uint32_t d = 0; d < in->config->freshness_count && out->gave_way[VR_RULE_FRESHNESS] == 0; d++) {
        const struct vr_freshness_config *deadline = &in->config->freshness[d];
        uint32_t fresh = 0;
        for (uint32_t p = 0; p < out->count && p < deadline->by_position; p++) {
            fresh += vr_is_fresh(in, out->item[p].candidate) ? 1u : 0u;
        }
        if (deadline->by_position <= out->count && fresh < deadline->count) {
            return "a freshness deadline is missed though the rule did not give way";
        }
    }
    return NULL;
}

/* Every candidate is in the feed, counted as removed, or left over. */
static const char *check_counts(const struct vr_rerank_input *in, const struct vr_rerank_output *out)
{
    uint32_t removed = 0;
    for (uint32_t f = 0; f < VR_FILTER_COUNT; f++) {
        removed += out->filtered[f];
    }
    if (out->count > in->want || removed + out->count > in->count) {
        return "more items than asked for or than there are";
    }
    return (out->count < in->want) == (out->short_reason != NULL) ? NULL : "a short feed without a reason";
}

bool vr_rerank_is_valid(const struct vr_rerank_input *input, const struct vr_rerank_output *output, const char **why)
{
    const char *(*const check[])(const struct vr_rerank_input *, const struct vr_rerank_output *) = {
        check_items, check_rules, check_quota, check_counts};
    *why = NULL;
    for (size_t i = 0; i < sizeof check / sizeof check[0] && *why == NULL; i++) {
        *why = check[i](input, output);
    }
    return *why == NULL;
}
