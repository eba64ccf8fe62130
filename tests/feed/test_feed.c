/* The whole way on a small random bundle: the same request gives the same feed, alone and in any batch; what the viewer
 * and the configuration forbid never appears; faults cost quality and are named. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_feed.h"
#include "support_rerank.h"

static struct feed_rig rig;

static bool has_bundle(void)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
    }
    return feed_bundle(1) != NULL;
}

static const struct vr_feed_item *find_item(const struct vr_feed_reply *reply, int32_t row)
{
    for (uint32_t p = 0; p < reply->item_count; p++) {
        if (reply->item[p].row == row) {
            return &reply->item[p];
        }
    }
    return NULL;
}

static bool is_degraded(const struct vr_feed_reply *reply, const char *what)
{
    for (uint32_t i = 0; i < reply->degraded_count; i++) {
        if (strcmp(reply->degraded[i], what) == 0) {
            return true;
        }
    }
    return false;
}

static struct vr_job *ask(const char *user)
{
    struct vr_job *job = feed_job(&rig, user);
    feed_ask(&rig, job);
    cr_assert_eq(job->reply.status, VR_OK, "%s", job->reply.error);
    return job;
}

/* ---- one request ---- */

Test(feed, a_known_viewer_gets_a_full_feed_from_all_five_sources)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    uint32_t returned[VR_SOURCE_COUNT] = {0};
    for (uint32_t viewer = 1; viewer <= 40; viewer++) {
        char id[16];
        snprintf(id, sizeof id, "%u", viewer);
        struct vr_job *job = ask(id);
        cr_expect(job->reply.item_count >= 20 || job->reply.short_reason != NULL);
        for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
            returned[s] += job->reply.source[s].returned;
        }
        for (uint32_t p = 0; p < job->reply.item_count; p++) {
            cr_expect_gt(job->reply.item[p].found_count, 0u);
            cr_expect(isfinite(job->reply.item[p].score));
            cr_expect_null(job->reply.item[p].trace);
        }
        feed_job_free(job);
    }
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        cr_expect_gt(returned[s], 0u, "%s never returned anything", vr_source_name((enum vr_source)s));
    }
    feed_rig_close(&rig);
}

Test(feed, a_new_viewer_is_served_and_content_is_off)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    struct vr_job *job = ask("nobody-knows-me");
    cr_expect_gt(job->reply.item_count, 0u);
    cr_expect_eq(job->reply.source[VR_SOURCE_CONTENT].status, VR_SOURCE_OFF);
    cr_expect_eq(job->reply.source[VR_SOURCE_SOCIAL].status, VR_SOURCE_OK);
    cr_expect_eq(job->reply.source[VR_SOURCE_SOCIAL].returned, 0u);
    cr_expect_gt(job->reply.source[VR_SOURCE_TRENDING].returned, 0u);
    const struct vr_bundle_videos *videos = &rig.model->bundle->videos;
    for (uint32_t p = 0; p < job->reply.item_count; p++) { /* unknown age: a minor of age 0 */
        cr_expect_eq(videos->min_age[job->reply.item[p].row], 0);
    }
    feed_job_free(job);
    feed_rig_close(&rig);
}

Test(feed, explanations_add_up)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    struct vr_job *job = feed_job(&rig, "3");
    job->request.explain = true;
    feed_ask(&rig, job);
    const struct vr_feed_reply *reply = &job->reply;
    cr_assert_gt(reply->item_count, 0u);
    cr_assert_gt(reply->gate_count, 0u);
    for (uint32_t p = 0; p < reply->item_count; p++) {
        const struct vr_trace *trace = reply->item[p].trace;
        cr_assert_not_null(trace);
        double sum = 0.0;
        for (uint32_t t = 0; t < reply->term_count; t++) {
            sum += trace->terms[t];
        }
        cr_expect_float_eq(sum, reply->item[p].score, 1e-4 * (1.0 + fabs(sum)));
        cr_assert_not_null(trace->gates);
        for (uint32_t g = 0; g < reply->gate_count; g++) {
            double mass = 0.0;
            for (uint32_t e = 0; e < reply->expert_count; e++) {
                mass += trace->gates[g * reply->expert_count + e];
            }
            cr_expect_float_eq(mass, 1.0, 1e-4);
        }
        cr_expect_gt(trace->score_rank, 0u);
    }
    feed_job_free(job);
    feed_rig_close(&rig);
}

