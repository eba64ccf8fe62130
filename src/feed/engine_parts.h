/* The inside of the engine (vireo/engine.h), shared by engine*.c: what is resident on the backend, how rows of features
 * are assembled there, and a slot's memory. Device memory is touched by operations alone; the host fills staging. */
#ifndef VIREO_FEED_ENGINE_PARTS_H
#define VIREO_FEED_ENGINE_PARTS_H

#include "vireo/engine.h"

#define ENGINE_RESIDENT_MAX 512u
#define ENGINE_NONE UINT32_MAX

/* ---- engine_upload.c: buffers that live as long as the engine ---- */

struct engine_resident {
    struct vr_backend *backend;
    struct vr_stream *stream;
    struct vr_buffer *staging;
    struct {
        const void *host; /* what was uploaded: the same address is uploaded once; NULL: not shared */
        struct vr_view view;
    } item[ENGINE_RESIDENT_MAX];
    uint32_t count;
    uint64_t bytes;
    bool counts_only; /* nothing is taken or copied: `bytes` is what is asked for (engine_memory.c) */
};

enum vr_status engine_resident_open(struct engine_resident *resident, struct vr_backend *backend);
enum vr_status engine_upload(struct engine_resident *resident, const void *data, size_t bytes, struct vr_view *out);
/* What no other upload shares. `data` is not read where the resident only counts. */
enum vr_status engine_put(struct engine_resident *resident, const void *data, size_t bytes, struct vr_view *out);
void engine_resident_finish(struct engine_resident *resident); /* frees what only uploading needs */
void engine_resident_close(struct engine_resident *resident);

/* ---- matrices of the backend ---- */

struct engine_matrix {
    struct vr_view view;
    uint32_t stride; /* elements from one row to the next */
    enum vr_element element;
    size_t packed; /* weights that the backend packed: bytes from one layer's to the next one's; 0: rows */
};

/* The matrix from a row and a column on. */
static inline struct engine_matrix matrix_at(struct engine_matrix matrix, size_t row, size_t column)
{
    matrix.view.offset += (row * matrix.stride + column) * vr_element_bytes(matrix.element);
    return matrix;
}

/* The stride of rows that `linear` reads. */
static inline uint32_t element_stride(enum vr_element element, uint32_t width)
{
    return element == VR_ELEMENT_F16 ? vr_half_stride(width) : width;
}

/* ---- engine_inputs.c: rows of features ---- */

/* The vectors of a request. */
enum engine_vector { ENGINE_HIST_TOWER = 0, ENGINE_HIST_CONTENT, ENGINE_USER_TOWER };
#define ENGINE_VECTORS 3u

/* How the columns of some blocks become rows on the device. `segment` reads a dense and an index matrix that the host
 * fills. A request's vectors are either columns of the dense matrix, behind those of the blocks (the ranker's), or
 * gathered each from a matrix of its own, where they are made on the device (the user tower's). */
struct engine_inputs {
    const struct vr_feature_block *block[2]; /* their columns lie side by side */
    uint32_t dense_at[2], index_at[2];       /* where each block's transforms land in the two matrices */
    uint32_t blocks;
    bool dense_vectors;                 /* the vectors are columns of the dense matrix */
    bool reads_row;                     /* the video's row number is an index column whatever the blocks are */
    uint32_t width;                     /* floats of an assembled row */
    uint32_t dense_stride;              /* at least 1 */
    uint32_t index_stride;              /* at least 1 */
    uint32_t row_at;                    /* index column of the video's row number, ENGINE_NONE: not read */
    uint32_t vector_at[ENGINE_VECTORS]; /* dense column, or column of the assembled row; ENGINE_NONE: not read */
    struct vr_segment *segment;         /* [VR_SEGMENTS_MAX] */
    uint32_t segments;
    struct vr_segment vector_segment[ENGINE_VECTORS]; /* not dense_vectors */
};

