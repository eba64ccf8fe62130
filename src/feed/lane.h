/* A lane: a thread that takes batches and walks them through the steps, with memory sized for the largest batch at
 * start. Steps that are independent from request to request run over the shared pool. */
#ifndef VIREO_FEED_LANE_H
#define VIREO_FEED_LANE_H

#include <pthread.h>

#include "device.h"
#include "merge.h"
#include "queue.h"
#include "vireo/pool.h"
#include "visit.h"

/* What one worker needs for itself while it works on a request: muParser and the merge table keep state. */
struct vr_kit {
    struct vr_terms *terms;
    struct vr_merge_scratch *merge;
    bool busy; /* changed through __atomic builtins only */
};

/* What a lane holds for one model; made anew, on another thread, when the model changes. */
struct vr_binding {
    struct vr_model *model;        /* counted */
    struct vr_engine_slot *slot;   /* of the model's engine, the stand-by where there is a device */
    struct vr_engine_slot *device; /* NULL: the model has no device */
    struct vr_kit *kit;            /* [kit_count]: as many as bodies of a parallel-for may run at once */
    uint32_t kit_count;
    struct vr_arena *arena; /* of blocked */
    struct vr_rows blocked;
    bool linear; /* the score is the expectation of the viewer's score */
};

struct vr_lane {
    struct vr_feed *feed;
    const struct vr_feed_config *config;
    struct vr_state *state;
    struct vr_pool *pool;
    struct vr_queue *queue;
    pthread_t thread;
    struct vr_binding *binding;        /* NULL before the first model */
    struct vr_binding *next;           /* to be taken before the next batch; exchanged by __atomic builtins */
    struct vr_job **batch;             /* [max_batch] */
    uint32_t level;                    /* of quality, of the batch at hand */
    struct vr_visit *visit;            /* [max_batch] */
    struct vr_visit **open;            /* [max_batch], the visits of one engine call */
    struct vr_engine_user *user;       /* [max_batch] */
    struct vr_engine_retrieved *found; /* [max_batch] */
    struct vr_engine_rank *rank;       /* [max_batch] */
    struct vr_engine_ranked *ranked;   /* [max_batch] */
    struct vr_device_run run;          /* of the batch on the device (device.h) */
    double row_us;                     /* of the ranker on the stand-by, moving mean; 0: not known yet */
    struct vr_feed_metrics metrics;    /* one writer, this lane; relaxed __atomic builtins, as the next two */
    uint32_t in_hand;                  /* requests of the batch under way; 0: none */
    uint64_t taken_us;                 /* when it began, monotonic */
};

/* Memory of a lane, without its thread. The caller ends it with vr_lane_destroy. VR_ERR_NOMEM. */
enum vr_status vr_lane_create(struct vr_feed *feed, const struct vr_feed_config *config, struct vr_state *state,
                              struct vr_pool *pool, struct vr_queue *queue, struct vr_health *health,
                              struct vr_lane **out);
void vr_lane_destroy(struct vr_lane *lane); /* its thread has ended; NULL is accepted */

/* Start the thread; it ends when the queue is closed and empty. VR_ERR_IO. */
enum vr_status vr_lane_start(struct vr_lane *lane);
void vr_lane_join(struct vr_lane *lane);

/* Give the lane what it takes up before its next batch; what it was given before and has not taken up comes back. */
struct vr_binding *vr_lane_follow(struct vr_lane *lane, struct vr_binding *binding);

/* ---- binding.c ---- */

/* Everything that a lane needs to serve `model`, of which it takes a reference, on its device too. VR_ERR_FORMAT,
 * VR_ERR_NOMEM, VR_ERR_BACKEND, VR_ERR_DEVICE_LOST. */
enum vr_status vr_binding_create(const struct vr_feed_config *config, struct vr_model *model, struct vr_binding **out);
void vr_binding_destroy(struct vr_binding *binding); /* NULL is accepted */

/* The configured satisfaction terms, or the bundle's where none are configured; the caller frees with
 * vr_terms_destroy. VR_ERR_FORMAT, VR_ERR_NOMEM. bundle may be NULL where terms are configured. */
enum vr_status vr_binding_terms(const struct vr_satisfaction_config *config, const struct vr_bundle *bundle,
                                struct vr_terms **out);

/* Candidates that a request has at most: what all sources may return, and what may come back as seen. */
uint32_t vr_binding_max_candidates(const struct vr_feed_config *config);

/* Results that one search may be asked for. */
uint32_t vr_binding_max_k(const struct vr_feed_config *config);

/* A free kit; there is always one within a parallel-for. */
struct vr_kit *vr_kit_take(const struct vr_binding *binding);
void vr_kit_give_back(struct vr_kit *kit);

/* ---- batch.c ---- */

/* Walk `count` jobs of lane->batch through all steps and hand them back. Returns how many were worked on. */
uint32_t vr_batch_run(struct vr_lane *lane, uint32_t count);

/* Answer jobs that died waiting, linked by next, without work. */
void vr_batch_bury(struct vr_lane *lane, struct vr_job *dead);

/* ---- metrics.c ---- */

/* Count how a batch fared on the device. */
void vr_metrics_count_device(struct vr_feed_metrics *metrics, const struct vr_device_run *run);
/* Count an answered job; before it is handed back. */
void vr_metrics_count(struct vr_feed_metrics *metrics, const struct vr_visit *visit, uint64_t now_us);
void vr_metrics_count_cpu(struct vr_feed_metrics *metrics, enum vr_stage stage, uint64_t ns);
void vr_metrics_count_batch(struct vr_feed_metrics *metrics, uint32_t jobs);
/* The lane has begun a batch of so many, or (0) ended it. */
void vr_metrics_take(struct vr_lane *lane, uint32_t jobs, uint64_t now_us);
void vr_metrics_read_lane(const struct vr_lane *lane, struct vr_lane_status *out);
/* Add a lane's counters to `into`. */
void vr_metrics_add(struct vr_feed_metrics *into, const struct vr_feed_metrics *lane);
#endif
