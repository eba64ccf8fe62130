/* Every kind of index of the CPU backend against plain search in float64 (support_index.h); approximate ones are held
 * to recall. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_removal.h"

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
    vr_backend_destroy(backend);
}

Test(index, exact_scan)
{
    struct vr_backend *backend = cpu();
    check_all(backend, VR_INDEX_EXACT);
    vr_backend_destroy(backend);
}

Test(index, faiss_flat)
{
    struct vr_backend *backend = cpu();
    check_all(backend, VR_INDEX_FAISS_FLAT);
    vr_backend_destroy(backend);
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
    const struct setting setting = {.kind = kind, .dtype = VR_TABLE_F16, .rows = 3000, .queries = 20, .k = 50};
    struct world w = {0};
    world_open(&w, backend, &setting);
    const double got = recall(&w, &setting);
    cr_assert_gt(got, least, "recall %.3f", got);
    world_close(&w);
    static const uint32_t rows[] = {0, 1, 2, 15};
    for (size_t i = 0; i < 4; i++) { /* few rows: all of them are found */
        const struct setting few = {.kind = kind, .dtype = VR_TABLE_F32, .rows = rows[i], .queries = 3, .k = 20};
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
    struct vr_backend *backend = cpu();
    check_all(backend, VR_INDEX_FAISS_IVF);
    vr_backend_destroy(backend);
}

Test(index, ivf_recall)
{
    check_approximate(VR_INDEX_IVF, 0.6);
    struct vr_backend *backend = cpu();
    check_all(backend, VR_INDEX_IVF);
    vr_backend_destroy(backend);
}

static const enum vr_index_kind kinds[] = {VR_INDEX_EXACT,      VR_INDEX_EXACT_INT8, VR_INDEX_IVF,
                                           VR_INDEX_FAISS_FLAT, VR_INDEX_FAISS_HNSW, VR_INDEX_FAISS_IVF};

Test(index, odd_queries_do_not_crash)
{
    struct vr_backend *backend = cpu();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        check_odd_queries(backend, kinds[i]);
    }
    vr_backend_destroy(backend);
}

Test(index, same_answer_alone_and_in_a_batch)
{
    struct vr_backend *backend = cpu();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct setting s = {.kind = kinds[i], .dtype = VR_TABLE_F16, .rows = 2000, .queries = 37, .k = 25};
        check_alone_and_in_a_batch(backend, &s);
    }
    vr_backend_destroy(backend);
}

/* ---- removal ---- */

static void check_removals_of(enum vr_index_kind kind, enum removal_check check)
{
    struct vr_backend *backend = cpu();
    for (uint64_t seed = 1; seed <= 2; seed++) {
        check_removals(backend, kind, check, seed);
    }
    vr_backend_destroy(backend);
}

Test(index, removal_from_the_reference)
{
    struct vr_backend *backend = NULL;
    cr_assert_eq(vr_backend_open_reference(&backend), VR_OK);
    check_removals(backend, VR_INDEX_EXACT, REMOVAL_EXACT, 1);
    vr_backend_destroy(backend);
}

Test(index, removal_from_exact)
{
    check_removals_of(VR_INDEX_EXACT, REMOVAL_EXACT);
}

Test(index, removal_from_exact_int8)
{
    check_removals_of(VR_INDEX_EXACT_INT8, REMOVAL_EXACT);
}

Test(index, removal_from_lists)
{
    check_removals_of(VR_INDEX_IVF, REMOVAL_EXACT);
}

Test(index, removal_from_faiss)
{
    check_removals_of(VR_INDEX_FAISS_FLAT, REMOVAL_EXACT);
    check_removals_of(VR_INDEX_FAISS_IVF, REMOVAL_EXACT);
    check_removals_of(VR_INDEX_FAISS_HNSW, REMOVAL_SOUND);
}

/* A graph still finds what is near when a third of it is gone. */
Test(index, removal_keeps_a_graphs_recall)
{
    struct vr_backend *backend = cpu();
    const struct setting s = {.kind = VR_INDEX_FAISS_HNSW, .dtype = VR_TABLE_F16, .rows = 3000, .queries = 20, .k = 50};
    struct world w = {0};
    int32_t row[1000];
    world_open(&w, backend, &s);
    for (int32_t i = 0; i < 1000; i++) {
        row[i] = 3 * i;
    }
    world_remove(&w, row, 1000);
    const double got = recall(&w, &s);
    cr_assert_gt(got, 0.9, "recall %.3f", got);
    world_close(&w);
    vr_backend_destroy(backend);
}

