/* The guardrails: each rule by hand, then thousands of random inputs against the invariants, and the invariants
 * themselves against feeds that break them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_rerank.h"

static struct vr_arena *arena;

static void open_arena(void)
{
    cr_assert_eq(vr_arena_create(1u << 16, &arena), VR_OK);
}

static void close_arena(void)
{
    vr_arena_destroy(arena);
}

TestSuite(rerank, .init = open_arena, .fini = close_arena);

static struct vr_rerank_output run(const struct rerank_case *c)
{
    struct vr_rerank_output out;
    const char *why;
    cr_assert_eq(vr_rerank(&c->input, arena, &out), VR_OK);
    cr_assert(vr_rerank_is_valid(&c->input, &out, &why), "%s", why);
    return out;
}

/* The candidates of a feed must be exactly these, in order. */
static void expect_feed(const struct vr_rerank_output *out, const uint32_t *want, uint32_t count)
{
    cr_assert_eq(out->count, count, "%u items, not %u", out->count, count);
    for (uint32_t p = 0; p < count; p++) {
        cr_expect_eq(out->item[p].candidate, want[p], "position %u: %u, not %u", p + 1, out->item[p].candidate,
                     want[p]);
    }
}
#define EXPECT_FEED(out, ...) \
    expect_feed(out, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static const struct vr_move *find_move(const struct vr_rerank_output *out, uint32_t candidate, enum vr_move_kind kind,
                                       enum vr_rule rule)
{
    for (uint32_t p = 0; p < out->count; p++) {
        const struct vr_rerank_item *item = &out->item[p];
        for (uint32_t m = 0; item->candidate == candidate && m < item->move_count; m++) {
            if (item->moves[m].kind == kind && item->moves[m].rule == rule) {
                return &item->moves[m];
            }
        }
    }
    return NULL;
}

Test(rerank, score_alone_orders_by_score_and_ties_by_candidate)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 6, 4);
    c.score[5] = 0.9f;
    c.score[2] = 0.9f;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 2, 5, 1);
    cr_assert_null(out.short_reason);
    cr_expect_eq(out.item[1].score_rank, 2u);
    cr_expect_eq(out.item[2].score_rank, 3u);
}

Test(rerank, every_filter_removes_what_it_names_and_fails_closed)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 12, 12);
    c.blocked[0] = true;
    c.safety[1] = VR_SAFETY_UNKNOWN;
    c.safety[2] = VR_SAFETY_UNSAFE;
    c.unsafe_score[3] = NAN;
    c.unsafe_score[4] = 0.51f;
    c.min_age[5] = 31;
    c.excluded[6] = true;
    c.seen[7] = true;
    c.served[8] = true;
    c.score[9] = NAN;
    c.score[10] = INFINITY;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 11);
    const uint32_t removed[VR_FILTER_COUNT] = {1, 4, 1, 1, 1, 1, 2};
    for (uint32_t f = 0; f < VR_FILTER_COUNT; f++) {
        cr_expect_eq(out.filtered[f], removed[f], "%s", vr_filter_name((enum vr_filter)f));
    }
    cr_expect_str_eq(out.short_reason, "safety");
}

Test(rerank, the_first_filter_that_hits_is_the_one_counted)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 1, 1);
    c.safety[0] = VR_SAFETY_UNSAFE;
    c.excluded[0] = c.seen[0] = true;
    struct vr_rerank_output out = run(&c);
    cr_expect_eq(out.filtered[VR_FILTER_SAFETY], 1u);
    cr_expect_eq(out.filtered[VR_FILTER_EXCLUDED] + out.filtered[VR_FILTER_SEEN], 0u);
}

Test(rerank, a_viewer_of_unknown_age_is_a_minor)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 4, 4);
    c.min_age[1] = 13;
    c.min_age[2] = VR_MIN_AGE_UNKNOWN;
    c.min_age[3] = 18;
    c.input.viewer_age = NAN;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0);
    c.input.viewer_age = 14.0f;
    out = run(&c);
    EXPECT_FEED(&out, 0, 1);
    c.input.viewer_age = 18.0f;
    out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2, 3);
}

