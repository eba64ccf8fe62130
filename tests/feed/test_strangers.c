/* A batch of strangers never mixes viewers: whatever stands beside a request, in whatever order it comes, whoever goes
 * away meanwhile and at whatever quality, its answer is the one that it gets alone at that quality, bit for bit. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feed/lane.h"
#include "support_feed.h"
#include "support_rerank.h"
#include "vireo/clock.h"

#define GUESTS 40u
#define BATCH 6u
#define EXCLUDED 12u

static struct feed_rig rig;

/* A request that can be made again and again. */
struct guest {
    char user[16], video[16];
    uint32_t count;
    bool explain, similar;
    struct vr_str exclude[EXCLUDED];
    char excluded[EXCLUDED][8];
    uint32_t exclude_count;
    struct vr_job *alone[VR_QUALITY_LEVELS];
};

static struct guest guest[GUESTS];

/* Few candidates, so that thousands of batches take seconds. */
static void small(struct vr_feed_config *config)
{
    config->lanes.count = 2;
    config->lanes.max_batch = BATCH;
    config->lanes.pool_workers = 1;
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        config->source[s].count = 8;
    }
}

static void invite(struct guest *g, struct random *r)
{
    snprintf(g->user, sizeof g->user, "%u", 1 + random_below(r, 44)); /* some unknown, some twice */
    snprintf(g->video, sizeof g->video, "v%u", random_below(r, 310));
    g->count = 1 + random_below(r, 50);
    g->explain = random_below(r, 3) == 0;
    g->similar = random_below(r, 8) == 0;
    g->exclude_count = random_below(r, EXCLUDED + 1);
    for (uint32_t i = 0; i < g->exclude_count; i++) {
        snprintf(g->excluded[i], sizeof g->excluded[i], "v%u", random_below(r, 330));
        g->exclude[i] = vr_str_of(g->excluded[i]);
    }
}

static struct vr_job *job_of(const struct guest *g)
{
    struct vr_job *job = feed_job(&rig, g->user);
    job->request.kind = g->similar ? VR_JOB_SIMILAR : VR_JOB_RECOMMEND;
    job->request.video_id = vr_str_of(g->video);
    job->request.count = g->count;
    job->request.explain = g->explain;
    job->request.exclude = g->exclude;
    job->request.exclude_count = g->exclude_count;
    return job;
}

static bool says_fewer(const struct vr_feed_reply *reply)
{
    for (uint32_t i = 0; i < reply->degraded_count; i++) {
        if (strcmp(reply->degraded[i], "fewer_candidates") == 0) {
            return true;
        }
    }
    return false;
}

static bool is_same(const struct guest *g, const struct vr_job *job, uint32_t level)
{
    const struct vr_feed_reply *alone = &g->alone[level]->reply;
    return feed_same(alone, &job->reply) && alone->candidates == job->reply.candidates &&
           says_fewer(&job->reply) == (level > 0 && !g->similar);
}

/* ---- batches made by hand, on a lane without its thread ---- */

static struct vr_lane *lane;
static struct vr_pool *pool;
static struct vr_health health;

static bool open_all(struct random *r)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return false;
    }
    feed_rig_open(&rig, small);
    cr_assert_eq(vr_pool_create(1, &pool), VR_OK);
    cr_assert_eq(vr_health_open(&health), VR_OK);
    cr_assert_eq(vr_lane_create(rig.feed, &rig.feed_config, rig.state, pool, NULL, &health, &lane), VR_OK);
    cr_assert_eq(vr_binding_create(&rig.feed_config, rig.model, &lane->binding), VR_OK);
    for (uint32_t i = 0; i < GUESTS; i++) {
        invite(&guest[i], r);
        for (uint32_t level = 0; level < VR_QUALITY_LEVELS; level++) {
            struct vr_job *job = job_of(&guest[i]);
            lane->batch[0] = job;
            lane->level = level;
            cr_assert_eq(vr_batch_run(lane, 1), 1u);
            cr_assert_eq(vr_handback_drain(rig.home), job);
            guest[i].alone[level] = job;
        }
    }
    return true;
}