/* ---- same request, same feed ---- */

static void two_lanes_and_a_pool(struct vr_feed_config *config)
{
    config->lanes.count = 2;
    config->lanes.pool_workers = 2;
}

Test(feed, alone_again_and_in_a_batch_are_the_same_bits)
{
    if (!has_bundle()) {
        return;
    }
    enum { GUESTS = 12 };
    struct vr_job *alone[GUESTS], *together[GUESTS], *again[GUESTS];
    char id[GUESTS][16];
    feed_rig_open(&rig, two_lanes_and_a_pool);
    for (uint32_t i = 0; i < GUESTS; i++) {
        snprintf(id[i], sizeof id[i], "%u", i == 0 ? 999 : i);
        alone[i] = ask(id[i]);
        again[i] = ask(id[i]);
        cr_expect(feed_same(&alone[i]->reply, &again[i]->reply), "viewer %s twice", id[i]);
        cr_expect_eq(alone[i]->reply.batch, 1u);
    }
    vr_feed_hold(rig.feed, GUESTS);
    for (uint32_t i = 0; i < GUESTS; i++) {
        together[i] = feed_job(&rig, id[i]);
        feed_submit(&rig, together[i]);
    }
    feed_wait(&rig, GUESTS);
    for (uint32_t i = 0; i < GUESTS; i++) {
        cr_expect_eq(together[i]->reply.batch, (uint32_t)GUESTS);
        cr_expect(feed_same(&alone[i]->reply, &together[i]->reply), "viewer %s in a batch", id[i]);
        feed_job_free(alone[i]);
        feed_job_free(again[i]);
        feed_job_free(together[i]);
    }
    feed_rig_close(&rig);
}

static void record(struct vr_feed_config *config)
{
    config->rerank.record_served = true;
}

Test(feed, what_was_served_does_not_come_again_and_a_dry_run_leaves_no_mark)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, record);
    struct vr_job *dry = feed_job(&rig, "5");
    dry->request.dry_run = true;
    feed_ask(&rig, dry);
    struct vr_job *first = ask("5");
    cr_expect(feed_same(&dry->reply, &first->reply));
    struct vr_job *second = ask("5");
    for (uint32_t p = 0; p < second->reply.item_count; p++) {
        cr_expect_null(find_item(&first->reply, second->reply.item[p].row));
    }
    feed_job_free(dry);
    feed_job_free(first);
    feed_job_free(second);
    feed_rig_close(&rig);
}

/* ---- what must not happen ---- */

static const char *blocked_ids[] = {"v1", "v7", "v20", "v21", "v22", "v23", "no-such-video"};

static void block(struct vr_feed_config *config)
{
    config->rerank.blocked = blocked_ids;
    config->rerank.blocked_count = 7;
}

static bool holds_id(const struct vr_str *ids, uint32_t count, struct vr_str id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (vr_str_equal(ids[i], id)) {
            return true;
        }
    }
    return false;
}

static void check_caps(const struct vr_feed_reply *reply)
{
    const struct vr_rerank_config *rules = &rig.feed_config.rerank;
    bool gave_way = is_degraded(reply, "rule_gave_way:topic_cap") || is_degraded(reply, "rule_gave_way:creator_cap");
    for (uint32_t c = 0; !gave_way && c < rules->cap_count; c++) {
        for (uint32_t last = 0; last < reply->item_count; last++) {
            const struct vr_feed_item *item = &reply->item[last];
            struct vr_str group = rules->cap[c].by == VR_CAP_CREATOR ? item->creator : item->topic;
            uint32_t members = 0;
            for (uint32_t p = last + 1 > rules->cap[c].window ? last + 1 - rules->cap[c].window : 0; p <= last; p++) {
                struct vr_str other =
                    rules->cap[c].by == VR_CAP_CREATOR ? reply->item[p].creator : reply->item[p].topic;
                members += group.len > 0 && vr_str_equal(group, other) ? 1u : 0u;
            }
            cr_assert_leq(members, rules->cap[c].max);
        }
    }
}

