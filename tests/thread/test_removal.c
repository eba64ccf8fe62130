/* Rows that are taken out of an index by two threads while others search it: under ThreadSanitizer, and a search that
 * began after a removal had returned never gives its rows, nor comes out short while enough are left. Every kind of the
 * CPU backend but FAISS', whose library the sanitizer does not see into, and kinds of the emulated CUDA backend. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "compute/support_ops.h"
#include "kernels/knn.h"
#include "vireo/backend_cuda.h"
#include "vireo/clock.h"

enum { K = 30, QUERIES = 3, ROWS = 530, WIDTH = 16, SEARCHERS = 2, REMOVERS = 2, LEFT = 5, EACH = 90 };

struct shared {
    struct vr_backend *backend;
    struct vr_index *index;
    enum vr_index_kind kind;
    const float *query;
    int32_t order[ROWS]; /* in which rows go; the last LEFT stay */
    uint32_t next;       /* the removers' */
    bool removed[ROWS];  /* set when the removal has returned; __atomic builtins, as the next */
    bool begun[ROWS];    /* set before */
    uint32_t left;       /* removers at work */
    uint32_t faults;
};

static void must(enum vr_status status, const char *what)
{
    if (status != VR_OK) {
        fprintf(stderr, "%s: %s\n", what, vr_error_text());
        abort();
    }
}

static void fault(struct shared *shared, const char *what, uint32_t at)
{
    fprintf(stderr, "%s: %s: %u\n", vr_index_kind_name(shared->kind), what, at);
    __atomic_fetch_add(&shared->faults, 1, __ATOMIC_RELAXED);
}

/* EACH rows a call, of which the last one's first rows went before. */
static void *remove_rows(void *pointer)
{
    struct shared *shared = pointer;
    for (;;) {
        const uint32_t first = __atomic_fetch_add(&shared->next, EACH, __ATOMIC_RELAXED);
        if (first >= ROWS - LEFT) {
            break;
        }
        const uint32_t end = first + EACH + 3 < ROWS - LEFT ? first + EACH + 3 : ROWS - LEFT; /* some go twice */
        for (uint32_t i = first; i < end; i++) {
            __atomic_store_n(&shared->begun[shared->order[i]], true, __ATOMIC_RELEASE);
        }
        must(shared->backend->ops->index_remove(shared->index, shared->order + first, end - first,
                                                vr_clock_mono_us() + 60000000),
             "remove");
        for (uint32_t i = first; i < end; i++) {
            __atomic_store_n(&shared->removed[shared->order[i]], true, __ATOMIC_RELEASE);
        }
    }
    __atomic_fetch_sub(&shared->left, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void search(const struct shared *shared, struct rig *rig, int32_t row[QUERIES * K])
{
    struct vr_index_search args = {.queries = QUERIES, .k = K};
    args.query = rig_put(rig, shared->query, QUERIES * WIDTH * sizeof(float));
    args.row = rig_put(rig, row, QUERIES * K * sizeof *row);
    args.score = rig_put(rig, row, QUERIES * K * sizeof *row);
    must(shared->backend->ops->index_search(rig->stream, shared->index, &args), "search");
    rig_get(rig, args.row, QUERIES * K * sizeof *row, row);
    rig_clear(rig);
}

/* Against what was removed before the search, and what nobody had begun to remove after it. */
static void check(struct shared *shared, const bool *before, const int32_t *row)
{
    uint32_t found = 0, there = 0;
    for (uint32_t i = 0; i < K; i++) {
        found += row[i] >= 0;
        if (row[i] >= 0 && before[row[i]]) {
            fault(shared, "a row that was removed", (uint32_t)row[i]);
        }
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        there += !__atomic_load_n(&shared->begun[r], __ATOMIC_ACQUIRE);
    }
    /* An outside library is asked for as many more as were removed when the search began. */
    const bool widens = vr_index_kind_is_in(shared->backend->ops->unplanned, shared->kind);
    if (!widens && found < (there < K ? there : K)) {
        fault(shared, "too few rows", found);
    }
}

static void *look(void *pointer)
{
    struct shared *shared = pointer;
    struct rig rig;
    rig_open(&rig, shared->backend);
    for (bool last = false, ends = false; !ends; ends = last) {
        bool before[ROWS];
        int32_t row[QUERIES * K] = {0};
        last = __atomic_load_n(&shared->left, __ATOMIC_ACQUIRE) == 0;
        for (uint32_t r = 0; r < ROWS; r++) {
            before[r] = __atomic_load_n(&shared->removed[r], __ATOMIC_ACQUIRE);
        }
        search(shared, &rig, row);
        for (uint32_t q = 0; q < QUERIES; q++) {
            check(shared, before, row + (size_t)q * K);
        }
    }
    rig_close(&rig);
    return NULL;
}

static void start(pthread_t *thread, void *(*body)(void *), struct shared *shared)
{
    if (pthread_create(thread, NULL, body, shared) != 0) {
        abort();
    }
}

static void run(struct shared *shared)
{
    pthread_t thread[SEARCHERS + REMOVERS];
    shared->left = REMOVERS;
    for (int i = 0; i < SEARCHERS + REMOVERS; i++) {
        start(&thread[i], i < SEARCHERS ? look : remove_rows, shared);
    }
    for (int i = 0; i < SEARCHERS + REMOVERS; i++) {
        pthread_join(thread[i], NULL);
    }
}

static uint32_t check_kind(struct vr_backend *backend, enum vr_index_kind kind)
{
    static float vector[ROWS * WIDTH];
    struct dice dice = {11};
    struct shared shared = {.backend = backend, .kind = kind, .query = vector};
    struct rig rig;
    dice_floats(&dice, vector, ROWS * WIDTH);
    for (int32_t r = 0; r < ROWS; r++) {
        const uint32_t j = dice_next(&dice) % (uint32_t)(r + 1);
        shared.order[r] = shared.order[j];
        shared.order[j] = r;
    }
    rig_open(&rig, backend);
    struct vr_index_spec spec = {.config = {kind, 32, 256, 8, 8}, .rows = ROWS, .dim = WIDTH};
    spec.vectors = (struct vr_table){rig_put(&rig, vector, sizeof vector), {NULL, 0}, ROWS, WIDTH, VR_TABLE_F32};
    must(backend->ops->index_create(backend, &spec, &shared.index), "index");
    run(&shared);
    backend->ops->index_destroy(shared.index);
    rig_close(&rig);
    return shared.faults;
}

int main(void)
{
    struct vr_backend *cuda = NULL, *cpu = NULL;
    must(vr_backend_open("cpu", 1, &cpu), "open");
    must(vr_cuda_backend_open(1, &cuda), "open");
    vr_knn_thread_patience(600000000); /* the emulated device is shared, and slow under the sanitizer */
    uint32_t faults = check_kind(cpu, VR_INDEX_EXACT) + check_kind(cpu, VR_INDEX_EXACT_INT8) +
                      check_kind(cpu, VR_INDEX_IVF) + check_kind(cuda, VR_INDEX_EXACT_INT8) +
                      check_kind(cuda, VR_INDEX_IVF) + check_kind(cuda, VR_INDEX_CUVS_FLAT);
    vr_backend_destroy(cpu);
    vr_backend_destroy(cuda);
    printf("removal: %u faults\n", faults);
    return faults != 0;
}
