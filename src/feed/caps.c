/* Window counts of the caps (caps.h). */
#include "caps.h"

#include <string.h>

/* [length] with -1 behind the candidates; NULL without memory. */
static int32_t *lengthened(const int32_t *group, uint32_t count, uint32_t length, struct vr_arena *arena)
{
    int32_t *out = vr_arena_alloc(arena, length * sizeof *out);
    if (out != NULL) {
        memcpy(out, group, count * sizeof *out);
        memset(out + count, 0xff, (length - count) * sizeof *out);
    }
    return out;
}

enum vr_status vr_caps_create(const struct vr_rerank_input *input, const struct vr_selection_loops *loops,
                              uint32_t length, struct vr_arena *arena, struct vr_caps *out)
{
    *out = (struct vr_caps){.input = input, .loops = loops, .length = length};
    out->creator = lengthened(input->creator, input->count, length, arena);
    out->topic = lengthened(input->topic, input->count, length, arena);
    out->placed = vr_arena_calloc(arena, input->want, sizeof *out->placed);
    if (out->creator == NULL || out->topic == NULL || out->placed == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t c = 0; c < input->config->cap_count; c++) {
        out->in_window[c] = vr_arena_calloc(arena, length, sizeof *out->in_window[c]);
        if (out->in_window[c] == NULL) {
            return VR_ERR_NOMEM;
        }
    }
    return VR_OK;
}

void vr_caps_mark(const struct vr_caps *caps, uint32_t *bits)
{
    const struct vr_rerank_config *config = caps->input->config;
    for (uint32_t c = 0; c < config->cap_count; c++) {
        caps->loops->mark_full(caps->in_window[c], config->cap[c].max, 1u << vr_caps_rule(&config->cap[c]),
                               caps->length, bits);
    }
}

/* Add `step` (1 or -1 as unsigned) to the count of every candidate in the group of `member`. */
static void shift(const struct vr_caps *caps, uint32_t c, uint32_t member, uint32_t step)
{
    const int32_t *group = caps->input->config->cap[c].by == VR_CAP_CREATOR ? caps->creator : caps->topic;
    if (group[member] >= 0) {
        caps->loops->count_group(group, group[member], step, caps->length, caps->in_window[c]);
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
