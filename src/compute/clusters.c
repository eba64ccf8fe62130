/* See clusters.h. */
#include "clusters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"

#define ITERATIONS 10u
#define TOGETHER 64u /* rows that meet a block of centroids while it is in the cache */

/* Rows on their way to their clusters. */
struct rows {
    const struct vr_cpu_table *table;
    const int32_t *number; /* [count]; NULL: 0, 1, .. */
    uint32_t count;
    int32_t *cluster; /* [count] */
};

/* Memory of a few rows that are compared together. */
struct few {
    float *vector; /* [dim] */
    int8_t *code;  /* [TOGETHER, groups, 4] */
    struct vr_code_query query[TOGETHER];
    int32_t cluster[TOGETHER];
};

enum vr_status vr_clusters_open(struct vr_clusters *clusters, uint32_t count, uint32_t dim)
{
    *clusters = (struct vr_clusters){.count = count, .dim = dim, .groups = (dim + 3) / 4};
    const size_t tiles = (count + VR_CODE_LANES - 1) / VR_CODE_LANES;
    clusters->centroid = calloc((size_t)count * dim, sizeof *clusters->centroid);
    clusters->tile = aligned_alloc(64, tiles * clusters->groups * VR_CODE_LANES * 4);
    clusters->sums = vr_code_block_choose();
    if (clusters->centroid == NULL || clusters->tile == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for %u centroids", count);
    }
    memset(clusters->tile, 0, tiles * clusters->groups * VR_CODE_LANES * 4);
    return VR_OK;
}

void vr_clusters_close(struct vr_clusters *clusters)
{
    free(clusters->centroid);
    free(clusters->tile);
}

void vr_clusters_sums(const struct vr_clusters *clusters, uint32_t first, const struct vr_code_query *query,
                      uint32_t queries, struct vr_code_sums *out)
{
    const uint32_t left = clusters->count - first, rows = left < VR_CODE_ROWS ? left : VR_CODE_ROWS;
    clusters->sums(clusters->tile + (size_t)first * clusters->groups * 4, (rows + VR_CODE_LANES - 1) / VR_CODE_LANES,
                   clusters->groups, query, queries, out);
}

/* ---- directions ---- */

static bool normalize(float *vector, uint32_t dim)
{
    double squares = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        squares += (double)vector[i] * (double)vector[i];
    }
    const bool has_direction = squares > 0.0 && isfinite(squares);
    for (uint32_t i = 0; i < dim; i++) {
        vector[i] = has_direction ? (float)((double)vector[i] / sqrt(squares)) : 0.0f;
    }
    return has_direction;
}

/* Row i, of length 1. */
static bool direction_of(const struct rows *rows, uint32_t i, float *vector)
{
    vr_cpu_table_row(rows->table, rows->number != NULL ? rows->number[i] : (int64_t)i, vector);
    return normalize(vector, rows->table->width);
}

/* All centroids by one unit: the largest sum is then the nearest one's. */
static void code_centroids(struct vr_clusters *clusters)
{
    float largest = 0.0f;
    const size_t values = (size_t)clusters->count * clusters->dim;
    for (size_t i = 0; i < values; i++) {
        largest = fmaxf(largest, fabsf(clusters->centroid[i]));
    }
    for (uint32_t c = 0; c < clusters->count; c++) {
        int8_t code[VR_DIM_MAX];
        vr_codes_encode(clusters->centroid + (size_t)c * clusters->dim, clusters->dim, vr_codes_unit(largest), code);
        vr_codes_put(clusters->tile, c, clusters->groups, code, clusters->dim);
    }
}

/* ---- the nearest ---- */

/* The query's limit is one more than its best sum so far: of equals the first stays. */
static void take_best(const struct vr_code_sums *sums, uint32_t first, uint32_t left, struct vr_code_query *query,
                      int32_t *cluster)
{
    const uint32_t rows = left < VR_CODE_ROWS ? left : VR_CODE_ROWS;
    for (uint32_t t = 0; t * VR_CODE_LANES < rows; t++) {
        for (uint32_t lanes = sums->reaching[t]; lanes != 0; lanes &= lanes - 1) {
            const uint32_t at = t * VR_CODE_LANES + (uint32_t)__builtin_ctz(lanes);
            if (at < rows && sums->sum[at] >= query->limit) {
                query->limit = sums->sum[at] + 1;
                *cluster = (int32_t)(first + at);
            }
        }
    }
}

static void find_nearest(const struct vr_clusters *clusters, struct few *few, uint32_t count)
{
    for (uint32_t first = 0; first < clusters->count; first += VR_CODE_ROWS) {
        for (uint32_t r = 0; r < count; r += VR_CODE_QUERIES) {
            struct vr_code_sums sums[VR_CODE_QUERIES];
            const uint32_t some = count - r < VR_CODE_QUERIES ? count - r : VR_CODE_QUERIES;
            vr_clusters_sums(clusters, first, few->query + r, some, sums);
            for (uint32_t i = 0; i < some; i++) {
                take_best(&sums[i], first, clusters->count - first, &few->query[r + i], &few->cluster[r + i]);
            }
        }
    }
}

