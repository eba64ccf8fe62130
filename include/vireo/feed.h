/* The feed: a viewer's request in, a guarded list of videos out. The server fills a job and submits it; a lane takes it
 * into a batch and walks it through src/feed, one file a step (batch, retrieve, sources, merge, rank, rerank, explain);
 * the answered job comes back on the hand-back list of the loop that sent it. A job has exactly one owner at a time:
 * the server until vr_feed_submit succeeds, the feed until the job is on its hand-back list, then the server again. */
#ifndef VIREO_FEED_H
#define VIREO_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/arena.h"
#include "vireo/config.h"
#include "vireo/engine.h"
#include "vireo/histogram.h"
#include "vireo/rowset.h"
#include "vireo/state.h"
#include "vireo/status.h"
#include "vireo/terms.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the model that serves: bundle + engine + catalogue, counted, swapped whole ---- */
struct vr_model {
    struct vr_bundle *bundle;
    struct vr_engine *engine; /* always there; the stand-by where there is a device's */
    struct vr_engine *device; /* the same bundle on a device, which batches try first; NULL: none */
    struct vr_catalogue *catalogue;
    struct vr_model *base;            /* of vr_model_on_device: whose bundle, engine and catalogue these are; counted */
    struct vr_model_removal *removal; /* rows that were taken out since; base's, where there is one */
    double row_us;       /* a row of the ranker on `engine` in its self-test, requests of one row: an upper guess */
    uint32_t references; /* changed through __atomic builtins only */
};

/* Open, check and self-test a bundle: all that takes long, and touches nothing that is shared. Videos that no guardrail
 * would let pass, by the configuration's block list and safety threshold, leave the engine's indexes: they cost no
 * candidates. The model cannot serve before it is joined. One reference is the caller's. */
enum vr_status vr_model_open(const char *folder, struct vr_backend *backend, const struct vr_config *config,
                             struct vr_model **out);

/* Join an opened model to the store: its ids get their numbers, its seed state fills an empty store. Takes locks of the
 * store, one id at a time. On failure the model is released as any other. */
enum vr_status vr_model_join(struct vr_model *model, struct vr_state *state, int64_t now_ms);

/* Both. */
enum vr_status vr_model_load(const char *folder, struct vr_backend *backend, const struct vr_config *config,
                             struct vr_state *state, int64_t now_ms, struct vr_model **out);

/* `base` with its bundle on a device too, uploaded and self-tested there; `base` stays as it is and keeps serving. The
 * feed then runs batches on the device and what fails there on base's engine. One reference is the caller's. The
 * device's own error, VR_ERR_CHECKSUM when it computes something else than the bundle says. */
enum vr_status vr_model_on_device(struct vr_model *base, struct vr_backend *device, const struct vr_config *config,
                                  struct vr_model **out);

/* Take a video out of the model while it serves: no feed that begins afterwards shows it, and the indexes find others
 * in its place, also those of models made of this one by vr_model_on_device, before or after. Any thread; on a device
 * it waits, up to a second. VR_ERR_NOT_FOUND; taking it out again is no error. An index that cannot be told, as its
 * device fails, goes on finding it, and the guardrails drop it. A model that is loaded later knows nothing of it. */
enum vr_status vr_model_remove_video(struct vr_model *model, struct vr_str video_id);
bool vr_model_has_removed(const struct vr_model *model, int32_t row);

struct vr_model *vr_model_retain(struct vr_model *model);
void vr_model_release(struct vr_model *model); /* the last reference frees all; NULL is accepted */

/* ---- request and reply ---- */
#define VR_COUNT_MAX 50u
#define VR_COUNT_DEFAULT 30u
#define VR_EXCLUDE_MAX 1000u
#define VR_RANK_MAX 1000u /* candidates of a RANK job */

struct vr_context_value {
    struct vr_str name;
    bool is_text;
    double number;
    struct vr_str text;
};

enum vr_job_kind {
    VR_JOB_RECOMMEND = 0,
    VR_JOB_SIMILAR,
    VR_JOB_RANK /* the caller's own candidates get heads and scores: no sources, no guardrails, nothing recorded */
};

/* Whose request is served first and refused last under load. A share of its time is all that a request of a lower class
 * lets others pass: NORMAL a quarter, LOW half; then it goes before whatever comes later. */
enum vr_priority { VR_PRIORITY_NORMAL = 0, VR_PRIORITY_HIGH, VR_PRIORITY_LOW };
#define VR_PRIORITIES 3u
const char *vr_priority_name(enum vr_priority priority); /* "normal", "high", "low" */