/* Queries of zeros find the first rows that are left, best rows that are not numbers are no more in the way. */
Test(index, removal_and_zeros)
{
    struct vr_backend *backend = cpu();
    for (size_t i = 0; i < 3; i++) {
        const struct setting s = {
            .kind = kinds[i], .dtype = VR_TABLE_F32, .rows = 900, .queries = 2, .k = 4, .probes = 1000};
        static const int32_t row[] = {0, 1, 2, 5, 899}, want[] = {3, 4, 6, 7};
        struct world w = {0};
        world_open(&w, backend, &s);
        memset(w.query, 0, s.queries * DIM * sizeof *w.query);
        world_remove(&w, row, 5);
        cr_assert_eq(search(&w, s.queries, s.k, w.query, NULL, NULL), VR_OK);
        cr_assert_eq(memcmp(w.row, want, sizeof want), 0, "kind %d: %d %d", (int)kinds[i], w.row[0], w.row[1]);
        cr_assert_eq(memcmp(w.row + s.k, want, sizeof want), 0);
        world_close(&w);
    }
    vr_backend_destroy(backend);
}

/* Long enough for the selection to shrink several times. */
Test(index, ties_are_the_references)
{
    struct vr_backend *backend = cpu();
    check_ties(backend, 9001);
    vr_backend_destroy(backend);
}

Test(index, wrong_sizes_are_refused)
{
    struct vr_backend *backend = cpu();
    const struct setting s = {.kind = VR_INDEX_EXACT, .dtype = VR_TABLE_F16, .rows = 50, .queries = 1, .k = 10};
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

/* What a backend says it has, it makes; for the rest it names a kind that it has. */
Test(index, kinds)
{
    static const float vector[2] = {1.0f, 2.0f};
    struct vr_backend *backend = cpu();
    for (int kind = VR_INDEX_EXACT; kind < (int)VR_INDEX_KINDS; kind++) {
        struct rig rig;
        struct vr_index *index = NULL;
        rig_open(&rig, backend);
        struct vr_index_spec spec = {.config.kind = (enum vr_index_kind)kind, .rows = 2, .dim = 1};
        spec.config.hnsw_m = spec.config.hnsw_ef_search = spec.config.ivf_lists = spec.config.ivf_probes = 2;
        spec.vectors = (struct vr_table){rig_put(&rig, vector, sizeof vector), {NULL, 0}, 2, 1, VR_TABLE_F32};
        const bool has = (backend->ops->index_kinds >> kind & 1) != 0;
        cr_assert_eq(backend->ops->index_create(backend, &spec, &index), has ? VR_OK : VR_ERR_UNSUPPORTED, "%d", kind);
        backend->ops->index_destroy(index);
        const enum vr_index_kind there = vr_index_kind_on(backend, spec.config.kind);
        cr_assert((backend->ops->index_kinds >> there & 1) != 0 && (!has || there == spec.config.kind));
        rig_close(&rig);
    }
    for (unsigned library = VR_INDEX_FAISS_GPU_FLAT; library <= VR_INDEX_CUVS_FLAT; library += 4) {
        cr_assert_eq(vr_index_kind_on(backend, (enum vr_index_kind)library), VR_INDEX_EXACT);
        cr_assert_eq(vr_index_kind_on(backend, (enum vr_index_kind)(library + 1)), VR_INDEX_IVF);
        cr_assert_eq(vr_index_kind_on(backend, (enum vr_index_kind)(library + 2)), VR_INDEX_IVF);
        cr_assert_eq(vr_index_kind_on(backend, (enum vr_index_kind)(library + 3)), VR_INDEX_FAISS_HNSW);
    }
    vr_backend_destroy(backend);
    struct vr_backend_ops ops = {.index_kinds = 1u << VR_INDEX_EXACT};
    struct vr_backend other = {.ops = &ops};
    cr_assert_eq(vr_index_kind_on(&other, VR_INDEX_FAISS_IVF), VR_INDEX_EXACT);
    ops.index_kinds |= 1u << VR_INDEX_IVF;
    cr_assert_eq(vr_index_kind_on(&other, VR_INDEX_FAISS_IVF), VR_INDEX_IVF);
    cr_assert_eq(vr_index_kind_on(&other, VR_INDEX_FAISS_HNSW), VR_INDEX_EXACT);
    cr_assert_eq(vr_index_kind_on(&other, VR_INDEX_EXACT_INT8), VR_INDEX_EXACT);
}