struct vr_engine;
/* `out` is zeros but for its dense_vectors and reads_row. */
enum vr_status engine_inputs_create(struct vr_engine *engine, const struct vr_feature_block *const *block,
                                    uint32_t blocks, struct engine_inputs *out);
void engine_inputs_destroy(struct engine_inputs *inputs);

/* ---- engine.c ---- */

struct engine_layer {
    struct vr_view weight, bias;
};

/* Dense layers of the ranker side by side. */
struct engine_dense {
    struct engine_matrix weight; /* [layers * out, in] */
    struct engine_matrix bias;   /* [layers, out] */
    bool whole;                  /* packed as one layer of layers * out outputs: they read one input */
};
struct engine_level {
    struct engine_dense first, second; /* a layer an expert */
    struct engine_dense gate;          /* a layer a gate */
};

/* ---- engine_table.c: the videos' part of level 0, worked out ahead of time ---- */

struct engine_table {
    struct vr_feature_block still, counters; /* the video block's features in and out of the table */
    struct engine_inputs inputs;             /* of the still ones */
    struct vr_table rows;                    /* no rows: there is no table */
};

struct vr_engine {
    struct vr_backend *backend;
    const struct vr_bundle *bundle;
    struct vr_engine_options options;
    struct engine_resident resident;
    struct vr_table tower, content;
    struct vr_index *tower_index, *content_index;
    struct engine_inputs user;    /* the user tower's row */
    struct engine_inputs request; /* viewer and context columns of a ranker row: once a request */
    struct engine_inputs video;   /* video and pair columns of a ranker row that are not in the table */
    struct engine_table table;
    struct engine_layer layer[VR_LAYERS_MAX];
    enum vr_precision runs_in;                       /* F32, F16, BF16 or INT8 */
    enum vr_element element;                         /* of what lies between the ranker's layers */
    struct engine_dense hoisted_first, hoisted_gate; /* level 0: the request's columns, and the biases */
    struct engine_level level[VR_LEVELS_MAX];        /* level 0: first and gate have the row's own columns, no biases */
    struct engine_dense task_first, task_last;       /* a layer a task; the last layers' outputs differ in number */
    struct vr_view widths;
    uint32_t z_width; /* outputs of all tasks */
};

uint32_t engine_vector_dim(const struct vr_engine *engine, enum engine_vector vector);

static inline bool engine_has_table(const struct vr_engine *engine)
{
    return engine->table.rows.rows > 0;
}

/* Whether there will be a table, which the options and the backend say, and its inputs. */
enum vr_status engine_table_plan(struct vr_engine *engine);
/* Level 0's weights for the table's columns, or for those that are left to the rows: [hidden units of all experts, then
 * logits of all gates; columns]. The caller frees; NULL: no memory, and the error is told. */
float *engine_table_columns(const struct vr_engine *engine, bool still);
enum vr_status engine_upload_table(struct vr_engine *engine);
void engine_table_destroy(struct engine_table *table);

/* Tables and weights to the backend, and the inputs that read them: all of an engine but its indexes. */
enum vr_status engine_fill(struct vr_engine *engine);

/* ---- engine_weights.c ---- */

/* The ranker's weights to the backend, once it is settled what numbers they are: VR_ERR_UNSUPPORTED where a precision
 * is asked for that cannot be had. Reads the widths of `request`. */
enum vr_status engine_upload_ranker(struct vr_engine *engine);

/* ---- engine.c ---- */

/* What the indexes are made of: of tower vectors, of content vectors. */
struct vr_index_spec engine_index_spec(const struct vr_engine *engine, const struct vr_index_config *config,
                                       bool content);

/* ---- engine_slot.c: a lane's memory ---- */

/* A piece of a slot's memory that lies in staging and on the device, and is copied from its start on or whole. */
struct engine_block {
    struct vr_view device, staging;
    char *host; /* staging's address */
};

/* A matrix in a block. */
struct engine_pair {
    struct vr_view device, staging;
    void *host;
};