static void check_items(const struct vr_job *job)
{
    const struct vr_bundle_videos *videos = &rig.model->bundle->videos;
    const struct vr_feed_reply *reply = &job->reply;
    struct vr_viewer viewer;
    cr_assert_eq(vr_state_viewer(rig.state, job->request.user_id, job->arena, &viewer), VR_OK);
    for (uint32_t p = 0; p < reply->item_count; p++) {
        const struct vr_feed_item *item = &reply->item[p];
        cr_assert_eq(find_item(reply, item->row), item, "twice");
        cr_assert_not(holds_id(job->request.exclude, job->request.exclude_count, item->id));
        cr_assert_eq(videos->safety[item->row], VR_SAFETY_SAFE);
        cr_assert_leq(videos->unsafe_score[item->row], 0.5f); /* false for NaN */
        for (uint32_t b = 0; b < rig.feed_config.rerank.blocked_count; b++) {
            cr_assert_not(vr_str_equal(item->id, vr_str_of(rig.feed_config.rerank.blocked[b])));
        }
        for (uint32_t s = 0; s < viewer.seen_count; s++) {
            cr_assert_neq(vr_catalogue_row(rig.model->catalogue, viewer.seen[s]), item->row, "seen");
        }
    }
}

static void make_random(struct vr_job *job, struct random *r, struct vr_str *exclude, char (*text)[8])
{
    job->request.count = 1 + random_below(r, 50);
    job->request.explain = random_below(r, 4) == 0;
    job->request.exclude = exclude;
    job->request.exclude_count = random_below(r, 60);
    for (uint32_t i = 0; i < job->request.exclude_count; i++) {
        snprintf(text[i], sizeof text[i], "v%u", random_below(r, 330)); /* some unknown */
        exclude[i] = vr_str_of(text[i]);
    }
}

/* A random request of a random viewer; every invariant is checked on the answer. */
static void one_random_request(struct random *r)
{
    char id[16];
    struct vr_str exclude[60];
    char text[60][8];
    snprintf(id, sizeof id, "%u", 1 + random_below(r, 44));
    struct vr_job *job = feed_job(&rig, id);
    make_random(job, r, exclude, text);
    feed_ask(&rig, job);
    cr_assert_eq(job->reply.status, VR_OK, "%s", job->reply.error);
    cr_assert_leq(job->reply.item_count, job->request.count);
    cr_assert(job->reply.item_count == job->request.count || job->reply.short_reason != NULL);
    check_items(job);
    check_caps(&job->reply);
    feed_job_free(job);
}

Test(feed, thousands_of_random_requests_hold_the_invariants)
{
    if (!has_bundle()) {
        return;
    }
    const char *text = getenv("VIREO_LONG");
    uint32_t cases = text != NULL && text[0] == '1' ? 20000 : 2000;
    struct random r = {4711};
    feed_rig_open(&rig, block);
    for (uint32_t n = 0; n < cases; n++) {
        one_random_request(&r);
    }
    feed_rig_close(&rig);
}

/* ---- seen may come back ---- */

static void seen_gives_way(struct vr_feed_config *config)
{
    static enum vr_rule order[] = {VR_RULE_SEEN};
    config->rerank.give_way = order;
    config->rerank.give_way_count = 1;
    config->rerank.cap_count = 0;
    config->rerank.freshness_count = 0;
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        config->source[s].count = 2;
    }
}

