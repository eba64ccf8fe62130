/* Lanes that search one index of an outside library (kernels/knn.h; stand-ins, tests/libraries/standin.h) at the same
 * time: under ThreadSanitizer, and no thread but an index's own uses a library's handles. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/support_ops.h"
#include "tests/libraries/standin.h"
#include "vireo/backend_cuda.h"

enum { K = 20, QUERIES = 3, ROWS = 600, WIDTH = 24, LANES = 3, CALLS = 8 };

struct shared {
    struct vr_backend *cuda;
    struct vr_index *index;
    float query[QUERIES * WIDTH];
    int32_t row[QUERIES * K]; /* the answer */
};

struct lane {
    struct shared *shared;
    pthread_t thread;
    int wrong;
};

static void must(enum vr_status status, const char *what)
{
    if (status != VR_OK) {
        fprintf(stderr, "%s: %s\n", what, vr_error_text());
        abort();
    }
}

static void search(const struct shared *shared, struct rig *rig, int32_t row[QUERIES * K])
{
    struct vr_index_search args = {.queries = QUERIES, .k = K};
    args.query = rig_put(rig, shared->query, sizeof shared->query);
    args.row = rig_put(rig, row, QUERIES * K * sizeof *row);
    args.score = rig_put(rig, row, QUERIES * K * sizeof *row);
    must(shared->cuda->ops->index_search(rig->stream, shared->index, &args), "search");
    rig_get(rig, args.row, QUERIES * K * sizeof *row, row);
}

static void *live(void *pointer)
{
    struct lane *lane = pointer;
    struct rig rig;
    rig_open(&rig, lane->shared->cuda);
    for (int call = 0; call < CALLS; call++) {
        int32_t row[QUERIES * K] = {0};
        search(lane->shared, &rig, row);
        lane->wrong += memcmp(row, lane->shared->row, sizeof row) != 0;
    }
    rig_close(&rig);
    return NULL;
}

static int check_kind(struct vr_backend *cuda, enum vr_index_kind kind)
{
    static float vector[ROWS * WIDTH];
    struct dice dice = {7};
    struct shared shared = {.cuda = cuda};
    struct lane lane[LANES];
    struct rig rig;
    int wrong = 0;
    dice_floats(&dice, vector, ROWS * WIDTH);
    dice_floats(&dice, shared.query, QUERIES * WIDTH);
    rig_open(&rig, cuda);
    struct vr_index_spec spec = {.config = {kind, 32, 256, 0, 32}, .rows = ROWS, .dim = WIDTH};
    spec.vectors = (struct vr_table){rig_put(&rig, vector, sizeof vector), {NULL, 0}, ROWS, WIDTH, VR_TABLE_F32};
    must(cuda->ops->index_create(cuda, &spec, &shared.index), "index");
    search(&shared, &rig, shared.row);
    for (int i = 0; i < LANES; i++) {
        lane[i] = (struct lane){.shared = &shared};
        if (pthread_create(&lane[i].thread, NULL, live, &lane[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < LANES; i++) {
        pthread_join(lane[i].thread, NULL);
        wrong += lane[i].wrong;
    }
    cuda->ops->index_destroy(shared.index);
    rig_close(&rig);
    return wrong;
}

int main(void)
{
    struct vr_backend *cuda = NULL;
    must(vr_cuda_backend_open(1, &cuda), "open");
    int faults = check_kind(cuda, VR_INDEX_FAISS_GPU_FLAT) + check_kind(cuda, VR_INDEX_CUVS_IVF);
    faults += (int)standin_strangers() + (int)standin_alive();
    vr_backend_destroy(cuda);
    printf("knn: %d faults\n", faults);
    return faults != 0;
}
