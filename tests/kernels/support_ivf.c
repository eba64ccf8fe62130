/* See support_ivf.h. */
#include "support_ivf.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/index.h"
#include "vireo/clock.h"
#include "vireo/half.h"

#define WAIT_US 60000000u

void *ivf_fetch(struct rig *rig, const void *device, size_t bytes)
{
    void *pinned = NULL, *copy = must_alloc(bytes);
    cr_assert_eq(vr_seam_memory_create(true, bytes + 1, &pinned), VR_OK);
    cr_assert_eq(vr_seam_copy(rig->stream->seam, pinned, device, bytes), VR_OK);
    cr_assert_eq(vr_stream_wait(rig->backend, rig->stream, vr_clock_mono_us() + WAIT_US), VR_OK, "%s", vr_error_text());
    memcpy(copy, pinned, bytes);
    vr_seam_memory_destroy(true, pinned);
    return copy;
}

/* ---- rows and queries ---- */

static void normalize(float *x, uint32_t dim)
{
    double squares = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        squares += (double)x[i] * x[i];
    }
    for (uint32_t i = 0; i < dim; i++) {
        x[i] = (float)(x[i] / sqrt(squares));
    }
}

/* Unit vectors around `clusters` directions. */
static void fill_vectors(const struct ivf_setting *s, const float *middle, uint32_t count, struct dice *dice,
                         float *out)
{
    for (uint32_t r = 0; r < count; r++) {
        const float *at = middle + (size_t)(s->clusters > 0 ? dice_below(dice, s->clusters) : 0) * s->dim;
        for (uint32_t i = 0; i < s->dim; i++) {
            out[(size_t)r * s->dim + i] = at[i] + (s->clusters > 0 ? 0.5f * dice_unit(dice) : 0.0f);
        }
        normalize(out + (size_t)r * s->dim, s->dim);
    }
}

void ivf_open(struct ivf_world *w, struct vr_backend *backend, const struct ivf_setting *s, uint64_t seed)
{
    struct dice dice = {seed};
    *w = (struct ivf_world){.s = *s};
    rig_open(&w->rig, backend);
    const uint32_t middles = s->clusters > 0 ? s->clusters : 1;
    float *middle = must_alloc((size_t)middles * s->dim * sizeof(float));
    dice_floats(&dice, middle, (size_t)middles * s->dim);
    w->vector = must_alloc((size_t)s->rows * s->dim * sizeof(float));
    w->query = must_alloc((size_t)s->queries * s->dim * sizeof(float));
    fill_vectors(s, middle, s->rows, &dice, w->vector);
    fill_vectors(s, middle, s->queries, &dice, w->query);
    w->row = must_alloc((size_t)s->queries * s->k * sizeof(int32_t));
    w->score = must_alloc((size_t)s->queries * s->k * sizeof(float));
    free(middle);
}

/* ---- the table and the index ---- */

static struct vr_table put_halves(struct ivf_world *w, struct vr_table table, size_t count)
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

static struct vr_table put_bytes(struct ivf_world *w, struct vr_table table, size_t count)
{
    int8_t *byte = must_alloc(count);
    float *scale = must_alloc(w->s.rows * sizeof *scale);
    for (size_t i = 0; i < count; i++) {
        scale[i / w->s.dim] = 1.0f + (float)(i / w->s.dim % 7) / 8.0f;
        byte[i] = (int8_t)lrintf(w->vector[i] * 127.0f);
        w->vector[i] = (float)byte[i] / 127.0f * scale[i / w->s.dim];
    }
    table.data = rig_put(&w->rig, byte, count);
    table.scale = rig_put(&w->rig, scale, w->s.rows * sizeof *scale);
    free(byte);
    free(scale);
    return table;
}

