/* Window counts of the caps (caps.h). */
#include "caps.h"

enum vr_status vr_caps_create(const struct vr_rerank_input *input, struct vr_arena *arena, struct vr_caps *out)
{
    *out = (struct vr_caps){.input = input};
    out->broken = vr_arena_calloc(arena, input->count, sizeof *out->broken);
    out->placed = vr_arena_calloc(arena, input->want, sizeof *out->placed);
    if (out->broken == NULL || out->placed == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t c = 0; c < input->config->cap_count; c++) {
        out->in_window[c] = vr_arena_calloc(arena, input->count, sizeof *out->in_window[c]);
        if (out->in_window[c] == NULL) {
            return VR_ERR_NOMEM;
        }
    }
    return VR_OK;
}

/* Several caps may belong to one rule, so its bit is made anew from all. */
static void judge(const struct vr_caps *caps, uint32_t candidate)
{
    const struct vr_rerank_config *config = caps->input->config;
    uint32_t broken = 0;
    for (uint32_t c = 0; c < config->cap_count; c++) {
        if (caps->in_window[c][candidate] >= config->cap[c].max) {
            broken |= 1u << vr_caps_rule(&config->cap[c]);
        }
    }
    caps->broken[candidate] = (uint8_t)broken;
}

/* Add `step` (1 or -1 as unsigned) to the count of every candidate in the group of `member`. */
static void shift(const struct vr_caps *caps, uint32_t c, uint32_t member, uint32_t step)
{
    const int32_t *group = vr_caps_groups(caps->input, &caps->input->config->cap[c]);
    int32_t mine = group[member];
    for (uint32_t i = 0; mine >= 0 && i < caps->input->count; i++) {
        if (group[i] == mine) {
            caps->in_window[c][i] += step;
            judge(caps, i);
        }
    }
}

void vr_caps_place(struct vr_caps *caps, uint32_t candidate)
{
    const struct vr_rerank_config *config = caps->input->config;
    caps->placed[caps->placed_count++] = candidate;
    for (uint32_t c = 0; c < config->cap_count; c++) {
        uint32_t window = config->cap[c].window;
        shift(caps, c, candidate, 1u);
        if (caps->placed_count >= window) {
            shift(caps, c, caps->placed[caps->placed_count - window], (uint32_t)-1);
        }
    }
}
