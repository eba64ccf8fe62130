/* The index exact_int8: every row's codes are looked at, in blocks of 256 rows that all queries of the batch share
 * while the block is in the cache, and the few rows that may be among the best are scored truly (codes.h,
 * candidates.h). The answers are the exact scan's, bit for bit. */
#include <stdlib.h>

#include "candidates.h"

static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_search_at *at)
{
    const struct vr_codes *codes = index->state;
    const struct vr_candidates_memory memory = vr_candidates_memory_of(codes->dim, stream->scratch, VR_SCRATCH_BYTES);
    const uint32_t group = vr_candidates_queries(&memory, at->k);
    for (uint32_t first = 0; first < at->queries; first += group) {
        struct vr_candidates query[VR_CANDIDATES_QUERIES], *all[VR_CANDIDATES_QUERIES];
        const uint32_t count = at->queries - first < group ? at->queries - first : group;
        vr_candidates_open(codes, at, first, count, true, &memory, query);
        for (uint32_t q = 0; q < count; q++) {
            all[q] = &query[q];
        }
        for (uint32_t b = 0; b < codes->blocks; b++) {
            vr_candidates_scan(codes, b, b + 1, all, count);
        }
        for (uint32_t q = 0; q < count; q++) {
            const size_t place = (size_t)(first + q) * at->k;
            vr_candidates_finish(&query[q], at->score + place, at->row + place);
        }
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