void ivf_index(struct ivf_world *w)
{
    const struct ivf_setting *s = &w->s;
    const size_t count = (size_t)s->rows * s->dim;
    struct vr_table table = {.rows = s->rows, .width = s->dim, .dtype = s->dtype};
    switch (s->dtype) {
    case VR_TABLE_F16: table = put_halves(w, table, count); break;
    case VR_TABLE_I8: table = put_bytes(w, table, count); break;
    case VR_TABLE_F32: table.data = rig_put(&w->rig, w->vector, count * sizeof(float)); break;
    }
    struct vr_index_spec spec = {.rows = s->rows, .dim = s->dim, .vectors = table};
    spec.config = (struct vr_index_config){VR_INDEX_IVF, 0, 0, s->lists, s->probes};
    cr_assert_eq(w->rig.backend->ops->index_create(w->rig.backend, &spec, &w->index), VR_OK, "%s", vr_error_text());
    rig_clear(&w->rig); /* the index keeps its own */
    const struct vr_ivf_index *ivf = w->ivf = w->index->state;
    w->got.list = ivf_fetch(&w->rig, ivf->list, ivf->lists * sizeof *ivf->list);
    w->got.row_of_slot = ivf_fetch(&w->rig, ivf->vectors.row_of_slot, ivf->vectors.rows * sizeof(int32_t));
    w->got.centroid = ivf_fetch(&w->rig, ivf->centroid, (size_t)ivf->lists * s->dim * sizeof(float));
}

void ivf_close(struct ivf_world *w)
{
    w->rig.backend->ops->index_destroy(w->index);
    void *const block[] = {w->vector, w->query,    w->exclude_end,     w->exclude,     w->row,
                           w->score,  w->got.list, w->got.row_of_slot, w->got.centroid};
    for (size_t i = 0; i < sizeof block / sizeof block[0]; i++) {
        free(block[i]);
    }
    rig_close(&w->rig);
}

/* ---- plain search ---- */

/* Something with a score: a row or a list. */
struct scored {
    float score;
    int32_t number;
};

/* By falling score, NaN last, then by number. */
static int better(const void *a, const void *b)
{
    const struct scored *one = a, *other = b;
    const bool wrong = isnan(one->score), other_wrong = isnan(other->score);
    if (wrong != other_wrong) {
        return wrong ? 1 : -1;
    }
    const int score = wrong ? 0 : (one->score < other->score) - (one->score > other->score);
    return score != 0 ? score : (one->number > other->number) - (one->number < other->number);
}

static float chain(const float *a, const float *b, uint32_t dim)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < dim; i++) {
        sum = fmaf(a[i], b[i], sum);
    }
    return sum + 0.0f; /* -0 is 0 */
}

static bool is_excluded(const struct ivf_world *w, uint32_t query, int32_t row)
{
    for (uint32_t i = w->exclude_end == NULL ? 0 : w->exclude_end[query];
         w->exclude_end != NULL && i < w->exclude_end[query + 1]; i++) {
        if (w->exclude[i] == row) {
            return true;
        }
    }
    return false;
}

/* All lists, the probed ones first; the caller frees. */
static struct scored *order_lists(const struct ivf_world *w, uint32_t q)
{
    const uint32_t dim = w->s.dim, lists = w->ivf->lists;
    struct scored *list = must_alloc(lists * sizeof *list);
    for (uint32_t l = 0; l < lists; l++) {
        list[l].score = chain(w->query + (size_t)q * dim, w->got.centroid + (size_t)l * dim, dim);
        list[l].number = (int32_t)l;
    }
    qsort(list, lists, sizeof *list, better);
    return list;
}

/* The rows of the probed lists that may be returned, best first; returns how many. `out` [rows]. */
static uint32_t plain_search(const struct ivf_world *w, uint32_t q, struct scored *out)
{
    const uint32_t dim = w->s.dim;
    const float *query = w->query + (size_t)q * dim;
    struct scored *list = order_lists(w, q);
    uint32_t found = 0;
    for (uint32_t p = 0; p < w->ivf->probes; p++) {
        const struct vr_ivf_list *at = &w->got.list[list[p].number];
        for (uint32_t i = 0; i < at->count; i++) {
            const int32_t row = w->got.row_of_slot[at->tile * VR_SCAN_TILE + i];
            const float score = chain(query, w->vector + (size_t)row * dim, dim);
            if (!isnan(score) && !is_excluded(w, q, row)) {
                out[found++] = (struct scored){score, row};
            }
        }
    }
    free(list);
    qsort(out, found, sizeof *out, better);
    return found;
}

