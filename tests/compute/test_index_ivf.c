/* The index ivf of the CPU backend: its answers are those of exact search among the rows of the probed lists, bit for
 * bit, and recall on clustered vectors is held to a bound. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/ivf.h"
#include "support_index.h"

static struct vr_backend *cpu(void)
{
    struct vr_backend *backend = NULL;
    cr_assert_eq(vr_backend_open("cpu", 1, &backend), VR_OK);
    return backend;
}

static void normalize(float *vector, uint32_t dim)
{
    double squares = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        squares += (double)vector[i] * (double)vector[i];
    }
    for (uint32_t i = 0; i < dim; i++) {
        vector[i] = (float)((double)vector[i] / sqrt(squares));
    }
}

#define CLUSTERS 100u

/* Unit vectors around CLUSTERS directions, the queries too. */
static void clustered(struct world *w, const struct setting *s, struct dice *dice)
{
    float *centre = must_alloc((size_t)CLUSTERS * w->dim * sizeof *centre);
    dice_floats(dice, centre, (size_t)CLUSTERS * w->dim);
    for (uint32_t r = 0; r < s->rows + s->queries; r++) {
        float *row = r < s->rows ? w->vector + (size_t)r * w->dim : w->query + (size_t)(r - s->rows) * w->dim;
        const float *own = centre + (size_t)dice_below(dice, CLUSTERS) * w->dim;
        for (uint32_t i = 0; i < w->dim; i++) {
            row[i] = own[i] + 0.7f * row[i];
        }
        normalize(row, w->dim);
    }
    free(centre);
}

/* Zeros, NaN and infinities among rows and queries. */
static void odd(struct world *w, const struct setting *s, struct dice *dice)
{
    static const float value[] = {NAN, INFINITY, -INFINITY, 1e38f, 1e-40f};
    for (uint32_t i = 0; i < 25; i++) {
        w->vector[(size_t)dice_below(dice, s->rows) * w->dim + dice_below(dice, w->dim)] = value[i % 5];
        memset(w->vector + (size_t)dice_below(dice, s->rows) * w->dim, 0, w->dim * sizeof *w->vector);
    }
    memset(w->query, 0, w->dim * sizeof *w->query);
    w->query[w->dim] = INFINITY;
}

static void same(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (uint32_t r = 1; r < s->rows; r++) {
        memcpy(w->vector + (size_t)r * w->dim, w->vector, w->dim * sizeof *w->vector);
    }
}

/* ---- against exact search in the very lists ---- */

/* Whether the query looks into a list: fewer than `probes` lists have a larger sum, or the same one and come before. */
static bool is_probed(const struct vr_ivf *ivf, const int32_t *sum, uint32_t list)
{
    uint32_t before = 0;
    for (uint32_t l = 0; l < ivf->clusters.count; l++) {
        before += sum[l] > sum[list] || (sum[l] == sum[list] && l < list);
    }
    return before < ivf->probes;
}

/* The sums of a query with all centroids, by the plain form. */
static int32_t *sums_of(const struct vr_ivf *ivf, const float *value)
{
    const struct vr_clusters *clusters = &ivf->clusters;
    int8_t *code = must_alloc(clusters->groups * 4);
    int32_t *sum = must_alloc(clusters->count * sizeof *sum);
    const struct vr_codes_query coded = vr_codes_query_make(clusters->dim, value, code);
    const struct vr_code_query query = {code, coded.start, 0};
    for (uint32_t l = 0; l < clusters->count; l += VR_CODE_LANES) {
        static struct vr_code_sums sums;
        const uint32_t left = clusters->count - l;
        vr_code_block_plain(clusters->tile + (size_t)l * clusters->groups * 4, 1, clusters->groups, &query, 1, &sums);
        memcpy(sum + l, sums.sum, (left < VR_CODE_LANES ? left : VR_CODE_LANES) * sizeof *sum);
    }
    free(code);
    return sum;
}

/* Which rows a query's lists hold; checks that every row is in one list only. */
static bool *rows_probed(const struct world *w, const struct setting *s, uint32_t q)
{
    const struct vr_ivf *ivf = w->index->state;
    int32_t *sum = sums_of(ivf, w->query + (size_t)q * w->dim);
    bool *probed = must_alloc(s->rows), *met = must_alloc(s->rows);
    uint32_t rows = 0;
    for (uint32_t l = 0; l < ivf->clusters.count; l++) {
        const bool look = is_probed(ivf, sum, l);
        for (uint32_t b = ivf->codes.list[l]; b < ivf->codes.list[l + 1]; b++) {
            const struct vr_codes_block *block = &ivf->codes.block[b];
            for (uint32_t i = 0; i < block->rows; i++, rows++) {
                const int32_t row = ivf->codes.row_of_slot[block->slot + i];
                cr_assert(row >= 0 && row < (int32_t)s->rows && !met[row]);
                met[row] = true;
                probed[row] = look;
            }
        }
    }
    cr_assert_eq(rows, s->rows);
    free(met);
    free(sum);
    return probed;
}

