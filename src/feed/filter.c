/* Filters of the guardrails (filter.h). Everything fails closed: what is not known to be safe is not shown. */
#include "filter.h"

#include <math.h>

static bool is_unsafe(const struct vr_rerank_input *input, uint32_t i)
{
    bool classified = input->unsafe_score[i] <= input->config->safety_threshold; /* false for NaN */
    return input->safety[i] != VR_SAFETY_SAFE || !classified;
}

/* A viewer sees what their age allows; a video without a known limit is for known adults alone. */
static bool is_too_old_for(const struct vr_rerank_input *input, uint32_t i)
{
    float age = input->viewer_age >= 0.0f ? input->viewer_age : 0.0f; /* NaN: a minor of age 0 */
    if (input->min_age[i] == VR_MIN_AGE_UNKNOWN) {
        return age < (float)input->config->adult_age;
    }
    return (float)input->min_age[i] > age;
}

static inline bool removes(const struct vr_rerank_input *input, enum vr_filter filter, uint32_t candidate)
{
    switch (filter) {
    case VR_FILTER_BLOCKED: return input->blocked[candidate];
    case VR_FILTER_SAFETY: return is_unsafe(input, candidate);
    case VR_FILTER_AGE: return is_too_old_for(input, candidate);
    case VR_FILTER_EXCLUDED: return input->excluded[candidate];
    case VR_FILTER_SEEN: return input->config->drop_seen && input->seen[candidate];
    case VR_FILTER_SERVED: return input->config->drop_served && input->served[candidate];
    case VR_FILTER_SCORE: return !isfinite(input->score[candidate]);
    }
    return true;
}

bool vr_filter_removes(const struct vr_rerank_input *input, enum vr_filter filter, uint32_t candidate)
{
    return removes(input, filter, candidate);
}

/* The first filter that removes the candidate, or VR_FILTER_COUNT. Unrolled, the choice of filter costs nothing. */
static uint32_t first_filter(const struct vr_rerank_input *input, uint32_t candidate)
{
#pragma GCC unroll 8
    for (uint32_t filter = 0; filter < VR_FILTER_COUNT; filter++) {
        if (removes(input, (enum vr_filter)filter, candidate)) {
            return filter;
        }
    }
    return VR_FILTER_COUNT;
}

static void judge(const struct vr_rerank_input *input, uint32_t i, struct vr_filtered *out)
{
    uint32_t filter = first_filter(input, i);
    out->passed[i] = filter == VR_FILTER_COUNT;
    out->by[i] = (uint8_t)filter;
    if (out->passed[i]) {
        out->passed_count++;
        return;
    }
    out->removed[filter]++;
    bool familiar = filter == VR_FILTER_SEEN || filter == VR_FILTER_SERVED;
    out->reserve[i] = familiar && !vr_filter_removes(input, VR_FILTER_SCORE, i);
}

enum vr_status vr_filter_apply(const struct vr_rerank_input *input, struct vr_arena *arena, struct vr_filtered *out)
{
    *out = (struct vr_filtered){0};
    out->passed = vr_arena_calloc(arena, input->count, sizeof *out->passed);
    out->reserve = vr_arena_calloc(arena, input->count, sizeof *out->reserve);
    out->by = vr_arena_calloc(arena, input->count, sizeof *out->by);
    if (out->passed == NULL || out->reserve == NULL || out->by == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < input->count; i++) {
        judge(input, i, out);
    }
    return VR_OK;
}
