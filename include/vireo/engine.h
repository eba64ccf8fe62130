/* The engine: one bundle made resident on one backend, and the two dense steps of a batch. It turns raw fields into
 * features, runs the user tower, searches the two indexes, and runs the ranker. It knows nothing of lanes or state.
 * An engine is shared by lanes, and immutable but for rows that leave its indexes; each lane has its own slot (stream,
 * staging, scratch). */
#ifndef VIREO_ENGINE_H
#define VIREO_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/backend.h"
#include "vireo/bundle.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_engine;

struct vr_engine_options {
    struct vr_index_config index;
    enum vr_precision precision; /* of the ranker; the user tower is float32, for its vectors are searched with */
    uint64_t video_table_bytes;  /* that a table of the videos' part of the ranker's first layers may take, in halves,
                                    where the backend adds such tables; 0: none. More: none, and a warning in the log */
};

/* What a configuration asks of an engine on this backend. A CPU beside a device that is wanted takes the precision that
 * suits it, whatever is configured: it stands in for the device. */
struct vr_engine_options vr_engine_options_of(const struct vr_config *config, const struct vr_backend *backend);

/* Upload tables and weights, build the tower and content indexes. The engine borrows backend and bundle, which must
 * outlive it. VR_ERR_NOMEM, VR_ERR_BACKEND; VR_ERR_UNSUPPORTED when halves are asked for and the backend, the bundle's
 * widths or its weights have none. */
enum vr_status vr_engine_create_with(struct vr_backend *backend, const struct vr_bundle *bundle,
                                     const struct vr_engine_options *options, struct vr_engine **out);
/* In float32. */
enum vr_status vr_engine_create(struct vr_backend *backend, const struct vr_bundle *bundle,
                                const struct vr_index_config *index, struct vr_engine **out);
void vr_engine_destroy(struct vr_engine *engine); /* NULL is accepted */

/* Compute the bundle's golden cases and compare (tolerances in docs/bundle.md). VR_ERR_CHECKSUM with the case, output
 * and difference in the text when one is off. `worst` (may be NULL) gets the largest differences found. */
struct vr_golden_report {
    double user_tower, probability, watch_s_relative;
    uint32_t cases, topk_worst_agreement; /* of 10 */
    uint32_t heads;                       /* cases whose heads were judged: with a video table, those of its videos */
    enum vr_precision precision;          /* what the ranker ran in */
    uint64_t took_us;                     /* the cases, in batches of up to 64 requests of one row */
};
/* What the heads of an engine may be off by (docs/bundle.md). */
struct vr_golden_bound {
    double probability, watch_s; /* watch_s: relative, or seconds */
};
struct vr_golden_bound vr_golden_bound_of(const struct vr_engine *engine);

enum vr_status vr_engine_selftest(struct vr_engine *engine, struct vr_golden_report *worst);

/* Create and self-test. VR_PRECISION_AUTO falls back to float32 where halves miss the bundle's golden outputs. */
enum vr_status vr_engine_create_tested(struct vr_backend *backend, const struct vr_bundle *bundle,
                                       const struct vr_engine_options *options, struct vr_golden_report *worst,
                                       struct vr_engine **out);

/* Take rows out of both indexes for good (index_remove of vireo/backend.h): searches find what is left, all else knows
 * the rows as before. Any thread, while the engine serves; VR_ERR_TIMEOUT past deadline_us (monotonic), VR_ERR_INVALID,
 * the device's own errors, after which the same call may be made again. */
enum vr_status vr_engine_remove(struct vr_engine *engine, const int32_t *row, uint32_t count, uint64_t deadline_us);

/* Bytes of the video table; 0: there is none. */
uint64_t vr_engine_table_bytes(const struct vr_engine *engine);

/* What the ranker runs in; never VR_PRECISION_AUTO. */
enum vr_precision vr_engine_precision(const struct vr_engine *engine);

/* Bytes the engine holds on the backend. */
uint64_t vr_engine_bytes(const struct vr_engine *engine);

/* The lanes' slots that an engine will have. */
struct vr_engine_shape {
    uint32_t lanes, max_requests, max_candidates, max_k; /* of each lane, as for vr_engine_slot_create */
};

/* Bytes that an engine and its slots will take of the backend. Not counted: what the driver takes for itself and for
 * captured plans, and another engine while models are swapped (its self-test has a slot of its own, too). */
