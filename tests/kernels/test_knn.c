/* Indexes of outside libraries (kernels/knn.h) in the emulator, over stand-ins for the libraries
 * (tests/libraries/standin.h): the shims' own part in the contract's cases, and what happens when a library fails, is
 * out of memory or hangs. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/knn.h"
#include "support_index.h"
#include "tests/libraries/standin.h"
#include "vireo/backend_cuda.h"

#define SEEDS 4u
#define FIRST VR_INDEX_FAISS_GPU_FLAT

static struct vr_backend *cuda;

static void open_cuda(void)
{
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
}

/* Nothing is left of any library's index, no thread used another's handles, and no library got what it cannot take.
 * Each test ends with it: Criterion passes over assertions in a .fini. */
static void check_tidy(void)
{
    cr_assert_eq(vr_emulator_memory_used(), 0);
    cr_assert_eq(standin_alive(), 0);
    cr_assert_eq(standin_strangers(), 0);
    cr_assert_eq(standin_odd_queries(), 0);
}

static void close_cuda(void)
{
    vr_backend_destroy(cuda);
}

TestSuite(knn, .init = open_cuda, .fini = close_cuda);

static const struct setting many = {.kind = FIRST, .dtype = VR_TABLE_F16, .rows = 900, .queries = 3, .k = 20};

Test(knn, the_contracts_cases)
{
    for (unsigned kind = FIRST; kind < VR_INDEX_KINDS; kind++) {
        vr_emulator_seed(kind % SEEDS + 1);
        const unsigned before = standin_searches();
        check_all(cuda, (enum vr_index_kind)kind);
        cr_assert_gt(standin_searches(), before, "the library was asked");
    }
    check_tidy();
}

Test(knn, odd_queries)
{
    for (unsigned kind = FIRST; kind < VR_INDEX_KINDS; kind++) {
        check_odd_queries(cuda, (enum vr_index_kind)kind);
    }
    struct setting s = many; /* few rows need no library: here it is asked */
    struct world w = {0};
    s.kind = VR_INDEX_CUVS_CAGRA;
    world_open(&w, cuda, &s);
    w.query[3] = NAN;
    w.query[DIM + 1] = -INFINITY;
    cr_assert_eq(search(&w, 3, s.k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
    cr_assert(w.row[0] == -1 && w.row[s.k] == -1, "what is not finite finds nothing");
    cr_assert_eq(check_answer(&w, &s, 2, NULL, NULL), s.k, "its neighbours are as they were");
    world_close(&w);
    check_tidy();
}

Test(knn, same_answer_alone_and_in_a_batch)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        struct setting s = many;
        s.kind = seed % 2 == 0 ? VR_INDEX_FAISS_GPU_IVF : VR_INDEX_CUVS_FLAT;
        s.queries = 130; /* more than one call takes */
        check_alone_and_in_a_batch(cuda, &s);
    }
    check_tidy();
}