static void close_all(void)
{
    for (uint32_t i = 0; i < GUESTS; i++) {
        for (uint32_t level = 0; level < VR_QUALITY_LEVELS; level++) {
            feed_job_free(guest[i].alone[level]);
        }
    }
    vr_lane_destroy(lane);
    vr_health_close(&health);
    vr_pool_destroy(pool);
    feed_rig_close(&rig);
}

static bool is_long(void)
{
    const char *text = getenv("VIREO_LONG");
    return text != NULL && text[0] == '1';
}

Test(strangers, a_lower_quality_has_fewer_candidates_and_the_same_scores_for_them)
{
    struct random r = {3};
    uint32_t fewer = 0, shared = 0;
    if (!open_all(&r)) {
        return;
    }
    for (uint32_t i = 0; i < GUESTS; i++) {
        if (guest[i].similar) {
            cr_expect(feed_same(&guest[i].alone[0]->reply, &guest[i].alone[2]->reply));
            continue;
        }
        for (uint32_t level = 1; level < VR_QUALITY_LEVELS; level++) {
            const struct vr_feed_reply *all = &guest[i].alone[0]->reply, *few = &guest[i].alone[level]->reply;
            for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
                cr_expect_leq(few->source[s].returned, vr_quality_count(8, level));
            }
            fewer += few->candidates < all->candidates ? 1 : 0;
            for (uint32_t p = 0; p < few->item_count; p++) {
                for (uint32_t q = 0; q < all->item_count; q++) {
                    if (few->item[p].row == all->item[q].row) {
                        cr_assert_eq(few->item[p].score, all->item[q].score);
                        shared++;
                    }
                }
            }
        }
    }
    cr_expect_gt(fewer, GUESTS);
    cr_expect_gt(shared, GUESTS);
    close_all();
}

enum fate { STAYS = 0, GONE, LATE };

/* One batch of random guests, some of whom have gone or are late. */
static void one_batch(struct random *r)
{
    uint32_t who[BATCH], count = 1 + random_below(r, BATCH), level = random_below(r, VR_QUALITY_LEVELS), stay = 0;
    enum fate fate[BATCH];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t dice = random_below(r, 10);
        who[i] = random_below(r, GUESTS);
        fate[i] = dice == 0 ? GONE : dice == 1 ? LATE : STAYS;
        lane->batch[i] = job_of(&guest[who[i]]);
        lane->batch[i]->cancelled = fate[i] == GONE;
        if (fate[i] == LATE) {
            lane->batch[i]->request.deadline_us = lane->batch[i]->request.received_us;
        }
        stay += fate[i] == STAYS ? 1 : 0;
    }
    lane->level = level;
    cr_assert_eq(vr_batch_run(lane, count), stay);
    struct vr_job *job = vr_handback_drain(rig.home);
    for (uint32_t i = 0; i < count; i++) {
        struct vr_job *next = job->next;
        static const enum vr_status without_work[] = {[GONE] = VR_ERR_CLOSED, [LATE] = VR_ERR_TIMEOUT};
        cr_assert(fate[i] == STAYS ? is_same(&guest[who[i]], job, level) : job->reply.status == without_work[fate[i]],
                  "guest %u at place %u of %u, level %u", who[i], i, count, level);
        feed_job_free(job);
        job = next;
    }
    cr_assert_null(job);
}

Test(strangers, thousands_of_batches_mix_nobody)
{
    struct random r = {77};
    if (!open_all(&r)) {
        return;
    }
    uint32_t batches = is_long() ? 20000 : 2000;
    for (uint32_t i = 0; i < batches; i++) {
        one_batch(&r);
    }
    close_all();
}

