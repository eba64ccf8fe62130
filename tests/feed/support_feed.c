/* A whole feed for tests (support_feed.h). */
#include "support_feed.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vireo/clock.h"

static void must(enum vr_status status, const char *what)
{
    if (status != VR_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, vr_status_name(status), vr_error_text());
        exit(3);
    }
}

const char *feed_bundle(int which)
{
    const char *folder = which == 1 ? VIREO_TINY_BUNDLES "/1" : VIREO_TINY_BUNDLES "/2";
    return access(folder, R_OK) == 0 ? folder : NULL;
}

static void set_up_config(struct feed_rig *rig, void (*change)(struct vr_feed_config *config))
{
    must(vr_config_default(&rig->config), "configuration");
    rig->feed_config = vr_feed_config_of(rig->config);
    rig->feed_config.rerank.record_served = false;
    rig->feed_config.lanes.target_wait_ms = 60000; /* a slow machine does not change answers */
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        rig->feed_config.source[s].budget_us = 10000000;
    }
    if (change != NULL) {
        change(&rig->feed_config);
    }
}

void feed_rig_open(struct feed_rig *rig, void (*change)(struct vr_feed_config *config))
{
    feed_rig_open_on(rig, change, NULL);
}

void feed_rig_open_on(struct feed_rig *rig, void (*change)(struct vr_feed_config *config),
                      void (*wrap)(struct vr_backend *backend))
{
    memset(rig, 0, sizeof *rig);
    set_up_config(rig, change);
    must(vr_backend_open("cpu", 1, &rig->backend), "backend");
    if (wrap != NULL) {
        wrap(rig->backend);
    }
    must(vr_state_create(&rig->config->state, &rig->state), "state");
    must(vr_model_load(feed_bundle(1), rig->backend, rig->config, rig->state, FEED_NOW_MS, &rig->model), "model");
    must(vr_handback_create(&rig->home), "hand-back list");
    must(vr_feed_create(&rig->feed_config, rig->backend, rig->state, rig->model, &rig->feed), "feed");
}

void feed_rig_close(struct feed_rig *rig)
{
    vr_feed_destroy(rig->feed);
    vr_handback_destroy(rig->home);
    vr_model_release(rig->model);
    vr_state_destroy(rig->state);
    vr_backend_destroy(rig->backend);
    vr_config_destroy(rig->config);
}

struct vr_job *feed_job(const struct feed_rig *rig, const char *user_id)
{
    struct vr_arena *arena;
    must(vr_arena_create(1u << 16, &arena), "arena");
    struct vr_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        must(VR_ERR_NOMEM, "job");
    }
    job->arena = arena;
    job->home = rig->home;
    job->request.request_id = vr_str_of("r1");
    job->request.user_id = vr_arena_copy(arena, vr_str_of(user_id));
    job->request.count = VR_COUNT_DEFAULT;
    job->request.now_ms = FEED_NOW_MS;
    job->request.received_us = vr_clock_mono_us();
    job->request.deadline_us = job->request.received_us + 60000000u;
    return job;
}

void feed_job_free(struct vr_job *job)
{
    vr_job_release(job);
    vr_arena_destroy(job->arena);
    free(job);
}

void feed_submit(struct feed_rig *rig, struct vr_job *job)
{
    must(vr_feed_submit(rig->feed, job), "submit");
}

void feed_wait(struct feed_rig *rig, uint32_t count)
{
    while (count > 0) {
        struct pollfd fd = {.fd = vr_handback_fd(rig->home), .events = POLLIN};
        if (poll(&fd, 1, 60000) <= 0) {
            fprintf(stderr, "%u jobs did not come back within a minute\n", count);
            exit(3);
        }
        for (struct vr_job *job = vr_handback_drain(rig->home); job != NULL; job = job->next) {
            count--;
        }
    }
}

void feed_ask(struct feed_rig *rig, struct vr_job *job)
{
    feed_submit(rig, job);
    feed_wait(rig, 1);
}

static bool same_item(const struct vr_feed_item *a, const struct vr_feed_item *b)
{
    bool same = a->row == b->row && memcmp(&a->score, &b->score, sizeof a->score) == 0 &&
                memcmp(a->heads, b->heads, sizeof a->heads) == 0 && a->found_count == b->found_count;
    for (uint32_t i = 0; same && i < a->found_count; i++) {
        same = a->found[i].source == b->found[i].source && a->found[i].rank == b->found[i].rank &&
               memcmp(&a->found[i].score, &b->found[i].score, sizeof(float)) == 0;
    }
    return same;
}

bool feed_same(const struct vr_feed_reply *a, const struct vr_feed_reply *b)
{
    bool same = a->status == b->status && a->item_count == b->item_count;
    for (uint32_t p = 0; same && p < a->item_count; p++) {
        same = same_item(&a->item[p], &b->item[p]);
    }
    return same;
}
