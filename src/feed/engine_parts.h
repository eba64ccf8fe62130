/* The inside of the engine (vireo/engine.h), shared by engine*.c: what is resident on the backend, how rows of features
 * are assembled there, and a slot's memory. Device memory is touched by operations alone; the host fills staging. */
#ifndef VIREO_FEED_ENGINE_PARTS_H
#define VIREO_FEED_ENGINE_PARTS_H

#include "vireo/engine.h"

#define ENGINE_RESIDENT_MAX 512u
#define ENGINE_CHUNK_ROWS 512u /* rows the ranker takes at a time: its intermediates stay in the cache */
#define ENGINE_NONE UINT32_MAX

/* ---- engine_upload.c: buffers that live as long as the engine ---- */

struct engine_resident {
    struct vr_backend *backend;
    struct vr_stream *stream;
    struct vr_buffer *staging;
    struct {
        const void *host; /* what was uploaded: the same address is uploaded once */
        struct vr_view view;
    } item[ENGINE_RESIDENT_MAX];
    uint32_t count;
    uint64_t bytes;
};

enum vr_status engine_resident_open(struct engine_resident *resident, struct vr_backend *backend);
enum vr_status engine_upload(struct engine_resident *resident, const void *data, size_t bytes, struct vr_view *out);
void engine_resident_finish(struct engine_resident *resident); /* frees what only uploading needs */
void engine_resident_close(struct engine_resident *resident);

/* ---- engine_inputs.c: rows of features ---- */

/* The vectors of a request, each a matrix of its own on the device. */
enum engine_vector { ENGINE_HIST_TOWER = 0, ENGINE_HIST_CONTENT, ENGINE_USER_TOWER };
#define ENGINE_VECTORS 3u

/* How the columns of some blocks become rows on the device. `segment` reads a dense and an index matrix that the host
 * fills; a request's vectors are gathered each from its own matrix. */
struct engine_inputs {
    const struct vr_feature_block *block[2]; /* their columns lie side by side */
    uint32_t dense_at[2], index_at[2];       /* where each block's transforms land in the two matrices */
    uint32_t blocks;
    uint32_t width;                     /* floats of an assembled row */
    uint32_t dense_stride;              /* at least 1 */
    uint32_t index_stride;              /* at least 1 */
    uint32_t row_at;                    /* index column of the video's row number, ENGINE_NONE: not read */
    uint32_t vector_at[ENGINE_VECTORS]; /* column of the assembled row, ENGINE_NONE: not read */
    struct vr_segment *segment;         /* [VR_SEGMENTS_MAX] */
    uint32_t segments;
    struct vr_segment vector_segment[ENGINE_VECTORS];
};

struct vr_engine;
enum vr_status engine_inputs_create(struct vr_engine *engine, const struct vr_feature_block *const *block,
                                    uint32_t blocks, struct engine_inputs *out);
void engine_inputs_destroy(struct engine_inputs *inputs);

/* ---- engine.c ---- */

struct engine_layer {
    struct vr_view weight, bias;
};
struct engine_level {
    struct vr_view w1, b1, w2, b2, gate_w, gate_b;
};
struct engine_task {
    struct vr_view w1, b1, w2, b2;
};

struct vr_engine {
    struct vr_backend *backend;
    const struct vr_bundle *bundle;
    enum vr_index_kind index_kind;
    struct engine_resident resident;
    struct vr_table tower, content;
    struct vr_index *tower_index, *content_index;
    struct engine_inputs user;    /* the user tower's row */
    struct engine_inputs request; /* viewer and context columns of a ranker row: once a request */
    struct engine_inputs video;   /* video and pair columns of a ranker row */
    struct engine_layer layer[VR_LAYERS_MAX];
    struct engine_level level[VR_LEVELS_MAX];
    struct engine_task task[VR_HEAD_COUNT];
    struct vr_view widths;
    uint32_t z_width; /* outputs of all tasks */
};

/* ---- engine_slot.c: a lane's memory ---- */

/* A matrix that exists twice, at the same offset: staging for the host, device for operations. */
struct engine_pair {
    struct vr_view device, staging;
    void *host;
};