/* Where the matrices of a call lie. What goes in is contiguous, and so is what comes out, so that one copy moves each:
 * the places depend on the call's number of requests. */
struct engine_retrieval {
    uint32_t room, tower_k, content_k; /* requests, padding included; k of the two searches, 0: not searched */
    /* in: */
    struct engine_pair recent_index, recent_weight; /* int32, float [room, VR_RECENT_MAX] */
    struct engine_pair user_dense, user_index;      /* [room, user.dense_stride], [room, user.index_stride] */
    struct engine_pair exclude_offset;              /* uint32 [room + 1] */
    struct engine_pair exclude;                     /* int32 [exclude_offset[room]]: as many as there are are copied */
    uint32_t exclude_most;                          /* rows of the longest list */
    size_t in_bytes;                                /* up to the exclusions */
    /* out: */
    struct engine_pair vector[ENGINE_VECTORS];                             /* float [room, dim] */
    struct engine_pair tower_row, tower_score, content_row, content_score; /* [room, k] */
    size_t out_bytes;
};

struct engine_ranking {
    uint32_t room;                                   /* requests, padding included */
    struct engine_pair request_dense, request_index; /* in: [room, request.dense_stride], [.., request.index_stride] */
    size_t in_bytes;
    struct engine_pair vector[ENGINE_VECTORS]; /* float [room, dim]: given to be completed, see engine_settle.c */
    size_t hist_bytes;                         /* of the first two */
    bool want_gates;
};

/* Rows of candidates, `room` of them: their matrices one after the other. */
struct engine_rows {
    struct engine_pair dense, index,
        request_of; /* [room, video.dense_stride], [room, video.index_stride], int32 [room] */
};

/* What a plan records (engine_plan.c). */
enum engine_step {
    ENGINE_STEP_RETRIEVE = 0, /* pool, tower, both searches, results to staging */
    ENGINE_STEP_POOL,         /* history vectors of a ranking */
    ENGINE_STEP_TOWER,        /* user vectors of a ranking */
    ENGINE_STEP_HOIST,        /* the requests' part of the ranker */
};
#define ENGINE_STEPS 4u
#define ENGINE_ROOMS 32u   /* 1, 2, 4 ... requests */
#define ENGINE_TAILS 8u    /* sizes of a chunk that is not full */
#define ENGINE_GRANULE 64u /* rows: the tile of the CUDA backend's linear */

struct vr_engine_slot {
    struct vr_engine *engine;
    struct vr_stream *stream;
    uint32_t max_requests, max_rows, max_k;
    /* Rows are numbered from the tail on: [0, chunk) is the tail's place, [chunk, 2 * chunk) the first full chunk's,
     * and so on. The rows of a call end with a full chunk, so those that fill none stand before the first, at the end
     * of the tail's place: neighbours lie side by side, and a chunk's place says its addresses. */
    uint32_t chunk, chunks; /* rows of a full chunk; how many there may be */
    uint32_t granule;       /* a tail's rows are rounded up to it */
    bool busy; /* the device may still copy from or to the staging: since the first copy after a wait that succeeded */
    struct vr_buffer *staging, *device;

    struct engine_block in, out;     /* retrieval's */
    struct engine_block request_in;  /* ranking's */
    struct engine_block vector;      /* ranking's, both ways */
    struct engine_block rows_in;     /* [(chunks + 1) * chunk] rows, each chunk one struct engine_rows */
    struct engine_pair heads, gates; /* float [rows, heads], [rows, gates * experts] */
    struct engine_retrieval retrieval;
    struct engine_ranking ranking;

    struct engine_matrix user_row; /* float [requests, user.width] */
    struct vr_view user_hidden[2]; /* float [requests, widest layer] */