/* Rows first .. first + count as queries. */
static void code_rows(const struct vr_clusters *clusters, const struct rows *rows, uint32_t first, uint32_t count,
                      struct few *few)
{
    for (uint32_t r = 0; r < count; r++) {
        int8_t *code = few->code + (size_t)r * clusters->groups * 4;
        few->cluster[r] = direction_of(rows, first + r, few->vector) ? 0 : -1;
        const struct vr_codes_query query = vr_codes_query_make(clusters->dim, few->vector, code);
        few->query[r] = (struct vr_code_query){code, query.start, few->cluster[r] < 0 ? INT32_MAX : INT32_MIN};
    }
}

/* rows->cluster of all rows; *moved: of how many it is another one than before. */
static void assign(const struct vr_clusters *clusters, const struct rows *rows, struct few *few, uint32_t *moved)
{
    *moved = 0;
    for (uint32_t first = 0; first < rows->count; first += TOGETHER) {
        const uint32_t count = rows->count - first < TOGETHER ? rows->count - first : TOGETHER;
        code_rows(clusters, rows, first, count, few);
        find_nearest(clusters, few, count);
        for (uint32_t r = 0; r < count; r++) {
            *moved += rows->cluster[first + r] != few->cluster[r];
            rows->cluster[first + r] = few->cluster[r];
        }
    }
}

static enum vr_status few_open(const struct vr_clusters *clusters, struct few *few)
{
    few->vector = malloc(clusters->dim * sizeof *few->vector);
    few->code = malloc((size_t)TOGETHER * clusters->groups * 4);
    return few->vector != NULL && few->code != NULL ? VR_OK : vr_fail(VR_ERR_NOMEM, "no memory to compare rows");
}

static void few_close(struct few *few)
{
    free(few->vector);
    free(few->code);
}

enum vr_status vr_clusters_assign(const struct vr_clusters *clusters, const struct vr_cpu_table *table, uint32_t rows,
                                  int32_t *cluster)
{
    struct few few;
    uint32_t moved = 0;
    const struct rows all = {table, NULL, rows, cluster};
    const enum vr_status status = few_open(clusters, &few);
    if (status == VR_OK) {
        memset(cluster, 0xff, rows * sizeof *cluster);
        assign(clusters, &all, &few, &moved);
    }
    few_close(&few);
    return status;
}

/* ---- training ---- */

/* An empty cluster takes one half of the largest: both move off its centroid to opposite sides, as in FAISS. */
static void split_largest(struct vr_clusters *clusters, uint32_t *size, uint32_t empty)
{
    uint32_t largest = 0;
    for (uint32_t c = 1; c < clusters->count; c++) {
        largest = size[c] > size[largest] ? c : largest;
    }
    float *from = clusters->centroid + (size_t)largest * clusters->dim;
    float *to = clusters->centroid + (size_t)empty * clusters->dim;
    for (uint32_t i = 0; i < clusters->dim; i++) {
        const float step = (i % 2 == 0 ? 1.0f : -1.0f) / 16.0f;
        to[i] = from[i] * (1.0f + step);
        from[i] *= 1.0f - step;
    }
    normalize(to, clusters->dim);
    normalize(from, clusters->dim);
    size[empty] = size[largest] / 2;
    size[largest] -= size[empty];
}

/* Centroids become the directions of their rows' sums. */
static void move_centroids(struct vr_clusters *clusters, const struct rows *rows, struct few *few, uint32_t *size)
{
    memset(clusters->centroid, 0, (size_t)clusters->count * clusters->dim * sizeof *clusters->centroid);
    memset(size, 0, clusters->count * sizeof *size);
    for (uint32_t r = 0; r < rows->count; r++) {
        if (rows->cluster[r] >= 0 && direction_of(rows, r, few->vector)) {
            float *sum = clusters->centroid + (size_t)rows->cluster[r] * clusters->dim;
            for (uint32_t i = 0; i < clusters->dim; i++) {
                sum[i] += few->vector[i];
            }
            size[rows->cluster[r]]++;
        }
    }
    for (uint32_t c = 0; c < clusters->count; c++) {
        normalize(clusters->centroid + (size_t)c * clusters->dim, clusters->dim);
    }
    for (uint32_t c = 0; c < clusters->count; c++) {
        if (size[c] == 0) {
            split_largest(clusters, size, c);
        }
    }
}

static void iterate(struct vr_clusters *clusters, const struct rows *rows, struct few *few, uint32_t *size)
{
    for (uint32_t c = 0; c < clusters->count; c++) {
        direction_of(rows, c, clusters->centroid + (size_t)c * clusters->dim);
    }
    uint32_t moved = 1;
    for (uint32_t i = 0; i < ITERATIONS && moved > 0; i++) {
        code_centroids(clusters);
        assign(clusters, rows, few, &moved);
        move_centroids(clusters, rows, few, size);
    }
    code_centroids(clusters);
}

enum vr_status vr_clusters_train(struct vr_clusters *clusters, const struct vr_cpu_table *table, const int32_t *row,
                                 uint32_t rows)
{
    struct few few;
    uint32_t *size = malloc(clusters->count * sizeof *size);
    int32_t *cluster = malloc(rows * sizeof *cluster);
    const enum vr_status status = few_open(clusters, &few);
    if (status == VR_OK && size != NULL && cluster != NULL) {
        const struct rows all = {table, row, rows, cluster};
        memset(cluster, 0xff, rows * sizeof *cluster);
        iterate(clusters, &all, &few, size);
    }
    const bool trained = size != NULL && cluster != NULL;
    few_close(&few);
    free(size);
    free(cluster);
    return status != VR_OK || trained ? status : vr_fail(VR_ERR_NOMEM, "no memory to train on %u rows", rows);
}