struct vr_engine_memory {
    uint64_t engine;      /* device: tables, weights, indexes */
    uint64_t video_table; /* of these, the video table; 0: there is none */
    uint64_t lane;        /* device: one slot, with what its searches need */
    uint64_t lane_pinned; /* host: one slot's staging */
    uint64_t device;      /* engine + lanes * lane */
};

/* Computed from the bundle alone, before anything is taken; for VR_PRECISION_AUTO as if the self-test passes.
 * VR_ERR_NOMEM, VR_ERR_INVALID (a shape that no slot has), VR_ERR_UNSUPPORTED (a bundle that no engine takes). */
enum vr_status vr_engine_memory_needed(struct vr_backend *backend, const struct vr_bundle *bundle,
                                       const struct vr_engine_options *options, const struct vr_engine_shape *shape,
                                       struct vr_engine_memory *out);

/* ---- a lane's slot ---- */

struct vr_engine_slot;

/* Room for batches of up to max_requests, each with up to max_candidates rows and k results from each index. Where the
 * backend has plans, each step is captured here for each size of batch: nothing is taken later. */
enum vr_status vr_engine_slot_create(struct vr_engine *engine, uint32_t max_requests, uint32_t max_candidates,
                                     uint32_t max_k, struct vr_engine_slot **out);
void vr_engine_slot_destroy(struct vr_engine_slot *slot); /* NULL is accepted */

#define VR_ENGINE_EXCLUDE_MAX 4096u

/* One request of a batch as retrieval sees it. All arrays are host memory of the caller, read during the call. */
struct vr_engine_user {
    const double *viewer_raw;       /* [viewer fields] */
    const double *context_raw;      /* [context fields] */
    const struct vr_recent *recent; /* oldest first */
    uint32_t recent_count;          /* <= VR_RECENT_MAX */
    const int32_t *exclude;         /* rows not to return, ascending */
    uint32_t exclude_count;         /* <= VR_ENGINE_EXCLUDE_MAX */
    uint32_t tower_k, content_k;    /* wanted; 0 switches the index off for this request */
};

/* Results, in memory of the slot, valid until its next call. */
struct vr_engine_found {
    const int32_t *row; /* [count], best first */
    const float *score; /* [count] */
    uint32_t count;
};
struct vr_engine_retrieved {
    const float *user_tower;               /* [tower_dim], unit */
    const float *hist_tower;               /* [tower_dim] */
    const float *hist_content;             /* [content_dim] */
    struct vr_engine_found tower, content; /* content.count is 0 for a viewer without content history */
};

/* Run the user tower and both searches for `requests` users; result[requests]. VR_ERR_TIMEOUT past deadline_us
 * (monotonic), VR_ERR_BACKEND. */
enum vr_status vr_engine_retrieve(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user,
                                  uint64_t deadline_us, struct vr_engine_retrieved *result);

/* One request of a batch as the ranker sees it. Candidates of all requests of a batch are at most
 * max_requests * max_candidates. The same viewer gives the same heads in any batch, bit for bit. */
struct vr_engine_rank {
    const double *viewer_raw, *context_raw;
    const float *hist_tower;   /* [tower_dim], or NULL: pooled from recent */
    const float *hist_content; /* [content_dim], or NULL: pooled from recent */
    const float *user_tower;   /* [tower_dim] of vr_engine_retrieve, or NULL: computed here */
    const struct vr_recent *recent;
    uint32_t recent_count;
    const int32_t *row;      /* [candidates], rows of the bundle */
    const double *video_raw; /* [candidates, video fields]; with a video table only the counters are read */
    const double *pair_raw;  /* [candidates, pair fields]; dot_tower and dot_content are filled in here */
    uint32_t candidates;
    bool want_gates; /* explain: give gate weights of the last level */
};
struct vr_engine_ranked {
    const float *heads; /* [candidates, VR_HEAD_COUNT] */
    const float *gates; /* [candidates, gates, experts] of the last level, or NULL */
};

enum vr_status vr_engine_score(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                               uint64_t deadline_us, struct vr_engine_ranked *result);

/* Top k by content vector for one video (GET /v1/similar), the video itself left out. */
enum vr_status vr_engine_similar(struct vr_engine_slot *slot, int32_t row, uint32_t k, uint64_t deadline_us,
                                 struct vr_engine_found *result);

/* Static part of a raw video row (everything but the counters, which are set to 0). */
void vr_engine_video_raw(const struct vr_engine *engine, int32_t row, double *video_raw);

/* The content vector of a row as floats; zeros where it has none. */
void vr_engine_content_vector(const struct vr_engine *engine, int32_t row, float *vector);

const struct vr_bundle *vr_engine_bundle(const struct vr_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
