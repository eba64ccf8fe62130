/* Searches of every kind that the backend has, over one set of vectors, with recall against exact search in float32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops_parts.h"
#include "schedule.h"
#include "vireo/half.h"

#define K 100u
#define QUERIES_MAX 64u
#define CLUSTERS 1024u
#define NOISE 0.7              /* length of a vector's distance from its centre, which has length 1 */
#define GRAPH_ROWS_MAX 200000u /* a graph over more takes minutes to build */

static const uint32_t query_counts[] = {1, 16, QUERIES_MAX};

static const struct kind {
    enum vr_index_kind kind;
    enum vr_table_dtype dtype;
    const char *name;
    bool scans; /* all rows: its operations and bytes can be told */
} kinds[] = {
    {VR_INDEX_EXACT, VR_TABLE_F32, "exact fp32", true},
    {VR_INDEX_EXACT, VR_TABLE_F16, "exact fp16", true},
    {VR_INDEX_EXACT, VR_TABLE_I8, "exact int8 rows", true},
    {VR_INDEX_EXACT_INT8, VR_TABLE_F16, "exact_int8", true},
    {VR_INDEX_IVF, VR_TABLE_F16, "ivf", false},
    {VR_INDEX_FAISS_FLAT, VR_TABLE_F32, "faiss_flat", true},
    {VR_INDEX_FAISS_IVF, VR_TABLE_F32, "faiss_ivf", false},
    {VR_INDEX_FAISS_HNSW, VR_TABLE_F32, "faiss_hnsw", false},
};

struct search_bench {
    struct ops_bench *ops;
    struct vr_index_config config;
    float *vector;             /* [rows, dim], unit */
    float *query;              /* [QUERIES_MAX, dim], unit */
    int32_t *truth;            /* [QUERIES_MAX, K]: of the exact search in float32, which comes first */
    struct vr_view on_device;  /* of query */
    struct vr_view row, score; /* [QUERIES_MAX, K] */
};

/* ---- vectors ---- */

/* Normal numbers (Box and Muller). */
static double normal(uint64_t *random)
{
    return sqrt(-2.0 * log(bench_random_unit(random))) * cos(2.0 * M_PI * bench_random_unit(random));
}

static void make_unit(float *to, uint32_t dim)
{
    double squares = 0.0;
    for (uint32_t d = 0; d < dim; d++) {
        squares += (double)to[d] * (double)to[d];
    }
    for (uint32_t d = 0; d < dim; d++) {
        to[d] = (float)(to[d] / sqrt(squares));
    }
}

/* Unit vectors around random centres. */
static void fill(float *to, size_t count, uint32_t dim, const float *centre, uint64_t seed)
{
    const double noise = NOISE / sqrt((double)dim);
    for (size_t r = 0; r < count; r++) {
        const float *own = centre + (size_t)(bench_random(&seed) % CLUSTERS) * dim;
        for (uint32_t d = 0; d < dim; d++) {
            to[r * dim + d] = own[d] + (float)(noise * normal(&seed));
        }
        make_unit(to + r * dim, dim);
    }
}

static enum vr_status make_vectors(struct search_bench *search)
{
    const uint32_t rows = search->ops->setup.rows, dim = search->ops->setup.dim;
    float *centre = calloc((size_t)CLUSTERS * dim, sizeof *centre);
    search->vector = calloc((size_t)rows * dim, sizeof *search->vector);
    search->query = calloc((size_t)QUERIES_MAX * dim, sizeof *search->query);
    search->truth = calloc((size_t)QUERIES_MAX * K, sizeof *search->truth);
    if (centre == NULL || search->vector == NULL || search->query == NULL || search->truth == NULL) {
        free(centre);
        vr_fail(VR_ERR_NOMEM, "no memory for %u vectors", rows);
        return VR_ERR_NOMEM;
    }
    uint64_t seed = 5;
    for (size_t c = 0; c < CLUSTERS; c++) {
        for (uint32_t d = 0; d < dim; d++) {
            centre[c * dim + d] = (float)normal(&seed);
        }
        make_unit(centre + c * dim, dim);
    }
    fill(search->vector, rows, dim, centre, 2);
    fill(search->query, QUERIES_MAX, dim, centre, 3);
    free(centre);
    return VR_OK;
}