    /* The ranker's, for its widest level; of the engine's element, or float where said. */
    struct engine_matrix request_row;                  /* [requests, request.width], of what a gather writes */
    struct engine_matrix hoisted_hidden, hoisted_gate; /* float [requests, level 0's units * outputs] */
    struct engine_matrix video_part;                   /* [chunk, video.width], of what a gather writes */
    struct engine_matrix hidden, expert, mix[2];       /* [chunk, experts at a time * hidden], [.., experts * width] */
    struct engine_matrix task_hidden;                  /* [chunk, tasks * slot_task_stride] */
    struct engine_matrix logit, z;                     /* float [chunk, gates * experts], [chunk, z_width] */

    /* NULL where the backend has no plans. */
    struct vr_plan *plan[ENGINE_STEPS][ENGINE_ROOMS]; /* of 1, 2, 4 ... requests, the last of max_requests */
    struct vr_plan *tail[ENGINE_TAILS];               /* of 1, 2, 3 ... granules, the last of a chunk */
    struct vr_plan **whole;                           /* [chunks] */
};

static inline const struct vr_backend_ops *slot_ops(const struct vr_engine_slot *slot)
{
    return slot->engine->backend->ops;
}

/* Experts of a level that are taken at a time. */
static inline uint32_t slot_experts(const struct vr_engine_slot *slot, const struct vr_level *level)
{
    const uint32_t preferred = slot_ops(slot)->preferred_experts;
    return preferred == 0 || preferred > level->experts ? level->experts : preferred;
}

static inline bool slot_has_plans(const struct vr_engine_slot *slot)
{
    return slot_ops(slot)->plan_begin != NULL;
}

/* Whether the retrieve step is one: not where its searches are an outside library's. */
static inline bool slot_plans_retrieval(const struct vr_engine_slot *slot)
{
    const enum vr_index_kind kind = vr_index_kind_on(slot->engine->backend, slot->engine->options.index.kind);
    return slot_has_plans(slot) && !vr_index_kind_is_in(slot_ops(slot)->unplanned, kind);
}

/* A view `elements` of 4 bytes further. */
static inline struct vr_view view_at(struct vr_view view, size_t elements)
{
    view.offset += elements * 4;
    return view;
}

/* A slot without memory yet: its numbers, checked; then the bytes it will take, of staging and of the device. */
enum vr_status slot_size(struct vr_engine *engine, uint32_t max_requests, uint32_t max_candidates, uint32_t max_k,
                         struct vr_engine_slot *slot);
void slot_bytes(struct vr_engine_slot *slot, size_t *staging, size_t *device);

/* Place the matrices of a call of `room` requests. */
void slot_lay_retrieval(struct vr_engine_slot *slot, uint32_t room, uint32_t tower_k, uint32_t content_k);
void slot_lay_ranking(struct vr_engine_slot *slot, uint32_t room);

/* The rows of the chunk that begins with row `first` and has `room` rows. */
struct engine_rows slot_rows(const struct vr_engine_slot *slot, uint32_t first, uint32_t room);
size_t slot_row_bytes(const struct vr_engine_slot *slot);

/* Wait for what an earlier call left on the device (it missed its deadline, or failed half-way); first thing in every
 * call, before anything is written to staging. */
enum vr_status slot_begin(struct vr_engine_slot *slot, uint64_t deadline_us);
enum vr_status slot_wait(struct vr_engine_slot *slot, uint64_t deadline_us);

/* Between staging and the device. */
enum vr_status slot_copy(struct vr_engine_slot *slot, struct vr_view to, struct vr_view from, size_t bytes);

/* ---- engine_plan.c: captured steps ---- */

/* Requests that a call of `requests` is padded to, and rows that a tail of `rows` is: themselves without plans. */
uint32_t slot_room(const struct vr_engine_slot *slot, uint32_t requests);
uint32_t slot_tail_room(const struct vr_engine_slot *slot, uint32_t rows);