/* The answer of each query is that of the exact index when all rows outside its lists, and `also` every third row, are
 * excluded there. */
static void check_lists(const struct setting *s, bool also)
{
    struct vr_backend *backend = cpu();
    struct world w = {0}, exact = {0};
    struct setting twin = *s;
    twin.kind = VR_INDEX_EXACT;
    world_open(&w, backend, s);
    world_open(&exact, backend, &twin);
    uint32_t *offset = must_alloc((s->queries + 1) * sizeof *offset);
    int32_t *exclude = must_alloc((size_t)s->queries * s->rows * sizeof *exclude);
    uint32_t *own_offset;
    int32_t *own = exclusions(s, also ? 3 : s->rows + 1, &own_offset);
    for (uint32_t q = 0; q < s->queries; q++) {
        bool *probed = rows_probed(&w, s, q);
        offset[q + 1] = offset[q];
        for (uint32_t r = 0; r < s->rows; r++) {
            const bool is_out = !probed[r] || (own_offset[q + 1] > own_offset[q] && r % (also ? 3 : s->rows + 1) == 0);
            exclude[offset[q + 1]] = (int32_t)r;
            offset[q + 1] += is_out;
        }
        free(probed);
    }
    cr_assert_eq(search(&w, s->queries, s->k, w.query, own_offset, own), VR_OK, "%s", vr_error_text());
    cr_assert_eq(search(&exact, s->queries, s->k, exact.query, offset, exclude), VR_OK, "%s", vr_error_text());
    for (size_t i = 0; i < (size_t)s->queries * s->k; i++) {
        cr_assert_eq(w.row[i], exact.row[i], "place %zu of query %zu: row %d, not %d", i % s->k, i / s->k, w.row[i],
                     exact.row[i]);
        cr_assert_eq(memcmp(&w.score[i], &exact.score[i], sizeof(float)), 0);
    }
    free(offset);
    free(exclude);
    free(own_offset);
    free(own);
    world_close(&w);
    world_close(&exact);
    vr_backend_destroy(backend);
}

Test(index_ivf, answers_are_exact_in_the_probed_lists)
{
    const struct setting settings[] = {
        {.dtype = VR_TABLE_F16, .rows = 6000, .queries = 70, .k = 50, .probes = 7, .shape = clustered},
        {.dtype = VR_TABLE_F32, .rows = 3000, .queries = 9, .k = 1000, .probes = 100, .dim = 13, .shape = clustered},
        {.dtype = VR_TABLE_I8, .rows = 2000, .queries = 5, .k = 20, .probes = 1},
        {.dtype = VR_TABLE_F32, .rows = 3000, .queries = 9, .k = 30, .probes = 20, .whole = true},
        {.dtype = VR_TABLE_F32, .rows = 2500, .queries = 6, .k = 40, .probes = 60, .shape = odd},
        {.dtype = VR_TABLE_F16, .rows = 2500, .queries = 3, .k = 100, .probes = 3, .shape = same},
        {.dtype = VR_TABLE_F32, .rows = 90, .queries = 3, .k = 10, .probes = 1000},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct setting s = settings[i];
        s.kind = VR_INDEX_IVF;
        check_lists(&s, false);
        check_lists(&s, true);
    }
}

/* ---- recall ---- */

static double recall_of(struct world *w, const struct setting *s)
{
    double hits = 0.0;
    cr_assert_eq(search(w, s->queries, s->k, w->query, NULL, NULL), VR_OK, "%s", vr_error_text());
    for (uint32_t q = 0; q < s->queries; q++) {
        const uint32_t found = check_answer(w, s, q, NULL, NULL);
        for (uint32_t i = 0; i < found; i++) {
            const double score = dot64(w, q, w->row[(size_t)q * s->k + i]);
            hits += clearly_above(w, s, q, score, NULL, NULL) < s->k;
        }
    }
    return hits / ((double)s->queries * s->k);
}

/* 20,000 rows get 565 lists. */
Test(index_ivf, recall_on_clusters)
{
    struct vr_backend *backend = cpu();
    const struct setting s = {
        .kind = VR_INDEX_IVF, .dtype = VR_TABLE_F16, .rows = 20000, .queries = 20, .k = 50, .shape = clustered};
    struct world w = {0};
    world_open(&w, backend, &s);
    vr_ivf_set_probes(w.index, 4);
    const double few = recall_of(&w, &s);
    vr_ivf_set_probes(w.index, 16);
    const double more = recall_of(&w, &s);
    vr_ivf_set_probes(w.index, 1000);
    const double all = recall_of(&w, &s);
    cr_assert(few > 0.5 && few < more && more > 0.9 && all == 1.0, "recall %.3f, %.3f, %.3f", few, more, all);
    world_close(&w);
    vr_backend_destroy(backend);
}

