/* The selector against a plain re-telling of its rules: no bookkeeping, every position judged anew from the feed so
 * far, every gain computed from its definition. Thousands of random inputs give the same feed, position by position. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "support_rerank.h"

#define MOST 200u
#define TIE 2e-6 /* gains are float32 (src/feed/gain.h) */

struct plain {
    const struct vr_rerank_input *in;
    uint32_t feed[64];
    uint32_t count;
};

static bool in_feed(const struct plain *p, uint32_t i)
{
    for (uint32_t k = 0; k < p->count; k++) {
        if (p->feed[k] == i) {
            return true;
        }
    }
    return false;
}

/* 0: never shown; 1: passes; 2: only where seen gives way. */
static int standing(const struct vr_rerank_input *in, uint32_t i)
{
    const struct vr_rerank_config *config = in->config;
    double age = in->viewer_age >= 0.0f ? in->viewer_age : 0.0;
    bool old_enough = in->min_age[i] == 255 ? age >= config->adult_age : in->min_age[i] <= age;
    bool safe = in->safety[i] == 1 && in->unsafe_score[i] <= config->safety_threshold;
    if (!safe || !old_enough || in->blocked[i] || in->excluded[i] || !isfinite(in->score[i])) {
        return 0;
    }
    return (config->drop_seen && in->seen[i]) || (config->drop_served && in->served[i]) ? 2 : 1;
}

static bool too_many(const struct plain *p, const struct vr_cap_config *cap, uint32_t i)
{
    const int32_t *group = cap->by == VR_CAP_CREATOR ? p->in->creator : p->in->topic;
    uint32_t members = 1;
    for (uint32_t back = 1; back < cap->window && back <= p->count; back++) {
        members += group[p->feed[p->count - back]] == group[i] ? 1u : 0u;
    }
    return group[i] >= 0 && members > cap->max;
}

static bool is_fresh(const struct plain *p, uint32_t i)
{
    return !isnan(p->in->age_h[i]) && p->in->age_h[i] < p->in->config->fresh_max_age_h;
}

/* Taking a stale video here would leave some deadline out of reach. */
static bool stale_is_too_late(const struct plain *p)
{
    uint32_t fresh = 0;
    for (uint32_t k = 0; k < p->count; k++) {
        fresh += is_fresh(p, p->feed[k]) ? 1u : 0u;
    }
    for (uint32_t d = 0; d < p->in->config->freshness_count; d++) {
        struct vr_freshness_config deadline = p->in->config->freshness[d];
        bool within = p->count < deadline.by_position && deadline.by_position <= p->in->want;
        uint32_t left_after = within ? deadline.by_position - p->count - 1 : 0;
        if (within && fresh + left_after < deadline.count) {
            return true;
        }
    }
    return false;
}

static bool breaks(const struct plain *p, enum vr_rule rule, uint32_t i)
{
    const struct vr_rerank_config *config = p->in->config;
    if (rule == VR_RULE_FRESHNESS) {
        return !is_fresh(p, i) && stale_is_too_late(p);
    }
    if (rule == VR_RULE_SEEN) {
        return standing(p->in, i) == 2;
    }
    for (uint32_t c = 0; c < config->cap_count; c++) {
        enum vr_rule of_cap = config->cap[c].by == VR_CAP_CREATOR ? VR_RULE_CREATOR_CAP : VR_RULE_TOPIC_CAP;
        if (of_cap == rule && too_many(p, &config->cap[c], i)) {
            return true;
        }
    }
    return false;
}

/* Whether the first `yielded` rules of give_way are all that the candidate breaks here. */
static bool is_allowed(const struct plain *p, uint32_t i, uint32_t yielded)
{
    for (uint32_t rule = 0; rule < VR_RULE_COUNT; rule++) {
        bool gives_way = false;
        for (uint32_t k = 0; k < yielded; k++) {
            gives_way = gives_way || p->in->config->give_way[k] == (enum vr_rule)rule;
        }
        gives_way = gives_way && (rule != VR_RULE_SEEN || p->count < p->in->config->min_items);
        if (!gives_way && breaks(p, (enum vr_rule)rule, i)) {
            return false;
        }
    }
    return standing(p->in, i) != 0 && !in_feed(p, i);
}

