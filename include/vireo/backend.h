/* The compute contract: dense batches in, dense batches out. A backend (cpu; cuda in kernels/) knows nothing of HTTP,
 * viewers or features. Work is put on a stream in order; nothing here blocks but vr_stream_wait, which polls to a
 * deadline, and stream_destroy. On the CPU an operation is done when its call returns. Every buffer is taken before
 * warm-up ends: no operation allocates.
 *
 * The plain C reference (src/compute/reference.c) is installed in every table first and a faster path overrides what it
 * has; the reference is also the oracle of the tests. */
#ifndef VIREO_BACKEND_H
#define VIREO_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vireo/config.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_buffer; /* memory of the device, or staging memory that both sides reach */
struct vr_stream; /* an ordered queue of work; one a lane */
struct vr_index;  /* vectors that can be searched; rows can be taken out, all else stays */
struct vr_plan;   /* a captured sequence of operations */
struct vr_device; /* what a backend keeps for itself */

/* One device; owned by main, outlives what was made from it. */
struct vr_backend {
    const struct vr_backend_ops *ops;
    struct vr_device *device;
};

enum vr_memory {
    VR_MEMORY_DEVICE = 0, /* reached by operations only (on the CPU: ordinary memory) */
    VR_MEMORY_STAGING,    /* pinned host memory: vr_backend_host gives its address */
};

/* A place inside a buffer. */
struct vr_view {
    struct vr_buffer *buffer;
    size_t offset; /* bytes, a multiple of the element's size */
};

/* How the numbers of a matrix are stored. Sums are float32 whatever the storage (int32 of int8's products); a result
 * that is stored as a half is rounded once, to the nearest, ties to even, and becomes infinite from 65520 on. Halves
 * are IEEE fp16 and not bfloat16: tensor cores take both at one speed, fp16 rounds by 2^-11 instead of 2^-8, tables are
 * stored in it already, and its smaller range is checked where weights are packed (vr_weights_pack_f16) and by a
 * bundle's golden outputs. Processors multiply bfloat16 and int8 instead: `linear` takes these, and only with weights
 * that their backend packed. */
enum vr_element { VR_ELEMENT_F32 = 0, VR_ELEMENT_F16, VR_ELEMENT_BF16, VR_ELEMENT_I8 };
#define VR_ELEMENT_COUNT 4u
static inline size_t vr_element_bytes(enum vr_element element)
{
    return element == VR_ELEMENT_F32 ? 4 : element == VR_ELEMENT_I8 ? 1 : 2;
}

/* Halves that `linear` reads: rows begin at multiples of VR_HALF_ALIGNMENT halves (16 bytes). What lies between the
 * end of a row and its stride is never used and may be anything. */
#define VR_HALF_ALIGNMENT 8u
static inline uint32_t vr_half_stride(uint32_t width)
{
    return (width + VR_HALF_ALIGNMENT - 1) / VR_HALF_ALIGNMENT * VR_HALF_ALIGNMENT;
}

enum vr_table_dtype { VR_TABLE_F32 = 0, VR_TABLE_F16, VR_TABLE_I8 }; /* I8 rows are value / 127 * scale[row] */

/* A matrix of rows that are looked up: embedding tables, item vectors. */
struct vr_table {
    struct vr_view data;  /* [rows, width] */
    struct vr_view scale; /* I8: float [rows]; else unused */
    uint32_t rows, width;
    enum vr_table_dtype dtype;
};

/* One run of columns of a gathered row. */
enum vr_segment_kind {
    VR_SEGMENT_DENSE = 0, /* copy `width` floats from dense[row, source .. source + width) */
    VR_SEGMENT_TABLE,     /* row index[row, source] of `table`, as float32; a row < 0 or past the end gives zeros */
};
struct vr_segment {
    enum vr_segment_kind kind;
    uint32_t offset; /* first float in the output row */
    uint32_t width;
    uint32_t source; /* column of dense or of index */
    struct vr_table table;
};
#define VR_SEGMENTS_MAX 128u