/* ---- tables ---- */

static enum vr_status put_halves(struct search_bench *search, size_t count, struct vr_table *table)
{
    uint16_t *half = calloc(count, sizeof *half);
    if (half == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for %zu halves", count);
    }
    for (size_t i = 0; i < count; i++) {
        half[i] = vr_half_from_float(search->vector[i]);
    }
    const enum vr_status status = ops_put(search->ops, half, count * sizeof *half, &table->data);
    free(half);
    return status;
}

static enum vr_status put_bytes(struct search_bench *search, struct vr_table *table)
{
    const size_t rows = table->rows, width = table->width;
    int8_t *byte = calloc(rows, width);
    float *scale = calloc(rows, sizeof *scale);
    enum vr_status status = byte != NULL && scale != NULL ? VR_OK : VR_ERR_NOMEM;
    for (size_t r = 0; status == VR_OK && r < rows; r++) {
        const float *row = search->vector + r * width;
        for (size_t d = 0; d < width; d++) {
            scale[r] = fmaxf(scale[r], fabsf(row[d]));
        }
        for (size_t d = 0; d < width; d++) {
            byte[r * width + d] = (int8_t)lrintf(127.0f * row[d] / scale[r]);
        }
    }
    status = status == VR_OK ? ops_put(search->ops, byte, rows * width, &table->data)
                             : vr_fail(status, "no memory for %zu bytes", rows * width);
    status = status == VR_OK ? ops_put(search->ops, scale, rows * sizeof *scale, &table->scale) : status;
    free(byte);
    free(scale);
    return status;
}

static enum vr_status put_table(struct search_bench *search, enum vr_table_dtype dtype, struct vr_table *table)
{
    const uint32_t rows = search->ops->setup.rows, dim = search->ops->setup.dim;
    const size_t count = (size_t)rows * dim;
    *table = (struct vr_table){.rows = rows, .width = dim, .dtype = dtype};
    switch (dtype) {
    case VR_TABLE_F16: return put_halves(search, count, table);
    case VR_TABLE_I8: return put_bytes(search, table);
    default: return ops_put(search->ops, search->vector, count * sizeof(float), &table->data);
    }
}

/* ---- recall ---- */