Test(rerank, seen_and_served_pass_where_the_configuration_says_so)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 3, 3);
    c.seen[0] = c.served[1] = true;
    c.config.drop_seen = c.config.drop_served = false;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2);
}

Test(rerank, a_cap_holds_in_every_window_and_the_trace_says_who_was_held)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 8, 6);
    c.creator[0] = c.creator[1] = c.creator[2] = 7;
    c.creator[7] = 99;
    c.cap[0] = (struct vr_cap_config){VR_CAP_CREATOR, 3, 1};
    c.config.cap_count = 1;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 3, 4, 1, 5, 6);
    const struct vr_move *move = find_move(&out, 1, VR_MOVE_HELD, VR_RULE_CREATOR_CAP);
    cr_assert_not_null(move);
    cr_expect_eq(move->position, 2u);
    cr_expect_null(find_move(&out, 3, VR_MOVE_HELD, VR_RULE_CREATOR_CAP));
}

Test(rerank, unknown_creators_and_topics_are_never_capped)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 4, 4);
    memset(c.creator, 0xff, 4 * sizeof *c.creator);
    c.cap[0] = (struct vr_cap_config){VR_CAP_CREATOR, 4, 1};
    c.config.cap_count = 1;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2, 3);
}

Test(rerank, a_rule_that_is_not_listed_makes_the_feed_short_and_is_the_reason)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 3, 3);
    c.topic[0] = c.topic[1] = c.topic[2] = 1;
    c.cap[0] = (struct vr_cap_config){VR_CAP_TOPIC, 3, 2};
    c.config.cap_count = 1;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 1);
    cr_expect_str_eq(out.short_reason, "topic_cap");
}

Test(rerank, rules_give_way_in_the_declared_order)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 3, 3);
    c.topic[0] = c.topic[1] = 1;     /* 1 breaks the topic cap after 0 */
    c.creator[0] = c.creator[2] = 5; /* 2 breaks the creator cap after 0 */
    c.cap[0] = (struct vr_cap_config){VR_CAP_TOPIC, 3, 1};
    c.cap[1] = (struct vr_cap_config){VR_CAP_CREATOR, 3, 1};
    c.config.cap_count = 2;
    c.config.give_way_count = 2;
    c.give_way[0] = VR_RULE_CREATOR_CAP;
    c.give_way[1] = VR_RULE_TOPIC_CAP;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 2, 1);
    cr_expect_eq(out.gave_way[VR_RULE_CREATOR_CAP], 1u);
    cr_expect_eq(out.gave_way[VR_RULE_TOPIC_CAP], 1u);
    cr_expect_eq(find_move(&out, 2, VR_MOVE_RULE_GAVE_WAY, VR_RULE_CREATOR_CAP)->position, 2u);
    c.give_way[0] = VR_RULE_TOPIC_CAP;
    c.give_way[1] = VR_RULE_CREATOR_CAP;
    out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2);
}

Test(rerank, the_freshness_quota_lifts_at_its_deadline_only)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 10, 5);
    for (uint32_t i = 0; i < 9; i++) {
        c.age_h[i] = i == 4 ? NAN : 100.0f;
    }
    c.freshness[0] = (struct vr_freshness_config){3, 1};
    c.config.freshness_count = 1;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 1, 9, 2, 3);
    const struct vr_move *lifted = find_move(&out, 9, VR_MOVE_LIFTED, VR_RULE_FRESHNESS);
    cr_assert_not_null(lifted);
    cr_expect_eq(lifted->position, 3u);
    cr_expect_eq(out.item[2].score_rank, 10u);
    c.age_h[1] = 1.0f; /* now the quota is met by score alone */
    out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2, 3, 4);
}

