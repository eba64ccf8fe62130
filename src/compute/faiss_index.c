/* FAISS indexes in the index contract. What the library lacks is added here: exclusions by fetching more and dropping
 * (its own selectors are not in 1.7.3's HNSW) until enough is left, the order by score and row, and scores that do not
 * depend on the batch: each found row is scored again by one fixed chain of additions. Graph and list searches run
 * query by query, so that one query's exclusions cannot widen another's search; the flat one runs the batch, with a
 * margin over k. */
#include <math.h>
#include <stdlib.h>

#include "cpu.h"
#include "exclusion.h"
#include "faiss_shim.h"
#include "topk.h"

#define MARGIN 8u /* near-ties at rank k may come in another order out of a matrix product: fetch a few more */

struct faiss_state {
    struct vr_faiss *faiss; /* NULL for an index of no rows */
    bool batch;
};

static uint32_t fetch_count(const struct vr_index *index, uint32_t k, uint32_t excluded)
{
    const uint64_t wanted = (uint64_t)k + excluded + MARGIN;
    return wanted < index->rows ? (uint32_t)wanted : index->rows;
}

static bool query_is_finite(const float *query, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++) {
        if (!isfinite(query[i])) {
            return false;
        }
    }
    return true;
}

/* Score what was fetched and keep the best k that are not excluded. *left: how many of them are not. */
static enum vr_status take_found(const struct vr_index *index, const int64_t *id, uint32_t fetched, const float *query,
                                 struct vr_exclusion out, struct vr_topk *top, uint32_t *left)
{
    const struct faiss_state *state = index->state;
    float vector[4096];
    *left = 0;
    for (uint32_t i = 0; i < fetched; i++) {
        if (id[i] < 0 || vr_exclusion_has(out, (int32_t)id[i])) {
            continue;
        }
        const enum vr_status status = vr_faiss_vector(state->faiss, id[i], vector);
        if (status != VR_OK) {
            return status;
        }
        float dot = 0.0f;
        for (uint32_t c = 0; c < index->dim; c++) {
            dot += query[c] * vector[c];
        }
        vr_topk_push(top, dot, (int32_t)id[i]);
        (*left)++;
    }
    return VR_OK;
}

static struct vr_topk open_top(const struct vr_search_at *at, uint32_t query)
{
    const size_t place = (size_t)query * at->k;
    return vr_topk_open(at->score + place, at->row + place, at->k);
}

/* Queries first .. first + count with one call of the library. A query that is not finite finds nothing: the library
 * would walk its graph by comparisons that are all false. *short_of: a query has fewer left than it needs, and the
 * library may know more. */
static enum vr_status search_some(struct vr_index *index, const struct vr_search_at *at, uint32_t first, uint32_t count,
                                  int64_t *id, uint32_t fetched, bool *short_of)
{
    const struct faiss_state *state = index->state;
    const float *begin = at->query + (size_t)first * index->dim;
    for (size_t i = 0; i < (size_t)count * fetched; i++) {
        id[i] = -1;
    }
    enum vr_status status = VR_OK;
    if (count > 1 || query_is_finite(begin, index->dim)) {
        status = vr_faiss_search(state->faiss, count, begin, fetched, id);
    }
    for (uint32_t q = 0; status == VR_OK && q < count; q++) {
        struct vr_topk top = open_top(at, first + q);
        const float *query = begin + (size_t)q * index->dim;
        if (query_is_finite(query, index->dim)) {
            const int64_t *found = id + (size_t)q * fetched;
            uint32_t left = 0;
            status = take_found(index, found, fetched, query, vr_exclusion_of(at, first + q), &top, &left);
            *short_of = *short_of || (left < at->k + MARGIN && found[fetched - 1] >= 0);
        }
        vr_topk_finish(&top);
    }
    return status;
}

static uint32_t largest_exclusion(const struct vr_search_at *at)
{
    uint32_t largest = 0;
    for (uint32_t q = 0; q < at->queries; q++) {
        const uint32_t count = vr_exclusion_of(at, q).count;
        largest = count > largest ? count : largest;
    }
    return largest;
}

static void nothing_found(const struct vr_search_at *at)
{
    for (uint32_t q = 0; q < at->queries; q++) {
        struct vr_topk top = open_top(at, q);
        vr_topk_finish(&top);
    }
}

/* Where removed rows leave too few, twice as many are asked for: how many of the best are removed is not known before.
 */
static enum vr_status search_wider(struct vr_index *index, const struct vr_search_at *at, uint32_t first,
                                   uint32_t count, uint32_t excluded)
{
    uint32_t fetched = fetch_count(index, at->k, excluded);
    for (;;) {
        bool short_of = false;
        int64_t *id = malloc((size_t)count * fetched * sizeof *id);
        if (id == NULL) {
            return vr_fail(VR_ERR_NOMEM, "faiss: no memory for %u results", fetched);
        }
        const enum vr_status status = search_some(index, at, first, count, id, fetched, &short_of);
        free(id);
        if (status != VR_OK || !short_of || fetched == index->rows) {
            return status;
        }
        fetched = fetched < index->rows / 2 ? 2 * fetched : index->rows;
    }
}

static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_search_at *at)
{
    (void)stream;
    const struct faiss_state *state = index->state;
    if (state->faiss == NULL) {
        nothing_found(at);
        return VR_OK;
    }
    if (state->batch) {
        return search_wider(index, at, 0, at->queries, largest_exclusion(at));
    }
    enum vr_status status = VR_OK;
    for (uint32_t q = 0; status == VR_OK && q < at->queries; q++) {
        status = search_wider(index, at, q, 1, vr_exclusion_of(at, q).count);
    }
    return status;
}

static void faiss_state_destroy(void *pointer)
{
    struct faiss_state *state = pointer;
    if (state != NULL) {
        vr_faiss_destroy(state->faiss);
        free(state);
    }
}

static enum vr_status build(const struct vr_index_spec *spec, unsigned threads, struct faiss_state *state)
{
    struct vr_cpu_table table;
    enum vr_status status = vr_cpu_table_at(&spec->vectors, &table);
    if (status != VR_OK || spec->rows == 0) {
        return status;
    }
    float *vector = malloc((size_t)spec->rows * spec->dim * sizeof *vector);
    if (vector == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory to build an index of %u rows", spec->rows);
    }
    for (uint32_t r = 0; r < spec->rows; r++) {
        vr_cpu_table_row(&table, r, vector + (size_t)r * spec->dim);
    }
    status = vr_faiss_create(&spec->config, spec->rows, spec->dim, vector, threads, &state->faiss);
    free(vector);
    return status;
}

enum vr_status vr_faiss_index_create(const struct vr_index_spec *spec, unsigned threads, struct vr_index **out)
{
    struct faiss_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    state->batch = spec->config.kind == VR_INDEX_FAISS_FLAT;
    enum vr_status status = build(spec, threads, state);
    if (status == VR_OK) {
        struct vr_index_kind_ops ops = {search, faiss_state_destroy};
        status = vr_cpu_index_wrap(spec, ops, state, out);
    }
    if (status != VR_OK) {
        faiss_state_destroy(state);
    }
    return status;
}