static int rising(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The latest search's rows, each query's rising. */
static enum vr_status found_rows(struct search_bench *search, int32_t *row)
{
    const enum vr_status status = ops_get(search->ops, search->row, (size_t)QUERIES_MAX * K * sizeof *row, row);
    for (uint32_t q = 0; status == VR_OK && q < QUERIES_MAX; q++) {
        qsort(row + (size_t)q * K, K, sizeof *row, rising);
    }
    return status;
}

/* Rows in both of two rising lists of K; -1 stands for none. */
static uint32_t shared(const int32_t *a, const int32_t *b)
{
    uint32_t both = 0;
    for (uint32_t i = 0, j = 0; i < K && j < K;) {
        both += a[i] == b[j] && a[i] >= 0;
        const bool first = a[i] <= b[j], second = b[j] <= a[i];
        i += first;
        j += second;
    }
    return both;
}

/* A whole batch of queries once; the first index ever gives the truth. */
static enum vr_status judge(struct search_bench *search, const struct ops_case *one, bool is_truth, double *recall)
{
    int32_t *row = calloc((size_t)QUERIES_MAX * K, sizeof *row);
    if (row == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for rows");
    }
    enum vr_status status = ops_call_once(search->ops, one);
    status = status == VR_OK ? found_rows(search, row) : status;
    if (status == VR_OK && is_truth) {
        memcpy(search->truth, row, (size_t)QUERIES_MAX * K * sizeof *row);
    }
    uint32_t hits = 0;
    for (uint32_t q = 0; status == VR_OK && q < QUERIES_MAX; q++) {
        hits += shared(row + (size_t)q * K, search->truth + (size_t)q * K);
    }
    *recall = (double)hits / ((double)QUERIES_MAX * K);
    free(row);
    return status;
}

/* ---- one kind ---- */

static struct ops_case search_case(const struct search_bench *search, const struct kind *kind, struct vr_index *index,
                                   uint32_t queries)
{
    static const double width[] = {[VR_TABLE_F32] = 4, [VR_TABLE_F16] = 2, [VR_TABLE_I8] = 1};
    const struct vr_bench_ops_setup *setup = &search->ops->setup;
    struct ops_case one = {.kind = OPS_SEARCH, .index = index, .queries = queries};
    one.of.search = (struct vr_index_search){
        .queries = queries, .k = K, .query = search->on_device, .row = search->row, .score = search->score};
    const double count = (double)setup->rows * setup->dim;
    const bool codes = kind->kind == VR_INDEX_EXACT_INT8; /* it scans codes, whatever it was made of */
    one.flops = kind->scans ? 2.0 * count * queries : NAN;
    one.bytes = kind->scans ? count * (codes ? 1.0 : width[kind->dtype]) : NAN;
    one.footprint = one.bytes;
    snprintf(one.name, sizeof one.name, "search, %s", kind->name);
    snprintf(one.shape, sizeof one.shape, "%u x %u, %u quer%s, k %u", setup->rows, setup->dim, queries,
             queries == 1 ? "y" : "ies", K);
    return one;
}

static enum vr_status measure_index(struct search_bench *search, const struct kind *kind, struct vr_index *index)
{
    const struct ops_case whole = search_case(search, kind, index, QUERIES_MAX);
    double recall = 0.0;
    enum vr_status status = judge(search, &whole, kind == kinds, &recall);
    for (size_t i = 0; status == VR_OK && i < sizeof query_counts / sizeof query_counts[0]; i++) {
        struct ops_case one = search_case(search, kind, index, query_counts[i]);
        one.recall = recall;
        status = ops_measure(search->ops, &one);
    }
    return status;
}

static enum vr_status run_kind(struct search_bench *search, const struct kind *kind)
{
    const struct vr_backend_ops *ops = search->ops->backend->ops;
    struct vr_index_spec spec = {
        .config = search->config, .rows = search->ops->setup.rows, .dim = search->ops->setup.dim};
    struct vr_index *index = NULL;
    spec.config.kind = kind->kind;
    enum vr_status status = put_table(search, kind->dtype, &spec.vectors);
    status = status == VR_OK ? ops_put(search->ops, search->query, (size_t)QUERIES_MAX * spec.dim * sizeof(float),
                                       &search->on_device)
                             : status;
    const size_t results = (size_t)QUERIES_MAX * K * sizeof(float);
    status = status == VR_OK ? ops_zeros(search->ops, results, &search->row) : status;
    status = status == VR_OK ? ops_zeros(search->ops, results, &search->score) : status;
    status = status == VR_OK ? ops->index_create(search->ops->backend, &spec, &index) : status;
    if (status == VR_OK) {
        status = measure_index(search, kind, index);
        ops->index_destroy(index);
    }
    ops_release(search->ops);
    return status;
}

static bool is_wanted(const struct search_bench *search, const struct kind *kind)
{
    struct ops_bench *bench = search->ops;
    if ((bench->backend->ops->index_kinds >> (unsigned)kind->kind & 1u) == 0) {
        return false;
    }
    if (kind->kind == VR_INDEX_FAISS_HNSW && bench->setup.rows > GRAPH_ROWS_MAX) {
        snprintf(bench->left_out, sizeof bench->left_out,
                 "faiss_hnsw: over more than %u rows it takes minutes to build", GRAPH_ROWS_MAX);
        return false;
    }
    return true;
}

enum vr_status ops_search_run(struct ops_bench *bench)
{
    struct search_bench search = {.ops = bench};
    struct vr_config *config = NULL;
    enum vr_status status = vr_config_default(&config);
    if (status == VR_OK) {
        search.config = config->retrieval;
        status = make_vectors(&search);
    }
    for (size_t i = 0; status == VR_OK && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (is_wanted(&search, &kinds[i])) {
            status = run_kind(&search, &kinds[i]);
        }
    }
    vr_config_destroy(config);
    free(search.vector);
    free(search.query);
    free(search.truth);
    return status;
}
