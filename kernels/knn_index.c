/* An index of an outside library (knn.h): its object and its search. */
#include <stdlib.h>
#include <string.h>

#include "knn.h"
#include "vireo/backend_cuda.h"
#include "vireo/clock.h"
#include "vireo/rowset.h"

#define BUILD_LIMIT_US 600000000u
#define FETCH_LEAST 32u /* libraries select by powers of two from here on */
#define MARGIN 8u       /* beside a quarter of k: a library's scores are rounded more than ours, codes most of all */

struct knn_index {
    float *vector;                /* device [rows, dim] */
    uint32_t *removed;            /* device [rows / 32 + 1] */
    struct vr_rowset known;       /* the same rows: how many may stand in a search's way */
    struct vr_knn_thread *thread; /* NULL: few rows */
};

/* ---- libraries ---- */

#ifdef VIREO_HAVE_FAISS_GPU
extern const struct vr_knn_library vr_knn_faiss; /* knn_faiss.cc */
#endif
#ifdef VIREO_HAVE_CUVS
extern const struct vr_knn_library vr_knn_cuvs; /* knn_cuvs.c */
#endif

static const struct vr_knn_library *const libraries[] = {
#ifdef VIREO_HAVE_FAISS_GPU
    &vr_knn_faiss,
#endif
#ifdef VIREO_HAVE_CUVS
    &vr_knn_cuvs,
#endif
    NULL,
};

const char *vr_cuda_libraries(void)
{
    static const char *const names[] = {"", "faiss_gpu", "cuvs", "faiss_gpu cuvs"};
    const bool faiss = vr_knn_library_of(VR_INDEX_FAISS_GPU_FLAT) != NULL;
    const bool cuvs = vr_knn_library_of(VR_INDEX_CUVS_FLAT) != NULL;
    return names[(faiss ? 1 : 0) + (cuvs ? 2 : 0)];
}

const struct vr_knn_library *vr_knn_library_of(enum vr_index_kind kind)
{
    const struct vr_knn_library *const *at = libraries;
    while (*at != NULL && !vr_index_kind_is_in((*at)->kinds, kind)) {
        at++;
    }
    return *at;
}

uint32_t vr_knn_kinds(void)
{
    uint32_t kinds = 0;
    for (const struct vr_knn_library *const *at = libraries; *at != NULL; at++) {
        kinds |= (*at)->kinds;
    }
    return kinds;
}

enum vr_status vr_knn_fail(const char *library, const char *text)
{
    static const char *const no_memory[] = {"alloc fail", "allocation error", "bad_alloc", "out_of_memory",
                                            "out of memory"};
    enum vr_status status = VR_ERR_BACKEND;
    for (size_t i = 0; i < sizeof no_memory / sizeof no_memory[0]; i++) {
        status = strstr(text, no_memory[i]) != NULL ? VR_ERR_NOMEM : status;
    }
    return vr_fail(status, "%s: %s", library, text);
}

uint32_t vr_knn_code_bytes(uint32_t dim)
{
    static const uint32_t built[] = {48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2};
    for (size_t i = 0; i < sizeof built / sizeof built[0]; i++) {
        if (dim % built[i] == 0 && dim / built[i] >= 2) {
            return built[i];
        }
    }
    return 1;
}

/* ---- searching ---- */

/* Rows to ask the library for, so that k are left when the excluded and the removed are dropped. */
static uint32_t fetch_count(const struct vr_index *index, const struct vr_search_at *at)
{
    const uint32_t most = index->rows < VR_KNN_FOUND_MAX ? index->rows : VR_KNN_FOUND_MAX;
    const bool unknown = at->exclude_offset != NULL && at->exclude_most == 0;
    const struct knn_index *knn = index->state;
    const uint64_t wanted = (uint64_t)at->k + at->k / 4 + MARGIN + vr_rowset_count(&knn->known) +
                            (at->exclude_offset != NULL ? at->exclude_most : 0);
    uint32_t fetched = FETCH_LEAST;
    while (fetched < most && (unknown || fetched < wanted)) {
        fetched *= 2;
    }
    return fetched < most ? fetched : most;
}

