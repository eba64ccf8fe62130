/* See index.h: the object, the check of a search's arguments, and the choice of the kind. */
#include "index.h"

#include <stdlib.h>

#include "knn.h"
#include "scan.h"

/* Where a kind of index is. */
struct kind {
    enum vr_status (*open)(struct vr_backend *backend, const struct vr_index_spec *spec,
                           const struct vr_cuda_table *table, struct vr_index *index);
    void (*memory)(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);
};

static const struct kind *kind_of(const struct vr_index_spec *spec)
{
    static const struct kind scan = {vr_scan_index_open, vr_scan_index_memory},
                             ivf = {vr_ivf_index_open, vr_ivf_index_memory},
                             knn = {vr_knn_index_open, vr_knn_index_memory};
    return vr_index_kind_is_in(vr_knn_kinds(), spec->config.kind) ? &knn
           : spec->config.kind == VR_INDEX_IVF                    ? &ivf
                                                                  : &scan;
}

enum vr_status vr_cuda_index_create(struct vr_backend *backend, const struct vr_index_spec *spec, struct vr_index **out)
{
    if (spec->vectors.width != spec->dim || spec->vectors.rows < spec->rows || spec->dim == 0 ||
        spec->rows > INT32_MAX) {
        return vr_fail(VR_ERR_INVALID, "index: %u rows of %u from a table of %u rows of %u", spec->rows, spec->dim,
                       spec->vectors.rows, spec->vectors.width);
    }
    if (!vr_index_kind_is_in(backend->ops->index_kinds, spec->config.kind)) {
        return vr_fail(VR_ERR_UNSUPPORTED, "the CUDA backend of this build has no index %s",
                       vr_index_kind_name(spec->config.kind));
    }
    struct vr_cuda_table table;
    enum vr_status status = vr_cuda_table_at(&spec->vectors, &table);
    if (status != VR_OK) {
        return status;
    }
    struct vr_index *index = calloc(1, sizeof *index);
    if (index == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    index->backend = backend;
    index->rows = spec->rows;
    index->dim = spec->dim;
    pthread_mutex_init(&index->removing, NULL); /* cannot fail with default attributes on Linux */
    status = backend->ops->stream_create(backend, &index->removals);
    if (status == VR_OK) {
        status = kind_of(spec)->open(backend, spec, &table, index);
    }
    if (status != VR_OK) {
        vr_cuda_index_destroy(index);
        return status;
    }
    *out = index;
    return VR_OK;
}

void vr_cuda_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes)
{
    kind_of(spec)->memory(spec, index_bytes, stream_bytes);
}

void vr_cuda_index_destroy(struct vr_index *index)
{
    if (index != NULL) {
        index->backend->ops->stream_destroy(index->removals); /* first: its work uses the rest */
        if (index->destroy != NULL) {
            index->destroy(index->state);
        }
        pthread_mutex_destroy(&index->removing);
        free(index);
    }
}

enum vr_status vr_cuda_index_remove(struct vr_index *index, const int32_t *row, uint32_t count, uint64_t deadline_us)
{
    enum vr_status status = vr_index_check_rows(index->rows, row, count);
    if (status != VR_OK || count == 0) {
        return status;
    }
    pthread_mutex_lock(&index->removing);
    status = index->remove(index->removals, index, row, count);
    if (status == VR_OK) {
        status = vr_stream_wait(index->backend, index->removals, deadline_us);
    }
    pthread_mutex_unlock(&index->removing);
    return status;
}

static enum vr_status resolve_exclusions(const struct vr_index_search *args, struct vr_search_at *out)
{
    out->exclude_offset =
        vr_cuda_at(args->exclude_offset, args->queries + (size_t)1, 4, "index search: exclude_offset");
    if (out->exclude_offset == NULL) {
        return VR_ERR_INVALID;
    }
    const struct vr_buffer *buffer = args->exclude.buffer;
    if (buffer == NULL) {
        return VR_OK; /* all lists are empty */
    }
    const size_t room = args->exclude.offset <= buffer->size ? (buffer->size - args->exclude.offset) / 4 : 0;
    out->exclude_most = args->exclude_most;
    out->exclude_bound = room < INT32_MAX ? (uint32_t)room : INT32_MAX;
    out->exclude = vr_cuda_at(args->exclude, out->exclude_bound, 4, "index search: exclude");
    return out->exclude == NULL ? VR_ERR_INVALID : VR_OK;
}

enum vr_status vr_cuda_index_search(struct vr_stream *stream, struct vr_index *index,
                                    const struct vr_index_search *args)
{
    if (args->k > VR_SCAN_K_MAX) {
        return vr_fail(VR_ERR_INVALID, "index search: k is %u, at most %u", args->k, VR_SCAN_K_MAX);
    }
    struct vr_search_at at = {.queries = args->queries, .k = args->k};
    const size_t results = (size_t)args->queries * args->k;
    at.query = vr_cuda_at(args->query, (size_t)args->queries * index->dim, 4, "index search: query");
    at.row = vr_cuda_at(args->row, results, 4, "index search: row");
    at.score = vr_cuda_at(args->score, results, 4, "index search: score");
    if (at.query == NULL || at.row == NULL || at.score == NULL) {
        return VR_ERR_INVALID;
    }
    const enum vr_status status = args->has_exclude ? resolve_exclusions(args, &at) : VR_OK;
    return status != VR_OK || results == 0 ? status : index->search(stream, index, &at);
}

enum vr_status vr_index_answer_nothing(struct vr_stream *stream, const struct vr_search_at *at)
{
    const size_t bytes = (size_t)at->queries * at->k * 4;
    const enum vr_status status = vr_seam_fill(stream->seam, at->row, 0xff, bytes);
    return status == VR_OK ? vr_seam_fill(stream->seam, at->score, 0, bytes) : status;
}
