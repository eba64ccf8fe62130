/* What all kinds of index share: the object, the check of a search's arguments, and the choice of the kind. */
#include <stdlib.h>

#include "codes.h"
#include "cpu.h"
#include "ivf.h"

enum vr_status vr_cpu_index_wrap(const struct vr_index_spec *spec, struct vr_index_kind_ops ops, void *state,
                                 struct vr_index **out)
{
    struct vr_index *index = calloc(1, sizeof *index);
    if (index == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    const enum vr_status status = vr_rowset_open(spec->rows, &index->removed);
    if (status != VR_OK) {
        free(index);
        return status;
    }
    index->rows = spec->rows;
    index->dim = spec->dim;
    index->ops = ops;
    index->state = state;
    *out = index;
    return VR_OK;
}

void vr_cpu_index_destroy(struct vr_index *index)
{
    if (index != NULL) {
        index->ops.destroy(index->state);
        vr_rowset_close(&index->removed);
        free(index);
    }
}

enum vr_status vr_index_check_rows(uint32_t rows, const int32_t *row, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (row[i] < 0 || (uint32_t)row[i] >= rows) {
            return vr_fail(VR_ERR_INVALID, "index: row %d is to be removed, there are %u", row[i], rows);
        }
    }
    return VR_OK;
}

enum vr_status vr_cpu_index_remove(struct vr_index *index, const int32_t *row, uint32_t count, uint64_t deadline_us)
{
    (void)deadline_us; /* nothing waits */
    const enum vr_status status = vr_index_check_rows(index->rows, row, count);
    for (uint32_t i = 0; status == VR_OK && i < count; i++) {
        vr_rowset_add(&index->removed, row[i]);
    }
    return status;
}

enum vr_status vr_cpu_index_create(struct vr_backend *backend, const struct vr_index_spec *spec, struct vr_index **out)
{
    if (spec->vectors.width != spec->dim || spec->vectors.rows < spec->rows || spec->dim == 0 ||
        spec->dim > VR_DIM_MAX || spec->rows > INT32_MAX) {
        return vr_fail(VR_ERR_INVALID, "index: %u rows of %u from a table of %u rows of %u", spec->rows, spec->dim,
                       spec->vectors.rows, spec->vectors.width);
    }
    if (!vr_index_kind_is_in(backend->ops->index_kinds, spec->config.kind)) {
        return vr_fail(VR_ERR_UNSUPPORTED, "index %s is the CUDA backend's", vr_index_kind_name(spec->config.kind));
    }
    switch (spec->config.kind) {
    case VR_INDEX_EXACT: return vr_scan_index_create(spec, out);
    case VR_INDEX_EXACT_INT8: return vr_int8_index_create(spec, out);
    case VR_INDEX_IVF: return vr_ivf_index_create(spec, out);
    default: return vr_faiss_index_create(spec, backend->device->threads, out);
    }
}

/* Tiles of the exact scan: halves stay halves, all else is floats there. */
static uint64_t scan_bytes(const struct vr_index_spec *spec)
{
    const uint64_t slots = ((uint64_t)spec->rows + VR_TILE_LANES - 1) / VR_TILE_LANES * VR_TILE_LANES;
    return slots * spec->dim * (spec->vectors.dtype == VR_TABLE_F16 ? sizeof(uint16_t) : sizeof(float));
}

void vr_cpu_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes)
{
    *stream_bytes = 0; /* the scratch is part of every stream */
    switch (spec->config.kind) {
    case VR_INDEX_EXACT: *index_bytes = scan_bytes(spec); break;
    case VR_INDEX_EXACT_INT8: *index_bytes = vr_codes_bytes(&spec->vectors, spec->rows, 0); break;
    case VR_INDEX_IVF: *index_bytes = vr_ivf_bytes(spec); break;
    default: *index_bytes = (uint64_t)spec->rows * spec->dim * sizeof(float); break;
    }
    *index_bytes += vr_rowset_bytes(spec->rows);
}

void vr_reference_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes)
{
    *stream_bytes = 0;
    *index_bytes = (uint64_t)spec->rows * spec->dim * sizeof(float);
}

static enum vr_status resolve_exclusions(const struct vr_index_search *args, struct vr_search_at *out)
{
    out->exclude_offset = vr_cpu_at(args->exclude_offset, args->queries + (size_t)1, 4, "index search: exclude_offset");
    if (out->exclude_offset == NULL) {
        return VR_ERR_INVALID;
    }
    out->exclude = vr_cpu_at(args->exclude, out->exclude_offset[args->queries], 4, "index search: exclude");
    return out->exclude == NULL ? VR_ERR_INVALID : VR_OK;
}

static enum vr_status resolve(const struct vr_index *index, const struct vr_index_search *args,
                              struct vr_search_at *out)
{
    if (args->k > VR_K_MAX) {
        return vr_fail(VR_ERR_INVALID, "index search: k is %u, at most %u", args->k, VR_K_MAX);
    }
    const size_t results = (size_t)args->queries * args->k;
    out->query = vr_cpu_at(args->query, (size_t)args->queries * index->dim, 4, "index search: query");
    out->row = vr_cpu_at(args->row, results, 4, "index search: row");
    out->score = vr_cpu_at(args->score, results, 4, "index search: score");
    if (out->query == NULL || out->row == NULL || out->score == NULL) {
        return VR_ERR_INVALID;
    }
    return args->has_exclude ? resolve_exclusions(args, out) : VR_OK;
}

enum vr_status vr_cpu_index_search(struct vr_stream *stream, struct vr_index *index, const struct vr_index_search *args)
{
    struct vr_search_at at = {.queries = args->queries, .k = args->k};
    at.removed = vr_rowset_is_used(&index->removed) ? &index->removed : NULL;
    const enum vr_status status = resolve(index, args, &at);
    return status != VR_OK || at.queries == 0 || at.k == 0 ? status : index->ops.search(stream, index, &at);
}