/* ---- searching ---- */

struct vr_index_search ivf_put_search(struct ivf_world *w, uint32_t queries)
{
    struct vr_index_search args = {.queries = queries, .k = w->s.k, .has_exclude = w->exclude_end != NULL};
    const size_t results = (size_t)queries * w->s.k;
    memset(w->row, 0x55, results * sizeof(int32_t));
    memset(w->score, 0x55, results * sizeof(float));
    args.query = rig_put(&w->rig, w->query, (size_t)queries * w->s.dim * sizeof(float));
    args.row = rig_put(&w->rig, w->row, results * sizeof(int32_t));
    args.score = rig_put(&w->rig, w->score, results * sizeof(float));
    if (args.has_exclude) {
        args.exclude_offset = rig_put(&w->rig, w->exclude_end, (queries + 1) * sizeof *w->exclude_end);
        args.exclude = rig_put(&w->rig, w->exclude, w->exclude_end[queries] * sizeof *w->exclude);
    }
    return args;
}

void ivf_search(struct ivf_world *w, uint32_t queries)
{
    const struct vr_index_search args = ivf_put_search(w, queries);
    cr_assert_eq(w->rig.backend->ops->index_search(w->rig.stream, w->index, &args), VR_OK, "%s", vr_error_text());
    rig_get(&w->rig, args.row, (size_t)queries * w->s.k * sizeof(int32_t), w->row);
    rig_get(&w->rig, args.score, (size_t)queries * w->s.k * sizeof(float), w->score);
    rig_clear(&w->rig);
}

void ivf_check(struct ivf_world *w, uint32_t queries)
{
    struct scored *want = must_alloc(w->s.rows * sizeof *want);
    for (uint32_t q = 0; q < queries; q++) {
        const uint32_t found = plain_search(w, q, want);
        for (uint32_t i = 0; i < w->s.k; i++) {
            const struct scored right = i < found ? want[i] : (struct scored){0.0f, -1};
            const size_t at = (size_t)q * w->s.k + i;
            cr_assert(w->row[at] == right.number && memcmp(&w->score[at], &right.score, sizeof(float)) == 0,
                      "query %u of %u rows, place %u of %u: row %d score %.9g, not %d %.9g", q, w->s.rows, i, w->s.k,
                      w->row[at], (double)w->score[at], right.number, (double)right.score);
        }
    }
    free(want);
}

static int rising(const void *a, const void *b)
{
    const int32_t one = *(const int32_t *)a, other = *(const int32_t *)b;
    return (one > other) - (one < other);
}

/* Row r is among the best of `sorted`, or its turn has come. */
static uint32_t exclude_for(const struct ivf_world *w, const struct scored *sorted, uint32_t best, uint32_t step,
                            int32_t *out)
{
    bool *chosen = must_alloc(w->s.rows);
    for (uint32_t r = 0; r < w->s.rows; r++) {
        chosen[r] = step > 0 && r % step == 0;
    }
    for (uint32_t i = 0; i < best; i++) {
        chosen[sorted[i].number] = true;
    }
    uint32_t count = 0;
    for (uint32_t r = 0; r < w->s.rows; r++) {
        if (chosen[r]) {
            out[count++] = (int32_t)r;
        }
    }
    free(chosen);
    qsort(out, count, sizeof *out, rising);
    return count;
}

void ivf_exclude(struct ivf_world *w, uint32_t best, uint32_t step)
{
    struct scored *sorted = must_alloc(w->s.rows * sizeof *sorted);
    free(w->exclude);
    free(w->exclude_end);
    w->exclude_end = NULL; /* plain_search finds all */
    int32_t *exclude = must_alloc((size_t)w->s.queries * w->s.rows * sizeof(int32_t));
    uint32_t *end = must_alloc((w->s.queries + 1) * sizeof *end);
    for (uint32_t q = 0; q < w->s.queries; q++) {
        end[q + 1] = end[q];
        if (q % 2 == 1) {
            const uint32_t found = plain_search(w, q, sorted);
            end[q + 1] += exclude_for(w, sorted, best < found ? best : found, step, exclude + end[q]);
        }
    }
    w->exclude = exclude;
    w->exclude_end = end;
    free(sorted);
}