Test(feed, seen_videos_fill_a_short_feed_where_the_rule_is_listed)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, seen_gives_way);
    struct vr_job *job = ask("7");
    cr_expect(is_degraded(&job->reply, "rule_gave_way:seen"));
    cr_expect_leq(job->reply.item_count, rig.feed_config.rerank.min_items);
    uint32_t back = 0;
    for (uint32_t p = 0; p < job->reply.item_count; p++) {
        back += job->reply.item[p].found_count == 0 ? 1u : 0u;
    }
    cr_expect_gt(back, 0u);
    feed_job_free(job);
    feed_rig_close(&rig);
}

/* ---- deadlines, cancelling, other terms ---- */

Test(feed, a_passed_deadline_and_a_gone_client_are_answered_without_work)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    struct vr_job *late = feed_job(&rig, "1");
    late->request.deadline_us = late->request.received_us;
    feed_ask(&rig, late);
    cr_expect_eq(late->reply.status, VR_ERR_TIMEOUT);
    cr_expect_eq(late->reply.candidates, 0u);
    struct vr_job *gone = feed_job(&rig, "1");
    gone->cancelled = true;
    feed_ask(&rig, gone);
    cr_expect_eq(gone->reply.status, VR_ERR_CLOSED);
    struct vr_feed_metrics *metrics = malloc(sizeof *metrics);
    cr_assert_not_null(metrics);
    vr_feed_metrics_read(rig.feed, metrics);
    cr_expect_eq(metrics->jobs, 2u);
    cr_expect_eq(metrics->timeouts, 1u);
    cr_expect_eq(metrics->cancelled, 1u);
    cr_expect_eq(metrics->errors, 0u);
    free(metrics);
    feed_job_free(late);
    feed_job_free(gone);
    feed_rig_close(&rig);
}

Test(feed, a_dry_run_scores_under_its_own_terms)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    struct vr_term_spec terms[] = {{vr_str_of("likes"), vr_str_of("like * like")}};
    struct vr_job *job = feed_job(&rig, "2");
    job->request.dry_run = true;
    job->request.terms = terms;
    job->request.term_count = 1;
    feed_ask(&rig, job);
    cr_assert_eq(job->reply.status, VR_OK, "%s", job->reply.error);
    cr_expect(is_degraded(&job->reply, "terms_nonlinear"));
    cr_assert_eq(job->reply.term_count, 1u);
    cr_expect(vr_str_equal(job->reply.term_name[0], vr_str_of("likes")));
    for (uint32_t p = 0; p < job->reply.item_count; p++) {
        float like = job->reply.item[p].heads[VR_HEAD_LIKE];
        cr_expect_float_eq(job->reply.item[p].score, like * like, 1e-6);
    }
    feed_job_free(job);
    terms[0].expression = vr_str_of("like + no_such_head");
    job = feed_job(&rig, "2");
    job->request.terms = terms;
    job->request.term_count = 1;
    feed_ask(&rig, job);
    cr_expect_eq(job->reply.status, VR_ERR_FORMAT);
    cr_expect_not_null(strstr(job->reply.error, "likes"));
    feed_job_free(job);
    feed_rig_close(&rig);
}

/* ---- sources ---- */

static void two_sources_late_and_off(struct vr_feed_config *config)
{
    config->source[VR_SOURCE_SUBSCRIPTIONS].enabled = false;
    config->source[VR_SOURCE_TWO_TOWER].budget_us = 0;
    config->source[VR_SOURCE_CONTENT].budget_us = 0;
}

Test(feed, a_late_source_is_left_out_and_named)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, two_sources_late_and_off);
    struct vr_job *job = ask("4");
    const struct vr_feed_reply *reply = &job->reply;
    cr_expect_eq(reply->source[VR_SOURCE_SUBSCRIPTIONS].status, VR_SOURCE_OFF);
    cr_expect_eq(reply->source[VR_SOURCE_TWO_TOWER].status, VR_SOURCE_LATE);
    cr_expect_eq(reply->source[VR_SOURCE_TWO_TOWER].returned, 0u);
    cr_expect(is_degraded(reply, "source_late:two_tower"));
    cr_expect(is_degraded(reply, "source_late:content"));
    cr_expect_gt(reply->item_count, 0u);
    for (uint32_t p = 0; p < reply->item_count; p++) { /* ranked all the same: the tower runs in the ranker's call */
        cr_expect_gt(reply->item[p].heads[VR_HEAD_CLICK], 0.0f);
    }
    feed_job_free(job);
    feed_rig_close(&rig);
}