/* ---- through the queue, with lanes, a pool and clients that come and go ---- */

#define CLIENTS 3u
#define IN_HAND 12u

struct client {
    pthread_t thread;
    struct random random;
    struct vr_handback *home;
    uint32_t rounds, answered, let_go, wrong;
};

static void look_at(struct client *client, const struct guest *g, const struct vr_job *job)
{
    bool good;
    switch (job->reply.status) {
    case VR_ERR_TIMEOUT:
    case VR_ERR_CLOSED:
        client->let_go++;
        good = job->reply.item_count == 0;
        break;
    default:
        client->answered++;
        good = is_same(g, job, 0) || is_same(g, job, 1) || is_same(g, job, 2);
        break;
    }
    client->wrong += good ? 0 : 1;
}

static void wait_for(const struct client *client, uint32_t count, struct vr_job **back)
{
    for (uint32_t got = 0; got < count;) {
        struct pollfd fd = {.fd = vr_handback_fd(client->home), .events = POLLIN};
        if (poll(&fd, 1, 60000) <= 0) {
            abort();
        }
        for (struct vr_job *job = vr_handback_drain(client->home), *next; job != NULL; job = next) {
            next = job->next;
            back[got++] = job;
        }
    }
}

/* Send a handful in random classes with random deadlines, take some back again, wait for all. */
static void one_round(struct client *client)
{
    struct vr_job *sent[IN_HAND], *back[IN_HAND];
    uint32_t who[IN_HAND], count = 0;
    struct random *r = &client->random;
    for (uint32_t i = 0; i < IN_HAND; i++) {
        uint32_t at = random_below(r, GUESTS);
        struct vr_job *job = job_of(&guest[at]);
        job->home = client->home;
        job->request.priority = (enum vr_priority)random_below(r, VR_PRIORITIES);
        if (random_below(r, 4) == 0) {
            job->request.deadline_us = job->request.received_us + random_below(r, 20000);
        }
        if (vr_feed_submit(rig.feed, job) != VR_OK) {
            feed_job_free(job);
            continue;
        }
        who[count] = at;
        sent[count++] = job;
        if (random_below(r, 6) == 0) {
            __atomic_store_n(&sent[random_below(r, count)]->cancelled, true, __ATOMIC_RELAXED);
        }
    }
    wait_for(client, count, back);
    for (uint32_t i = 0; i < count; i++) {
        look_at(client, &guest[who[i]], sent[i]);
        feed_job_free(sent[i]);
    }
}

static void *visit(void *argument)
{
    struct client *client = argument;
    for (uint32_t i = 0; i < client->rounds; i++) {
        one_round(client);
    }
    return NULL;
}

static void pressed(struct vr_feed_config *config)
{
    small(config);
    config->lanes.target_wait_ms = 1; /* so that quality moves up and down */
}

Test(strangers, clients_that_come_and_go_get_what_they_would_alone)
{
    struct random r = {5};
    struct client client[CLIENTS] = {0};
    uint32_t answered = 0;
    if (!open_all(&r)) {
        return;
    }
    vr_feed_destroy(rig.feed);
    pressed(&rig.feed_config);
    cr_assert_eq(vr_feed_create(&rig.feed_config, rig.backend, rig.state, rig.model, &rig.feed), VR_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        client[i].random.state = 100 + i;
        client[i].rounds = is_long() ? 400 : 40;
        cr_assert_eq(vr_handback_create(&client[i].home), VR_OK);
        cr_assert_eq(pthread_create(&client[i].thread, NULL, visit, &client[i]), 0);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pthread_join(client[i].thread, NULL);
        cr_expect_eq(client[i].wrong, 0u, "client %u: %u of %u answers are somebody else's", i, client[i].wrong,
                     client[i].answered);
        answered += client[i].answered;
        vr_handback_destroy(client[i].home);
    }
    cr_expect_gt(answered, CLIENTS * 40u);
    close_all();
}
