/* Search through the backend contract, exact unless INDEX names another kind: time by batch and k for one set of
 * vectors, with recall beside it. Usage:
 *
 *   bench_scan BACKEND ROWS DIM DTYPE QUERIES KS [CALLS [INDEX]]   e.g. bench_scan cuda 1000000 64 f16 1,16 10,100 50
 * ivf
 *
 * One JSON object a line on standard output, one line for each of QUERIES x KS. Vectors are unit and clustered; queries
 * lie on the device, and as many copies of the index as fill twice an L2 of 60 MB are searched in turn. A call is a
 * launch of the captured search (the search itself on the CPU, and of outside libraries) and the wait for it; warm-up
 * calls are left out. Recall
 * is the share of the true k best rows by the vectors in float32, before any rounding, over TRUTH queries.
 * Exit status 77 and "no device" where the backend's device is not there. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vireo/backend.h"
#include "vireo/clock.h"
#include "vireo/half.h"
#ifdef VIREO_HAVE_CUDA
#include "vireo/backend_cuda.h"
#endif

#define TWICE_L2 (120u << 20)
#define COPIES_MAX 32u
#define CLUSTERS 256u
#define TRUTH 16u
#define WARM_UP 10u
#define CALLS_DEFAULT 50u
#define CALLS_MAX 100000u
#define LIST_MAX 16u
#define LIMIT_US 60000000u
#define STAGING (64u << 20)

struct list {
    uint32_t value[LIST_MAX], count;
};

struct scan {
    const char *backend_name, *dtype_name;
    uint32_t rows, dim, calls, most_queries, most_k;
    enum vr_table_dtype dtype;
    enum vr_index_kind kind;
    struct list queries, ks;
    struct vr_backend *backend;
    struct vr_stream *stream;
    struct vr_index *index[COPIES_MAX];
    uint32_t copies;
    float *vector;               /* [rows, dim], float32 */
    float *query;                /* [most_queries, dim] */
    struct vr_view on_device[3]; /* queries, rows, scores */
    struct vr_buffer *staging;
};

static uint32_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static float unit_random(uint64_t *state)
{
    return (float)(next_random(state) >> 8) * 0x1p-23f - 1.0f;
}

