/* Spherical k-means in the emulator (kernels/kmeans.h): the objective never falls, empty lists get rows, rows without a
 * direction spoil nothing, and what is found is a fixed point of the method where it says so. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/kmeans.h"
#include "support_ivf.h"
#include "support_left.h"
#include "support_parity.h"
#include "vireo/backend_cuda.h"

#define SEEDS 4u

static struct vr_backend *cuda;

static void open_cuda(void)
{
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
}

static void close_cuda(void)
{
    vr_backend_destroy(cuda);
    must_leave_nothing();
}

TestSuite(kmeans, .init = open_cuda, .fini = close_cuda);

/* A training, and copies of what the device has afterwards. */
struct training {
    struct rig rig;
    struct vr_kmeans kmeans;
    uint32_t rows;
    float *row, *centroid;
    int32_t *list; /* pinned; of the nearest centroid after all */
};

static void train(struct training *t, const float *vector, uint32_t rows, uint32_t dim, uint32_t lists)
{
    *t = (struct training){.rows = rows};
    rig_open(&t->rig, cuda);
    struct vr_kmeans_rows all = {.table = {.rows = rows, .width = dim, .dtype = VR_TABLE_F32}, .count = rows};
    const struct vr_view data = rig_put(&t->rig, vector, (size_t)rows * dim * sizeof(float));
    all.table.data = data.buffer->memory + data.offset;
    void *pinned = NULL;
    cr_assert_eq(vr_seam_memory_create(true, rows * sizeof(int32_t), &pinned), VR_OK);
    t->list = pinned;
    cr_assert_eq(vr_kmeans_open(&t->kmeans, rows, lists, dim), VR_OK);
    cr_assert_eq(vr_kmeans_train(cuda, t->rig.stream, &t->kmeans, &all), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_kmeans_assign(t->rig.stream, &t->kmeans, &all, t->list), VR_OK);
    t->row = ivf_fetch(&t->rig, t->kmeans.row, (size_t)rows * dim * sizeof(float));
    t->centroid = ivf_fetch(&t->rig, t->kmeans.centroid, (size_t)lists * dim * sizeof(float));
}

static void finish(struct training *t)
{
    free(t->row);
    free(t->centroid);
    vr_seam_memory_destroy(true, t->list);
    vr_kmeans_close(&t->kmeans);
    rig_close(&t->rig);
}

static double dot(const float *a, const float *b, uint32_t dim)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

/* The sum of each row's cosine with its list's centroid. */
static double objective_of(const struct training *t)
{
    const uint32_t dim = t->kmeans.dim;
    double sum = 0.0;
    for (uint32_t r = 0; r < t->rows; r++) {
        if (t->list[r] >= 0) {
            sum += dot(t->row + (size_t)r * dim, t->centroid + (size_t)t->list[r] * dim, dim);
        }
    }
    return sum;
}

static void check_objective(const struct training *t)
{
    const double *objective = t->kmeans.objective;
    for (uint32_t i = 1; i < t->kmeans.iterations; i++) {
        cr_assert_geq(objective[i], objective[i - 1] - 1e-6 * t->rows, "iteration %u: %.9g after %.9g", i, objective[i],
                      objective[i - 1]);
    }
    cr_assert_geq(t->kmeans.iterations, 2);
    cr_assert_geq(objective_of(t), objective[t->kmeans.iterations - 1] - 1e-6 * t->rows);
    cr_assert_gt(objective_of(t), objective[0]);
}

static uint32_t count_empty(const struct training *t)
{
    uint32_t empty = 0;
    for (uint32_t l = 0; l < t->kmeans.lists; l++) {
        uint32_t rows = 0;
        for (uint32_t r = 0; r < t->rows; r++) {
            rows += t->list[r] == (int32_t)l;
        }
        empty += rows == 0;
    }
    return empty;
}

#define NEAREST 1e-6 /* another centroid may be so much nearer than a row's own, as a cosine */

/* The worst error of a row's centroid, in NEAREST: at most 1. */
static double check_centroids(const struct training *t)
{
    const uint32_t dim = t->kmeans.dim;
    double worst = 0.0;
    for (uint32_t l = 0; l < t->kmeans.lists; l++) {
        const float *centroid = t->centroid + (size_t)l * dim;
        cr_assert_float_eq(dot(centroid, centroid, dim), 1.0, 1e-5, "list %u", l);
    }
    for (uint32_t r = 0; r < t->rows; r++) {
        for (uint32_t l = 0; t->list[r] >= 0 && l < t->kmeans.lists; l++) {
            const float *row = t->row + (size_t)r * dim;
            const double own = dot(row, t->centroid + (size_t)t->list[r] * dim, dim);
            const double error = (dot(row, t->centroid + (size_t)l * dim, dim) - own) / NEAREST;
            cr_assert_leq(error, 1.0);
            worst = fmax(worst, error);
        }
    }
    return worst;
}

