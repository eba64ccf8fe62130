/* See support_index.h. */
#include "support_index.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/clock.h"
#include "vireo/half.h"

#define ROUNDING(dim) (2e-7 * (dim)) /* of a sum of products of [-1, 1] in float32, generously */

void *must_alloc(size_t bytes)
{
    void *block = calloc(1, bytes + 1);
    cr_assert(block != NULL);
    return block;
}

static float component(const struct setting *s, struct dice *dice)
{
    return s->whole ? roundf(2.0f * dice_unit(dice)) : dice_unit(dice);
}

static struct vr_table put_halves(struct world *w, struct vr_table table, size_t count)
{
    uint16_t *half = must_alloc(count * sizeof *half);
    for (size_t i = 0; i < count; i++) {
        half[i] = vr_half_from_float(w->vector[i]);
        w->vector[i] = vr_half_to_float(half[i]);
    }
    table.data = rig_put(&w->rig, half, count * sizeof *half);
    free(half);
    return table;
}

/* Each row by its own scale; one that is not finite becomes 127 times that number everywhere. */
static void code_row(float *vector, uint32_t dim, int8_t *value, float *scale)
{
    float largest = 0.0f;
    for (uint32_t i = 0; i < dim; i++) {
        largest = fabsf(vector[i]) <= largest ? largest : isfinite(largest) ? fabsf(vector[i]) : largest;
    }
    *scale = largest;
    for (uint32_t i = 0; i < dim; i++) {
        value[i] = !isfinite(largest) ? 127 : largest > 0.0f ? (int8_t)rintf(vector[i] / largest * 127.0f) : 0;
        vector[i] = (float)value[i] / 127.0f * *scale;
    }
}

static struct vr_table put_bytes(struct world *w, struct vr_table table, size_t count)
{
    int8_t *value = must_alloc(count);
    float *scale = must_alloc(table.rows * sizeof *scale);
    for (size_t r = 0; r < table.rows; r++) {
        code_row(w->vector + r * w->dim, w->dim, value + r * w->dim, &scale[r]);
    }
    table.data = rig_put(&w->rig, value, count);
    table.scale = rig_put(&w->rig, scale, table.rows * sizeof *scale);
    free(value);
    free(scale);
    return table;
}

static struct vr_table put_vectors(struct world *w, const struct setting *s)
{
    const struct vr_table table = {.rows = s->rows, .width = w->dim, .dtype = s->dtype};
    const size_t count = (size_t)s->rows * w->dim;
    if (s->dtype == VR_TABLE_F16) {
        return put_halves(w, table, count);
    }
    if (s->dtype == VR_TABLE_I8) {
        return put_bytes(w, table, count);
    }
    struct vr_table floats = table;
    floats.data = rig_put(&w->rig, w->vector, count * sizeof(float));
    return floats;
}

static float *components(const struct setting *s, struct dice *dice, size_t count)
{
    float *out = must_alloc(count * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        out[i] = component(s, dice);
    }
    return out;
}

void world_open(struct world *w, struct vr_backend *backend, const struct setting *s)
{
    struct dice dice = {s->rows * 31 + s->k};
    rig_open(&w->rig, backend);
    w->dim = s->dim > 0 ? s->dim : DIM;
    w->vector = components(s, &dice, (size_t)s->rows * w->dim);
    w->query = components(s, &dice, (size_t)s->queries * w->dim);
    if (s->shape != NULL) {
        s->shape(w, s, &dice);
    }
    struct vr_index_spec spec = {.rows = s->rows, .dim = w->dim, .vectors = put_vectors(w, s)};
    spec.config = (struct vr_index_config){s->kind, 32, 256, 0, s->probes > 0 ? s->probes : 32};
    cr_assert_eq(backend->ops->index_create(backend, &spec, &w->index), VR_OK, "%s", vr_error_text());
    w->removed = must_alloc((s->rows + 1) * sizeof *w->removed);
    w->row = must_alloc((size_t)s->queries * s->k * sizeof(int32_t));
    w->score = must_alloc((size_t)s->queries * s->k * sizeof(float));
}