/* What lies in a stream's scratch: always as much as the largest search takes, so that the first takes it all. */
struct scratch {
    int64_t *id;  /* [VR_KNN_QUERIES, VR_KNN_FOUND_MAX] */
    float *score; /* the same */
    float *query; /* [VR_KNN_QUERIES, dim] */
};

static size_t lay_out(uint32_t dim, char *memory, struct scratch *out)
{
    const size_t found = (size_t)VR_KNN_QUERIES * VR_KNN_FOUND_MAX;
    if (memory != NULL) {
        out->id = (int64_t *)memory;
        out->score = (float *)(memory + found * sizeof(int64_t));
        out->query = out->score + found;
    }
    return found * (sizeof(int64_t) + sizeof(float)) + (size_t)VR_KNN_QUERIES * dim * sizeof(float);
}

/* The rows that refine looks at: the library's, or all. */
static enum vr_status find(struct vr_stream *stream, const struct vr_index *index, const struct scratch *scratch,
                           struct vr_knn_pass *pass)
{
    const struct knn_index *knn = index->state;
    const struct vr_knn_call call = {stream->seam,   pass->queries, pass->found,
                                     scratch->query, scratch->id,   scratch->score};
    if (knn->thread == NULL) {
        pass->found = index->rows;
        return VR_OK;
    }
    pass->id = scratch->id;
    const enum vr_status status = vr_knn_prepare(stream, pass->queries, index->dim, pass->query, scratch->query);
    return status == VR_OK ? vr_knn_thread_search(knn->thread, &call) : status;
}

static enum vr_status run_pass(struct vr_stream *stream, const struct vr_index *index, const struct vr_search_at *at,
                               const struct scratch *scratch, uint32_t first)
{
    const struct knn_index *knn = index->state;
    const uint32_t left = at->queries - first;
    struct vr_knn_pass pass = {
        .vector = knn->vector,
        .rows = index->rows,
        .dim = index->dim,
        .query = at->query + (size_t)first * index->dim,
        .queries = left < VR_KNN_QUERIES ? left : VR_KNN_QUERIES,
        .k = at->k,
        .found = fetch_count(index, at),
        .first = first,
        .exclude_offset = at->exclude_offset,
        .exclude = at->exclude,
        .exclude_bound = at->exclude_bound,
        .removed = knn->removed,
        .row = at->row + (size_t)first * at->k,
        .score = at->score + (size_t)first * at->k,
    };
    const enum vr_status status = find(stream, index, scratch, &pass);
    return status == VR_OK ? vr_knn_refine(stream, &pass) : status;
}

static enum vr_status search(struct vr_stream *stream, const struct vr_index *index, const struct vr_search_at *at)
{
    if (stream->capturing) {
        return vr_fail(VR_ERR_INVALID, "a search of an outside library cannot be part of a plan");
    }
    if (index->rows == 0) {
        return vr_index_answer_nothing(stream, at);
    }
    struct scratch scratch = {0};
    char *memory = NULL;
    enum vr_status status = vr_stream_scratch(stream, lay_out(index->dim, NULL, &scratch), &memory);
    if (status == VR_OK) {
        lay_out(index->dim, memory, &scratch);
    }
    for (uint32_t first = 0; status == VR_OK && first < at->queries; first += VR_KNN_QUERIES) {
        status = run_pass(stream, index, at, &scratch, first);
    }
    return status;
}

/* The host counts rows first: a search beside it may fetch more than it needs, never less. */
static enum vr_status remove_rows(struct vr_stream *stream, const struct vr_index *index, const int32_t *row,
                                  uint32_t count)
{
    struct knn_index *knn = index->state;
    for (uint32_t i = 0; i < count; i++) {
        vr_rowset_add(&knn->known, row[i]);
    }
    return vr_knn_remove(stream, knn->removed, row, count);
}

/* ---- making ---- */