struct vr_feed_request {
    enum vr_job_kind kind;
    enum vr_priority priority;
    struct vr_str request_id; /* never empty: the server makes one where the client gave none */
    struct vr_str user_id;    /* RECOMMEND, RANK */
    struct vr_str video_id;   /* SIMILAR */
    uint32_t count;           /* 1..50 */
    const struct vr_context_value *context;
    uint32_t context_count;
    const struct vr_str *exclude;
    uint32_t exclude_count;
    const struct vr_str *candidate; /* [candidate_count], RANK: video ids, repeated ones too */
    uint32_t candidate_count;
    bool explain;
    bool dry_run;                     /* admin: nothing is recorded as served */
    const struct vr_term_spec *terms; /* admin dry run under other terms; NULL: the configured ones */
    uint32_t term_count;
    int64_t now_ms;                    /* read once by the server */
    uint64_t received_us, deadline_us; /* monotonic */
};

enum vr_source_status { VR_SOURCE_OK = 0, VR_SOURCE_LATE, VR_SOURCE_ERROR, VR_SOURCE_OFF };
const char *vr_source_status_name(enum vr_source_status status);

struct vr_source_report {
    enum vr_source_status status;
    uint32_t returned;
    uint32_t us;
};

/* Where a candidate was found. */
struct vr_found_at {
    enum vr_source source;
    uint32_t rank; /* 1-based in that source */
    float score;   /* the source's own scale */
};

/* What a guardrail did to an item. */
enum vr_move_kind { VR_MOVE_LIFTED = 0, VR_MOVE_HELD, VR_MOVE_RULE_GAVE_WAY };
struct vr_move {
    enum vr_move_kind kind; /* LIFTED: chosen early for freshness. HELD: a cap kept it from an earlier position.
                               RULE_GAVE_WAY: stands here although the rule forbids it, because nothing else was left */
    enum vr_rule rule;
    uint32_t position; /* 1-based position at which the rule acted */
};

struct vr_trace {        /* only with explain; of RANK always, with terms alone, and gates with explain */
    const float *terms;  /* [term_count of the reply] */
    const float *gates;  /* [gates, experts] of the ranker's last level; NULL where there is none */
    float gain;          /* the selector's marginal gain when it chose the item */
    uint32_t score_rank; /* 1-based place by score alone among the candidates that passed the filters */
    const struct vr_move *moves;
    uint32_t move_count;
};

struct vr_feed_item {
    int32_t row;
    struct vr_str id, title, creator, topic; /* borrowed from the model, which the job holds */
    float duration_s;
    float score;
    float heads[VR_HEAD_COUNT];
    const struct vr_found_at *found;
    uint32_t found_count;
    const struct vr_trace *trace; /* NULL without explain */
};

/* How many candidates each filter removed. */
enum vr_filter {
    VR_FILTER_BLOCKED = 0,
    VR_FILTER_SAFETY,
    VR_FILTER_AGE,
    VR_FILTER_EXCLUDED,
    VR_FILTER_SEEN,
    VR_FILTER_SERVED,
    VR_FILTER_SCORE
};
#define VR_FILTER_COUNT 7u
const char *vr_filter_name(enum vr_filter filter);

/* Under load feeds are made of fewer candidates before any request is refused: each source gives all that it is asked
 * for at level 0, two thirds at level 1, a third at level 2. */
#define VR_QUALITY_LEVELS 3u
uint32_t vr_quality_count(uint32_t count, uint32_t level); /* of `count` candidates, rounded up */

#define VR_DEGRADED_MAX 16u

struct vr_feed_reply {
    enum vr_status status; /* VR_OK, VR_ERR_TIMEOUT, VR_ERR_NOT_FOUND (similar), VR_ERR_NOMEM, VR_ERR_BACKEND,
                              VR_ERR_FORMAT (dry-run terms) */
    char error[256];       /* the detail when status is not VR_OK */
    const char *model_version;
    struct vr_source_report source[VR_SOURCE_COUNT];
    const char *degraded[VR_DEGRADED_MAX]; /* static strings: "source_late:social", "short:seen",
                                              "rule_gave_way:topic_cap", "device_down", ... (docs/api.md) */
    uint32_t degraded_count;
    uint32_t retry_after_s; /* of a job that vr_feed_submit refused: ask again then; 0: it did not say */
    uint32_t candidates;    /* after merge */
    uint32_t filtered[VR_FILTER_COUNT];
    uint32_t queue_us, retrieve_us, merge_us, rank_us, rerank_us;
    uint32_t batch;            /* requests that shared the batch */
    struct vr_feed_item *item; /* [item_count], in the job's arena; of RANK: known candidates, in the request's order */
    uint32_t item_count;
    const struct vr_str *unknown; /* [unknown_count], RANK: candidates that the model has no video for */
    uint32_t unknown_count;
    const char *short_reason; /* why fewer than asked for (or than min_items); NULL otherwise */
    uint32_t term_count;
    struct vr_str term_name[VR_TERM_COUNT_MAX];
    uint32_t gate_count, expert_count; /* of trace.gates */
    struct vr_str gate_name[VR_GATES_MAX];
};