/* Put a step on the stream for as many requests as retrieval or ranking is laid for; a chunk of rows. */
enum vr_status slot_step(struct vr_engine_slot *slot, enum engine_step step);
enum vr_status slot_chunk(struct vr_engine_slot *slot, uint32_t first, uint32_t room);

/* Run each step once, then record all plans; nothing where the backend has none. */
enum vr_status slot_record_plans(struct vr_engine_slot *slot);
void slot_drop_plans(struct vr_engine_slot *slot);

/* ---- engine_vectors.c: history vectors and the user tower ---- */

/* Recent watches of request r as row numbers and weights in retrieval's staging. */
void slot_fill_recent(struct vr_engine_slot *slot, uint32_t r, const struct vr_recent *recent, uint32_t count);

/* The user tower's input of request r in retrieval's staging. */
void slot_fill_user(struct vr_engine_slot *slot, uint32_t r, const double *viewer_raw, const double *context_raw);

/* Padding behind `requests` requests: no history, features of zero. */
void slot_pad_users(struct vr_engine_slot *slot, uint32_t requests);

/* Transforms of `rows` rows of an input's blocks into its two staging matrices, from row `first` on; raw[block] [rows,
 * the entity's fields]. */
void inputs_fill(const struct vr_engine *engine, const struct engine_inputs *inputs, uint32_t first, uint32_t rows,
                 const double *const *raw, const struct engine_pair *dense, const struct engine_pair *index);

/* Raw rows of an input's blocks, by entity, in the order of the blocks. */
void inputs_raw(const struct engine_inputs *inputs, const double *viewer_raw, const double *context_raw,
                const double *raw[2]);

/* Rows first .. end of padding: zeros, also as row numbers of tables. */
void inputs_clear(const struct engine_inputs *inputs, uint32_t first, uint32_t end, const struct engine_pair *dense,
                  const struct engine_pair *index);

/* Assemble `rows` rows: dense and index are at their first row. */
enum vr_status inputs_gather(const struct vr_engine *engine, struct vr_stream *stream,
                             const struct engine_inputs *inputs, uint32_t rows, struct vr_view dense,
                             struct vr_view index, struct engine_matrix y);

/* From retrieval's input on the device: history vectors into vector[ENGINE_HIST_*]; from these the user tower's into
 * vector[ENGINE_USER_TOWER]. */
enum vr_status slot_pool(struct vr_engine_slot *slot, const struct engine_pair *vector);
enum vr_status slot_tower(struct vr_engine_slot *slot, const struct engine_pair *vector);

/* ---- engine_retrieve.c ---- */

/* The k best rows of an index for each query on the device; nothing for k 0. `exclude`: retrieval's exclusions. */
enum vr_status slot_search(struct vr_engine_slot *slot, struct vr_index *index, struct vr_view query, uint32_t requests,
                           uint32_t k, const struct engine_pair *row, const struct engine_pair *score, bool exclude);

/* ENGINE_STEP_RETRIEVE. */
enum vr_status slot_retrieve(struct vr_engine_slot *slot);

/* ---- engine_settle.c: the vectors of a ranking's requests ---- */

/* Compute on the device what a ranking's requests do not give, so that slot_vector tells all. */
enum vr_status slot_settle(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                           uint64_t deadline_us);

/* A vector of request r: what was given, else what was computed. */
const float *slot_vector(const struct vr_engine_slot *slot, const struct vr_engine_rank *request, uint32_t r,
                         enum engine_vector vector);

/* ---- engine_network.c: the ranker ---- */

/* ENGINE_STEP_HOIST, and the chunk of rows from `first` on. */
enum vr_status slot_hoist(struct vr_engine_slot *slot);
enum vr_status slot_network(struct vr_engine_slot *slot, uint32_t first, uint32_t rows);

uint32_t slot_gate_floats(const struct vr_engine_slot *slot); /* gates * experts of the last level */

/* Columns from one task's hidden units to the next one's: `linear` reads each task's own. */
uint32_t slot_task_stride(const struct vr_engine_slot *slot);

#endif