Test(rerank, two_deadlines_are_met_together)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 12, 6);
    for (uint32_t i = 0; i < 8; i++) {
        c.age_h[i] = 100.0f;
    }
    c.freshness[0] = (struct vr_freshness_config){6, 3};
    c.freshness[1] = (struct vr_freshness_config){2, 1};
    c.config.freshness_count = 2;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 8, 1, 2, 9, 10);
}

Test(rerank, freshness_gives_way_where_nothing_is_fresh)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 5, 4);
    for (uint32_t i = 0; i < 5; i++) {
        c.age_h[i] = 100.0f;
    }
    c.freshness[0] = (struct vr_freshness_config){3, 2};
    c.config.freshness_count = 1;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0);
    cr_expect_str_eq(out.short_reason, "freshness");
    c.config.give_way_count = 1;
    c.give_way[0] = VR_RULE_FRESHNESS;
    out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2, 3);
    cr_expect_eq(out.gave_way[VR_RULE_FRESHNESS], 2u);
}

Test(rerank, seen_comes_back_only_up_to_min_items_and_if_listed)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 8, 8);
    for (uint32_t i = 0; i < 6; i++) {
        c.seen[i] = i % 2 == 0;
        c.served[i] = i % 2 == 1;
    }
    c.config.min_items = 4;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 6, 7);
    cr_expect_str_eq(out.short_reason, "seen");
    c.config.give_way_count = 1;
    c.give_way[0] = VR_RULE_SEEN;
    out = run(&c);
    EXPECT_FEED(&out, 6, 7, 0, 1);
    cr_expect_eq(out.gave_way[VR_RULE_SEEN], 2u);
    cr_expect_eq(out.filtered[VR_FILTER_SEEN], 2u);
    cr_expect_eq(out.filtered[VR_FILTER_SERVED], 2u);
    cr_expect_not_null(find_move(&out, 0, VR_MOVE_RULE_GAVE_WAY, VR_RULE_SEEN));
    c.excluded[0] = c.blocked[1] = true; /* these never come back */
    out = run(&c);
    EXPECT_FEED(&out, 6, 7, 2, 3);
}

Test(rerank, no_candidates_give_an_empty_feed_with_its_reason)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 0, 5);
    struct vr_rerank_output out = run(&c);
    cr_expect_eq(out.count, 0u);
    cr_expect_str_eq(out.short_reason, "candidates");
}

Test(rerank, mmr_passes_over_a_copy_of_what_is_placed)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 4, 4);
    memcpy(c.vector + 16, c.vector, 16 * sizeof *c.vector); /* 1 looks like 0 */
    c.config.gain = VR_GAIN_MMR;
    c.config.mmr_lambda = 0.5f;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 2, 3, 1);
    cr_expect_float_eq(out.item[3].gain, 0.5 * (2.0 / 3.0) - 0.5, 1e-6);
    c.config.mmr_lambda = 1.0f;
    out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2, 3);
}

Test(rerank, dpp_passes_over_a_copy_and_follows_the_score_at_theta_one)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 4, 4);
    memcpy(c.vector + 16, c.vector, 16 * sizeof *c.vector);
    c.config.gain = VR_GAIN_DPP;
    c.config.dpp_theta = 0.5f;
    struct vr_rerank_output out = run(&c);
    EXPECT_FEED(&out, 0, 2, 3, 1);
    double half = 0.99 * 0.5; /* similarity of orthogonal videos */
    cr_expect_float_eq(out.item[1].gain, 0.5 * (1.0 / 3.0) + 0.5 * log(1.0 - half * half), 1e-6);
    c.config.dpp_theta = 1.0f;
    out = run(&c);
    EXPECT_FEED(&out, 0, 1, 2, 3);
}