/* y[r] = the segments of row r side by side. */
struct vr_gather {
    uint32_t rows;
    const struct vr_segment *segment; /* [segments], host memory that outlives the plan */
    uint32_t segments;
    struct vr_view dense; /* float [rows, dense_stride] */
    uint32_t dense_stride;
    struct vr_view index; /* int32 [rows, index_stride] */
    uint32_t index_stride;
    struct vr_view y; /* [rows, y_stride]; columns that no segment covers are left alone */
    uint32_t y_stride;
    enum vr_element y_element;
};

/* y[r] = sum_i weight[r, i] * table[index[r, i]], indexes < 0 or past the end add nothing. For history vectors. */
struct vr_pool_rows {
    uint32_t rows, count; /* count <= 256 terms a row */
    struct vr_table table;
    struct vr_view index;  /* int32 [rows, count] */
    struct vr_view weight; /* float [rows, count] */
    struct vr_view y;      /* float [rows, y_stride] */
    uint32_t y_stride;
};

#define VR_PACKED_ALIGNMENT 64u

enum vr_linear_activation { VR_LINEAR_NONE = 0, VR_LINEAR_RELU };

/* y[r, o] = activation(sum_i x[r, i] * weight[o, i] + bias[o] + add[add_row[r], o] + table[table_row[r], table_at +
 * o]). A row's result is the same bits whatever rows stand beside it in the call. Accumulation in float32, the terms in
 * this order; NaN stays NaN, also through ReLU.
 *
 * The table is what was worked out of the row ahead of time (a video's part of a first layer): halves, of which a row
 * < 0 or past the end adds nothing. Only where the backend's linear_tables says so, else VR_ERR_UNSUPPORTED.
 *
 * With x_element F16, x and weight are halves: both begin at a multiple of 16 bytes and their strides and steps are
 * multiples of VR_HALF_ALIGNMENT; in, out and rows may be anything. The other matrices need no more than their
 * elements' alignment. vr_linear_check says what is wrong.
 *
 * With weight_packed, weight is what weights_pack made of weight_element (F32, BF16 or I8); x and y are float32 or
 * bfloat16 whatever the weights are, and the bias is float32. x is brought to the weights' element as it is read: to
 * bfloat16 by rounding, to int8 by a scale and a zero point of each row, so that a row still does not see its
 * neighbours. int8 sums are exact; of a row that holds a NaN or an infinity every int8 result is NaN.
 *
 * `batch` products of one shape run as one operation (the second layers of a level's experts): product b reads and
 * writes each matrix b steps further on and shares add_row. Outputs must not overlap. */
struct vr_linear {
    uint32_t rows, in, out;
    struct vr_view x; /* [rows, x_stride] */
    uint32_t x_stride;
    enum vr_element x_element;      /* of x, and of weight where it is not packed */
    struct vr_view weight;          /* [out, weight_stride]: a column range of a wider matrix is allowed; or packed */
    uint32_t weight_stride;         /* not read where weight is packed */
    bool weight_packed;             /* begins at a multiple of VR_PACKED_ALIGNMENT bytes */
    enum vr_element weight_element; /* where weight is packed */
    bool has_bias;
    struct vr_view bias; /* [out] */
    enum vr_element bias_element;
    bool has_add;
    struct vr_view add; /* float [*, add_stride]; the part hoisted out of the rows (a request's viewer part) */
    uint32_t add_stride;
    struct vr_view add_row; /* int32 [rows] */
    bool has_table;
    struct vr_table table;    /* F16 */
    struct vr_view table_row; /* int32 [rows, table_row_stride], the first of each row counts */
    uint32_t table_row_stride;
    uint32_t table_at; /* column of the table */
    enum vr_linear_activation activation;
    struct vr_view y; /* [rows, y_stride] */
    uint32_t y_stride;
    enum vr_element y_element;
    uint32_t batch; /* 0 means 1: the steps are not read */
    /* elements from one product's matrix to the next one's; bytes for packed weights; columns of the table */
    size_t x_step, weight_step, bias_step, add_step, y_step;
    uint32_t table_step;
};