static void *must_alloc(size_t bytes)
{
    void *block = calloc(1, bytes > 0 ? bytes : 1);
    if (block == NULL) {
        fprintf(stderr, "bench_scan: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return block;
}

static void must(enum vr_status status, const char *what)
{
    if (status != VR_OK) {
        fprintf(stderr, "bench_scan: %s: %s: %s\n", what, vr_status_name(status), vr_error_text());
        exit(1);
    }
}

/* Unit vectors around random centres, each component of the centre as large as the noise. */
static void fill_vectors(float *to, size_t count, uint32_t dim, uint64_t seed)
{
    float *centre = must_alloc((size_t)CLUSTERS * dim * sizeof *centre);
    uint64_t centres = 1, state = seed;
    for (size_t i = 0; i < (size_t)CLUSTERS * dim; i++) {
        centre[i] = unit_random(&centres);
    }
    for (size_t r = 0; r < count; r++) {
        const float *own = centre + (size_t)(next_random(&state) % CLUSTERS) * dim;
        float squares = 0.0f, *row = to + r * dim;
        for (uint32_t d = 0; d < dim; d++) {
            row[d] = own[d] + unit_random(&state);
            squares += row[d] * row[d];
        }
        for (uint32_t d = 0; d < dim; d++) {
            row[d] /= sqrtf(squares);
        }
    }
    free(centre);
}

/* ---- to the device ---- */

static void copy_and_wait(const struct scan *scan, struct vr_view to, struct vr_view from, size_t bytes)
{
    must(scan->backend->ops->copy(scan->stream, to, from, bytes), "copy");
    must(vr_stream_wait(scan->backend, scan->stream, vr_clock_mono_us() + LIMIT_US), "copy");
}

static struct vr_view put(const struct scan *scan, const void *data, size_t bytes)
{
    const struct vr_backend_ops *ops = scan->backend->ops;
    struct vr_view to = {NULL, 0};
    const struct vr_view from = {scan->staging, 0};
    must(ops->buffer_create(scan->backend, VR_MEMORY_DEVICE, bytes, &to.buffer), "device memory");
    for (size_t done = 0; done < bytes; done += STAGING) {
        const size_t part = bytes - done < STAGING ? bytes - done : STAGING;
        memcpy(ops->buffer_host(scan->staging), (const char *)data + done, part);
        copy_and_wait(scan, (struct vr_view){to.buffer, done}, from, part);
    }
    return to;
}

static void get(const struct scan *scan, struct vr_view from, size_t bytes, void *to)
{
    copy_and_wait(scan, (struct vr_view){scan->staging, 0}, from, bytes);
    memcpy(to, scan->backend->ops->buffer_host(scan->staging), bytes);
}

static struct vr_table put_halves(const struct scan *scan, size_t count)
{
    struct vr_table table = {.rows = scan->rows, .width = scan->dim, .dtype = VR_TABLE_F16};
    uint16_t *half = must_alloc(count * sizeof *half);
    for (size_t i = 0; i < count; i++) {
        half[i] = vr_half_from_float(scan->vector[i]);
    }
    table.data = put(scan, half, count * sizeof *half);
    free(half);
    return table;
}

static struct vr_table put_bytes(const struct scan *scan, size_t count)
{
    struct vr_table table = {.rows = scan->rows, .width = scan->dim, .dtype = VR_TABLE_I8};
    int8_t *byte = must_alloc(count);
    float *scale = must_alloc(scan->rows * sizeof *scale);
    for (size_t r = 0; r < scan->rows; r++) {
        const float *row = scan->vector + r * scan->dim;
        for (uint32_t d = 0; d < scan->dim; d++) {
            scale[r] = fmaxf(scale[r], fabsf(row[d]));
        }
        for (uint32_t d = 0; d < scan->dim; d++) {
            byte[r * scan->dim + d] = (int8_t)lrintf(127.0f * row[d] / scale[r]);
        }
    }
    table.data = put(scan, byte, count);
    table.scale = put(scan, scale, scan->rows * sizeof *scale);
    free(byte);
    free(scale);
    return table;
}

static void make_indexes(struct scan *scan)
{
    static const size_t width[] = {[VR_TABLE_F32] = 4, [VR_TABLE_F16] = 2, [VR_TABLE_I8] = 1};
    const struct vr_backend_ops *ops = scan->backend->ops;
    const size_t count = (size_t)scan->rows * scan->dim;
    struct vr_index_spec spec = {.config = {scan->kind, 32, 256, 0, 32}, .rows = scan->rows, .dim = scan->dim};
    spec.vectors = (struct vr_table){.rows = scan->rows, .width = scan->dim, .dtype = VR_TABLE_F32};
    if (scan->dtype == VR_TABLE_F16) {
        spec.vectors = put_halves(scan, count);
    } else if (scan->dtype == VR_TABLE_I8) {
        spec.vectors = put_bytes(scan, count);
    } else {
        spec.vectors.data = put(scan, scan->vector, count * sizeof *scan->vector);
    }
    const size_t wanted = TWICE_L2 / (count * width[scan->dtype]) + 1;
    scan->copies = wanted < COPIES_MAX ? (uint32_t)wanted : COPIES_MAX;
    for (uint32_t i = 0; i < scan->copies; i++) {
        must(ops->index_create(scan->backend, &spec, &scan->index[i]), "index");
    }
    ops->buffer_destroy(spec.vectors.data.buffer);
    if (spec.vectors.scale.buffer != NULL) {
        ops->buffer_destroy(spec.vectors.scale.buffer);
    }
}

static void open_scan(struct scan *scan)
{
    enum vr_status status = VR_OK;
#ifdef VIREO_HAVE_CUDA
    must(vr_backend_register("cuda", vr_cuda_backend_open), "cuda");
#endif
    status = vr_backend_open(scan->backend_name, 1, &scan->backend);
    if (status == VR_ERR_UNSUPPORTED) {
        fprintf(stderr, "no device: %s\n", vr_error_text());
        exit(77);
    }
    must(status, scan->backend_name);
    must(scan->backend->ops->stream_create(scan->backend, &scan->stream), "stream");
    must(scan->backend->ops->buffer_create(scan->backend, VR_MEMORY_STAGING, STAGING, &scan->staging), "staging");
    scan->vector = must_alloc((size_t)scan->rows * scan->dim * sizeof *scan->vector);
    scan->query = must_alloc((size_t)scan->most_queries * scan->dim * sizeof *scan->query);
    fill_vectors(scan->vector, scan->rows, scan->dim, 2);
    fill_vectors(scan->query, scan->most_queries, scan->dim, 3);
    make_indexes(scan);
    const size_t results = (size_t)scan->most_queries * scan->most_k;
    float *zeros = must_alloc(results * sizeof *zeros);
    scan->on_device[0] = put(scan, scan->query, (size_t)scan->most_queries * scan->dim * sizeof *scan->query);
    scan->on_device[1] = put(scan, zeros, results * sizeof *zeros);
    scan->on_device[2] = put(scan, zeros, results * sizeof *zeros);
    free(zeros);
}

static void close_scan(struct scan *scan)
{
    const struct vr_backend_ops *ops = scan->backend->ops;
    for (uint32_t i = 0; i < scan->copies; i++) {
        ops->index_destroy(scan->index[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        ops->buffer_destroy(scan->on_device[i].buffer);
    }
    ops->buffer_destroy(scan->staging);
    ops->stream_destroy(scan->stream);
    vr_backend_destroy(scan->backend);
    free(scan->vector);
    free(scan->query);
}

/* ---- recall ---- */

/* The k-th largest of count values, which are shuffled about (Hoare's selection). */
static float kth_largest(float *value, size_t count, size_t k)
{
    size_t low = 0, high = count - 1;
    const size_t wanted = k - 1;
    while (low < high) {
        const float pivot = value[low + (high - low) / 2];
        size_t i = low, j = high;
        while (i <= j) {
            while (value[i] > pivot) {
                i++;
            }
            while (value[j] < pivot) {
                j--;
            }
            if (i <= j) {
                const float other = value[i];
                value[i++] = value[j];
                value[j] = other;
                if (j-- == 0) {
                    break;
                }
            }
        }
        if (wanted <= j && j != SIZE_MAX) {
            high = j;
        } else if (wanted >= i) {
            low = i;
        } else {
            break;
        }
    }
    return value[wanted];
}

static float dot(const float *a, const float *b, uint32_t dim)
{
    float sum[4] = {0};
    for (uint32_t d = 0; d < dim; d++) {
        sum[d % 4] += a[d] * b[d];
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* score [TRUTH, rows] of the first queries, copied before each selection. */
static float *true_scores(const struct scan *scan, uint32_t queries)
{
    float *score = must_alloc((size_t)queries * scan->rows * sizeof *score);
    for (size_t r = 0; r < scan->rows; r++) {
        for (size_t q = 0; q < queries; q++) {
            score[q * scan->rows + r] = dot(scan->query + q * scan->dim, scan->vector + r * scan->dim, scan->dim);
        }
    }
    return score;
}

/* Of the latest search's answers: rows whose true score is at least the k-th best's. */
static double recall(const struct scan *scan, const float *truth, uint32_t queries, uint32_t k)
{
    const uint32_t judged = queries < TRUTH ? queries : TRUTH;
    int32_t *row = must_alloc((size_t)queries * k * sizeof *row);
    float *copy = must_alloc((size_t)scan->rows * sizeof *copy);
    size_t hits = 0;
    get(scan, scan->on_device[1], (size_t)queries * k * sizeof *row, row);
    for (uint32_t q = 0; q < judged; q++) {
        const float *score = truth + (size_t)q * scan->rows;
        memcpy(copy, score, scan->rows * sizeof *copy);
        const float last = kth_largest(copy, scan->rows, k);
        for (uint32_t i = 0; i < k; i++) {
            const int32_t found = row[(size_t)q * k + i];
            hits += found >= 0 && score[found] >= last;
        }
    }
    free(row);
    free(copy);
    return (double)hits / ((double)judged * k);
}

/* ---- timing ---- */

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void search(struct scan *scan, uint32_t copy, uint32_t queries, uint32_t k)
{
    const struct vr_index_search args = {.queries = queries,
                                         .k = k,
                                         .query = scan->on_device[0],
                                         .row = scan->on_device[1],
                                         .score = scan->on_device[2]};
    must(scan->backend->ops->index_search(scan->stream, scan->index[copy], &args), "search");
}

static void wait(struct scan *scan)
{
    must(vr_stream_wait(scan->backend, scan->stream, vr_clock_mono_us() + LIMIT_US), "search");
}

/* A plan for each copy, after a search that takes the stream's memory; NULLs on a backend without plans. */
static void capture(struct scan *scan, uint32_t queries, uint32_t k, struct vr_plan *plan[COPIES_MAX])
{
    const struct vr_backend_ops *ops = scan->backend->ops;
    for (uint32_t i = 0; i < scan->copies; i++) {
        search(scan, i, queries, k);
        wait(scan);
        plan[i] = NULL;
        if (ops->plan_begin != NULL && !vr_index_kind_is_in(ops->unplanned, scan->kind)) {
            must(ops->plan_begin(scan->stream), "capture");
            search(scan, i, queries, k);
            must(ops->plan_end(scan->stream, &plan[i]), "capture");
        }
    }
}

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_calls(struct scan *scan, uint32_t queries, uint32_t k, double *sample)
{
    struct vr_plan *plan[COPIES_MAX];
    capture(scan, queries, k, plan);
    for (uint32_t call = 0; call < WARM_UP + scan->calls; call++) {
        const uint32_t copy = call % scan->copies;
        const double start = now_us();
        if (plan[copy] != NULL) {
            must(scan->backend->ops->plan_launch(scan->stream, plan[copy]), "launch");
        } else {
            search(scan, copy, queries, k);
        }
        wait(scan);
        if (call >= WARM_UP) {
            sample[call - WARM_UP] = now_us() - start;
        }
    }
    for (uint32_t i = 0; i < scan->copies && plan[i] != NULL; i++) {
        scan->backend->ops->plan_destroy(plan[i]);
    }
    qsort(sample, scan->calls, sizeof *sample, rising);
}

static void measure(struct scan *scan, const float *truth, uint32_t queries, uint32_t k)
{
    double *sample = must_alloc(scan->calls * sizeof *sample);
    time_calls(scan, queries, k, sample);
    const double p50 = sample[(scan->calls - 1) / 2], p99 = sample[(size_t)ceil(0.99 * scan->calls) - 1];
    printf(
        "{\"bench\":\"scan\",\"backend\":\"%s\",\"index\":\"%s\",\"rows\":%u,\"dim\":%u,\"dtype\":\"%s\",\"queries\":%u,\"k\":%u,"
        "\"calls\":%u,\"copies\":%u,\"p50_us\":%.1f,\"p99_us\":%.1f,\"queries_per_s\":%.4g,\"recall\":%.5f}\n",
        scan->backend_name, vr_index_kind_name(scan->kind), scan->rows, scan->dim, scan->dtype_name, queries, k,
        scan->calls, scan->copies, p50, p99, queries * 1e6 / p50, recall(scan, truth, queries, k));
    fflush(stdout);
    free(sample);
}

/* ---- the command line ---- */

static uint32_t number(const char *word, uint32_t max)
{
    char *end = NULL;
    const unsigned long value = word[0] >= '0' && word[0] <= '9' ? strtoul(word, &end, 10) : 0;
    return end != NULL && *end == '\0' && value <= max ? (uint32_t)value : 0;
}

static bool read_list(const char *words, uint32_t max, struct list *out, uint32_t *most)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, ","); word != NULL; word = strtok(NULL, ",")) {
        const uint32_t value = number(word, max);
        if (value == 0 || out->count == LIST_MAX) {
            return false;
        }
        out->value[out->count++] = value;
        *most = value > *most ? value : *most;
    }
    return out->count > 0;
}

static bool read_kind(const char *word, enum vr_index_kind *out)
{
    for (unsigned kind = 0; kind < VR_INDEX_KINDS; kind++) {
        *out = (enum vr_index_kind)kind;
        if (strcmp(word, vr_index_kind_name(*out)) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_words(int argc, char **argv, struct scan *scan)
{
    static const char *const dtypes[] = {[VR_TABLE_F32] = "f32", [VR_TABLE_F16] = "f16", [VR_TABLE_I8] = "i8"};
    if (argc < 7 || argc > 9) {
        return false;
    }
    scan->backend_name = argv[1];
    scan->rows = number(argv[2], INT32_MAX);
    scan->dim = number(argv[3], 4096);
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(argv[4], dtypes[i]) == 0) {
            scan->dtype = (enum vr_table_dtype)i;
            scan->dtype_name = dtypes[i];
        }
    }
    scan->calls = argc >= 8 ? number(argv[7], CALLS_MAX) : CALLS_DEFAULT;
    return (argc < 9 || read_kind(argv[8], &scan->kind)) && scan->rows > 0 && scan->dim > 0 &&
           scan->dtype_name != NULL && scan->calls > 0 &&
           read_list(argv[5], 4096, &scan->queries, &scan->most_queries) &&
           read_list(argv[6], 1000, &scan->ks, &scan->most_k) && scan->most_k <= scan->rows;
}

int main(int argc, char **argv)
{
    struct scan scan = {0};
    if (!read_words(argc, argv, &scan)) {
        fprintf(stderr,
                "usage: bench_scan BACKEND ROWS DIM f32|f16|i8 QUERIES,... K,... [CALLS [INDEX]]; K at most ROWS\n");
        return 2;
    }
    open_scan(&scan);
    float *truth = true_scores(&scan, scan.most_queries < TRUTH ? scan.most_queries : TRUTH);
    for (uint32_t q = 0; q < scan.queries.count; q++) {
        for (uint32_t k = 0; k < scan.ks.count; k++) {
            measure(&scan, truth, scan.queries.value[q], scan.ks.value[k]);
        }
    }
    free(truth);
    close_scan(&scan);
    return 0;
}
