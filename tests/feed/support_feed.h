/* A whole feed over the small random bundle, for tests: backend, state, model, lanes and a hand-back list. Anything
 * that fails to start ends the program with the error text. Without Criterion, so that the thread tests use it too. */
#ifndef TEST_FEED_SUPPORT_FEED_H
#define TEST_FEED_SUPPORT_FEED_H

#include "vireo/feed.h"

#define FEED_NOW_MS 1767225600000LL /* as_of of the small bundle, and every request's now */

struct feed_rig {
    struct vr_config *config;
    struct vr_feed_config feed_config;
    struct vr_backend *backend;
    struct vr_state *state;
    struct vr_model *model;
    struct vr_feed *feed;
    struct vr_handback *home;
};

/* The folder of the small bundle (1 or 2: same videos and viewers by id, other weights), or NULL: this build has no
 * Python environment to make it. */
const char *feed_bundle(int which);

/* Start; `change` (may be NULL) adapts the configuration first. Source budgets are 10 s and waits may be a minute, so
 * that a slow machine does not change answers, and nothing is recorded as served. */
void feed_rig_open(struct feed_rig *rig, void (*change)(struct vr_feed_config *config));

/* The same with `wrap` given the backend before anything is made on it, to put faults into its operations. */
void feed_rig_open_on(struct feed_rig *rig, void (*change)(struct vr_feed_config *config),
                      void (*wrap)(struct vr_backend *backend));
void feed_rig_close(struct feed_rig *rig);

/* A RECOMMEND job of 30 items with its own arena, due in 60 s; feed_job_free releases all of it. */
struct vr_job *feed_job(const struct feed_rig *rig, const char *user_id);
void feed_job_free(struct vr_job *job);

/* Submit; must be accepted. */
void feed_submit(struct feed_rig *rig, struct vr_job *job);

/* Wait until `count` jobs are back; ends the program after a minute. */
void feed_wait(struct feed_rig *rig, uint32_t count);

/* Submit one and wait for it. */
void feed_ask(struct feed_rig *rig, struct vr_job *job);

/* The same ids, scores, heads and gains in the same places, bit for bit. */
bool feed_same(const struct vr_feed_reply *a, const struct vr_feed_reply *b);
#endif
