/* Indexes of the CPU backend for bench/knn.py, which loads this as a library to measure them beside their peers in one
 * process. One thread. Vectors are stored as halves or floats; queries and answers go through the backend's buffers, as
 * they do in the server. */
#include <stdlib.h>
#include <string.h>

#include "compute/ivf.h"
#include "vireo/backend.h"
#include "vireo/clock.h"
#include "vireo/half.h"

#define QUERIES_MAX 1024u
#define K_MAX 1000u

struct knn {
    struct vr_backend *backend;
    struct vr_stream *stream;
    struct vr_index *index;
    struct vr_buffer *query, *row, *score;
    uint32_t dim;
    double build_s;
    uint64_t bytes;
};

struct knn *knn_open(const float *vector, uint32_t rows, uint32_t dim, const char *kind, uint32_t halves,
                     uint32_t lists);
const char *knn_error(void);
double knn_build_s(const struct knn *knn);
uint64_t knn_bytes(const struct knn *knn);
int knn_search(struct knn *knn, const float *query, uint32_t queries, uint32_t k, int32_t *row, float *score);
void knn_probes(struct knn *knn, uint32_t probes);
void knn_close(struct knn *knn);

void knn_close(struct knn *knn)
{
    if (knn->backend != NULL) {
        const struct vr_backend_ops *ops = knn->backend->ops;
        ops->buffer_destroy(knn->query);
        ops->buffer_destroy(knn->row);
        ops->buffer_destroy(knn->score);
        ops->index_destroy(knn->index);
        ops->stream_destroy(knn->stream);
    }
    vr_backend_destroy(knn->backend);
    free(knn);
}

static enum vr_status kind_of(const char *name, enum vr_index_kind *out)
{
    for (int kind = VR_INDEX_EXACT; kind <= VR_INDEX_EXACT_INT8; kind++) {
        if (strcmp(vr_index_kind_name((enum vr_index_kind)kind), name) == 0) {
            *out = (enum vr_index_kind)kind;
            return VR_OK;
        }
    }
    return vr_fail(VR_ERR_INVALID, "no index is called %s", name);
}

/* The vectors to a buffer of the backend's, which the caller destroys after a failure too. */
static enum vr_status put(struct knn *knn, const float *vector, uint32_t rows, bool halves, struct vr_table *table)
{
    const struct vr_backend_ops *ops = knn->backend->ops;
    const size_t count = (size_t)rows * knn->dim, bytes = count * (halves ? 2 : 4);
    *table = (struct vr_table){.rows = rows, .width = knn->dim, .dtype = halves ? VR_TABLE_F16 : VR_TABLE_F32};
    const enum vr_status status = ops->buffer_create(knn->backend, VR_MEMORY_DEVICE, bytes, &table->data.buffer);
    if (status != VR_OK) {
        return status;
    }
    uint16_t *to = ops->buffer_host(table->data.buffer);
    for (size_t i = 0; halves && i < count; i++) {
        to[i] = vr_half_from_float(vector[i]);
    }
    if (!halves) {
        memcpy(to, vector, bytes);
    }
    return VR_OK;
}

static enum vr_status build(struct knn *knn, const struct vr_index_spec *spec)
{
    const struct vr_backend_ops *ops = knn->backend->ops;
    uint64_t of_stream = 0;
    const uint64_t start = vr_clock_mono_us();
    const enum vr_status status = ops->index_create(knn->backend, spec, &knn->index);
    knn->build_s = (double)(vr_clock_mono_us() - start) * 1e-6;
    ops->index_memory(spec, &knn->bytes, &of_stream);
    return status;
}

static enum vr_status open_buffers(struct knn *knn)
{
    const struct vr_backend_ops *ops = knn->backend->ops;
    const size_t results = (size_t)QUERIES_MAX * K_MAX * 4;
    enum vr_status status = ops->stream_create(knn->backend, &knn->stream);
    if (status == VR_OK) {
        status = ops->buffer_create(knn->backend, VR_MEMORY_STAGING, (size_t)QUERIES_MAX * knn->dim * 4, &knn->query);
    }
    if (status == VR_OK) {
        status = ops->buffer_create(knn->backend, VR_MEMORY_STAGING, results, &knn->row);
    }
    return status == VR_OK ? ops->buffer_create(knn->backend, VR_MEMORY_STAGING, results, &knn->score) : status;
}

struct knn *knn_open(const float *vector, uint32_t rows, uint32_t dim, const char *kind, uint32_t halves,
                     uint32_t lists)
{
    struct knn *knn = calloc(1, sizeof *knn);
    struct vr_index_spec spec = {.rows = rows, .dim = dim};
    if (knn == NULL) {
        return NULL;
    }
    knn->dim = dim;
    spec.config = (struct vr_index_config){.hnsw_m = 32, .hnsw_ef_search = 256, .ivf_lists = lists, .ivf_probes = 32};
    enum vr_status status = kind_of(kind, &spec.config.kind);
    if (status == VR_OK) {
        status = vr_backend_open("cpu", 1, &knn->backend);
    }
    if (status == VR_OK) {
        status = put(knn, vector, rows, halves != 0, &spec.vectors);
    }
    if (status == VR_OK) {
        status = build(knn, &spec);
    }
    if (spec.vectors.data.buffer != NULL) {
        knn->backend->ops->buffer_destroy(spec.vectors.data.buffer);
    }
    if (status == VR_OK) {
        status = open_buffers(knn);
    }
    if (status != VR_OK) {
        knn_close(knn);
        return NULL;
    }
    return knn;
}

const char *knn_error(void)
{
    return vr_error_text();
}

double knn_build_s(const struct knn *knn)
{
    return knn->build_s;
}

uint64_t knn_bytes(const struct knn *knn)
{
    return knn->bytes;
}

/* Of an index ivf. */
void knn_probes(struct knn *knn, uint32_t probes)
{
    vr_ivf_set_probes(knn->index, probes);
}

int knn_search(struct knn *knn, const float *query, uint32_t queries, uint32_t k, int32_t *row, float *score)
{
    const struct vr_backend_ops *ops = knn->backend->ops;
    const struct vr_index_search args = {
        .queries = queries, .k = k, .query = {knn->query, 0}, .row = {knn->row, 0}, .score = {knn->score, 0}};
    if (queries > QUERIES_MAX || k > K_MAX) {
        return VR_ERR_INVALID;
    }
    memcpy(ops->buffer_host(knn->query), query, (size_t)queries * knn->dim * sizeof *query);
    const enum vr_status status = ops->index_search(knn->stream, knn->index, &args);
    memcpy(row, ops->buffer_host(knn->row), (size_t)queries * k * sizeof *row);
    memcpy(score, ops->buffer_host(knn->score), (size_t)queries * k * sizeof *score);
    return status;
}
