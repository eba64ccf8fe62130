/* Every kind of index against plain search in float64: order, ties, exclusions, ragged sizes, odd queries. Exact kinds
 * must return the same rows but for scores closer than the rounding of float32; approximate ones are held to recall. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_ops.h"
#include "vireo/half.h"

#define DIM 24u
#define ROUNDING 4e-6 /* of a sum of 24 products of [-1, 1] in float32, generously */

struct setting {
    enum vr_index_kind kind;
    enum vr_table_dtype dtype;
    uint32_t rows, queries, k;
};

struct world {
    struct rig rig;
    struct vr_index *index;
    float *vector; /* [rows, DIM] as the index sees them */
    float *query;  /* [queries, DIM] */
    int32_t *row;
    float *score;
};

static void *must_alloc(size_t bytes)
{
    void *block = calloc(1, bytes + 1);
    cr_assert(block != NULL);
    return block;
}

static bool whole; /* vectors and queries of -2 .. 2 */

static float component(struct dice *dice)
{
    return whole ? roundf(2.0f * dice_unit(dice)) : dice_unit(dice);
}

static struct vr_table put_vectors(struct world *w, const struct setting *s, struct dice *dice)
{
    struct vr_table table = {.rows = s->rows, .width = DIM, .dtype = s->dtype};
    const size_t count = (size_t)s->rows * DIM;
    uint16_t *half = must_alloc(count * sizeof *half);
    w->vector = must_alloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        half[i] = vr_half_from_float(component(dice));
        w->vector[i] = s->dtype == VR_TABLE_F16 ? vr_half_to_float(half[i]) : component(dice);
    }
    table.data = s->dtype == VR_TABLE_F16 ? rig_put(&w->rig, half, count * sizeof *half)
                                          : rig_put(&w->rig, w->vector, count * sizeof(float));
    free(half);
    return table;
}

static uint32_t probes = 32; /* of IVF */

static void world_open(struct world *w, struct vr_backend *backend, const struct setting *s)
{
    struct dice dice = {s->rows * 31 + s->k};
    rig_open(&w->rig, backend);
    struct vr_index_spec spec = {.rows = s->rows, .dim = DIM, .vectors = put_vectors(w, s, &dice)};
    spec.config = (struct vr_index_config){s->kind, 32, 256, 0, probes};
    cr_assert_eq(backend->ops->index_create(backend, &spec, &w->index), VR_OK, "%s", vr_error_text());
    w->query = must_alloc((size_t)s->queries * DIM * sizeof(float));
    for (size_t i = 0; i < (size_t)s->queries * DIM; i++) {
        w->query[i] = component(&dice);
    }
    w->row = must_alloc((size_t)s->queries * s->k * sizeof(int32_t));
    w->score = must_alloc((size_t)s->queries * s->k * sizeof(float));
}

static void world_close(struct world *w)
{
    w->rig.backend->ops->index_destroy(w->index);
    free(w->vector);
    free(w->query);
    free(w->row);
    free(w->score);
    rig_close(&w->rig);
}

static enum vr_status search(struct world *w, uint32_t queries, uint32_t k, const float *query,
                             const uint32_t *exclude_offset, const int32_t *exclude)
{
    struct vr_index_search args = {.queries = queries, .k = k, .has_exclude = exclude_offset != NULL};
    const unsigned before = w->rig.buffers;
    const size_t results = (size_t)queries * k;
    args.query = rig_put(&w->rig, query, (size_t)queries * DIM * sizeof(float));
    args.row = rig_put(&w->rig, w->row, results * sizeof(int32_t));
    args.score = rig_put(&w->rig, w->score, results * sizeof(float));
    if (args.has_exclude) {
        args.exclude_offset = rig_put(&w->rig, exclude_offset, (queries + 1) * sizeof *exclude_offset);
        args.exclude = rig_put(&w->rig, exclude, exclude_offset[queries] * sizeof *exclude);
    }
    const enum vr_status status = w->rig.backend->ops->index_search(w->rig.stream, w->index, &args);
    if (status == VR_OK) {
        rig_get(&w->rig, args.row, results * sizeof(int32_t), w->row);
        rig_get(&w->rig, args.score, results * sizeof(float), w->score);
    }
    while (w->rig.buffers > before) {
        w->rig.backend->ops->buffer_destroy(w->rig.buffer[--w->rig.buffers]);
    }
    return status;
}

static double dot64(const struct world *w, uint32_t query, int32_t row)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < DIM; i++) {
        sum += (double)w->query[query * DIM + i] * w->vector[(size_t)row * DIM + i];
    }
    return sum;
}