/* ---- the device under a feed ---- */

enum vr_device_state {
    VR_DEVICE_NONE = 0, /* none is wanted */
    VR_DEVICE_UP,
    VR_DEVICE_SUSPECT, /* a batch failed on it and ran again on the CPU; the next batch tries it again */
    VR_DEVICE_DOWN,    /* not used: it was not there, or batch after batch failed; vr_feed_device_set brings it back */
    VR_DEVICE_LOST,    /* not used, and beyond use for this process */
};
enum vr_device_failure {
    VR_DEVICE_FAILED = 0, /* an error that the device got over */
    VR_DEVICE_NO_MEMORY,
    VR_DEVICE_BROKE, /* VR_ERR_DEVICE_LOST: with the device's context every later call fails */
    VR_DEVICE_HUNG,  /* not done within device_timeout_ms */
    VR_DEVICE_ABSENT /* no driver, no device, one too old */
};
#define VR_DEVICE_FAILURES 5u
const char *vr_device_state_name(enum vr_device_state state);       /* "up", ... */
const char *vr_device_failure_name(enum vr_device_failure failure); /* "error", "no_memory", "lost", "hang", "absent" */

/* The failure that a status of the device stands for; VR_DEVICE_FAILED for all that have no word of their own. */
enum vr_device_failure vr_device_failure_of(enum vr_status status);

struct vr_device_status {
    enum vr_device_state state;
    enum vr_device_failure latest; /* meaningful once a failure has been counted */
    uint64_t failures[VR_DEVICE_FAILURES];
};

/* ---- jobs and hand-back ---- */
struct vr_handback;

struct vr_job {
    struct vr_feed_request request;
    struct vr_feed_reply reply;
    struct vr_arena *arena;   /* the server's; request strings and the reply's memory live here */
    struct vr_handback *home; /* where the job returns */
    struct vr_model *model;   /* held from take to release; the server calls vr_job_release after printing */
    bool cancelled;      /* set by the server when the client has gone (__atomic builtins): a lane drops the work */
    struct vr_job *next; /* intrusive: queue or hand-back list */
};

/* Give back the model that a job holds; call once the reply has been printed. */
void vr_job_release(struct vr_job *job);

/* A loop's list of answered jobs: lanes push without a lock and write the eventfd only when the list was empty; the
 * loop drains it whole. It is destroyed when no push can be under way, i.e. after vr_feed_stop. */
enum vr_status vr_handback_create(struct vr_handback **out);
int vr_handback_fd(const struct vr_handback *list);         /* readable when the list is not empty */
struct vr_job *vr_handback_drain(struct vr_handback *list); /* oldest first, linked by next; clears the eventfd */
void vr_handback_push(struct vr_handback *list, struct vr_job *job); /* for lanes */
/* Each job to its home, those of one home at once, so that their loop wakes once. Clears batch[count]. */
void vr_handback_push_batch(struct vr_job **batch, uint32_t count);
void vr_handback_destroy(struct vr_handback *list);

/* ---- the feed ---- */
struct vr_feed;

struct vr_feed_config {
    struct vr_lane_config lanes;
    struct vr_source_config source[VR_SOURCE_COUNT];
    struct vr_satisfaction_config satisfaction; /* count 0: the bundle's terms */
    struct vr_rerank_config rerank;
    struct vr_state_config state;
    uint32_t device_timeout_ms; /* a batch's wait for the device; past it the device hangs. 0: no limit */
};

/* The feed's part of a configuration; its strings and arrays stay the configuration's. */
struct vr_feed_config vr_feed_config_of(const struct vr_config *config);

/* The slots that the feed's lanes take on an engine. */
struct vr_engine_shape vr_feed_engine_shape(const struct vr_feed_config *config);

/* Start the lanes. Config is copied as a struct: the strings and arrays in it must outlive the feed. backend and state
 * are borrowed. Without a model (NULL) submitted jobs are refused with VR_ERR_CLOSED until one is set.
 * VR_ERR_FORMAT when a term does not compile. */
enum vr_status vr_feed_create(const struct vr_feed_config *config, struct vr_backend *backend, struct vr_state *state,
                              struct vr_model *model, struct vr_feed **out);

/* Hand a job over; any thread, no lock. VR_ERR_BUSY when the queue is full, when the feed holds as many jobs as it gets
 * done in good time, or when this one's deadline would pass before its turn (reply.retry_after_s says when to come
 * again); VR_ERR_CLOSED while stopping or without a model. The job then stays the caller's. */
enum vr_status vr_feed_submit(struct vr_feed *feed, struct vr_job *job);