/* The lists follow from the rows alone. */
Test(index_ivf, same_rows_same_lists)
{
    struct vr_backend *backend = cpu();
    const struct setting s = {
        .kind = VR_INDEX_IVF, .dtype = VR_TABLE_F16, .rows = 3000, .queries = 1, .k = 1, .shape = clustered};
    struct world one = {0}, other = {0};
    world_open(&one, backend, &s);
    world_open(&other, backend, &s);
    const struct vr_ivf *a = one.index->state, *b = other.index->state;
    cr_assert_eq(a->codes.slots, b->codes.slots);
    cr_assert_eq(memcmp(a->codes.row_of_slot, b->codes.row_of_slot, a->codes.slots * sizeof(int32_t)), 0);
    const size_t values = (size_t)a->clusters.count * a->clusters.dim;
    cr_assert_eq(memcmp(a->clusters.centroid, b->clusters.centroid, values * sizeof(float)), 0);
    world_close(&one);
    world_close(&other);
    vr_backend_destroy(backend);
}

/* What the index holds, by its own arrays. */
static uint64_t bytes_of(const struct vr_codes *codes, uint32_t lists)
{
    const uint64_t value = vr_cpu_table_value_bytes(codes->exact.dtype);
    const uint64_t slot = codes->groups * 4 + codes->dim * value + (codes->scales != NULL ? sizeof(float) : 0) +
                          (codes->row_of_slot != NULL ? sizeof(int32_t) : 0);
    return codes->slots * slot + codes->slots / VR_CODE_LANES * sizeof(uint32_t) +
           codes->blocks * sizeof *codes->block + (lists + (uint64_t)1) * sizeof(uint32_t) +
           vr_rowset_bytes(codes->rows);
}

Test(index_ivf, memory_is_told)
{
    static const enum vr_table_dtype dtypes[] = {VR_TABLE_F32, VR_TABLE_F16, VR_TABLE_I8};
    struct vr_backend *backend = cpu();
    for (size_t i = 0; i < 6; i++) {
        struct setting s = {.dtype = dtypes[i / 2], .rows = 3001, .queries = 1, .k = 1, .dim = 21};
        struct vr_index_spec spec = {.rows = s.rows, .dim = s.dim, .config.ivf_probes = 1};
        uint64_t told = 0, stream = 1, taken = 0;
        struct world w = {0};
        s.kind = spec.config.kind = i % 2 == 0 ? VR_INDEX_IVF : VR_INDEX_EXACT_INT8;
        spec.vectors = (struct vr_table){.rows = s.rows, .width = s.dim, .dtype = s.dtype};
        backend->ops->index_memory(&spec, &told, &stream);
        world_open(&w, backend, &s);
        if (s.kind == VR_INDEX_IVF) {
            const struct vr_ivf *ivf = w.index->state;
            taken = bytes_of(&ivf->codes, ivf->clusters.count);
            taken += (uint64_t)ivf->clusters.count * s.dim * sizeof(float);
            cr_assert(taken <= told && taken * 5 > told * 3, "%zu: %zu of %zu", i, (size_t)taken, (size_t)told);
        } else {
            cr_assert_eq(bytes_of(w.index->state, 1), told);
        }
        cr_assert_eq(stream, 0);
        world_close(&w);
    }
    vr_backend_destroy(backend);
}

Test(index_ivf, too_many_lists_are_refused)
{
    struct vr_backend *backend = cpu();
    struct rig rig;
    rig_open(&rig, backend);
    const uint32_t rows = VR_LISTS_MAX + 1;
    float *vector = must_alloc(rows * sizeof *vector);
    struct vr_index_spec spec = {.rows = rows, .dim = 1, .config = {VR_INDEX_IVF, 32, 256, rows, 1}};
    spec.vectors = (struct vr_table){.data = rig_put(&rig, vector, rows * sizeof *vector), .rows = rows, .width = 1};
    struct vr_index *index = NULL;
    cr_assert_eq(backend->ops->index_create(backend, &spec, &index), VR_ERR_UNSUPPORTED);
    cr_assert(strstr(vr_error_text(), "65537") != NULL, "%s", vr_error_text());
    spec.config.ivf_lists = 10;
    cr_assert_eq(backend->ops->index_create(backend, &spec, &index), VR_OK, "%s", vr_error_text());
    backend->ops->index_destroy(index);
    free(vector);
    rig_close(&rig);
    vr_backend_destroy(backend);
}
