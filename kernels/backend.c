/* The CUDA backend's table of operations, and its buffers, streams and plans. Operations are in the .cu files. */
#include <sched.h>
#include <stdlib.h>

#include "device.h"
#include "index.h"
#include "ivf.h"
#include "knn.h"
#include "linear.h"
#include "scan.h"
#include "vireo/backend_cuda.h"
#include "vireo/clock.h"

#define DRAIN_LIMIT_US 1000000u /* of a stream that is destroyed */

void *vr_cuda_at(struct vr_view view, size_t count, size_t size, const char *what)
{
    static char nothing[1]; /* never read: an operation on no elements launches nothing that would */
    if (count == 0) {
        return nothing;
    }
    if (view.buffer == NULL || view.offset % size != 0 || view.offset > view.buffer->size ||
        count > (view.buffer->size - view.offset) / size) {
        vr_fail(VR_ERR_INVALID, "%s: a view of %zu elements does not lie inside its buffer", what, count);
        return NULL;
    }
    return view.buffer->memory + view.offset;
}

enum vr_status vr_cuda_table_at(const struct vr_table *table, struct vr_cuda_table *out)
{
    static const size_t element_bytes[] = {[VR_TABLE_F32] = 4, [VR_TABLE_F16] = 2, [VR_TABLE_I8] = 1};
    const size_t count = (size_t)table->rows * table->width;
    *out = (struct vr_cuda_table){.rows = table->rows, .width = table->width, .dtype = table->dtype};
    out->data = vr_cuda_at(table->data, count, element_bytes[table->dtype], "table");
    if (out->data == NULL) {
        return VR_ERR_INVALID;
    }
    if (table->dtype == VR_TABLE_I8) {
        out->scale = vr_cuda_at(table->scale, table->rows, sizeof(float), "table: scale");
        return out->scale == NULL ? VR_ERR_INVALID : VR_OK;
    }
    return VR_OK;
}

static enum vr_status buffer_create(struct vr_backend *backend, enum vr_memory memory, size_t bytes,
                                    struct vr_buffer **out)
{
    (void)backend;
    struct vr_buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a buffer");
    }
    void *block = NULL;
    buffer->pinned = memory == VR_MEMORY_STAGING;
    buffer->size = bytes;
    const enum vr_status status = vr_seam_memory_create(buffer->pinned, bytes > 0 ? bytes : 1, &block);
    if (status != VR_OK) {
        free(buffer);
        return status;
    }
    buffer->memory = block;
    *out = buffer;
    return VR_OK;
}

static void buffer_destroy(struct vr_buffer *buffer)
{
    if (buffer != NULL) {
        vr_seam_memory_destroy(buffer->pinned, buffer->memory);
        free(buffer);
    }
}

static void *buffer_host(struct vr_buffer *buffer)
{
    return buffer->pinned ? buffer->memory : NULL;
}

static enum vr_status stream_create(struct vr_backend *backend, struct vr_stream **out)
{
    struct vr_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a stream");
    }
    stream->device = backend->device;
    const enum vr_status status = vr_seam_stream_create(&stream->seam);
    if (status != VR_OK) {
        free(stream);
        return status;
    }
    *out = stream;
    return VR_OK;
}

void vr_cuda_drain(struct vr_seam_stream *stream)
{
    const uint64_t end_us = vr_clock_mono_us() + DRAIN_LIMIT_US;
    bool done = false;
    for (unsigned errors = 0; !done && errors < 2 && vr_clock_mono_us() < end_us;) {
        errors = vr_seam_stream_poll(stream, &done) == VR_OK ? 0 : errors + 1;
        sched_yield();
    }
}

static void free_outgrown(struct vr_stream *stream)
{
    while (stream->outgrown_count > 0) {
        vr_seam_memory_destroy(false, stream->outgrown[--stream->outgrown_count]);
    }
}

static void stream_destroy(struct vr_stream *stream)
{
    if (stream != NULL) {
        vr_cuda_drain(stream->seam);
        vr_seam_stream_destroy(stream->seam);
        free_outgrown(stream);
        free(stream->outgrown);
        vr_seam_memory_destroy(false, stream->scratch);
        vr_seam_memory_destroy(false, stream->matmul_workspace);
        free(stream);
    }
}

/* Another block for the stream's scratch; the one before is outgrown. */
static enum vr_status grow_scratch(struct vr_stream *stream, size_t bytes)
{
    void *memory = NULL;
    char **outgrown = realloc(stream->outgrown, (stream->outgrown_count + 1) * sizeof *outgrown);
    if (outgrown == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a stream's scratch");
    }
    stream->outgrown = outgrown;
    const enum vr_status status = vr_seam_memory_create(false, bytes, &memory);
    if (status != VR_OK) {
        return status;
    }
    if (stream->scratch != NULL) {
        outgrown[stream->outgrown_count++] = stream->scratch;
    }
    stream->scratch = memory;
    stream->scratch_bytes = bytes;
    return VR_OK;
}