/* A model made ready for the feed's lanes: their slots, with all plans captured, and their terms. */
struct vr_swap;

/* Make it, which takes memory and time, on any thread: nothing that serves waits for it. The swap takes a reference of
 * the model. The slots' and the terms' own errors, on the model's device too; nothing has changed then. */
enum vr_status vr_feed_prepare(struct vr_feed *feed, struct vr_model *model, struct vr_swap **out);

/* Put it in service, each lane between two of its batches; the swap is gone then. Does not wait for the lanes. */
void vr_feed_swap(struct vr_feed *feed, struct vr_swap *swap);
void vr_swap_destroy(struct vr_swap *swap); /* one that was not put in service; NULL is accepted */

/* Both at once. NULL takes the model out of service: jobs are refused from then on, lanes keep what they hold. */
enum vr_status vr_feed_set_model(struct vr_feed *feed, struct vr_model *model);

/* A counted reference to the serving model, or NULL; vr_model_release it. */
struct vr_model *vr_feed_model(struct vr_feed *feed);

/* How the device fares. Lanes change it as batches fail and succeed; whoever opened the device says when it is up
 * (before vr_feed_set_model with a model on it: a lane that finds no room there takes it down again) and when it is
 * down or not there, `failure` being the reason, counted. A lost device stays lost. */
void vr_feed_device_set(struct vr_feed *feed, enum vr_device_state state, enum vr_device_failure failure);
void vr_feed_device_read(struct vr_feed *feed, struct vr_device_status *out);

/* An eventfd that becomes readable when lanes take the device out of use: DOWN or LOST. */
int vr_feed_device_fd(const struct vr_feed *feed);

/* Hold the lanes until n jobs are queued (or 5 s have passed), so that tests get deterministic batches; 0 releases. */
void vr_feed_hold(struct vr_feed *feed, uint32_t n);

/* Refuse new jobs, answer what is queued, join the lanes. Idempotent. */
void vr_feed_stop(struct vr_feed *feed);
void vr_feed_destroy(struct vr_feed *feed); /* stops first; NULL is accepted */

/* The steps of a batch that are timed. */
enum vr_stage { VR_STAGE_RETRIEVE = 0, VR_STAGE_MERGE, VR_STAGE_RANK, VR_STAGE_RERANK };
#define VR_STAGE_COUNT 4u

/* Why a job was refused. */
enum vr_shed { VR_SHED_FULL = 0, VR_SHED_LIMIT, VR_SHED_DEADLINE };
#define VR_SHEDS 3u
const char *vr_shed_name(enum vr_shed reason); /* "queue_full", "limit", "deadline" */

/* What answers were less than they could be for, by the first word of `degraded`. */
#define VR_DEGRADED_REASONS 16u
const char *vr_degraded_reason(uint32_t reason); /* "source_late", ...; the last is "other" */

/* How the feed stands against its load, for /metrics. */
struct vr_feed_load {
    uint32_t waiting[VR_PRIORITIES];        /* jobs */
    uint64_t shed[VR_SHEDS][VR_PRIORITIES]; /* jobs refused */
    uint32_t quality_level;                 /* 0: all candidates */
    uint32_t limit;                         /* jobs that the feed takes at a time, waiting and worked on */
    uint32_t largest_batch;                 /* that is done within lanes.target_batch_ms */
    double batch_base_us, batch_each_us;    /* estimate of a batch: base + each * requests; 0: not known yet */
};

/* Counters of all lanes, merged; for /metrics. */
struct vr_feed_metrics {
    uint64_t cpu_ns[VR_STAGE_COUNT]; /* of the lanes' own threads in each step; the pool's workers are not in it */
    uint64_t jobs, batches, timeouts, cancelled, errors, dropped_scores;
    uint64_t device_batches, replayed_batches; /* wholly on the device; failed there and run again on the stand-by */
    uint64_t source_late[VR_SOURCE_COUNT], source_error[VR_SOURCE_COUNT];
    uint64_t rule_gave_way[VR_RULE_COUNT], filtered[VR_FILTER_COUNT], short_feeds;
    uint64_t degraded[VR_DEGRADED_REASONS];
    struct vr_feed_load load;
    struct vr_histogram queue_us, retrieve_us, merge_us, rank_us, rerank_us, total_us, batch_size;
};
void vr_feed_metrics_read(struct vr_feed *feed, struct vr_feed_metrics *out);

/* What a lane does now. */
struct vr_lane_status {
    uint32_t in_hand; /* requests of the batch that it works on; 0: it waits */
    uint64_t busy_us; /* since it took them */
    uint64_t batches, jobs;
};
/* Of lane `index`, from 0; false past the last. */
bool vr_feed_lane_read(struct vr_feed *feed, uint32_t index, struct vr_lane_status *out);

#ifdef __cplusplus
}
#endif
#endif