static bool is_excluded(const uint32_t *offset, const int32_t *exclude, uint32_t query, int32_t row)
{
    for (uint32_t i = offset == NULL ? 0 : offset[query]; offset != NULL && i < offset[query + 1]; i++) {
        if (exclude[i] == row) {
            return true;
        }
    }
    return false;
}

/* How many rows that may be returned score above `score` by more than rounding. */
static uint32_t clearly_above(const struct world *w, const struct setting *s, uint32_t query, double score,
                              const uint32_t *offset, const int32_t *exclude)
{
    uint32_t count = 0;
    for (int32_t r = 0; r < (int32_t)s->rows; r++) {
        count += !is_excluded(offset, exclude, query, r) && dot64(w, query, r) > score + ROUNDING;
    }
    return count;
}

/* Order, ties, exclusions and scores of one answer; returns how many rows were found. */
static uint32_t check_answer(const struct world *w, const struct setting *s, uint32_t query, const uint32_t *offset,
                             const int32_t *exclude)
{
    const int32_t *row = w->row + (size_t)query * s->k;
    const float *score = w->score + (size_t)query * s->k;
    uint32_t found = 0;
    while (found < s->k && row[found] >= 0) {
        cr_assert_lt(row[found], (int32_t)s->rows);
        cr_assert(!is_excluded(offset, exclude, query, row[found]), "row %d is excluded", row[found]);
        cr_assert_float_eq(score[found], dot64(w, query, row[found]), ROUNDING);
        if (found > 0) {
            const bool falls = score[found] < score[found - 1];
            cr_assert(falls || (score[found] == score[found - 1] && row[found] > row[found - 1]));
        }
        found++;
    }
    for (uint32_t i = found; i < s->k; i++) {
        cr_assert_eq(row[i], -1);
        cr_assert_eq(score[i], 0.0f);
    }
    return found;
}

static uint32_t allowed(const struct setting *s, const uint32_t *offset, uint32_t query)
{
    return s->rows - (offset == NULL ? 0 : offset[query + 1] - offset[query]);
}

static void check_exact(const struct world *w, const struct setting *s, const uint32_t *offset, const int32_t *exclude)
{
    for (uint32_t q = 0; q < s->queries; q++) {
        const uint32_t found = check_answer(w, s, q, offset, exclude);
        const uint32_t possible = allowed(s, offset, q);
        cr_assert_eq(found, possible < s->k ? possible : s->k, "found %u of %u", found, possible);
        if (found > 0) {
            const int32_t last = w->row[(size_t)q * s->k + found - 1];
            cr_assert_lt(clearly_above(w, s, q, dot64(w, q, last), offset, exclude), found);
        }
    }
}

/* Every `step`th row is excluded for odd queries, nothing for even ones. */
static int32_t *exclusions(const struct setting *s, uint32_t step, uint32_t **offset)
{
    int32_t *exclude = must_alloc((size_t)s->queries * s->rows * sizeof *exclude);
    *offset = must_alloc((s->queries + 1) * sizeof **offset);
    for (uint32_t q = 0; q < s->queries; q++) {
        uint32_t end = (*offset)[q];
        for (uint32_t r = 0; q % 2 == 1 && r < s->rows; r += step) {
            exclude[end++] = (int32_t)r;
        }
        (*offset)[q + 1] = end;
    }
    return exclude;
}

