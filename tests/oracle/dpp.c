/* The C selector for the DPP oracle (test_dpp.py): reads cases from standard input, re-ranks each by DPP gain alone,
 * and writes the chosen candidates. Input, little-endian, a case after the other: u32 count, dim, want, f32 theta, then
 * f32 score [count] and vector [count, dim]. Output: u32 [want] and f32 gain [want] a case. */
#include <stdio.h>
#include <stdlib.h>

#include "feed/rerank.h"

struct header {
    uint32_t count, dim, want;
    float theta;
};

static void *zeros(struct vr_arena *arena, size_t count, size_t size)
{
    void *block = vr_arena_calloc(arena, count, size);
    if (block == NULL) {
        exit(3);
    }
    return block;
}

static float *read_floats(struct vr_arena *arena, size_t count)
{
    float *value = zeros(arena, count, sizeof *value);
    if (fread(value, sizeof *value, count, stdin) != count) {
        exit(4);
    }
    return value;
}

/* Candidates that every filter lets pass, and no rules. */
static struct vr_rerank_input make_input(struct vr_arena *arena, const struct header *h,
                                         const struct vr_rerank_config *config)
{
    uint8_t *safety = zeros(arena, h->count, 1);
    bool *none = zeros(arena, h->count, sizeof *none);
    const float *score = read_floats(arena, h->count); /* in the order of the input */
    const float *vector = read_floats(arena, (size_t)h->count * h->dim);
    for (uint32_t i = 0; i < h->count; i++) {
        safety[i] = VR_SAFETY_SAFE;
    }
    return (struct vr_rerank_input){.config = config,
                                    .count = h->count,
                                    .want = h->want,
                                    .viewer_age = 30.0f,
                                    .score = score,
                                    .creator = zeros(arena, h->count, sizeof(int32_t)),
                                    .topic = zeros(arena, h->count, sizeof(int32_t)),
                                    .age_h = zeros(arena, h->count, sizeof(float)),
                                    .safety = safety,
                                    .min_age = zeros(arena, h->count, 1),
                                    .unsafe_score = zeros(arena, h->count, sizeof(float)),
                                    .blocked = none,
                                    .excluded = none,
                                    .seen = none,
                                    .served = none,
                                    .vector = vector,
                                    .dim = h->dim};
}

static int run_case(struct vr_arena *arena, const struct header *h)
{
    struct vr_rerank_config config = {
        .gain = VR_GAIN_DPP, .dpp_theta = h->theta, .safety_threshold = 0.5f, .adult_age = 18};
    struct vr_rerank_input input = make_input(arena, h, &config);
    struct vr_rerank_output out;
    if (vr_rerank(&input, arena, &out) != VR_OK || out.count != h->want) {
        return 5;
    }
    for (uint32_t p = 0; p < out.count; p++) {
        fwrite(&out.item[p].candidate, sizeof(uint32_t), 1, stdout);
    }
    for (uint32_t p = 0; p < out.count; p++) {
        fwrite(&out.item[p].gain, sizeof(float), 1, stdout);
    }
    return 0;
}

int main(void)
{
    struct vr_arena *arena;
    struct header header;
    int result = 0;
    if (vr_arena_create(1u << 20, &arena) != VR_OK) {
        return 3;
    }
    while (result == 0 && fread(&header, sizeof header, 1, stdin) == 1) {
        result = run_case(arena, &header);
        vr_arena_reset(arena);
    }
    vr_arena_destroy(arena);
    return result;
}
