/* The whole feed under ThreadSanitizer: several threads submit, read metrics and write events while the model is
 * swapped back and forth, then the feed is stopped with jobs in the queue. Every accepted job comes back answered. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../feed/support_feed.c"

#define SUBMITTERS 2u
#define EACH 60u

static struct feed_rig rig;
static struct vr_model *other;
static uint32_t accepted; /* __atomic builtins */
static uint32_t done;     /* submitters that ended, __atomic builtins */
static struct vr_job *job[SUBMITTERS * EACH];

static void many_lanes(struct vr_feed_config *config)
{
    config->lanes.count = 2;
    config->lanes.max_batch = 4;
    config->lanes.pool_workers = 2;
    config->lanes.queue_capacity = 16;
    config->rerank.record_served = true;
}

static void watch(struct vr_str user, uint32_t i)
{
    char id[32], video[16];
    enum vr_event_verdict verdict;
    snprintf(id, sizeof id, "%.*s-%u", (int)user.len, user.data, i);
    snprintf(video, sizeof video, "v%u", i);
    struct vr_event event = {.event_id = vr_str_of(id),
                             .request_id = vr_str_of(id),
                             .user_id = user,
                             .video_id = vr_str_of(video),
                             .type = VR_EVENT_PLAY,
                             .time_ms = FEED_NOW_MS,
                             .watch_s = 20.0f,
                             .duration_s = 20.0f};
    if (vr_state_apply(rig.state, &event, &verdict) != VR_OK) {
        abort();
    }
}

static void *submit(void *argument)
{
    struct vr_job **mine = argument;
    struct vr_feed_metrics *metrics = malloc(sizeof *metrics);
    for (uint32_t i = 0; metrics != NULL && i < EACH; i++) {
        char user[16];
        snprintf(user, sizeof user, "%u", 1 + i % 45); /* some of them unknown */
        mine[i] = feed_job(&rig, user);
        mine[i]->request.explain = i % 3 == 0;
        watch(mine[i]->request.user_id, i + (mine == job ? 0 : EACH));
        while (vr_feed_submit(rig.feed, mine[i]) == VR_ERR_BUSY) {
            poll(NULL, 0, 1);
        }
        __atomic_fetch_add(&accepted, 1, __ATOMIC_RELAXED);
        vr_feed_metrics_read(rig.feed, metrics);
    }
    free(metrics);
    __atomic_fetch_add(&done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void *swap(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; __atomic_load_n(&done, __ATOMIC_ACQUIRE) < SUBMITTERS; i++) {
        vr_feed_set_model(rig.feed, i % 2 == 0 ? other : rig.model);
        poll(NULL, 0, 5);
    }
    return NULL;
}

static uint32_t collect(uint32_t *answered)
{
    uint32_t back = 0;
    for (struct vr_job *j = vr_handback_drain(rig.home); j != NULL; j = j->next) {
        *answered += j->reply.status == VR_OK && j->reply.item_count > 0 ? 1u : 0u;
        back++;
    }
    return back;
}

int main(void)
{
    pthread_t thread[SUBMITTERS + 1];
    uint32_t answered = 0;
    if (feed_bundle(1) == NULL) {
        printf("skipped: no data (the small bundle is made by the Python environment)\n");
        return 77; /* seen as skipped by CTest and tests/run_all.py */
    }
    feed_rig_open(&rig, many_lanes);
    must(vr_model_load(feed_bundle(2), rig.backend, rig.config, rig.state, FEED_NOW_MS, &other), "model");
    for (uint32_t i = 0; i < SUBMITTERS; i++) {
        pthread_create(&thread[i], NULL, submit, &job[i * EACH]);
    }
    pthread_create(&thread[SUBMITTERS], NULL, swap, NULL);
    for (uint32_t i = 0; i <= SUBMITTERS; i++) {
        pthread_join(thread[i], NULL);
    }
    vr_feed_stop(rig.feed); /* some of the last jobs are still queued */
    uint32_t back = collect(&answered);
    printf("%u accepted, %u back, %u answered with a feed\n", accepted, back, answered);
    for (uint32_t i = 0; i < SUBMITTERS * EACH; i++) {
        feed_job_free(job[i]);
    }
    vr_model_release(other);
    feed_rig_close(&rig);
    return back == SUBMITTERS * EACH && answered == back ? 0 : 1;
}
