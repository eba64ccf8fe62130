/* Guardrails: filters first, then one greedy selector that fills the positions (docs/configuration.md, "rerank").
 * Pure functions of their input: no clock, no state, no randomness. */
#ifndef VIREO_FEED_RERANK_H
#define VIREO_FEED_RERANK_H

#include "candidate.h"

/* Candidate attributes that the rules read, arrays [count] in candidate order. */
struct vr_rerank_input {
    const struct vr_rerank_config *config;
    uint32_t count;         /* candidates */
    uint32_t want;          /* positions to fill */
    float viewer_age;       /* NaN unknown: counts as a minor */
    const float *score;     /* NaN: dropped */
    const int32_t *creator; /* -1 unknown: counts as its own creator each */
    const int32_t *topic;   /* -1 unknown: counts as its own topic each */
    const float *age_h;     /* hours since upload, NaN unknown: not fresh */
    const uint8_t *safety, *min_age;
    const float *unsafe_score;
    const bool *blocked, *excluded, *seen, *served;
    const float *vector; /* [count, dim], unit or zero content vectors; for MMR and DPP */
    uint32_t dim;
    bool want_trace;
};

struct vr_rerank_item {
    uint32_t candidate; /* index into the input */
    float gain;
    uint32_t score_rank; /* this and the moves only with want_trace */
    struct vr_move *moves;
    uint32_t move_count;
};

struct vr_rerank_output {
    struct vr_rerank_item *item; /* [count], in position order, arena memory */
    uint32_t count;
    uint32_t filtered[VR_FILTER_COUNT]; /* each removed candidate once, under the first filter that removed it */
    uint32_t gave_way[VR_RULE_COUNT];   /* positions at which a rule gave way */
    const char *short_reason;           /* NULL when count == want */
};

/* Filters in the order of enum vr_filter (SCORE last), then selection. VR_ERR_NOMEM. */
enum vr_status vr_rerank(const struct vr_rerank_input *input, struct vr_arena *arena, struct vr_rerank_output *out);

/* Whether the configuration lists the rule among those that yield. */
bool vr_rule_may_give_way(const struct vr_rerank_config *config, enum vr_rule rule);

/* The invariants, from input and output alone: no item twice, none blocked, excluded, unsafe, unknown or too old for
 * the viewer; each rule broken at exactly as many positions as it gave way; quotas met unless freshness gave way; as
 * many items as wanted or a reason. False leaves the broken one in *why (static text). */
bool vr_rerank_is_valid(const struct vr_rerank_input *input, const struct vr_rerank_output *output, const char **why);
#endif