static void check_setting(struct vr_backend *backend, const struct setting *s)
{
    struct world w = {0};
    world_open(&w, backend, s);
    cr_assert_eq(search(&w, s->queries, s->k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
    check_exact(&w, s, NULL, NULL);
    for (uint32_t step = 1; step <= 3; step += 2) { /* 1: every row is excluded */
        uint32_t *offset;
        int32_t *exclude = exclusions(s, step, &offset);
        cr_assert_eq(search(&w, s->queries, s->k, w.query, offset, exclude), VR_OK, "%s", vr_error_text());
        check_exact(&w, s, offset, exclude);
        free(offset);
        free(exclude);
    }
    world_close(&w);
}

static const struct setting exact_settings[] = {
    {VR_INDEX_EXACT, VR_TABLE_F16, 0, 3, 10},      {VR_INDEX_EXACT, VR_TABLE_F32, 1, 1, 1},
    {VR_INDEX_EXACT, VR_TABLE_F16, 15, 2, 40},     {VR_INDEX_EXACT, VR_TABLE_F16, 257, 9, 100},
    {VR_INDEX_EXACT, VR_TABLE_F32, 1000, 17, 33},  {VR_INDEX_EXACT, VR_TABLE_F16, 3000, 70, 100},
    {VR_INDEX_EXACT, VR_TABLE_F32, 1500, 2, 1000}, {VR_INDEX_EXACT, VR_TABLE_F16, 100, 5, 0},
};

static void check_all(struct vr_backend *backend, enum vr_index_kind kind)
{
    for (size_t i = 0; i < sizeof exact_settings / sizeof exact_settings[0]; i++) {
        struct setting setting = exact_settings[i];
        setting.kind = kind;
        check_setting(backend, &setting);
    }
    vr_backend_destroy(backend);
}

static struct vr_backend *cpu(void)
{
    struct vr_backend *backend = NULL;
    cr_assert_eq(vr_backend_open("cpu", 1, &backend), VR_OK);
    return backend;
}

Test(index, reference)
{
    struct vr_backend *backend = NULL;
    cr_assert_eq(vr_backend_open_reference(&backend), VR_OK);
    check_all(backend, VR_INDEX_EXACT);
}

Test(index, exact_scan)
{
    check_all(cpu(), VR_INDEX_EXACT);
}

Test(index, faiss_flat)
{
    check_all(cpu(), VR_INDEX_FAISS_FLAT);
}

/* Recall at k against float64 over all queries, exclusions on for odd ones. */
static double recall(struct world *w, const struct setting *s)
{
    uint32_t *offset;
    int32_t *exclude = exclusions(s, 3, &offset);
    cr_assert_eq(search(w, s->queries, s->k, w->query, offset, exclude), VR_OK, "%s", vr_error_text());
    double hits = 0.0;
    for (uint32_t q = 0; q < s->queries; q++) {
        const uint32_t found = check_answer(w, s, q, offset, exclude);
        for (uint32_t i = 0; i < found; i++) {
            const double score = dot64(w, q, w->row[(size_t)q * s->k + i]);
            hits += clearly_above(w, s, q, score, offset, exclude) < s->k;
        }
    }
    free(offset);
    free(exclude);
    return hits / ((double)s->queries * s->k);
}

static void check_approximate(enum vr_index_kind kind, double least)
{
    struct vr_backend *backend = cpu();
    const struct setting setting = {kind, VR_TABLE_F16, 3000, 20, 50};
    struct world w = {0};
    world_open(&w, backend, &setting);
    const double got = recall(&w, &setting);
    cr_assert_gt(got, least, "recall %.3f", got);
    world_close(&w);
    static const uint32_t rows[] = {0, 1, 2, 15};
    for (size_t i = 0; i < 4; i++) { /* few rows: all of them are found */
        const struct setting few = {kind, VR_TABLE_F32, rows[i], 3, 20};
        check_setting(backend, &few);
    }
    vr_backend_destroy(backend);
}

Test(index, faiss_hnsw_recall)
{
    check_approximate(VR_INDEX_FAISS_HNSW, 0.9);
}

Test(index, faiss_ivf_recall)
{
    check_approximate(VR_INDEX_FAISS_IVF, 0.6); /* uniform vectors have no clusters: the worst case for lists */
    probes = 1000000;                           /* all lists: exact */
    check_all(cpu(), VR_INDEX_FAISS_IVF);
}

static const enum vr_index_kind kinds[] = {VR_INDEX_EXACT, VR_INDEX_FAISS_FLAT, VR_INDEX_FAISS_HNSW,
                                           VR_INDEX_FAISS_IVF};

Test(index, odd_queries_do_not_crash)
{
    struct vr_backend *backend = cpu();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct setting s = {kinds[i], VR_TABLE_F16, 500, 4, 10};
        struct world w = {0};
        world_open(&w, backend, &s);
        w.query[3] = NAN;
        w.query[DIM + 1] = INFINITY;
        memset(w.query + 2 * DIM, 0, DIM * sizeof(float));
        for (uint32_t queries = 1; queries <= 4; queries++) {
            cr_assert_eq(search(&w, queries, s.k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
            for (uint32_t j = 0; j < s.k; j++) {
                cr_assert_eq(w.row[j], -1, "a NaN query finds nothing");
            }
        }
        for (uint32_t j = 0; j < s.k && kinds[i] == VR_INDEX_EXACT; j++) { /* all scores are equal: the first rows */
            cr_assert_eq(w.row[2 * s.k + j], (int32_t)j);
        }
        cr_assert_eq(check_answer(&w, &s, 3, NULL, NULL), s.k, "its neighbours are as they were");
        world_close(&w);
    }
    vr_backend_destroy(backend);
}

Test(index, same_answer_alone_and_in_a_batch)
{
    struct vr_backend *backend = cpu();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct setting s = {kinds[i], VR_TABLE_F16, 2000, 37, 25};
        struct world w = {0};
        world_open(&w, backend, &s);
        cr_assert_eq(search(&w, s.queries, s.k, w.query, NULL, NULL), VR_OK);
        int32_t *row = must_alloc((size_t)s.queries * s.k * sizeof *row);
        float *score = must_alloc((size_t)s.queries * s.k * sizeof *score);
        memcpy(row, w.row, (size_t)s.queries * s.k * sizeof *row);
        memcpy(score, w.score, (size_t)s.queries * s.k * sizeof *score);
        for (uint32_t q = 0; q < s.queries; q++) {
            cr_assert_eq(search(&w, 1, s.k, w.query + q * DIM, NULL, NULL), VR_OK);
            cr_assert_eq(memcmp(w.row, row + q * s.k, s.k * sizeof *row), 0, "kind %d query %u", (int)kinds[i], q);
            cr_assert_eq(memcmp(w.score, score + q * s.k, s.k * sizeof *score), 0, "kind %d query %u", (int)kinds[i],
                         q);
        }
        free(row);
        free(score);
        world_close(&w);
    }
    vr_backend_destroy(backend);
}

/* Small whole numbers: sums are exact in any order, so the scan must give the reference's very answer, and every score
 * is shared by many rows. Long enough for the selection to shrink several times. */
Test(index, ties_are_the_references)
{
    const struct setting s = {VR_INDEX_EXACT, VR_TABLE_F32, 9001, 5, 100};
    struct vr_backend *backend[2] = {NULL, cpu()};
    int32_t *row[2];
    whole = true;
    cr_assert_eq(vr_backend_open_reference(&backend[0]), VR_OK);
    for (int b = 0; b < 2; b++) {
        struct world w = {0};
        world_open(&w, backend[b], &s);
        uint32_t *offset;
        int32_t *exclude = exclusions(&s, 3, &offset);
        cr_assert_eq(search(&w, s.queries, s.k, w.query, offset, exclude), VR_OK, "%s", vr_error_text());
        row[b] = must_alloc((size_t)s.queries * s.k * sizeof(int32_t));
        memcpy(row[b], w.row, (size_t)s.queries * s.k * sizeof(int32_t));
        free(offset);
        free(exclude);
        world_close(&w);
        vr_backend_destroy(backend[b]);
    }
    cr_assert_eq(memcmp(row[0], row[1], (size_t)s.queries * s.k * sizeof(int32_t)), 0);
    free(row[0]);
    free(row[1]);
}

Test(index, wrong_sizes_are_refused)
{
    struct vr_backend *backend = cpu();
    const struct setting s = {VR_INDEX_EXACT, VR_TABLE_F16, 50, 1, 10};
    struct world w = {0};
    world_open(&w, backend, &s);
    struct vr_index_search args = {.queries = 1, .k = 10};
    float query[DIM] = {0};
    args.query = rig_put(&w.rig, query, sizeof query);
    args.row = rig_put(&w.rig, w.row, 10 * sizeof(int32_t));
    args.score = rig_put(&w.rig, w.score, 10 * sizeof(float));
    cr_assert_eq(backend->ops->index_search(w.rig.stream, w.index, &args), VR_OK);
    args.has_exclude = true;
    args.exclude_offset = rig_put(&w.rig, (const uint32_t[]){0, 2}, 2 * sizeof(uint32_t));
    args.exclude = rig_put(&w.rig, (const int32_t[]){3}, sizeof(int32_t));
    cr_assert_eq(backend->ops->index_search(w.rig.stream, w.index, &args), VR_ERR_INVALID, "a list past its buffer");
    args.has_exclude = false;
    args.k = 11;
    cr_assert_eq(backend->ops->index_search(w.rig.stream, w.index, &args), VR_ERR_INVALID);
    args.k = 1001;
    cr_assert_eq(backend->ops->index_search(w.rig.stream, w.index, &args), VR_ERR_INVALID);
    struct vr_index_spec spec = {.rows = 60, .dim = DIM, .vectors = {args.query, {NULL, 0}, 50, DIM, VR_TABLE_F32}};
    struct vr_index *index = NULL;
    cr_assert_eq(backend->ops->index_create(backend, &spec, &index), VR_ERR_INVALID);
    spec.rows = 50;
    cr_assert_eq(backend->ops->index_create(backend, &spec, &index), VR_ERR_INVALID, "the table ends past its buffer");
    world_close(&w);
    vr_backend_destroy(backend);
}
