/* Inputs for the re-ranking tests (support_rerank.h). */
#include "support_rerank.h"

#include <math.h>

uint32_t random_below(struct random *r, uint32_t bound)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return (uint32_t)((r->state * 0x2545f4914f6cdd1dULL) >> 33) % bound;
}

float random_unit(struct random *r)
{
    return (float)random_below(r, 1u << 24) / 16777216.0f;
}

static void allocate(struct rerank_case *c, struct vr_arena *arena, uint32_t count, uint32_t dim)
{
    c->score = vr_arena_calloc(arena, count, sizeof *c->score);
    c->age_h = vr_arena_calloc(arena, count, sizeof *c->age_h);
    c->unsafe_score = vr_arena_calloc(arena, count, sizeof *c->unsafe_score);
    c->vector = vr_arena_calloc(arena, (size_t)count * dim, sizeof *c->vector);
    c->creator = vr_arena_calloc(arena, count, sizeof *c->creator);
    c->topic = vr_arena_calloc(arena, count, sizeof *c->topic);
    c->safety = vr_arena_calloc(arena, count, sizeof *c->safety);
    c->min_age = vr_arena_calloc(arena, count, sizeof *c->min_age);
    c->blocked = vr_arena_calloc(arena, count, sizeof *c->blocked);
    c->excluded = vr_arena_calloc(arena, count, sizeof *c->excluded);
    c->seen = vr_arena_calloc(arena, count, sizeof *c->seen);
    c->served = vr_arena_calloc(arena, count, sizeof *c->served);
}

static void connect(struct rerank_case *c, uint32_t count, uint32_t want, uint32_t dim)
{
    c->config.cap = c->cap;
    c->config.freshness = c->freshness;
    c->config.give_way = c->give_way;
    c->input = (struct vr_rerank_input){
        .config = &c->config,
        .count = count,
        .want = want,
        .viewer_age = 30.0f,
        .score = c->score,
        .creator = c->creator,
        .topic = c->topic,
        .age_h = c->age_h,
        .safety = c->safety,
        .min_age = c->min_age,
        .unsafe_score = c->unsafe_score,
        .blocked = c->blocked,
        .excluded = c->excluded,
        .seen = c->seen,
        .served = c->served,
        .vector = c->vector,
        .dim = dim,
        .want_trace = true,
    };
}

void rerank_case_plain(struct rerank_case *c, struct vr_arena *arena, uint32_t count, uint32_t want)
{
    const uint32_t dim = 16;
    *c = (struct rerank_case){0};
    allocate(c, arena, count, dim);
    c->config = (struct vr_rerank_config){.gain = VR_GAIN_SCORE,
                                          .mmr_lambda = 0.8f,
                                          .dpp_theta = 0.7f,
                                          .min_items = 20,
                                          .fresh_max_age_h = 72.0f,
                                          .drop_seen = true,
                                          .drop_served = true,
                                          .safety_threshold = 0.5f,
                                          .adult_age = 18};
    connect(c, count, want, dim);
    for (uint32_t i = 0; i < count; i++) {
        c->score[i] = 1.0f - (float)i / (float)count;
        c->age_h[i] = 1.0f;
        c->creator[i] = (int32_t)i;
        c->topic[i] = (int32_t)i;
        c->safety[i] = VR_SAFETY_SAFE;
        c->vector[(size_t)i * dim + i % dim] = 1.0f;
    }
}

static void random_vector(struct random *r, float *vector, uint32_t dim)
{
    double square = 0.0;
    for (uint32_t k = 0; k < dim; k++) {
        vector[k] = 2.0f * random_unit(r) - 1.0f;
        square += (double)vector[k] * vector[k];
    }
    bool none = random_below(r, 20) == 0 || square <= 0.0;
    for (uint32_t k = 0; k < dim; k++) {
        vector[k] = none ? 0.0f : (float)(vector[k] / sqrt(square));
    }
}