enum vr_status vr_stream_scratch(struct vr_stream *stream, size_t bytes, char **out)
{
    enum vr_status status = VR_OK;
    if (bytes > stream->scratch_bytes) {
        status =
            stream->capturing
                ? vr_fail(VR_ERR_INVALID, "a plan's search needs %zu bytes: search once before it is captured", bytes)
                : grow_scratch(stream, bytes);
    }
    *out = stream->scratch;
    return status;
}

static enum vr_status stream_poll(struct vr_stream *stream, bool *done)
{
    const enum vr_status status = vr_seam_stream_poll(stream->seam, done);
    if (status == VR_OK && *done && !stream->planned) {
        free_outgrown(stream);
    }
    return status;
}

static enum vr_status copy(struct vr_stream *stream, struct vr_view to, struct vr_view from, size_t bytes)
{
    void *target = vr_cuda_at(to, bytes, 1, "copy: to");
    const void *source = vr_cuda_at(from, bytes, 1, "copy: from");
    if (target == NULL || source == NULL) {
        return VR_ERR_INVALID;
    }
    return bytes == 0 ? VR_OK : vr_seam_copy(stream->seam, target, source, bytes);
}

static enum vr_status plan_begin(struct vr_stream *stream)
{
    const enum vr_status status = vr_seam_capture_begin(stream->seam);
    stream->capturing = status == VR_OK;
    return status;
}

static enum vr_status plan_end(struct vr_stream *stream, struct vr_plan **out)
{
    struct vr_plan *plan = calloc(1, sizeof *plan);
    struct vr_seam_graph *graph = NULL;
    enum vr_status status = vr_seam_capture_end(stream->seam, &graph);
    stream->capturing = false;
    if (status == VR_OK && plan == NULL) {
        vr_seam_graph_destroy(graph);
        status = vr_fail(VR_ERR_NOMEM, "no memory for a plan");
    }
    if (status != VR_OK) {
        free(plan);
        return status;
    }
    plan->graph = graph;
    stream->planned = true;
    *out = plan;
    return VR_OK;
}

static enum vr_status plan_launch(struct vr_stream *stream, struct vr_plan *plan)
{
    return vr_seam_graph_launch(stream->seam, plan->graph);
}

static void plan_destroy(struct vr_plan *plan)
{
    if (plan != NULL) {
        vr_seam_graph_destroy(plan->graph);
        free(plan);
    }
}

static void destroy(struct vr_backend *backend)
{
    vr_linear_library_close(backend->device->library);
    free(backend->device);
    free(backend);
}

/* Eight requests of 320 rows: the yardstick ranker's intermediates of such a chunk lie in the L2 beside its weights. */
#define PREFERRED_ROWS 2560u

static const struct vr_backend_ops cuda_ops = {
    .name = "cuda",
    .halves = VR_HALF_FAST,
    .index_kinds = 1u << VR_INDEX_EXACT | 1u << VR_INDEX_EXACT_INT8 | 1u << VR_INDEX_IVF,
    .preferred_rows = PREFERRED_ROWS,
    .destroy = destroy,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_destroy,
    .buffer_host = buffer_host,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .stream_poll = stream_poll,
    .copy = copy,
    .gather = vr_cuda_gather,
    .pool_rows = vr_cuda_pool_rows,
    .linear = vr_cuda_linear,
    .normalize = vr_cuda_normalize,
    .expert_mix = vr_cuda_expert_mix,
    .task_heads = vr_cuda_task_heads,
    .index_create = vr_cuda_index_create,
    .index_search = vr_cuda_index_search,
    .index_remove = vr_cuda_index_remove,
    .index_destroy = vr_cuda_index_destroy,
    .index_memory = vr_cuda_index_memory,
    .plan_begin = plan_begin,
    .plan_end = plan_end,
    .plan_launch = plan_launch,
    .plan_destroy = plan_destroy,
};

static enum vr_status open_device(struct vr_device *device)
{
    enum vr_status (*const allow[])(size_t most) = {vr_scan_tiles_allow_shared, vr_scan_select_allow_shared,
                                                    vr_scan_safe_allow_shared, vr_ivf_allow_shared,
                                                    vr_linear_allow_shared};
    enum vr_status status = vr_seam_open(&device->seam);
    for (size_t i = 0; status == VR_OK && i < sizeof allow / sizeof allow[0]; i++) {
        status = allow[i](device->seam.shared_bytes);
    }
    return status;
}

enum vr_status vr_cuda_backend_open(unsigned threads, struct vr_backend **out)
{
    (void)threads; /* of the host: the device's work needs none */
    struct vr_backend *backend = calloc(1, sizeof *backend);
    struct vr_device *device = calloc(1, sizeof *device);
    enum vr_status status =
        backend == NULL || device == NULL ? vr_fail(VR_ERR_NOMEM, "no memory for a backend") : open_device(device);
    if (status != VR_OK) {
        free(device);
        free(backend);
        return status;
    }
    device->ops = cuda_ops;
    device->ops.unplanned = vr_knn_kinds();
    device->ops.index_kinds |= device->ops.unplanned;
    backend->ops = &device->ops;
    backend->device = device;
    *out = backend;
    return VR_OK;
}