void world_close(struct world *w)
{
    w->rig.backend->ops->index_destroy(w->index);
    free(w->vector);
    free(w->query);
    free(w->removed);
    free(w->row);
    free(w->score);
    rig_close(&w->rig);
}

enum vr_status search(struct world *w, uint32_t queries, uint32_t k, const float *query, const uint32_t *exclude_offset,
                      const int32_t *exclude)
{
    struct vr_index_search args = {.queries = queries, .k = k, .has_exclude = exclude_offset != NULL};
    const unsigned before = w->rig.buffers;
    const size_t results = (size_t)queries * k;
    args.query = rig_put(&w->rig, query, (size_t)queries * w->dim * sizeof(float));
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
    } else { /* what it had put on the stream still reads the buffers */
        cr_assert_eq(vr_stream_wait(w->rig.backend, w->rig.stream, vr_clock_mono_us() + 10000000), VR_OK);
    }
    while (w->rig.buffers > before) {
        w->rig.backend->ops->buffer_destroy(w->rig.buffer[--w->rig.buffers]);
    }
    return status;
}

double dot64(const struct world *w, uint32_t query, int32_t row)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < w->dim; i++) {
        sum += (double)w->query[query * w->dim + i] * w->vector[(size_t)row * w->dim + i];
    }
    return sum;
}

/* Or removed. */
static bool is_out(const struct world *w, const uint32_t *offset, const int32_t *exclude, uint32_t query, int32_t row)
{
    if (w->removed[row]) {
        return true;
    }
    for (uint32_t i = offset == NULL ? 0 : offset[query]; offset != NULL && i < offset[query + 1]; i++) {
        if (exclude[i] == row) {
            return true;
        }
    }
    return false;
}

uint32_t clearly_above(const struct world *w, const struct setting *s, uint32_t query, double score,
                       const uint32_t *offset, const int32_t *exclude)
{
    uint32_t count = 0;
    for (int32_t r = 0; r < (int32_t)s->rows; r++) {
        count += !is_out(w, offset, exclude, query, r) && dot64(w, query, r) > score + ROUNDING(w->dim);
    }
    return count;
}