/* ---- similar ---- */

Test(feed, similar_videos_pass_the_filters_for_everyone)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    const struct vr_bundle_videos *videos = &rig.model->bundle->videos;
    struct vr_job *job = feed_job(&rig, "");
    job->request.kind = VR_JOB_SIMILAR;
    job->request.video_id = vr_str_of("v3");
    job->request.count = 10;
    feed_ask(&rig, job);
    cr_assert_eq(job->reply.status, VR_OK, "%s", job->reply.error);
    cr_expect_eq(job->reply.item_count, 10u);
    for (uint32_t p = 0; p < job->reply.item_count; p++) {
        const struct vr_feed_item *item = &job->reply.item[p];
        cr_expect_not(vr_str_equal(item->id, vr_str_of("v3")));
        cr_expect_eq(videos->safety[item->row], VR_SAFETY_SAFE);
        cr_expect_eq(videos->min_age[item->row], 0);
        cr_expect(p == 0 || item->score <= job->reply.item[p - 1].score);
    }
    feed_job_free(job);
    job = feed_job(&rig, "");
    job->request.kind = VR_JOB_SIMILAR;
    job->request.video_id = vr_str_of("no-such-video");
    feed_ask(&rig, job);
    cr_expect_eq(job->reply.status, VR_ERR_NOT_FOUND);
    cr_expect_not_null(strstr(job->reply.error, "no-such-video"));
    feed_job_free(job);
    feed_rig_close(&rig);
}

/* ---- life of a feed ---- */

Test(feed, without_a_model_and_after_a_stop_jobs_are_refused)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    struct vr_job *job = feed_job(&rig, "1");
    vr_feed_set_model(rig.feed, NULL);
    cr_expect_eq(vr_feed_submit(rig.feed, job), VR_ERR_CLOSED);
    vr_feed_set_model(rig.feed, rig.model);
    feed_ask(&rig, job);
    cr_expect_eq(job->reply.status, VR_OK);
    feed_job_free(job);
    vr_feed_stop(rig.feed);
    vr_feed_stop(rig.feed);
    job = feed_job(&rig, "1");
    cr_expect_eq(vr_feed_submit(rig.feed, job), VR_ERR_CLOSED);
    feed_job_free(job);
    feed_rig_close(&rig);
}

Test(feed, a_swapped_model_answers_under_its_own_version)
{
    if (!has_bundle()) {
        return;
    }
    struct vr_model *other;
    feed_rig_open(&rig, NULL);
    struct vr_job *before = ask("9");
    cr_assert_eq(vr_model_load(feed_bundle(2), rig.backend, rig.config, rig.state, FEED_NOW_MS, &other), VR_OK, "%s",
                 vr_error_text());
    cr_assert_eq(vr_feed_set_model(rig.feed, other), VR_OK);
    struct vr_job *after = ask("9");
    cr_expect_eq(before->model, rig.model);
    cr_expect_eq(after->model, other);
    cr_expect_eq(after->reply.model_version, other->bundle->model_version);
    vr_model_release(other);
    feed_job_free(before);
    feed_job_free(after);
    feed_rig_close(&rig);
}

Test(feed, a_configured_term_that_does_not_compile_stops_the_start)
{
    if (!has_bundle()) {
        return;
    }
    feed_rig_open(&rig, NULL);
    struct vr_term_config term = {"watch", "0.1 * wacht_s"};
    struct vr_feed_config config = rig.feed_config;
    struct vr_feed *feed = NULL;
    config.satisfaction = (struct vr_satisfaction_config){&term, 1};
    cr_expect_eq(vr_feed_create(&config, rig.backend, rig.state, rig.model, &feed), VR_ERR_FORMAT);
    cr_expect_null(feed);
    cr_expect_not_null(strstr(vr_error_text(), "watch"));
    feed_rig_close(&rig);
}
