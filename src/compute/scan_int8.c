/* The index exact_int8: every row's codes are looked at, in blocks of 256 rows that all queries of the batch share
 * while the block is in the cache, and the few rows that may be among the best are scored truly (codes.h,
 * candidates.h). The answers are the exact scan's, bit for bit. */
#include <stdlib.h>

#include "candidates.h"

/* A viewer without a history asks with zeros: every row scores 0, so the first ones that are not excluded are the
 * answer, and looking for better ones would be in vain. */
static void answer_zeros(const struct vr_codes *codes, struct vr_exclusion out, uint32_t k, float *score, int32_t *row)
{
    int32_t next = 0;
    for (uint32_t i = 0; i < k; i++) {
        while (next < (int32_t)codes->rows && vr_exclusion_has(out, next)) {
            next++;
        }
        score[i] = 0.0f;
        row[i] = next < (int32_t)codes->rows ? next++ : -1;
    }
}

static bool is_zeros(const struct vr_codes *codes, const struct vr_candidates *query)
{
    return query->query.norm == 0.0f && codes->is_finite;
}

/* Queries first .. first + count. */
static void search_group(const struct vr_codes *codes, const struct vr_search_at *at, uint32_t first, uint32_t count,
                         const struct vr_candidates_memory *memory)
{
    struct vr_candidates query[VR_CANDIDATES_QUERIES], *some[VR_CANDIDATES_QUERIES];
    uint32_t left = 0;
    vr_candidates_open(codes, at, first, count, memory, query);
    for (uint32_t q = 0; q < count; q++) {
        some[left] = &query[q];
        left += !is_zeros(codes, &query[q]);
    }
    for (uint32_t b = 0; b < codes->blocks && left > 0; b++) {
        vr_candidates_scan(codes, b, b + 1, some, left);
    }
    for (uint32_t q = 0; q < count; q++) {
        float *score = at->score + (size_t)(first + q) * at->k;
        int32_t *row = at->row + (size_t)(first + q) * at->k;
        if (is_zeros(codes, &query[q])) {
            answer_zeros(codes, query[q].out, at->k, score, row);
        } else {
            vr_candidates_finish(&query[q], score, row);
        }
    }
}

static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_search_at *at)
{
    const struct vr_codes *codes = index->state;
    const struct vr_candidates_memory memory = vr_candidates_memory_of(codes->dim, stream->scratch, VR_SCRATCH_BYTES);
    const uint32_t group = vr_candidates_queries(&memory, at->k);
    for (uint32_t first = 0; first < at->queries; first += group) {
        const uint32_t left = at->queries - first;
        search_group(codes, at, first, left < group ? left : group, &memory);
    }
    return VR_OK;
}

static void destroy(void *state)
{
    vr_codes_free(state);
    free(state);
}

enum vr_status vr_int8_index_create(const struct vr_index_spec *spec, struct vr_index **out)
{
    struct vr_cpu_table table;
    enum vr_status status = vr_cpu_table_at(&spec->vectors, &table);
    if (status != VR_OK) {
        return status;
    }
    struct vr_codes *codes = calloc(1, sizeof *codes);
    if (codes == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    const uint32_t offset[2] = {0, spec->rows};
    const struct vr_codes_lists all = {1, offset, NULL};
    status = vr_codes_make(&table, &all, codes);
    if (status == VR_OK) {
        struct vr_index_kind_ops ops = {search, destroy};
        status = vr_cpu_index_wrap(spec, ops, codes, out);
    }
    if (status != VR_OK) {
        destroy(codes);
    }
    return status;
}