static void random_candidate(struct rerank_case *c, struct random *r, uint32_t i, uint32_t creators, uint32_t topics)
{
    static const uint8_t age_limits[] = {0, 0, 0, 13, 16, 18, 21, VR_MIN_AGE_UNKNOWN};
    c->score[i] = random_below(r, 30) == 0 ? NAN : roundf(random_unit(r) * 64.0f) / 8.0f; /* ties are common */
    c->age_h[i] = random_below(r, 10) == 0 ? NAN : random_unit(r) * 300.0f;
    c->unsafe_score[i] = random_below(r, 20) == 0 ? NAN : random_unit(r) * 0.6f;
    c->creator[i] = (int32_t)random_below(r, creators + 1) - 1;
    c->topic[i] = (int32_t)random_below(r, topics + 1) - 1;
    c->safety[i] = random_below(r, 8) == 0 ? (uint8_t)random_below(r, 4) : (uint8_t)VR_SAFETY_SAFE;
    c->min_age[i] = age_limits[random_below(r, sizeof age_limits)];
    c->blocked[i] = random_below(r, 25) == 0;
    c->excluded[i] = random_below(r, 25) == 0;
    c->seen[i] = random_below(r, 5) == 0;
    c->served[i] = random_below(r, 8) == 0;
    random_vector(r, c->vector + (size_t)i * c->input.dim, c->input.dim);
}

static void random_rules(struct rerank_case *c, struct random *r)
{
    c->config.cap_count = random_below(r, 4);
    for (uint32_t k = 0; k < c->config.cap_count; k++) {
        uint32_t window = 2 + random_below(r, 12);
        enum vr_cap_by by = random_below(r, 2) == 0 ? VR_CAP_CREATOR : VR_CAP_TOPIC;
        c->cap[k] = (struct vr_cap_config){by, window, 1 + random_below(r, window - 1)};
    }
    c->config.freshness_count = random_below(r, 4);
    for (uint32_t k = 0; k < c->config.freshness_count; k++) {
        uint32_t by = 1 + random_below(r, 50);
        c->freshness[k] = (struct vr_freshness_config){by, 1 + random_below(r, by < 6 ? by : 6)};
    }
    enum vr_rule order[VR_RULE_COUNT] = {VR_RULE_FRESHNESS, VR_RULE_TOPIC_CAP, VR_RULE_CREATOR_CAP, VR_RULE_SEEN};
    c->config.give_way_count = random_below(r, VR_RULE_COUNT + 1);
    for (uint32_t k = 0; k < VR_RULE_COUNT; k++) {
        uint32_t other = k + random_below(r, VR_RULE_COUNT - k);
        c->give_way[k] = order[other];
        order[other] = order[k];
    }
}

void rerank_case_random(struct rerank_case *c, struct vr_arena *arena, struct random *r)
{
    uint32_t count = random_below(r, 4) == 0 ? random_below(r, 30) : random_below(r, 160);
    uint32_t dim = 8 + 4 * random_below(r, 3);
    uint32_t creators = 1 + random_below(r, 40);
    uint32_t topics = 1 + random_below(r, 10);
    *c = (struct rerank_case){0};
    allocate(c, arena, count, dim);
    c->config = (struct vr_rerank_config){.gain = (enum vr_gain)random_below(r, 3),
                                          .mmr_lambda = random_unit(r),
                                          .dpp_theta = random_below(r, 8) == 0 ? 1.0f : random_unit(r),
                                          .min_items = random_below(r, 30),
                                          .fresh_max_age_h = 10.0f + 100.0f * random_unit(r),
                                          .drop_seen = random_below(r, 4) != 0,
                                          .drop_served = random_below(r, 4) != 0,
                                          .safety_threshold = 0.5f,
                                          .adult_age = 18};
    connect(c, count, 1 + random_below(r, 50), dim);
    c->input.viewer_age = random_below(r, 3) == 0 ? NAN : 10.0f + 20.0f * random_unit(r);
    c->input.want_trace = random_below(r, 2) == 0;
    for (uint32_t i = 0; i < count; i++) {
        random_candidate(c, r, i, creators, topics);
    }
    random_rules(c, r);
}
