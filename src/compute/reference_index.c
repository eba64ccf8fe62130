/* Plain C of exact search: every score, then the best k. A copy of the vectors as floats, row after row. */
#include <stdlib.h>

#include "cpu.h"
#include "exclusion.h"
#include "topk.h"

static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_search_at *at)
{
    (void)stream;
    const float *vector = index->state;
    for (uint32_t q = 0; q < at->queries; q++) {
        const struct vr_exclusion out = vr_exclusion_of(at, q);
        struct vr_topk top = vr_topk_open(at->score + (size_t)q * at->k, at->row + (size_t)q * at->k, at->k);
        for (uint32_t r = 0; r < index->rows; r++) {
            float dot = 0.0f;
            for (uint32_t i = 0; i < index->dim; i++) {
                dot += at->query[(size_t)q * index->dim + i] * vector[(size_t)r * index->dim + i];
            }
            if (!vr_exclusion_has(out, (int32_t)r)) {
                vr_topk_push(&top, dot, (int32_t)r);
            }
        }
        vr_topk_finish(&top);
    }
    return VR_OK;
}

enum vr_status vr_reference_index_create(struct vr_backend *backend, const struct vr_index_spec *spec,
                                         struct vr_index **out)
{
    (void)backend;
    struct vr_cpu_table table;
    enum vr_status status = vr_cpu_table_at(&spec->vectors, &table);
    if (status != VR_OK) {
        return status;
    }
    if (table.rows < spec->rows || table.width != spec->dim) {
        return vr_fail(VR_ERR_INVALID, "index: the table is smaller than the index");
    }
    float *vector = malloc(((size_t)spec->rows * spec->dim + 1) * sizeof(float));
    if (vector == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index of %u rows", spec->rows);
    }
    for (uint32_t r = 0; r < spec->rows; r++) {
        vr_cpu_table_row(&table, r, vector + (size_t)r * spec->dim);
    }
    struct vr_index_kind_ops ops = {search, free};
    status = vr_cpu_index_wrap(spec, ops, vector, out);
    if (status != VR_OK) {
        free(vector);
    }
    return status;
}