Test(rerank, dpp_survives_more_positions_than_dimensions_and_equal_vectors)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 120, 50);
    for (uint32_t i = 0; i < 120; i++) {
        memset(c.vector + (size_t)i * 16, 0, 16 * sizeof *c.vector);
        c.vector[(size_t)i * 16] = 1.0f;
    }
    c.config.gain = VR_GAIN_DPP;
    struct vr_rerank_output out = run(&c);
    cr_expect_eq(out.count, 50u);
    for (uint32_t p = 0; p < out.count; p++) {
        cr_expect(isfinite(out.item[p].gain));
        cr_expect_eq(out.item[p].candidate, p); /* equal videos: the score decides */
    }
}

/* ---- thousands of random inputs ---- */

static uint32_t iterations(uint32_t normal)
{
    const char *text = getenv("VIREO_LONG");
    return text != NULL && text[0] != '\0' && text[0] != '0' ? 20 * normal : normal;
}

static bool same_feed(const struct vr_rerank_output *a, const struct vr_rerank_output *b)
{
    bool same = a->count == b->count;
    for (uint32_t p = 0; same && p < a->count; p++) {
        same = a->item[p].candidate == b->item[p].candidate && a->item[p].gain == b->item[p].gain;
    }
    return same;
}

/* Moves agree with the feed: what gave way is counted, what was held stands later, what was lifted is fresh. */
static void check_moves(const struct rerank_case *c, const struct vr_rerank_output *out)
{
    uint32_t gave_way[VR_RULE_COUNT] = {0};
    for (uint32_t p = 0; p < out->count; p++) {
        const struct vr_rerank_item *item = &out->item[p];
        for (uint32_t m = 0; m < item->move_count; m++) {
            const struct vr_move *move = &item->moves[m];
            bool here = move->position == p + 1;
            bool fresh = c->age_h[item->candidate] < c->config.fresh_max_age_h;
            gave_way[move->rule] += move->kind == VR_MOVE_RULE_GAVE_WAY ? 1u : 0u;
            cr_assert(move->kind == VR_MOVE_HELD ? move->position < p + 1 : here);
            cr_assert(move->kind != VR_MOVE_LIFTED || fresh);
        }
    }
    cr_assert_arr_eq(gave_way, out->gave_way, sizeof gave_way);
}

Test(rerank, thousands_of_random_inputs_hold_the_invariants)
{
    struct random r = {20260102};
    uint32_t cases = iterations(6000);
    uint32_t gave_way[VR_RULE_COUNT] = {0};
    uint32_t full = 0;
    for (uint32_t n = 0; n < cases; n++) {
        struct rerank_case c;
        struct vr_rerank_output out, again;
        const char *why;
        rerank_case_random(&c, arena, &r);
        cr_assert_eq(vr_rerank(&c.input, arena, &out), VR_OK);
        cr_assert(vr_rerank_is_valid(&c.input, &out, &why), "case %u: %s", n, why);
        if (c.input.want_trace) {
            check_moves(&c, &out);
        }
        c.input.want_trace = !c.input.want_trace; /* looking does not change the feed, nor does asking again */
        cr_assert_eq(vr_rerank(&c.input, arena, &again), VR_OK);
        cr_assert(same_feed(&out, &again), "case %u: the same input gave two feeds", n);
        for (uint32_t rule = 0; rule < VR_RULE_COUNT; rule++) {
            gave_way[rule] += out.gave_way[rule] > 0 ? 1u : 0u;
        }
        full += out.count == c.input.want ? 1u : 0u;
        vr_arena_reset(arena);
    }
    for (uint32_t rule = 0; rule < VR_RULE_COUNT; rule++) { /* the cases reach every rule */
        cr_expect_gt(gave_way[rule], cases / 100, "rule %u gave way in %u cases", rule, gave_way[rule]);
    }
    cr_expect(full > cases / 4 && full < cases, "%u full feeds of %u", full, cases);
}