/* The answers are the exact scan's, bit for bit, odd dimensions too. */
Test(knn, scores_are_the_scans)
{
    for (unsigned kind = FIRST; kind < VR_INDEX_KINDS; kind++) {
        struct setting s = many, exact = many;
        struct world w = {0}, scan = {0};
        s.dim = exact.dim = 19;
        s.kind = (enum vr_index_kind)kind;
        exact.kind = VR_INDEX_EXACT;
        world_open(&w, cuda, &s);
        world_open(&scan, cuda, &exact);
        cr_assert_eq(search(&w, s.queries, s.k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
        cr_assert_eq(search(&scan, s.queries, s.k, scan.query, NULL, NULL), VR_OK);
        cr_assert_eq(memcmp(w.row, scan.row, (size_t)s.queries * s.k * sizeof *w.row), 0, "kind %u", kind);
        cr_assert_eq(memcmp(w.score, scan.score, (size_t)s.queries * s.k * sizeof *w.score), 0);
        world_close(&w);
        world_close(&scan);
    }
    check_tidy();
}

/* ---- how many rows the library is asked for ---- */

static uint32_t fetched_with(struct world *w, bool exclude, uint32_t most)
{
    float query[DIM] = {1.0f};
    const uint32_t offset[2] = {0, 1};
    struct vr_index_search args = {.queries = 1, .k = 10, .has_exclude = exclude, .exclude_most = most};
    args.query = rig_put(&w->rig, query, sizeof query);
    args.row = rig_put(&w->rig, w->row, 10 * sizeof(int32_t));
    args.score = rig_put(&w->rig, w->score, 10 * sizeof(float));
    args.exclude_offset = rig_put(&w->rig, offset, sizeof offset);
    args.exclude = rig_put(&w->rig, (const int32_t[]){3}, sizeof(int32_t));
    cr_assert_eq(cuda->ops->index_search(w->rig.stream, w->index, &args), VR_OK, "%s", vr_error_text());
    rig_get(&w->rig, args.row, 10 * sizeof(int32_t), w->row);
    return standin_fetched();
}

Test(knn, asks_for_as_many_as_may_be_dropped)
{
    struct world w = {0};
    struct setting s = many;
    s.rows = 3000;
    world_open(&w, cuda, &s);
    cr_assert_eq(fetched_with(&w, false, 0), 32);
    cr_assert_eq(fetched_with(&w, true, 1), 32);
    cr_assert_eq(fetched_with(&w, true, 12), 32, "10 + 10 / 4 + 8 + 12");
    cr_assert_eq(fetched_with(&w, true, 13), 64);
    cr_assert_eq(fetched_with(&w, true, 4000), VR_KNN_FOUND_MAX);
    cr_assert_eq(fetched_with(&w, true, 0), VR_KNN_FOUND_MAX, "nothing is known of the lists");
    world_close(&w);
    check_tidy();
}

/* ---- failures ---- */

static enum vr_status make(enum vr_index_kind kind, struct rig *rig, struct vr_index **out)
{
    float *vector = calloc((size_t)many.rows * DIM, sizeof *vector);
    cr_assert(vector != NULL);
    struct vr_index_spec spec = {.config = {kind, 32, 256, 0, 32}, .rows = many.rows, .dim = DIM};
    spec.vectors = (struct vr_table){
        rig_put(rig, vector, (size_t)many.rows * DIM * sizeof *vector), {NULL, 0}, many.rows, DIM, VR_TABLE_F32};
    free(vector);
    return cuda->ops->index_create(cuda, &spec, out);
}

/* A library that fails to make its handles or an index leaves nothing behind, and the next one is made. */
Test(knn, a_failing_build)
{
    for (unsigned kind = FIRST; kind < VR_INDEX_KINDS; kind++) {
        struct rig rig;
        struct vr_index *index = NULL;
        rig_open(&rig, cuda);
        standin_fail(STANDIN_OPEN, 1, "no handles today");
        cr_assert_eq(make((enum vr_index_kind)kind, &rig, &index), VR_ERR_BACKEND);
        cr_assert(strstr(vr_error_text(), "no handles today") != NULL, "%s", vr_error_text());
        standin_fail(STANDIN_BUILD, 1, "cudaMalloc: out of memory");
        cr_assert_eq(make((enum vr_index_kind)kind, &rig, &index), VR_ERR_NOMEM);
        cr_assert_eq(standin_alive(), 0);
        cr_assert_eq(make((enum vr_index_kind)kind, &rig, &index), VR_OK, "%s", vr_error_text());
        cr_assert_gt(standin_alive(), 0);
        cuda->ops->index_destroy(index);
        rig_close(&rig);
    }
    check_tidy();
}

/* The device's own lack of memory, at every place where an index takes some. */
Test(knn, no_memory_for_a_build)
{
    for (unsigned kind = FIRST; kind < VR_INDEX_KINDS; kind++) {
        enum vr_status status = VR_ERR_NOMEM;
        for (unsigned at = 1; status != VR_OK; at++) {
            struct rig rig;
            struct vr_index *index = NULL;
            rig_open(&rig, cuda);
            struct vr_view all = rig_put(&rig, "", 1);
            (void)all;
            vr_seam_fail(VR_SEAM_MEMORY, at + 2, VR_SEAM_FAIL_NOMEM); /* make() itself takes two */
            status = make((enum vr_index_kind)kind, &rig, &index);
            vr_seam_heal();
            cr_assert(status == VR_OK ? at > 2 : status == VR_ERR_NOMEM, "%u: %s", at, vr_error_text());
            cuda->ops->index_destroy(index);
            rig_close(&rig);
            cr_assert_eq(standin_alive(), 0);
        }
    }
    check_tidy();
}

/* A search that fails is told, and the next one is answered. */
Test(knn, a_failing_search)
{
    for (unsigned kind = FIRST; kind < VR_INDEX_KINDS; kind++) {
        struct world w = {0};
        struct setting s = many;
        s.kind = (enum vr_index_kind)kind;
        world_open(&w, cuda, &s);
        standin_fail(STANDIN_SEARCH, 1, "the search went wrong");
        cr_assert_eq(search(&w, s.queries, s.k, w.query, NULL, NULL), VR_ERR_BACKEND);
        cr_assert(strstr(vr_error_text(), "the search went wrong") != NULL, "%s", vr_error_text());
        standin_fail(STANDIN_SEARCH, 1, "StandardGpuResources: alloc fail");
        cr_assert_eq(search(&w, s.queries, s.k, w.query, NULL, NULL), VR_ERR_NOMEM);
        cr_assert_eq(search(&w, s.queries, s.k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
        cr_assert_eq(check_answer(&w, &s, 0, NULL, NULL), s.k);
        world_close(&w);
    }
    check_tidy();
}

/* Every call of the CUDA API around a search fails in turn. */
Test(knn, a_failing_device)
{
    struct world w = {0};
    world_open(&w, cuda, &many);
    enum vr_status status = VR_ERR_BACKEND;
    for (unsigned at = 1; status != VR_OK; at++) {
        cr_assert_eq(search(&w, 1, many.k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
        float query[DIM] = {1.0f};
        struct vr_index_search args = {.queries = 1, .k = many.k, .query = rig_put(&w.rig, query, sizeof query)};
        args.row = rig_put(&w.rig, w.row, many.k * sizeof(int32_t));
        args.score = rig_put(&w.rig, w.score, many.k * sizeof(float));
        vr_seam_fail(VR_SEAM_CALLS, at, VR_SEAM_FAIL_ONCE);
        status = cuda->ops->index_search(w.rig.stream, w.index, &args);
        vr_seam_heal();
        cr_assert(status == VR_OK ? at == 6 : status == VR_ERR_BACKEND, "call %u: status %d", at, (int)status);
        rig_get(&w.rig, args.row, many.k * sizeof(int32_t), w.row); /* the stream goes on */
    }
    world_close(&w);
    check_tidy();
}

/* What stands before the library on the stream is done first, what stands behind it later; a plan is refused. */
Test(knn, no_plan)
{
    struct world w = {0};
    world_open(&w, cuda, &many);
    cr_assert_eq(search(&w, 1, many.k, w.query, NULL, NULL), VR_OK, "%s", vr_error_text());
    struct vr_plan *plan = NULL;
    struct vr_index_search args = {.queries = 1, .k = 1};
    args.query = args.row = args.score = rig_put(&w.rig, w.query, DIM * sizeof(float));
    cr_assert_eq(cuda->ops->plan_begin(w.rig.stream), VR_OK);
    cr_assert_eq(cuda->ops->index_search(w.rig.stream, w.index, &args), VR_ERR_INVALID);
    cr_assert_eq(cuda->ops->plan_end(w.rig.stream, &plan), VR_OK);
    cuda->ops->plan_destroy(plan);
    for (unsigned kind = 0; kind < VR_INDEX_KINDS; kind++) {
        cr_assert_eq(vr_index_kind_is_in(cuda->ops->unplanned, (enum vr_index_kind)kind), kind >= FIRST);
    }
    world_close(&w);
    check_tidy();
}

/* What is told of an index's memory is what it takes, for the kinds whose stand-ins take what the libraries do. */
Test(knn, memory)
{
    static const enum vr_index_kind kinds[] = {VR_INDEX_FAISS_GPU_IVF, VR_INDEX_CUVS_FLAT};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct rig rig;
        struct vr_index *index = NULL;
        uint64_t told = 0, stream = 0;
        rig_open(&rig, cuda);
        const struct vr_index_spec spec = {.config = {kinds[i], 32, 256, 8, 8}, .rows = many.rows, .dim = DIM};
        cuda->ops->index_memory(&spec, &told, &stream);
        const size_t before = vr_emulator_memory_used();
        cr_assert_eq(make(kinds[i], &rig, &index), VR_OK, "%s", vr_error_text());
        const size_t taken =
            vr_emulator_memory_used() - before - (size_t)many.rows * DIM * sizeof(float); /* the table */
        cr_assert(taken <= told && told - taken < 10000, "told %zu, took %zu", (size_t)told, taken);
        cuda->ops->index_destroy(index);
        rig_close(&rig);
    }
    check_tidy();
}

/* ---- threads ---- */

struct lane {
    struct world *shared; /* its index and queries */
    pthread_t thread;
    int wrong;
};

static void *search_often(void *pointer)
{
    struct lane *lane = pointer;
    struct world w = {.dim = lane->shared->dim, .index = lane->shared->index, .query = lane->shared->query};
    rig_open(&w.rig, cuda);
    w.row = must_alloc(many.queries * many.k * sizeof *w.row);
    w.score = must_alloc(many.queries * many.k * sizeof *w.score);
    for (unsigned i = 0; i < 20; i++) {
        lane->wrong += search(&w, many.queries, many.k, w.query, NULL, NULL) != VR_OK;
        lane->wrong += memcmp(w.row, lane->shared->row, many.queries * many.k * sizeof *w.row) != 0;
    }
    free(w.row);
    free(w.score);
    rig_close(&w.rig);
    return NULL;
}

Test(knn, lanes_share_an_index)
{
    struct world w = {0};
    struct lane lane[3];
    world_open(&w, cuda, &many);
    cr_assert_eq(search(&w, many.queries, many.k, w.query, NULL, NULL), VR_OK);
    for (unsigned i = 0; i < 3; i++) {
        lane[i] = (struct lane){.shared = &w};
        cr_assert_eq(pthread_create(&lane[i].thread, NULL, search_often, &lane[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(lane[i].thread, NULL);
        cr_assert_eq(lane[i].wrong, 0);
    }
    world_close(&w);
    check_tidy();
}

/* A library that does not come back costs its callers their patience once, and no more after that. */
Test(knn_hang, is_a_lost_device, .init = open_cuda)
{
    struct world w = {0};
    world_open(&w, cuda, &many);
    vr_knn_thread_patience(50000);
    standin_hang();
    cr_assert_eq(search(&w, 1, many.k, w.query, NULL, NULL), VR_ERR_DEVICE_LOST);
    cr_assert(strstr(vr_error_text(), "has not come back") != NULL, "%s", vr_error_text());
    vr_knn_thread_patience(100000000);
    cr_assert_eq(search(&w, 1, many.k, w.query, NULL, NULL), VR_ERR_DEVICE_LOST);
    world_close(&w); /* returns */
}
