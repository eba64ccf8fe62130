/* The CPU backend: buffers, streams, copies, and the two tables of operations: the reference alone, and the reference
 * overridden by panels for linear and by tiles of dot products for exact search. */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu_backend.h"
#include "vireo/half.h"

#define ALIGNMENT 64u
#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_FROM ((size_t)1 << 20) /* bytes */

void *vr_cpu_at(struct vr_view view, size_t count, size_t size, const char *what)
{
    static char nothing[ALIGNMENT] __attribute__((aligned(ALIGNMENT)));
    if (count == 0) {
        return nothing;
    }
    if (view.buffer == NULL || view.offset % size != 0 || view.offset > view.buffer->size ||
        count > (view.buffer->size - view.offset) / size) {
        vr_fail(VR_ERR_INVALID, "%s: a view of %zu elements does not lie inside its buffer", what, count);
        return NULL;
    }
    return view.buffer->bytes + view.offset;
}

/* Large buffers ask for huge pages: an index or a ranker's weights are more small pages than a core's tables of them
 * hold, and each step through them would wait for a look-up. Measured: docs/benchmarks.md. */
static void *take_bytes(size_t bytes)
{
    const size_t unit = bytes >= HUGE_FROM ? HUGE_PAGE : ALIGNMENT;
    const size_t rounded = bytes == 0 ? unit : (bytes + unit - 1) / unit * unit;
    void *block = aligned_alloc(unit, rounded);
    if (block != NULL && unit == HUGE_PAGE) {
        (void)madvise(block, rounded, MADV_HUGEPAGE); /* refused: small pages serve as well, only slower */
    }
    return block;
}

static enum vr_status buffer_create(struct vr_backend *backend, enum vr_memory memory, size_t bytes,
                                    struct vr_buffer **out)
{
    (void)backend;
    (void)memory;
    struct vr_buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer == NULL || bytes > SIZE_MAX - HUGE_PAGE) {
        free(buffer);
        return vr_fail(VR_ERR_NOMEM, "no memory for a buffer of %zu bytes", bytes);
    }
    buffer->size = bytes;
    buffer->bytes = take_bytes(bytes);
    if (buffer->bytes == NULL) {
        free(buffer);
        return vr_fail(VR_ERR_NOMEM, "no memory for a buffer of %zu bytes", bytes);
    }
    memset(buffer->bytes, 0, bytes); /* touched here, so that no first request pays for the pages */
    *out = buffer;
    return VR_OK;
}

static void buffer_destroy(struct vr_buffer *buffer)
{
    if (buffer != NULL) {
        free(buffer->bytes);
        free(buffer);
    }
}

static void *buffer_host(struct vr_buffer *buffer)
{
    return buffer->bytes;
}

static void stream_destroy(struct vr_stream *stream)
{
    if (stream != NULL) {
        free(stream->scratch);
        free(stream);
    }
}

static enum vr_status stream_create(struct vr_backend *backend, struct vr_stream **out)
{
    const size_t bytes = backend->device->scratch_bytes;
    struct vr_stream *stream = calloc(1, sizeof *stream);
    if (stream != NULL && bytes > 0) {
        stream->scratch = aligned_alloc(ALIGNMENT, bytes);
    }
    if (stream == NULL || (bytes > 0 && stream->scratch == NULL)) {
        stream_destroy(stream);
        return vr_fail(VR_ERR_NOMEM, "no memory for a stream");
    }
    stream->backend = backend;
    *out = stream;
    return VR_OK;
}

static enum vr_status stream_poll(struct vr_stream *stream, bool *done)
{
    (void)stream;
    *done = true;
    return VR_OK;
}

static enum vr_status copy(struct vr_stream *stream, struct vr_view to, struct vr_view from, size_t bytes)
{
    (void)stream;
    void *target = vr_cpu_at(to, bytes, 1, "copy: to");
    const void *source = vr_cpu_at(from, bytes, 1, "copy: from");
    if (target == NULL || source == NULL) {
        return VR_ERR_INVALID;
    }
    memmove(target, source, bytes);
    return VR_OK;
}

enum vr_status vr_cpu_table_at(const struct vr_table *table, struct vr_cpu_table *out)
{
    const size_t count = (size_t)table->rows * table->width;
    out->rows = table->rows;
    out->width = table->width;
    out->dtype = table->dtype;
    out->data = vr_cpu_at(table->data, count, vr_cpu_table_value_bytes(table->dtype), "table");
    out->scale = NULL;
    if (table->dtype == VR_TABLE_I8) {
        out->scale = vr_cpu_at(table->scale, table->rows, sizeof(float), "table: scale");
        if (out->scale == NULL) {
            return VR_ERR_INVALID;
        }
    }
    return out->data == NULL ? VR_ERR_INVALID : VR_OK;
}