/* Divide each row by its L2 norm, in place; rows with a norm under 1e-12 become zeros. */
struct vr_normalize {
    uint32_t rows, width;
    struct vr_view x; /* float [rows, stride] */
    uint32_t stride;
};

/* For each gate g: w = softmax over listed experts of logit[r, g, :]; y[r, g, :] = sum_e w[e] * expert[r, e, :]. */
struct vr_expert_mix {
    uint32_t rows, gates, experts, width;
    uint64_t listed[16];   /* [gates], bit e: expert e takes part; at least one bit each */
    struct vr_view logit;  /* float [rows, gates * experts] */
    struct vr_view expert; /* [rows, experts * width] */
    struct vr_view y;      /* [rows, gates * width] */
    enum vr_element expert_element, y_element;
    bool want_weights;
    struct vr_view weights; /* float [rows, gates * experts], 0 for experts not listed */
};

/* head[r, t] = sum_k widths[t][k] * sigmoid(z_t[r, k]); tasks' outputs lie side by side in z. */
struct vr_task_heads {
    uint32_t rows, tasks;
    uint32_t outputs[8]; /* [tasks], K of each; z has their sum as columns */
    struct vr_view z;    /* [rows, sum of outputs] */
    enum vr_element z_element;
    struct vr_view widths; /* float [sum of outputs] */
    struct vr_view head;   /* float [rows, tasks] */
};

/* Kinds of index as a set: bit VR_INDEX_.. of each. */
static inline bool vr_index_kind_is_in(uint32_t kinds, enum vr_index_kind kind)
{
    return (kinds >> (unsigned)kind & 1u) != 0;
}

/* What an index is made of. Vectors are copied; the caller keeps its own. */
struct vr_index_spec {
    struct vr_index_config config;
    uint32_t rows, dim;
    struct vr_table vectors; /* in device memory of the same backend */
};

/* Top k by dot product, largest first, ties by smaller row. */
struct vr_index_search {
    uint32_t queries, k;  /* k <= 1,000 */
    struct vr_view query; /* float [queries, dim] */
    /* Rows that query q must not return: exclude[exclude_offset[q] .. exclude_offset[q+1]), ascending. Views like all
     * the rest, so that a captured search reads each launch's own lists. */
    bool has_exclude;
    struct vr_view exclude_offset; /* uint32 [queries + 1], rising from 0 */
    struct vr_view exclude;        /* int32 [exclude_offset[queries]] */
    /* No list is longer; 0: the host does not know. An index that can only find more and drop what is excluded finds
     * so many more, and as many as it can where nothing is known. */
    uint32_t exclude_most;
    struct vr_view row;   /* int32 [queries, k], -1 where fewer were found */
    struct vr_view score; /* float [queries, k], 0 where row is -1 */
};

/* What a backend makes of halves (VR_ELEMENT_F16). */
enum vr_half_support {
    VR_HALF_NONE = 0, /* refused */
    VR_HALF_PLAIN,    /* right, and no quicker than float32: for tests */
    VR_HALF_FAST,     /* what networks should run in */
};

/* What a backend does. Members may be NULL only where said. All return enum vr_status; VR_ERR_BACKEND carries the
 * device's own message. */
struct vr_backend_ops {
    const char *name; /* "cpu", "cuda" */
    enum vr_half_support halves;
    bool linear_tables;   /* linear adds rows of a table; a GPU works them out anew sooner than it gathers them */
    uint32_t index_kinds; /* bit VR_INDEX_..: the backend has this kind of index; VR_INDEX_EXACT always */
    uint32_t unplanned;   /* of these: a search cannot be part of a plan, and is made anew each time */
    /* Rows that a network takes at a time where it has many, so that its intermediates stay in a cache: 512 on the CPU
     * (a core's second level), 2,560 on a GPU (eight requests of 320 rows: beside the weights in its L2, and long
     * enough to hide the launch of the next). */
    uint32_t preferred_rows;
    /* Experts of a level that a network takes at a time, for the same reason; 0: all in one batch of products. */
    uint32_t preferred_experts;
    void (*destroy)(struct vr_backend *backend);