/* Each step's choice against every other candidate, with gains recomputed from the definition. */
static double similarity(const struct rerank_case *c, uint32_t a, uint32_t b)
{
    double dot = 0.0, aa = 0.0, bb = 0.0;
    for (uint32_t k = 0; k < c->input.dim; k++) {
        double x = c->vector[(size_t)a * c->input.dim + k], y = c->vector[(size_t)b * c->input.dim + k];
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0.0 && bb > 0.0 ? dot / sqrt(aa * bb) : 0.0;
}

static double mmr_by_definition(const struct rerank_case *c, const struct vr_rerank_output *out, uint32_t placed,
                                uint32_t i)
{
    double nearest = 0.0;
    double scaled = (c->score[i] - c->score[c->input.count - 1]) / (c->score[0] - c->score[c->input.count - 1]);
    for (uint32_t p = 0; p < placed; p++) {
        nearest = fmax(nearest, similarity(c, i, out->item[p].candidate));
    }
    return c->config.mmr_lambda * scaled - (1.0 - c->config.mmr_lambda) * nearest;
}

Test(rerank, mmr_takes_the_largest_gain_by_definition_at_every_step)
{
    struct random r = {77};
    for (uint32_t n = 0; n < 100; n++) {
        struct rerank_case c;
        rerank_case_plain(&c, arena, 40, 20);
        for (uint32_t k = 0; k < 40 * c.input.dim; k++) {
            c.vector[k] = random_unit(&r) - 0.4f;
        }
        c.config.gain = VR_GAIN_MMR;
        c.config.mmr_lambda = 0.3f + 0.6f * random_unit(&r);
        struct vr_rerank_output out = run(&c);
        bool placed[40] = {false};
        for (uint32_t p = 0; p < out.count; p++) {
            double chosen = mmr_by_definition(&c, &out, p, out.item[p].candidate);
            for (uint32_t i = 0; i < 40; i++) {
                cr_assert(placed[i] || mmr_by_definition(&c, &out, p, i) <= chosen + 1e-9);
            }
            cr_assert_float_eq(out.item[p].gain, chosen, 1e-6);
            placed[out.item[p].candidate] = true;
        }
        vr_arena_reset(arena);
    }
}

/* ---- the invariants notice a broken feed ---- */

static void expect_refused(const struct rerank_case *c, const struct vr_rerank_output *out, const char *words)
{
    const char *why;
    cr_assert_not(vr_rerank_is_valid(&c->input, out, &why), "accepted: %s", words);
    cr_expect_not_null(strstr(why, words), "'%s' lacks '%s'", why, words);
}

Test(rerank, the_invariants_refuse_broken_feeds)
{
    struct rerank_case c;
    rerank_case_plain(&c, arena, 9, 4);
    c.creator[8] = c.creator[0];
    c.blocked[5] = true;
    c.seen[6] = true;
    c.cap[0] = (struct vr_cap_config){VR_CAP_CREATOR, 4, 1};
    c.config.cap_count = 1;
    c.freshness[0] = (struct vr_freshness_config){4, 1};
    c.config.freshness_count = 1;
    struct vr_rerank_output out = run(&c);
    const struct vr_rerank_item good = out.item[3];
    out.item[3].candidate = out.item[0].candidate;
    expect_refused(&c, &out, "twice");
    out.item[3].candidate = 5;
    expect_refused(&c, &out, "blocked");
    out.item[3].candidate = 99;
    expect_refused(&c, &out, "no candidate");
    out.item[3].candidate = 8;
    expect_refused(&c, &out, "broken at other positions");
    out.item[3].candidate = 6;
    expect_refused(&c, &out, "broken at other positions");
    out.item[3] = good;
    out.gave_way[VR_RULE_TOPIC_CAP] = 1;
    expect_refused(&c, &out, "broken at other positions");
    out.gave_way[VR_RULE_TOPIC_CAP] = 0;
    out.count = 3;
    expect_refused(&c, &out, "without a reason");
}
