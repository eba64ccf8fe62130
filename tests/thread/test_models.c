/* Models loaded, refused and rolled back under ThreadSanitizer: the first loop does it as a server does, stage by stage
 * on other threads, while lanes answer jobs of several submitters and somebody reads the counters. Every job is
 * answered with a feed. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../support/loop_rig.h"
#include "server/models.h"

#define SUBMITTERS 2u
#define LOADS 12u /* of which every third is of nothing, and every fourth a rollback */

static struct loop_rig rig;
static struct vr_models *models;
static struct event turn;
static uint32_t begun; /* loads, the loop's */
static bool over;      /* __atomic builtins, as what follows */
static uint32_t answered, wrong;

static void two_lanes(struct vr_feed_config *config)
{
    config->lanes.count = 2;
    config->lanes.max_batch = 4;
    config->lanes.pool_workers = 1;
}

static void count(uint32_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* Each with a hand-back list of its own: jobs of one submitter come back to it alone. */
static void *submit(void *argument)
{
    (void)argument;
    struct vr_handback *home;
    must(vr_handback_create(&home), "hand-back list");
    for (uint32_t i = 0; !__atomic_load_n(&over, __ATOMIC_ACQUIRE); i++) {
        char user[16];
        snprintf(user, sizeof user, "%u", 1 + i % 20);
        struct vr_job *job = feed_job(&rig.feed, user);
        job->home = home;
        feed_submit(&rig.feed, job);
        struct pollfd fd = {.fd = vr_handback_fd(home), .events = POLLIN};
        (void)poll(&fd, 1, 60000);
        bool good = vr_handback_drain(home) == job && job->reply.status == VR_OK && job->reply.item_count > 0;
        count(good ? &answered : &wrong);
        feed_job_free(job);
    }
    vr_handback_destroy(home);
    return NULL;
}

static void *look(void *argument)
{
    struct vr_model_counts counts;
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
        vr_models_count(models, &counts);
        (void)poll(NULL, 0, 1);
    }
    return argument;
}

/* As fast as one may follow the other. */
static void on_turn(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    (void)argument;
    static const char *const nothing = "/nowhere";
    enum vr_status status = begun % 4 == 3   ? vr_models_rollback(models, NULL)
                            : begun % 3 == 2 ? vr_models_load(models, nothing, NULL)
                                             : vr_models_load(models, feed_bundle(begun % 2 == 0 ? 2 : 1), NULL);
    begun += status == VR_ERR_BUSY ? 0 : 1;
    if (begun == LOADS) {
        event_base_loopbreak(rig.shared.loop[0]->base);
    }
}

static void on_first(void *argument, enum vr_status status)
{
    struct timeval soon = {0, 2000};
    (void)argument;
    must(status, "first model");
    event_assign(&turn, rig.shared.loop[0]->base, -1, EV_PERSIST, on_turn, NULL);
    event_add(&turn, &soon);
}

int main(void)
{
    pthread_t thread[SUBMITTERS + 1];
    struct vr_role role = {.admin_fd = -1, .control_fd = -1, .note_fd = -1};
    struct vr_keeper keeper;
    struct vr_model_counts counts;
    if (feed_bundle(1) == NULL) {
        printf("skipped: no data (the small bundle is made by the Python environment)\n");
        return 77; /* seen as skipped by CTest and tests/run_all.py */
    }
    loop_rig_open(&rig, 1, two_lanes);
    rig.feed.config->compute.backend = VR_COMPUTE_CPU;
    const struct vr_keeper_setup kept = {.config = rig.feed.config, .role = &role, .feed = rig.feed.feed};
    must(vr_keeper_open(&keeper, &kept), "keeper");
    const struct vr_models_setup setup = {.config = rig.feed.config,
                                          .role = &role,
                                          .bundle = feed_bundle(1),
                                          .backend = rig.feed.backend,
                                          .shared = &rig.shared,
                                          .keeper = &keeper,
                                          .on_first = on_first};
    must(vr_models_create(&setup, &models), "models");
    must(vr_models_start(models), "start");
    for (uint32_t i = 0; i < SUBMITTERS; i++) {
        pthread_create(&thread[i], NULL, submit, NULL);
    }
    pthread_create(&thread[SUBMITTERS], NULL, look, NULL);
    event_base_dispatch(rig.shared.loop[0]->base);
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i <= SUBMITTERS; i++) {
        pthread_join(thread[i], NULL);
    }
    while (!vr_models_stop(models)) { /* the last load, which was just begun, comes to its end */
        event_base_loop(rig.shared.loop[0]->base, EVLOOP_ONCE);
    }
    event_del(&turn);
    vr_models_count(models, &counts);
    vr_models_leave_loop(models);
    vr_models_destroy(models);
    loop_rig_close(&rig);
    vr_keeper_close(&keeper);
    printf("%u answered, %u wrong, %llu loaded, %llu refused, %llu rolled back\n", answered, wrong,
           (unsigned long long)counts.loaded, (unsigned long long)counts.failed, (unsigned long long)counts.rollbacks);
    return wrong == 0 && answered > 0 && counts.loaded >= 4 && counts.failed >= 2 && counts.rollbacks >= 1 ? 0 : 1;
}