    enum vr_status (*buffer_create)(struct vr_backend *backend, enum vr_memory memory, size_t bytes,
                                    struct vr_buffer **out);
    void (*buffer_destroy)(struct vr_buffer *buffer);
    void *(*buffer_host)(struct vr_buffer *buffer); /* NULL for device memory of a GPU */

    enum vr_status (*stream_create)(struct vr_backend *backend, struct vr_stream **out);
    /* Waits until what was put on it has ended, so that buffers may go next: up to a second, for a device that hangs.
     */
    void (*stream_destroy)(struct vr_stream *stream);
    enum vr_status (*stream_poll)(struct vr_stream *stream, bool *done); /* everything put on it so far */

    enum vr_status (*copy)(struct vr_stream *stream, struct vr_view to, struct vr_view from, size_t bytes);
    enum vr_status (*gather)(struct vr_stream *stream, const struct vr_gather *args);
    enum vr_status (*pool_rows)(struct vr_stream *stream, const struct vr_pool_rows *args);
    enum vr_status (*linear)(struct vr_stream *stream, const struct vr_linear *args);
    enum vr_status (*normalize)(struct vr_stream *stream, const struct vr_normalize *args);
    enum vr_status (*expert_mix)(struct vr_stream *stream, const struct vr_expert_mix *args);
    enum vr_status (*task_heads)(struct vr_stream *stream, const struct vr_task_heads *args);

    /* Weights [out, in] in the order in which this backend's linear reads them best, made once, at load. weights_bytes:
     * what one matrix takes, a multiple of VR_PACKED_ALIGNMENT; VR_ERR_UNSUPPORTED with the reason where this processor
     * is not quick in `element`, or the shape is too large. weights_pack: from float rows `from_stride` apart, to
     * memory of the host, which is then copied. Both NULL: the backend reads rows (CUDA). */
    enum vr_status (*weights_bytes)(const struct vr_backend *backend, enum vr_element element, uint32_t out,
                                    uint32_t in, size_t *bytes);
    void (*weights_pack)(enum vr_element element, uint32_t out, uint32_t in, const float *from, size_t from_stride,
                         void *to);

    enum vr_status (*index_create)(struct vr_backend *backend, const struct vr_index_spec *spec, struct vr_index **out);
    enum vr_status (*index_search)(struct vr_stream *stream, struct vr_index *index,
                                   const struct vr_index_search *args);
    /* Take rows out of an index for good: row [count], of the host, in any order; repeated ones and those that are out
     * already count for nothing. Searches that begin after it has returned never give them, and find the k best of what
     * is left; searches under way, and those put on a stream before, may still. Any thread, beside searches and other
     * removals: these wait for nothing, take nothing, and captured ones see it too. VR_ERR_INVALID for a row outside
     * the index: then none is taken out. On a device the caller waits for it: VR_ERR_TIMEOUT past deadline_us
     * (monotonic), or the device's error, after which rows may be out or not; the same call may be made again. */
    enum vr_status (*index_remove)(struct vr_index *index, const int32_t *row, uint32_t count, uint64_t deadline_us);
    void (*index_destroy)(struct vr_index *index);
    /* Bytes of device memory that such an index will take, at most, and that a stream which searches it will take once.
     * Of FAISS' kinds the vectors alone. */
    void (*index_memory)(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);