/* Rows of any length around `clusters` directions. */
static float *clustered(uint32_t rows, uint32_t dim, uint32_t clusters, uint64_t seed)
{
    struct dice dice = {seed};
    float *middle = must_alloc((size_t)clusters * dim * sizeof *middle);
    float *vector = must_alloc((size_t)rows * dim * sizeof *vector);
    dice_floats(&dice, middle, (size_t)clusters * dim);
    for (uint32_t r = 0; r < rows; r++) {
        const uint32_t c = dice_below(&dice, clusters);
        const float length = 1.5f + dice_unit(&dice);
        for (uint32_t i = 0; i < dim; i++) {
            vector[(size_t)r * dim + i] = length * (middle[(size_t)c * dim + i] + 0.3f * dice_unit(&dice));
        }
    }
    free(middle);
    return vector;
}

Test(kmeans, objective_never_falls)
{
    static const struct {
        uint32_t rows, dim, lists, clusters;
    } settings[] = {{65, 3, 2, 2}, {1000, 24, 20, 20}, {700, 100, 70, 30}, {900, 17, 129, 40}, {130, 256, 5, 9}};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
            struct training t;
            vr_emulator_seed(seed);
            float *vector = clustered(settings[i].rows, settings[i].dim, settings[i].clusters, seed);
            train(&t, vector, settings[i].rows, settings[i].dim, settings[i].lists);
            check_objective(&t);
            parity_row("k-means", 1, seed, check_centroids(&t), "1e-6 of a cosine, float64");
            cr_assert_eq(count_empty(&t), 0);
            finish(&t);
            free(vector);
        }
    }
}

/* All centroids begin in one place: each iteration gives the empty ones rows of the largest list. */
Test(kmeans, empty_lists_get_rows)
{
    const uint32_t rows = 800, dim = 16, lists = 12;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct training t;
        vr_emulator_seed(seed);
        float *vector = clustered(rows, dim, 15, seed);
        for (uint32_t l = 1; l < lists; l++) {
            memcpy(vector + (size_t)l * dim, vector, dim * sizeof *vector);
        }
        train(&t, vector, rows, dim, lists);
        check_objective(&t);
        check_centroids(&t);
        cr_assert_eq(count_empty(&t), 0, "%u of %u lists are empty", count_empty(&t), lists);
        finish(&t);
        free(vector);
    }
}

/* Rows that are all the same fill one list; nothing goes on for ever. */
Test(kmeans, one_direction)
{
    struct training t;
    float *vector = must_alloc((size_t)300 * 8 * sizeof *vector);
    for (uint32_t i = 0; i < 300 * 8; i++) {
        vector[i] = (float)(1 + i % 8) * (float)(1 + i / 8);
    }
    train(&t, vector, 300, 8, 7);
    cr_assert_eq(count_empty(&t), 6);
    cr_assert_float_eq(t.kmeans.objective[t.kmeans.iterations - 1], 300.0, 1e-3);
    finish(&t);
    free(vector);
}

/* NaN, infinity and zeros have no direction; numbers near the ends of float32 have one. */
Test(kmeans, odd_rows)
{
    const uint32_t rows = 400, dim = 10;
    struct training t;
    float *vector = clustered(rows, dim, 6, 1);
    memset(vector + (size_t)20 * dim, 0, dim * sizeof *vector);
    vector[21 * dim] = NAN;
    vector[22 * dim + 9] = INFINITY;
    for (uint32_t i = 0; i < dim; i++) {
        vector[23 * dim + i] = vector[24 * dim + i] * 1e30f;
        vector[25 * dim + i] = vector[24 * dim + i] * 1e-30f;
    }
    train(&t, vector, rows, dim, 6);
    for (uint32_t r = 0; r < rows; r++) {
        cr_assert_eq(t.list[r] == -1, r >= 20 && r <= 22, "row %u is in list %d", r, t.list[r]);
    }
    cr_assert_eq(t.list[23], t.list[24]);
    cr_assert_eq(t.list[25], t.list[24]);
    check_objective(&t);
    check_centroids(&t);
    finish(&t);
    free(vector);
}