static double scaled(const struct vr_rerank_input *in, uint32_t i)
{
    double low = INFINITY, high = -INFINITY;
    for (uint32_t k = 0; k < in->count; k++) {
        if (standing(in, k) == 1) {
            low = fmin(low, in->score[k]);
            high = fmax(high, in->score[k]);
        }
    }
    return high > low ? (in->score[i] - low) / (high - low) : 1.0;
}

static double cosine(const struct vr_rerank_input *in, uint32_t a, uint32_t b)
{
    double dot = 0.0, aa = 0.0, bb = 0.0;
    for (uint32_t k = 0; k < in->dim; k++) {
        double x = in->vector[(size_t)a * in->dim + k], y = in->vector[(size_t)b * in->dim + k];
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0.0 && bb > 0.0 ? dot / sqrt(aa * bb) : 0.0;
}

static double gain(const struct plain *p, uint32_t i)
{
    double nearest = 0.0;
    if (p->in->config->gain == VR_GAIN_SCORE) {
        return p->in->score[i];
    }
    for (uint32_t k = 0; k < p->count; k++) {
        nearest = fmax(nearest, cosine(p->in, i, p->feed[k]));
    }
    double lambda = p->in->config->mmr_lambda;
    return lambda * scaled(p->in, i) - (1.0 - lambda) * nearest;
}

/* What may stand at the next position: allowed[i], under as few yielded rules as possible. False: nothing. */
static bool allowed_next(const struct plain *p, bool allowed[MOST])
{
    bool any = false;
    for (uint32_t yielded = 0; !any && yielded <= p->in->config->give_way_count; yielded++) {
        for (uint32_t i = 0; i < p->in->count; i++) {
            allowed[i] = is_allowed(p, i, yielded);
            any = any || allowed[i];
        }
    }
    return any;
}

/* The feed's choice at each position is allowed there and of the best gain; where the feed ends nothing is allowed. */
static void follow(const struct vr_rerank_input *in, const struct vr_rerank_output *out, uint32_t number)
{
    struct plain plain = {.in = in};
    bool allowed[MOST];
    for (uint32_t p = 0; p < out->count; p++) {
        uint32_t chosen = out->item[p].candidate;
        cr_assert(allowed_next(&plain, allowed), "case %u, position %u: nothing may stand here", number, p + 1);
        cr_assert(allowed[chosen], "case %u, position %u: not allowed", number, p + 1);
        double best = gain(&plain, chosen);
        for (uint32_t i = 0; i < in->count; i++) {
            cr_assert(!allowed[i] || gain(&plain, i) <= best + TIE, "case %u, position %u: %u is better", number, p + 1,
                      i);
        }
        cr_assert_float_eq(out->item[p].gain, best, 1e-5 * (1.0 + fabs(best)));
        plain.feed[plain.count++] = chosen;
    }
    cr_assert(out->count == in->want || !allowed_next(&plain, allowed), "case %u: ended too early", number);
}

Test(rerank_reference, random_inputs_give_the_feed_that_the_rules_tell)
{
    const char *text = getenv("VIREO_LONG");
    uint32_t cases = text != NULL && text[0] == '1' ? 20000 : 3000;
    struct random r = {99};
    struct vr_arena *arena;
    cr_assert_eq(vr_arena_create(1u << 16, &arena), VR_OK);
    for (uint32_t n = 0; n < cases; n++) {
        struct rerank_case c;
        struct vr_rerank_output out;
        rerank_case_random(&c, arena, &r);
        c.config.gain = n % 3 == 0 ? VR_GAIN_MMR : VR_GAIN_SCORE; /* DPP has its own oracle: tests/oracle/test_dpp.py */
        cr_assert_leq(c.input.count, MOST);
        cr_assert_eq(vr_rerank(&c.input, arena, &out), VR_OK);
        follow(&c.input, &out, n);
        vr_arena_reset(arena);
    }
    vr_arena_destroy(arena);
}
