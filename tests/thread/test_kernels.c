/* The CUDA backend's own kernels under ThreadSanitizer, each CUDA thread being a thread to it: every case of the
 * operations and exact searches of each path. A race that no order of warps shows in the numbers is a report here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "compute/support_ops.h"
#include "kernels/emulator/emulator.h"
#include "vireo/backend_cuda.h"

enum { K = 20, QUERIES = 3 };

static void must(enum vr_status status, const char *what)
{
    if (status != VR_OK) {
        fprintf(stderr, "%s: %s\n", what, vr_error_text());
        abort();
    }
}

/* count floats of [-1, 1), on the device; the caller frees *out. */
static struct vr_view put_floats(struct rig *rig, struct dice *dice, size_t count, float **out)
{
    *out = malloc(count * sizeof **out);
    if (*out == NULL) {
        abort();
    }
    dice_floats(dice, *out, count);
    return rig_put(rig, *out, count * sizeof **out);
}

/* How many queries' best row is not the one that plain search finds. */
static int misses(const float *vector, const float *query, const int32_t *found, uint32_t rows, uint32_t dim)
{
    int wrong = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        uint32_t best = 0;
        float most = -INFINITY;
        for (uint32_t r = 0; r < rows; r++) {
            float sum = 0.0f;
            for (uint32_t i = 0; i < dim; i++) {
                sum += query[q * dim + i] * vector[(size_t)r * dim + i];
            }
            best = sum > most ? r : best;
            most = sum > most ? sum : most;
        }
        wrong += found[q * K] != (int32_t)best;
    }
    return wrong;
}

/* One search in `rows` rows; more than 8,192 are sampled first. */
static int check_search(struct vr_backend *cuda, uint32_t rows, uint32_t dim)
{
    struct dice dice = {rows + dim};
    struct rig rig;
    float *vector, *query;
    int32_t row[QUERIES * K] = {0};
    struct vr_index *index = NULL;
    rig_open(&rig, cuda);
    struct vr_index_spec spec = {.rows = rows, .dim = dim};
    spec.config.kind = VR_INDEX_EXACT;
    spec.vectors = (struct vr_table){.rows = rows, .width = dim, .dtype = VR_TABLE_F32};
    spec.vectors.data = put_floats(&rig, &dice, (size_t)rows * dim, &vector);
    must(cuda->ops->index_create(cuda, &spec, &index), "index");
    struct vr_index_search args = {.queries = QUERIES, .k = K};
    args.query = put_floats(&rig, &dice, (size_t)QUERIES * dim, &query);
    args.row = rig_put(&rig, row, sizeof row);
    args.score = rig_put(&rig, row, sizeof row);
    must(cuda->ops->index_search(rig.stream, index, &args), "search");
    rig_get(&rig, args.row, sizeof row, row);
    const int wrong = misses(vector, query, row, rows, dim);
    cuda->ops->index_destroy(index);
    rig_close(&rig);
    free(vector);
    free(query);
    return wrong;
}

int main(void)
{
    struct vr_backend *cuda = NULL;
    int faults = 0;
    must(vr_cuda_backend_open(1, &cuda), "open");
    vr_emulator_seed(1); /* what nothing orders is a race under any */
    faults += (int)vr_ops_check(cuda, NULL);
    faults += check_search(cuda, 700, 24) + check_search(cuda, 9001, 24) + check_search(cuda, 300, 200);
    vr_backend_destroy(cuda);
    printf("kernels: %d faults\n", faults);
    return faults != 0;
}
