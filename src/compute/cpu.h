/* The CPU backend's own objects and the functions its files share. Every pointer into a buffer comes from
 * vr_cpu_at, which refuses a view that ends past its buffer, so that a wrong shape is an error and not a fault. */
#ifndef VIREO_COMPUTE_CPU_H
#define VIREO_COMPUTE_CPU_H

#include "panels.h"
#include "vireo/backend.h"
#include "vireo/half.h"
#include "vireo/rowset.h"

struct vr_buffer {
    char *bytes; /* [size], aligned to 64 bytes; device and staging memory are the same here */
    size_t size;
};

/* Scratch of one lane; operations run at once, so a stream has nothing to wait for. */
struct vr_stream {
    struct vr_backend *backend;
    void *scratch; /* [VR_SCRATCH_BYTES], aligned to 64, of the operation that runs; NULL in the reference backend */
};

#define VR_SCRATCH_BYTES (4096u * 1024u) /* rows and weights (linear_panels.c), selections (scan.c, candidates.c) */
#define VR_DIM_MAX 4096u                 /* of an index */
#define VR_K_MAX 1000u                   /* of a search */

struct vr_mix_form;
struct vr_device {
    unsigned threads;                                   /* an index build may use this many; 0: all cores */
    size_t scratch_bytes;                               /* of each stream */
    const struct vr_panel_form *form[VR_ELEMENT_COUNT]; /* how this processor multiplies; NULL for halves */
    const struct vr_mix_form *mix;                      /* its gates and heads; NULL: the reference's */
};

/* The addresses of a search's arguments, checked. */
struct vr_search_at {
    uint32_t queries, k;
    const float *query;             /* [queries, dim] */
    const uint32_t *exclude_offset; /* [queries + 1]; NULL: nothing is excluded */
    const int32_t *exclude;
    const struct vr_rowset *removed; /* from the index; NULL: none is */
    int32_t *row;                    /* [queries, k] */
    float *score;                    /* [queries, k] */
};

/* How an index is searched; each kind of index defines what `state` is. */
struct vr_index {
    uint32_t rows, dim;
    struct vr_index_kind_ops {
        enum vr_status (*search)(struct vr_stream *stream, struct vr_index *index, const struct vr_search_at *at);
        void (*destroy)(void *state);
    } ops;
    void *state;
    struct vr_rowset removed;
};

/* The address of `view` when `count` elements of `size` bytes lie inside its buffer; else NULL with the text set. */
void *vr_cpu_at(struct vr_view view, size_t count, size_t size, const char *what);

/* Elements of a matrix whose rows begin `stride` apart: the last row ends at its width. */
static inline size_t vr_cpu_extent(uint32_t rows, uint32_t stride, uint32_t width)
{
    return rows == 0 ? 0 : (size_t)(rows - 1) * stride + width;
}

/* Element i of a matrix, as a float and back. */
static inline float vr_cpu_get(const void *data, enum vr_element element, size_t i)
{
    switch (element) {
    case VR_ELEMENT_F16: return vr_half_to_float(((const uint16_t *)data)[i]);
    case VR_ELEMENT_BF16: return vr_bf16_to_float(((const uint16_t *)data)[i]);
    default: return ((const float *)data)[i];
    }
}
static inline void vr_cpu_put(void *data, enum vr_element element, size_t i, float value)
{
    switch (element) {
    case VR_ELEMENT_F16: ((uint16_t *)data)[i] = vr_half_from_float(value); break;
    case VR_ELEMENT_BF16: ((uint16_t *)data)[i] = vr_bf16_from_float(value); break;
    default: ((float *)data)[i] = value;
    }
}

/* Check a table and give its addresses. */
struct vr_cpu_table {
    const void *data;
    const float *scale; /* I8 only */
    uint32_t rows, width;
    enum vr_table_dtype dtype;
};
enum vr_status vr_cpu_table_at(const struct vr_table *table, struct vr_cpu_table *out);

/* Bytes of one value. */
static inline size_t vr_cpu_table_value_bytes(enum vr_table_dtype dtype)
{
    return dtype == VR_TABLE_F32 ? 4 : dtype == VR_TABLE_F16 ? 2 : 1;
}

/* Row `row` of a table as floats; zeros outside the table. */
void vr_cpu_table_row(const struct vr_cpu_table *table, int64_t row, float *out);

/* Arguments of an index search, checked; the kind's search is then called. */
enum vr_status vr_cpu_index_search(struct vr_stream *stream, struct vr_index *index,
                                   const struct vr_index_search *args);
void vr_cpu_index_destroy(struct vr_index *index);
enum vr_status vr_cpu_index_remove(struct vr_index *index, const int32_t *row, uint32_t count, uint64_t deadline_us);

/* An index object around `state`; on failure the caller still owns state. */
enum vr_status vr_cpu_index_wrap(const struct vr_index_spec *spec, struct vr_index_kind_ops ops, void *state,
                                 struct vr_index **out);

/* reference*.c: plain C. */
enum vr_status vr_reference_gather(struct vr_stream *stream, const struct vr_gather *args);
enum vr_status vr_reference_pool_rows(struct vr_stream *stream, const struct vr_pool_rows *args);
enum vr_status vr_reference_linear(struct vr_stream *stream, const struct vr_linear *args);
enum vr_status vr_reference_normalize(struct vr_stream *stream, const struct vr_normalize *args);
enum vr_status vr_reference_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args);
enum vr_status vr_reference_task_heads(struct vr_stream *stream, const struct vr_task_heads *args);
enum vr_status vr_reference_index_create(struct vr_backend *backend, const struct vr_index_spec *spec,
                                         struct vr_index **out);

/* linear_panels.c */
enum vr_status vr_panel_linear(struct vr_stream *stream, const struct vr_linear *args);
enum vr_status vr_panel_weights_bytes(const struct vr_backend *backend, enum vr_element element, uint32_t out,
                                      uint32_t in, size_t *bytes);

/* mix.c */
const struct vr_mix_form *vr_mix_form_choose(void);
enum vr_status vr_cpu_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args);
enum vr_status vr_cpu_task_heads(struct vr_stream *stream, const struct vr_task_heads *args);

/* openblas_core.c: see there. */
void vr_openblas_core_choose(void);
const char *vr_openblas_core_name(void);
enum vr_status vr_openblas_core_set(const char *name);

/* index.c: the kind that the specification names. */
enum vr_status vr_cpu_index_create(struct vr_backend *backend, const struct vr_index_spec *spec, struct vr_index **out);

void vr_cpu_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);
void vr_reference_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);

/* scan.c: exact search. scan_int8.c: the same answers, after a first look at int8. */
enum vr_status vr_scan_index_create(const struct vr_index_spec *spec, struct vr_index **out);
enum vr_status vr_int8_index_create(const struct vr_index_spec *spec, struct vr_index **out);

/* ivf.c */
enum vr_status vr_ivf_index_create(const struct vr_index_spec *spec, struct vr_index **out);

/* faiss_index.c */
enum vr_status vr_faiss_index_create(const struct vr_index_spec *spec, unsigned threads, struct vr_index **out);

#endif