    /* Capture: the operations between begin and end are recorded, not run. Each must have run on the stream before,
     * with the same widths and any number of rows: what it takes from the host it took then. plan_end follows
     * plan_begin whatever happened between them. NULL: the caller runs the operations anew each time (the CPU). */
    enum vr_status (*plan_begin)(struct vr_stream *stream);
    enum vr_status (*plan_end)(struct vr_stream *stream, struct vr_plan **out);
    enum vr_status (*plan_launch)(struct vr_stream *stream, struct vr_plan *plan);
    void (*plan_destroy)(struct vr_plan *plan); /* NULL is accepted */
};

/* Each backend's own file defines vr_buffer, vr_stream, vr_index, vr_plan and vr_device; callers see `ops` only. */
const struct vr_backend_ops *vr_backend_ops_of(const struct vr_backend *backend);

/* Make a backend of another room known by name; main does so once, before threads start. "cpu" is always there.
 * `open` as vr_backend_open. VR_ERR_BUSY when the table is full or the name taken. */
typedef enum vr_status vr_backend_opener(unsigned threads, struct vr_backend **out);
enum vr_status vr_backend_register(const char *name, vr_backend_opener *open);

/* What vr_backend_built names besides the backends and this room's libraries; as vr_backend_register. `names` outlives
 * the process's use of it. */
void vr_backend_name_libraries(const char *names);

/* Open a backend by name. `threads` is how many threads one operation may use (0: all cores; lanes set 1).
 * VR_ERR_UNSUPPORTED when this build has none of that name. The caller frees with vr_backend_destroy.
 * The first opening of "cpu" also chooses the BLAS library's core type and must come before threads start. */
enum vr_status vr_backend_open(const char *name, unsigned threads, struct vr_backend **out);
void vr_backend_destroy(struct vr_backend *backend); /* NULL is accepted */

/* Whether batches are to run on a CUDA device: it is built in, and the configuration does not say cpu. */
bool vr_device_is_wanted(const struct vr_compute_config *config);

/* The kind of index that stands for `wanted` on a backend that lacks it: "ivf" for all lists, HNSW on the CPU for a
 * graph on the GPU, else exact search. So one configuration serves a device and the CPU that stands in for it. */
enum vr_index_kind vr_index_kind_on(const struct vr_backend *backend, enum vr_index_kind wanted);

/* Names of the backends and retrieval libraries in this build, e.g. "cpu openblas faiss"; for `vireo version`. */
const char *vr_backend_built(void);

/* How this processor multiplies on the CPU backend, e.g. "fp32 avx512, bf16 amx_bf16, int8 amx_int8"; for `vireo
 * version` and the log. */
const char *vr_backend_cpu_forms(void);

/* A weight matrix [rows, width] as the halves that `linear` reads, once, at load: to [rows, to_stride], to_stride at
 * least vr_half_stride(width), zeros behind each row. `from` may be a column range of rows `from_stride` apart.
 * VR_ERR_UNSUPPORTED when a finite weight has no finite half: such a network runs in float32. */
enum vr_status vr_weights_pack_f16(const float *from, uint32_t rows, uint32_t width, size_t from_stride, uint16_t *to,
                                   uint32_t to_stride);

/* For backends: strides, steps and the alignment of halves (VR_ERR_INVALID), and product `b` of a batch as a linear of
 * its own. Whether views lie inside their buffers is the backend's to know. */
enum vr_status vr_linear_check(const struct vr_linear *args);
struct vr_linear vr_linear_product(const struct vr_linear *args, uint32_t b);

/* For backends: VR_ERR_INVALID when one of the rows is none of an index's `rows`. */
enum vr_status vr_index_check_rows(uint32_t rows, const int32_t *row, uint32_t count);

/* Poll the stream until it is done or vr_clock_mono_us() passes deadline_us: VR_ERR_TIMEOUT. */
enum vr_status vr_stream_wait(struct vr_backend *backend, struct vr_stream *stream, uint64_t deadline_us);

/* The CPU backend's reference operations alone, for tests and as oracle. */
enum vr_status vr_backend_open_reference(struct vr_backend **out);

#ifdef __cplusplus
}
#endif
#endif
