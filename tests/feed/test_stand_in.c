/* The CPU in place of a device that is down: it ranks as many candidates as the deadline leaves time for, and says so.
 * A lane without its thread, so that its idea of a row's time can be set. */
#include <criterion/criterion.h>
#include <string.h>

#include "feed/lane.h"
#include "support_feed.h"

static struct feed_rig rig;
static struct vr_lane *lane;
static struct vr_pool *pool;
static struct vr_health health;

static bool open_lane(void)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return false;
    }
    feed_rig_open(&rig, NULL);
    cr_assert_eq(vr_pool_create(0, &pool), VR_OK);
    cr_assert_eq(vr_health_open(&health), VR_OK);
    cr_assert_eq(vr_lane_create(rig.feed, &rig.feed_config, rig.state, pool, NULL, &health, &lane), VR_OK);
    cr_assert_eq(vr_binding_create(&rig.feed_config, rig.model, &lane->binding), VR_OK);
    return true;
}

static void close_lane(void)
{
    vr_lane_destroy(lane);
    vr_health_close(&health);
    vr_pool_destroy(pool);
    feed_rig_close(&rig);
}

static struct vr_job *run(double row_us)
{
    struct vr_job *job = feed_job(&rig, "6");
    job->request.explain = true;
    lane->batch[0] = job;
    lane->row_us = row_us;
    vr_batch_run(lane, 1);
    cr_assert_eq(vr_handback_drain(rig.home), job);
    cr_assert_eq(job->reply.status, VR_OK, "%s", job->reply.error);
    cr_assert_eq(job->reply.item_count, VR_COUNT_DEFAULT);
    return job;
}

static bool says(const struct vr_job *job, const char *what)
{
    for (uint32_t i = 0; i < job->reply.degraded_count; i++) {
        if (strcmp(job->reply.degraded[i], what) == 0) {
            return true;
        }
    }
    return false;
}

/* Time for `rows` rows in three quarters of the 60 s that a test's job has. */
static double row_time(double rows)
{
    return 0.75 * 60e6 / rows;
}

/* Of the batch that ran last. */
static uint32_t ranked(void)
{
    return lane->visit[0].ranked ? lane->visit[0].candidates.count : 0;
}

Test(stand_in, ranks_what_there_is_time_for)
{
    if (!open_lane()) {
        return;
    }
    struct vr_job *usual = run(row_time(80)); /* no device is wanted: nothing is cut */
    cr_expect_not(says(usual, "device_down"));
    cr_expect_not(says(usual, "ranker_fewer"));
    cr_assert_gt(usual->reply.candidates, 90u);
    vr_health_set(&health, VR_DEVICE_DOWN, VR_DEVICE_ABSENT);
    struct vr_job *whole = run(row_time(10000));
    cr_expect(says(whole, "device_down"));
    cr_expect_not(says(whole, "ranker_fewer"));
    cr_expect_eq(ranked(), whole->reply.candidates);
    cr_expect(feed_same(&usual->reply, &whole->reply));
    struct vr_job *fewer = run(row_time(80));
    cr_expect(says(fewer, "device_down"));
    cr_expect(says(fewer, "ranker_fewer"));
    cr_expect_leq(ranked(), 80u); /* some of the minute is over by then */
    cr_expect_geq(ranked(), 70u);
    cr_expect_gt(fewer->reply.item[0].heads[VR_HEAD_CLICK], 0.0f);
    struct vr_job *none = run(row_time(40));
    cr_expect(says(none, "ranker_late"));
    cr_expect_not(says(none, "ranker_fewer"));
    cr_expect_eq(ranked(), 0u);
    cr_expect_eq(none->reply.item[0].heads[VR_HEAD_CLICK], 0.0f);
    feed_job_free(usual);
    feed_job_free(whole);
    feed_job_free(fewer);
    feed_job_free(none);
    close_lane();
}

/* A batch tells the lane how long a row takes: what was guessed too high is corrected. */
Test(stand_in, learns_the_time_of_a_row)
{
    if (!open_lane()) {
        return;
    }
    vr_health_set(&health, VR_DEVICE_DOWN, VR_DEVICE_ABSENT);
    double guess = row_time(10000);
    feed_job_free(run(guess));
    cr_expect_lt(lane->row_us, guess);
    cr_expect_gt(lane->row_us, 0.8 * guess);
    feed_job_free(run(0.0)); /* nothing is known yet: the first batch is the measure */
    cr_expect_gt(lane->row_us, 0.0);
    cr_expect_lt(lane->row_us, 0.8 * guess);
    close_lane();
}
