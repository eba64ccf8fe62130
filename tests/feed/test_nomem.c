/* Every allocation of a batch fails once: each job comes back exactly once, with the feed it would have had, a feed
 * that names what is missing, or VR_ERR_NOMEM; the others of the batch are not touched, and the lane goes on. */
#include <criterion/criterion.h>

#include "../state/support_alloc.c"
#include "feed/lane.h"
#include "support_feed.h"

#define GUESTS 3u

static struct feed_rig rig;
static struct vr_lane *lane;
static struct vr_health health;

/* A term that is not linear adds one reason to every reply; a step that ran twice would add it twice. */
static void one_term(struct vr_feed_config *config)
{
    static struct vr_term_config term = {"likes", "like * like"};
    config->satisfaction = (struct vr_satisfaction_config){&term, 1};
    config->lanes.pool_workers = 0;
}

/* A lane without its thread, so that its work is this thread's. */
static void open_lane(struct vr_pool **pool)
{
    feed_rig_open(&rig, one_term);
    cr_assert_eq(vr_pool_create(0, pool), VR_OK);
    cr_assert_eq(vr_health_open(&health), VR_OK);
    cr_assert_eq(vr_lane_create(rig.feed, &rig.feed_config, rig.state, *pool, NULL, &health, &lane), VR_OK);
    cr_assert_eq(vr_binding_create(&rig.feed_config, rig.model, &lane->binding), VR_OK);
}

static void close_lane(struct vr_pool *pool)
{
    vr_lane_destroy(lane);
    vr_health_close(&health);
    vr_pool_destroy(pool);
    feed_rig_close(&rig);
}

/* Its arena gives every array a chunk of its own, so that each can fail. */
static struct vr_job *thin_job(const char *user)
{
    struct vr_job *job = feed_job(&rig, user);
    vr_arena_destroy(job->arena);
    cr_assert_eq(vr_arena_create(64, &job->arena), VR_OK);
    job->request.user_id = vr_str_of(user);
    job->request.explain = true;
    return job;
}

/* Run a batch in which the allocation after `count` others fails (none if negative); false when it was not reached. */
static bool run_batch(struct vr_job *job[GUESTS], long count)
{
    const char *user[GUESTS] = {"3", "4", "nobody"};
    uint32_t back = 0;
    for (uint32_t i = 0; i < GUESTS; i++) {
        job[i] = lane->batch[i] = thin_job(user[i]);
    }
    alloc_fail_after(count);
    vr_batch_run(lane, GUESTS);
    bool failed = alloc_has_failed();
    alloc_fail_after(-1);
    for (const struct vr_job *next = vr_handback_drain(rig.home); next != NULL; next = next->next) {
        back++;
    }
    cr_assert_eq(back, GUESTS);
    return failed;
}

static void free_batch(struct vr_job *job[GUESTS])
{
    for (uint32_t i = 0; i < GUESTS; i++) {
        feed_job_free(job[i]);
    }
}

/* Whether the reply is the one of a batch without failures. Each kind of reason is given at most once. */
static bool is_whole(const struct vr_feed_reply *reply, const struct vr_feed_reply *well, long count)
{
    cr_assert(reply->status == VR_OK || reply->status == VR_ERR_NOMEM, "allocation %ld: %s", count,
              vr_status_name(reply->status));
    for (uint32_t a = 0; a < reply->degraded_count; a++) {
        for (uint32_t b = 0; b < a; b++) {
            cr_assert_neq(reply->degraded[a], reply->degraded[b], "allocation %ld: %s twice", count,
                          reply->degraded[a]);
        }
    }
    bool whole = reply->status == VR_OK && reply->degraded_count == well->degraded_count;
    cr_assert(!whole || feed_same(reply, well), "allocation %ld: another feed", count);
    cr_assert(reply->status == VR_OK || reply->item_count == 0);
    return whole;
}

Test(nomem, every_allocation_of_a_batch)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return;
    }
    struct vr_pool *pool;
    struct vr_job *well[GUESTS], *job[GUESTS];
    bool failed = true;
    open_lane(&pool);
    cr_assert_not(run_batch(well, -1));
    long count = 0;
    for (; failed; count++) {
        uint32_t whole = 0;
        failed = run_batch(job, count);
        for (uint32_t i = 0; i < GUESTS; i++) {
            whole += is_whole(&job[i]->reply, &well[i]->reply, count) ? 1u : 0u;
        }
        cr_assert_geq(whole, failed ? GUESTS - 1 : GUESTS, "allocation %ld: %u of %u feeds are whole", count, whole,
                      GUESTS);
        free_batch(job);
    }
    cr_expect_gt(count, 100);
    free_batch(well);
    close_lane(pool);
}
