/* A fault costs quality before it costs an answer: operations of the backend are made to fail one by one, and the feed
 * goes on with what is left and names what is missing. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support_feed.h"

static struct feed_rig rig;
static const struct vr_backend_ops *real;
static struct vr_backend_ops faulty;

/* Which operations fail now; lanes read them through __atomic builtins. */
static bool search_fails, heads_fail, heads_are_late, buffers_fail;

static bool is_set(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

static void set(bool *flag, bool value)
{
    __atomic_store_n(flag, value, __ATOMIC_SEQ_CST);
}

static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_index_search *args)
{
    return is_set(&search_fails) ? vr_fail(VR_ERR_BACKEND, "the test broke the search")
                                 : real->index_search(stream, index, args);
}

static enum vr_status heads(struct vr_stream *stream, const struct vr_task_heads *args)
{
    if (is_set(&heads_are_late)) {
        return vr_fail(VR_ERR_TIMEOUT, "the test delayed the heads");
    }
    return is_set(&heads_fail) ? vr_fail(VR_ERR_BACKEND, "the test broke the heads") : real->task_heads(stream, args);
}

static enum vr_status buffer(struct vr_backend *backend, enum vr_memory memory, size_t bytes, struct vr_buffer **out)
{
    return is_set(&buffers_fail) ? vr_fail(VR_ERR_NOMEM, "the test took the memory")
                                 : real->buffer_create(backend, memory, bytes, out);
}

static void break_operations(struct vr_backend *backend)
{
    real = backend->ops;
    faulty = *real;
    faulty.index_search = search;
    faulty.task_heads = heads;
    faulty.buffer_create = buffer;
    backend->ops = &faulty;
}

/* One lane: an answer tells that it has bound its model, so that a fault put in after it cannot meet a lane still
 * starting. */
static void one_lane(struct vr_feed_config *config)
{
    config->lanes.count = 1;
}

static bool open_rig(void)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return false;
    }
    feed_rig_open_on(&rig, one_lane, break_operations);
    return true;
}

static void close_rig(void)
{
    rig.backend->ops = real;
    feed_rig_close(&rig);
}

static bool is_degraded(const struct vr_job *job, const char *what)
{
    for (uint32_t i = 0; i < job->reply.degraded_count; i++) {
        if (strcmp(job->reply.degraded[i], what) == 0) {
            return true;
        }
    }
    return false;
}

static struct vr_job *ask(const char *user)
{
    struct vr_job *job = feed_job(&rig, user);
    job->request.explain = true;
    feed_ask(&rig, job);
    cr_assert_eq(job->reply.status, VR_OK, "%s", job->reply.error);
    cr_assert_gt(job->reply.item_count, 0u);
    return job;
}

Test(faults, a_broken_search_leaves_the_three_lookups)
{
    if (!open_rig()) {
        return;
    }
    set(&search_fails, true);
    struct vr_job *job = ask("6");
    cr_expect_eq(job->reply.source[VR_SOURCE_TWO_TOWER].status, VR_SOURCE_ERROR);
    cr_expect_eq(job->reply.source[VR_SOURCE_CONTENT].status, VR_SOURCE_ERROR);
    cr_expect(is_degraded(job, "source_error:two_tower"));
    cr_expect(is_degraded(job, "source_error:content"));
    for (uint32_t p = 0; p < job->reply.item_count; p++) {
        for (uint32_t f = 0; f < job->reply.item[p].found_count; f++) {
            cr_expect_geq(job->reply.item[p].found[f].source, VR_SOURCE_TRENDING);
        }
    }
    struct vr_feed_metrics *metrics = malloc(sizeof *metrics);
    cr_assert_not_null(metrics);
    vr_feed_metrics_read(rig.feed, metrics);
    cr_expect_eq(metrics->source_error[VR_SOURCE_TWO_TOWER], 1u);
    cr_expect_eq(metrics->source_error[VR_SOURCE_TRENDING], 0u);
    cr_expect_eq(metrics->errors, 0u);
    free(metrics);
    feed_job_free(job);
    close_rig();
}

Test(faults, a_broken_ranker_leaves_the_order_of_retrieval)
{
    if (!open_rig()) {
        return;
    }
    struct vr_job *well = ask("6");
    set(&heads_fail, true);
    struct vr_job *job = ask("6");
    cr_expect(is_degraded(job, "ranker_error"));
    cr_expect_eq(job->reply.candidates, well->reply.candidates);
    for (uint32_t p = 0; p < job->reply.item_count; p++) {
        const struct vr_feed_item *item = &job->reply.item[p];
        cr_expect_null(item->trace->gates);
        cr_expect_eq(item->heads[VR_HEAD_CLICK], 0.0f);
        cr_expect_gt(item->score, 0.0f);
    }
    set(&heads_fail, false);
    set(&heads_are_late, true);
    struct vr_job *late = ask("6");
    cr_expect(is_degraded(late, "ranker_late"));
    cr_expect(feed_same(&job->reply, &late->reply));
    set(&heads_are_late, false);
    struct vr_job *again = ask("6"); /* the slot is as good as before */
    cr_expect(feed_same(&well->reply, &again->reply));
    feed_job_free(well);
    feed_job_free(job);
    feed_job_free(late);
    feed_job_free(again);
    close_rig();
}

Test(faults, a_model_that_lanes_have_no_room_for_leaves_the_old_one_in_service)
{
    if (!open_rig()) {
        return;
    }
    struct vr_model *other;
    struct vr_job *before = ask("6");
    cr_assert_eq(vr_model_load(feed_bundle(2), rig.backend, rig.config, rig.state, FEED_NOW_MS, &other), VR_OK, "%s",
                 vr_error_text());
    set(&buffers_fail, true);
    cr_assert_neq(vr_feed_set_model(rig.feed, other), VR_OK);
    struct vr_job *during = ask("6");
    cr_expect_eq(during->model, rig.model);
    cr_expect(feed_same(&before->reply, &during->reply));
    set(&buffers_fail, false);
    cr_assert_eq(vr_feed_set_model(rig.feed, other), VR_OK);
    struct vr_job *after = ask("6");
    cr_expect_eq(after->model, other);
    vr_model_release(other);
    feed_job_free(before);
    feed_job_free(during);
    feed_job_free(after);
    close_rig();
}

Test(faults, similar_reports_a_broken_search)
{
    if (!open_rig()) {
        return;
    }
    set(&search_fails, true);
    struct vr_job *job = feed_job(&rig, "");
    job->request.kind = VR_JOB_SIMILAR;
    job->request.video_id = vr_str_of("v3");
    feed_ask(&rig, job);
    cr_expect_eq(job->reply.status, VR_ERR_BACKEND);
    cr_expect_str_eq(job->reply.error, "the test broke the search");
    feed_job_free(job);
    close_rig();
}