static void row_from_i8(const int8_t *value, float scale, uint32_t width, float *out)
{
    for (uint32_t i = 0; i < width; i++) {
        out[i] = (float)value[i] / 127.0f * scale;
    }
}

void vr_cpu_table_row(const struct vr_cpu_table *table, int64_t row, float *out)
{
    if (row < 0 || row >= table->rows) {
        memset(out, 0, table->width * sizeof(float));
        return;
    }
    const size_t first = (size_t)row * table->width;
    switch (table->dtype) {
    case VR_TABLE_F32: memcpy(out, (const float *)table->data + first, table->width * sizeof(float)); break;
    case VR_TABLE_F16: vr_half_to_floats((const uint16_t *)table->data + first, table->width, out); break;
    case VR_TABLE_I8: row_from_i8((const int8_t *)table->data + first, table->scale[row], table->width, out); break;
    }
}

static void destroy(struct vr_backend *backend)
{
    free(backend->device);
    free(backend);
}

#define OPS_COMMON                                                                                                 \
    .halves = VR_HALF_PLAIN, .destroy = destroy, .buffer_create = buffer_create, .buffer_destroy = buffer_destroy, \
    .buffer_host = buffer_host, .stream_create = stream_create, .stream_destroy = stream_destroy,                  \
    .stream_poll = stream_poll, .copy = copy, .gather = vr_reference_gather, .pool_rows = vr_reference_pool_rows,  \
    .normalize = vr_reference_normalize, .index_search = vr_cpu_index_search, .index_remove = vr_cpu_index_remove, \
    .index_destroy = vr_cpu_index_destroy

#define PREFERRED_ROWS 512u /* of the ranker, whose intermediates then stay in a core's second-level cache */

static const struct vr_backend_ops reference_ops = {
    OPS_COMMON,
    .index_kinds = 1u << VR_INDEX_EXACT,
    .name = "reference",
    .preferred_rows = PREFERRED_ROWS,
    .linear_tables = true,
    .linear = vr_reference_linear,
    .expert_mix = vr_reference_expert_mix,
    .task_heads = vr_reference_task_heads,
    .index_create = vr_reference_index_create,
    .index_memory = vr_reference_index_memory,
};

static const struct vr_backend_ops cpu_ops = {
    OPS_COMMON,
    .index_kinds = 1u << VR_INDEX_EXACT | 1u << VR_INDEX_EXACT_INT8 | 1u << VR_INDEX_IVF | 1u << VR_INDEX_FAISS_FLAT |
                   1u << VR_INDEX_FAISS_HNSW | 1u << VR_INDEX_FAISS_IVF,
    .name = "cpu",
    .preferred_rows = PREFERRED_ROWS,
    .preferred_experts = 1,
    .linear_tables = true,
    .linear = vr_panel_linear,
    .expert_mix = vr_cpu_expert_mix,
    .task_heads = vr_cpu_task_heads,
    .weights_bytes = vr_panel_weights_bytes,
    .weights_pack = vr_panel_pack,
    .index_create = vr_cpu_index_create,
    .index_memory = vr_cpu_index_memory,
};

static enum vr_status backend_new(const struct vr_backend_ops *ops, unsigned threads, size_t scratch_bytes,
                                  struct vr_backend **out)
{
    struct vr_backend *backend = calloc(1, sizeof *backend);
    struct vr_device *device = calloc(1, sizeof *device);
    if (backend == NULL || device == NULL) {
        free(backend);
        free(device);
        return vr_fail(VR_ERR_NOMEM, "no memory for a backend");
    }
    device->threads = threads;
    device->scratch_bytes = scratch_bytes;
    device->mix = vr_mix_form_choose();
    for (unsigned e = 0; e < VR_ELEMENT_COUNT; e++) {
        device->form[e] = vr_panel_form_choose((enum vr_element)e);
    }
    backend->ops = ops;
    backend->device = device;
    *out = backend;
    return VR_OK;
}

enum vr_status vr_backend_open_reference(struct vr_backend **out)
{
    return backend_new(&reference_ops, 1, 0, out);
}

enum vr_status vr_cpu_backend_open(unsigned threads, struct vr_backend **out)
{
    vr_openblas_core_choose();
    return backend_new(&cpu_ops, threads, VR_SCRATCH_BYTES, out);
}