uint32_t check_answer(const struct world *w, const struct setting *s, uint32_t query, const uint32_t *offset,
                      const int32_t *exclude)
{
    const int32_t *row = w->row + (size_t)query * s->k;
    const float *score = w->score + (size_t)query * s->k;
    uint32_t found = 0;
    while (found < s->k && row[found] >= 0) {
        cr_assert_lt(row[found], (int32_t)s->rows);
        cr_assert(!is_out(w, offset, exclude, query, row[found]), "row %d is excluded or removed", row[found]);
        cr_assert_float_eq(score[found], dot64(w, query, row[found]), ROUNDING(w->dim));
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

static uint32_t allowed(const struct world *w, const struct setting *s, const uint32_t *offset, const int32_t *exclude,
                        uint32_t query)
{
    uint32_t count = 0;
    for (int32_t r = 0; r < (int32_t)s->rows; r++) {
        count += !is_out(w, offset, exclude, query, r);
    }
    return count;
}

void check_exact(const struct world *w, const struct setting *s, const uint32_t *offset, const int32_t *exclude)
{
    for (uint32_t q = 0; q < s->queries; q++) {
        const uint32_t found = check_answer(w, s, q, offset, exclude);
        const uint32_t possible = allowed(w, s, offset, exclude, q);
        cr_assert_eq(found, possible < s->k ? possible : s->k, "found %u of %u", found, possible);
        if (found > 0) {
            const int32_t last = w->row[(size_t)q * s->k + found - 1];
            cr_assert_lt(clearly_above(w, s, q, dot64(w, q, last), offset, exclude), found);
        }
    }
}

int32_t *exclusions(const struct setting *s, uint32_t step, uint32_t **offset)
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

void check_setting(struct vr_backend *backend, const struct setting *s)
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

#define SETTING(dtype, rows, queries, k)                           \
    {                                                              \
        VR_INDEX_EXACT, dtype, rows, queries, k, 0, 0, false, NULL \
    }
static const struct setting exact_settings[] = {
    SETTING(VR_TABLE_F16, 0, 3, 10),      SETTING(VR_TABLE_F32, 1, 1, 1),      SETTING(VR_TABLE_F16, 15, 2, 40),
    SETTING(VR_TABLE_F16, 257, 9, 100),   SETTING(VR_TABLE_F32, 1000, 17, 33), SETTING(VR_TABLE_F16, 3000, 70, 100),
    SETTING(VR_TABLE_F32, 1500, 2, 1000), SETTING(VR_TABLE_F16, 100, 5, 0),    SETTING(VR_TABLE_I8, 700, 3, 50),
};

void check_some(struct vr_backend *backend, enum vr_index_kind kind, uint32_t first, uint32_t step)
{
    for (size_t i = first; i < sizeof exact_settings / sizeof exact_settings[0]; i += step) {
        struct setting setting = exact_settings[i];
        setting.kind = kind;
        setting.probes = 1000000; /* all lists: exact */
        check_setting(backend, &setting);
    }
}

void check_all(struct vr_backend *backend, enum vr_index_kind kind)
{
    check_some(backend, kind, 0, 1);
}

void check_odd_queries(struct vr_backend *backend, enum vr_index_kind kind)
{
    const struct setting s = {.kind = kind, .dtype = VR_TABLE_F16, .rows = 500, .queries = 4, .k = 10};
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
    for (uint32_t j = 0; j < s.k && kind == VR_INDEX_EXACT; j++) { /* all scores are equal: the first rows */
        cr_assert_eq(w.row[2 * s.k + j], (int32_t)j);
    }
    cr_assert_eq(check_answer(&w, &s, 3, NULL, NULL), s.k, "its neighbours are as they were");
    world_close(&w);
}

void check_alone_and_in_a_batch(struct vr_backend *backend, const struct setting *s)
{
    struct world w = {0};
    world_open(&w, backend, s);
    cr_assert_eq(search(&w, s->queries, s->k, w.query, NULL, NULL), VR_OK);
    const size_t results = (size_t)s->queries * s->k;
    int32_t *row = must_alloc(results * sizeof *row);
    float *score = must_alloc(results * sizeof *score);
    memcpy(row, w.row, results * sizeof *row);
    memcpy(score, w.score, results * sizeof *score);
    for (uint32_t q = 0; q < s->queries; q++) {
        cr_assert_eq(search(&w, 1, s->k, w.query + (size_t)q * w.dim, NULL, NULL), VR_OK);
        cr_assert_eq(memcmp(w.row, row + (size_t)q * s->k, s->k * sizeof *row), 0, "kind %d query %u", (int)s->kind, q);
        cr_assert_eq(memcmp(w.score, score + (size_t)q * s->k, s->k * sizeof *score), 0, "kind %d query %u",
                     (int)s->kind, q);
    }
    free(row);
    free(score);
    world_close(&w);
}

/* The rows that `backend` gives, every third one excluded for odd queries; the caller frees. */
static int32_t *rows_of(struct vr_backend *backend, const struct setting *s)
{
    struct world w = {0};
    world_open(&w, backend, s);
    uint32_t *offset;
    int32_t *exclude = exclusions(s, 3, &offset);
    cr_assert_eq(search(&w, s->queries, s->k, w.query, offset, exclude), VR_OK, "%s", vr_error_text());
    int32_t *row = must_alloc((size_t)s->queries * s->k * sizeof *row);
    memcpy(row, w.row, (size_t)s->queries * s->k * sizeof *row);
    free(offset);
    free(exclude);
    world_close(&w);
    return row;
}

void check_ties(struct vr_backend *backend, uint32_t rows)
{
    const struct setting s = {.kind = VR_INDEX_EXACT, .rows = rows, .queries = 5, .k = 100, .whole = true};
    struct vr_backend *reference = NULL;
    cr_assert_eq(vr_backend_open_reference(&reference), VR_OK);
    int32_t *want = rows_of(reference, &s), *got = rows_of(backend, &s);
    cr_assert_eq(memcmp(got, want, (size_t)s.queries * s.k * sizeof *want), 0);
    free(want);
    free(got);
    vr_backend_destroy(reference);
}