/* ---- lists ---- */

/* How much nearer another centroid is than the row's own, as a cosine. */
static double misplaced(const struct ivf_world *w, int32_t row, uint32_t list)
{
    const float *x = w->vector + (size_t)row * w->s.dim;
    double squares = 0.0, own = 0.0, best = -2.0;
    for (uint32_t i = 0; i < w->s.dim; i++) {
        squares += (double)x[i] * x[i];
    }
    for (uint32_t l = 0; l < w->ivf->lists; l++) {
        double dot = 0.0;
        for (uint32_t i = 0; i < w->s.dim; i++) {
            dot += (double)x[i] * w->got.centroid[(size_t)l * w->s.dim + i];
        }
        dot /= sqrt(squares);
        best = dot > best ? dot : best;
        own = l == list ? dot : own;
    }
    return squares > 0.0 && isfinite(squares) ? best - own : 0.0;
}

void ivf_check_lists(const struct ivf_world *w)
{
    bool *seen = must_alloc(w->s.rows);
    uint32_t rows = 0, sampled = 0, slots = 0;
    for (uint32_t l = 0; l < w->ivf->lists; l++) {
        const struct vr_ivf_list *list = &w->got.list[l];
        cr_assert_eq(list->tile * VR_SCAN_TILE, slots, "lists follow each other");
        cr_assert_gt(list->count, 0, "list %u of %u is empty", l, w->ivf->lists);
        slots += (list->count + VR_SCAN_TILE - 1) / VR_SCAN_TILE * VR_SCAN_TILE;
        for (uint32_t i = list->tile * VR_SCAN_TILE; i < slots; i++) {
            const int32_t row = w->got.row_of_slot[i];
            const bool there = i - list->tile * VR_SCAN_TILE < list->count;
            cr_assert(there ? row >= 0 && row < (int32_t)w->s.rows && !seen[row] : row == -1);
            if (there) {
                seen[row] = true;
                cr_assert_lt(misplaced(w, row, l), 1e-5);
            }
        }
        rows += list->count;
        sampled += list->sample;
        cr_assert_leq(list->sample, (list->count >> w->ivf->sample_shift) + 1);
        cr_assert_leq(list->sample, list->count);
    }
    cr_assert_eq(rows, w->s.rows);
    cr_assert_eq(slots, w->ivf->vectors.rows);
    const double share = (double)w->s.rows / (1u << w->ivf->sample_shift);
    cr_assert_float_eq(sampled, share, 2.0 + 0.2 * share, "%u of %u rows are sampled", sampled, w->s.rows);
    free(seen);
}

struct vr_scan_query *ivf_states(struct ivf_world *w)
{
    struct vr_ivf_pass pass;
    size_t zeroed;
    vr_ivf_lay_out(w->ivf, w->rig.stream->scratch, &pass, &zeroed);
    return ivf_fetch(&w->rig, pass.scan.state, VR_SCAN_QUERIES * sizeof *pass.scan.state);
}

void ivf_check_counts(struct ivf_world *w, uint32_t queries)
{
    struct vr_ivf_pass pass;
    size_t zeroed;
    vr_ivf_lay_out(w->ivf, w->rig.stream->scratch, &pass, &zeroed);
    struct vr_ivf_query *got = ivf_fetch(&w->rig, pass.query, queries * sizeof *got);
    for (uint32_t q = 0; q < queries; q++) {
        struct scored *order = order_lists(w, q);
        uint32_t slots = 0, sampled = 0;
        for (uint32_t p = 0; p < w->ivf->probes; p++) {
            const struct vr_ivf_list *list = &w->got.list[order[p].number];
            slots += list->count;
            for (uint32_t i = 0; i < list->sample; i++) {
                sampled += !is_excluded(w, q, w->got.row_of_slot[list->tile * VR_SCAN_TILE + i]);
            }
        }
        cr_assert_eq(got[q].slots, slots);
        cr_assert_eq(got[q].sampled, sampled, "query %u: %u scores sampled, not %u", q, got[q].sampled, sampled);
        cr_assert_leq(sampled, w->ivf->sample_room);
        free(order);
    }
    free(got);
}