static struct vr_knn_spec spec_of(const struct vr_index_spec *spec, const float *vector)
{
    const struct vr_index_config *config = &spec->config;
    struct vr_knn_spec own = {.kind = config->kind, .rows = spec->rows, .dim = spec->dim, .vector = vector};
    uint32_t root = 0; /* of the rows */
    while ((uint64_t)(root + 1) * (root + 1) <= spec->rows) {
        root++;
    }
    const uint32_t lists = config->ivf_lists > 0 ? config->ivf_lists : 4 * root;
    own.lists = lists < spec->rows ? lists : spec->rows;
    own.probes = config->ivf_probes < own.lists ? config->ivf_probes : own.lists;
    own.probes = own.probes < VR_KNN_FOUND_MAX ? own.probes : VR_KNN_FOUND_MAX; /* selected as rows are */
    return own;
}

static enum vr_status unpack(struct vr_backend *backend, const struct vr_cuda_table *table, uint32_t rows, float *to)
{
    struct vr_stream *stream = NULL;
    enum vr_status status = backend->ops->stream_create(backend, &stream);
    if (status == VR_OK) {
        status = vr_knn_unpack(stream, table, rows, to);
    }
    if (status == VR_OK) {
        status = vr_stream_wait(backend, stream, vr_clock_mono_us() + BUILD_LIMIT_US);
    }
    backend->ops->stream_destroy(stream);
    return status;
}

/* What a library that hangs may still use is left to it: the process goes down. */
static void destroy(void *held)
{
    struct knn_index *knn = held;
    if (vr_knn_thread_stop(knn->thread)) {
        vr_seam_memory_destroy(false, knn->vector);
    }
    vr_seam_memory_destroy(false, knn->removed); /* not the library's */
    vr_rowset_close(&knn->known);
    free(knn);
}

static size_t removed_bytes(uint32_t rows)
{
    return ((size_t)rows / 32 + 1) * sizeof(uint32_t);
}

static enum vr_status take_memory(uint32_t rows, uint32_t dim, struct knn_index *knn)
{
    void *vector = NULL, *removed = NULL;
    enum vr_status status = vr_rowset_open(rows, &knn->known);
    if (status == VR_OK) {
        status = vr_seam_memory_create(false, (size_t)rows * dim * sizeof(float), &vector);
    }
    if (status == VR_OK) {
        status = vr_seam_memory_create(false, removed_bytes(rows), &removed);
    }
    knn->vector = vector;
    knn->removed = removed;
    return status;
}

static enum vr_status build(struct vr_backend *backend, const struct vr_index_spec *spec,
                            const struct vr_cuda_table *table, struct knn_index *knn)
{
    enum vr_status status = VR_OK;
    if (spec->rows > 0) {
        status = take_memory(spec->rows, spec->dim, knn);
    }
    if (status == VR_OK && spec->rows > 0) {
        status = unpack(backend, table, spec->rows, knn->vector);
    }
    const struct vr_knn_spec own = spec_of(spec, knn->vector);
    return status == VR_OK && spec->rows > VR_KNN_FEW
               ? vr_knn_thread_start(vr_knn_library_of(own.kind), &own, &knn->thread)
               : status;
}

enum vr_status vr_knn_index_open(struct vr_backend *backend, const struct vr_index_spec *spec,
                                 const struct vr_cuda_table *table, struct vr_index *index)
{
    struct knn_index *knn = calloc(1, sizeof *knn);
    if (knn == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    const enum vr_status status = build(backend, spec, table, knn);
    if (status != VR_OK) {
        destroy(knn);
        return status;
    }
    index->search = search;
    index->remove = remove_rows;
    index->destroy = destroy;
    index->state = knn;
    return VR_OK;
}

void vr_knn_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes)
{
    const struct vr_knn_spec own = spec_of(spec, NULL);
    struct scratch scratch;
    *stream_bytes = lay_out(spec->dim, NULL, &scratch);
    *index_bytes = (uint64_t)spec->rows * spec->dim * sizeof(float) + removed_bytes(spec->rows) +
                   (spec->rows > VR_KNN_FEW ? vr_knn_library_of(own.kind)->memory(&own) : 0);
}