struct vr_engine_slot {
    struct vr_engine *engine;
    struct vr_stream *stream;
    uint32_t max_requests, max_rows, max_k, chunk;
    bool busy; /* the device may still copy from or to the staging: since the first copy after a wait that succeeded */
    struct vr_buffer *staging, *device;

    struct engine_pair recent_index, recent_weight; /* int32, float [requests, VR_RECENT_MAX] */
    struct engine_pair vector[ENGINE_VECTORS];      /* float [requests, dim] */
    struct engine_pair user_dense, user_index;
    struct engine_pair exclude_offset, exclude; /* uint32 [requests + 1], int32 [requests * VR_ENGINE_EXCLUDE_MAX] */
    struct vr_view user_row;                    /* float [requests, user.width] */
    struct vr_view user_hidden[2];              /* float [requests, widest layer] */
    struct engine_pair tower_row, tower_score, content_row, content_score; /* [requests, max_k] */

    struct engine_pair request_dense, request_index;
    struct vr_view request_row; /* float [requests, request.width] */
    struct vr_view hoisted_hidden, hoisted_gate;
    struct engine_pair video_dense, video_index; /* [rows, ..] */
    struct engine_pair request_of;               /* int32 [rows] */
    struct vr_view video_part;                   /* float [chunk, video.width] */
    struct vr_view hidden, expert, logit, mix[2], task_hidden, z;
    struct engine_pair heads, gates; /* float [rows, heads], [rows, gates * experts] */

    uint8_t *missing; /* [ENGINE_VECTORS, requests]: computed here, not given */
};

static inline const struct vr_backend_ops *slot_ops(const struct vr_engine_slot *slot)
{
    return slot->engine->backend->ops;
}

uint32_t engine_vector_dim(const struct vr_engine *engine, enum engine_vector vector);

/* A view `elements` of 4 bytes further. */
static inline struct vr_view view_at(struct vr_view view, size_t elements)
{
    view.offset += elements * 4;
    return view;
}

/* Wait for what an earlier call left on the device (it missed its deadline, or failed half-way); first thing in every
 * call, before anything is written to staging. */
enum vr_status slot_begin(struct vr_engine_slot *slot, uint64_t deadline_us);
enum vr_status slot_wait(struct vr_engine_slot *slot, uint64_t deadline_us);

/* The first `elements` of 4 bytes to the device, or back. */
enum vr_status slot_push(struct vr_engine_slot *slot, const struct engine_pair *pair, size_t elements);
enum vr_status slot_pull(struct vr_engine_slot *slot, const struct engine_pair *pair, size_t elements);

/* ---- engine_vectors.c: history vectors and the user tower ---- */

/* Recent watches of request r as row numbers and weights in staging. */
void slot_fill_recent(struct vr_engine_slot *slot, uint32_t r, const struct vr_recent *recent, uint32_t count);

/* Transforms of one row of an input's blocks into its two staging matrices; raw[block]. */
void inputs_fill(const struct vr_engine *engine, const struct engine_inputs *inputs, uint32_t r,
                 const double *const *raw, const struct engine_pair *dense, const struct engine_pair *index);

/* Assemble `rows` rows: dense and index are at their first row, vectors (may be NULL) too. */
enum vr_status inputs_gather(struct vr_engine_slot *slot, const struct engine_inputs *inputs, uint32_t rows,
                             struct vr_view dense, struct vr_view index, const struct vr_view *vector,
                             struct vr_view y);

/* Compute the vectors that slot->missing marks, on the device, for `requests` requests. */
enum vr_status slot_compute_vectors(struct vr_engine_slot *slot, uint32_t requests);

/* All three vectors of each request back to staging. */
enum vr_status slot_pull_vectors(struct vr_engine_slot *slot, uint32_t requests);

/* The k best rows of an index for each query on the device, and their way back to staging; nothing for k 0. */
enum vr_status slot_search(struct vr_engine_slot *slot, struct vr_index *index, struct vr_view query, uint32_t requests,
                           uint32_t k, const struct engine_pair *row, const struct engine_pair *score, bool exclude);

#endif
