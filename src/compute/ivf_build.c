/* The making of an IVF index (ivf.h): centroids from a sample, every row to its nearest, lists one after another. All
 * follows from the rows and one seed: the same table gives the same index. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ivf.h"

#define SAMPLE_PER_LIST 64u /* rows to train on */
#define SHUFFLE_SEED 0x5eed1ab5u

enum vr_status vr_ivf_lists(const struct vr_index_spec *spec, uint32_t *out)
{
    const double rule = 4.0 * sqrt((double)spec->rows);
    uint32_t lists = spec->config.ivf_lists;
    if (lists == 0) {
        lists = rule < VR_LISTS_MAX ? (uint32_t)rule : VR_LISTS_MAX;
    }
    *out = lists < spec->rows ? lists : spec->rows;
    return *out <= VR_LISTS_MAX
               ? VR_OK
               : vr_fail(VR_ERR_UNSUPPORTED, "index ivf takes up to %u lists, not %u", VR_LISTS_MAX, *out);
}

uint64_t vr_ivf_bytes(const struct vr_index_spec *spec)
{
    uint32_t lists = 0;
    if (vr_ivf_lists(spec, &lists) != VR_OK) {
        lists = VR_LISTS_MAX; /* the build will refuse it */
    }
    const uint64_t centroids = (uint64_t)(lists + VR_CODE_LANES) * (spec->dim + 3) / 4 * 4 * (sizeof(float) + 1);
    return vr_codes_bytes(&spec->vectors, spec->rows, lists) + centroids;
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The rows 0 .. rows - 1 in random order, the same for the same number of rows. */
static void shuffle(int32_t *row, uint32_t rows)
{
    uint64_t state = SHUFFLE_SEED;
    for (uint32_t i = 0; i < rows; i++) {
        row[i] = (int32_t)i;
    }
    for (uint32_t i = rows; i > 1; i--) {
        const uint32_t j = (uint32_t)(next_random(&state) % i);
        const int32_t other = row[j];
        row[j] = row[i - 1];
        row[i - 1] = other;
    }
}

/* Counting sort: offset [lists + 1] and row from the list of each row; those without one go to the first. Rows of a
 * list keep their order. */
static void group(int32_t *list, uint32_t rows, uint32_t lists, uint32_t *offset, int32_t *row)
{
    memset(offset, 0, ((size_t)lists + 1) * sizeof *offset);
    for (uint32_t i = 0; i < rows; i++) {
        list[i] = list[i] < 0 ? 0 : list[i];
        offset[list[i] + 1]++;
    }
    for (uint32_t l = 0; l < lists; l++) {
        offset[l + 1] += offset[l];
    }
    for (uint32_t i = 0; i < rows; i++) { /* moves each offset to its list's end, which is the next one's begin */
        row[offset[list[i]]++] = (int32_t)i;
    }
    memmove(offset + 1, offset, lists * sizeof *offset);
    offset[0] = 0;
}

/* Memory of a build alone. */
struct build {
    uint32_t rows, lists;
    int32_t *row;     /* [rows]: shuffled for the training, then list after list */
    int32_t *list;    /* [rows] */
    uint32_t *offset; /* [lists + 1] */
};

static enum vr_status run(struct build *build, const struct vr_cpu_table *table, struct vr_ivf *ivf)
{
    const uint64_t most = (uint64_t)build->lists * SAMPLE_PER_LIST;
    const uint32_t sample = most < build->rows ? (uint32_t)most : build->rows;
    enum vr_status status = vr_clusters_open(&ivf->clusters, build->lists, table->width);
    if (status == VR_OK) {
        shuffle(build->row, build->rows);
        status = vr_clusters_train(&ivf->clusters, table, build->row, sample);
    }
    if (status == VR_OK) {
        status = vr_clusters_assign(&ivf->clusters, table, build->rows, build->list);
    }
    if (status != VR_OK) {
        return status;
    }
    group(build->list, build->rows, build->lists, build->offset, build->row);
    const struct vr_codes_lists lists = {build->lists, build->offset, build->row};
    return vr_codes_make(table, &lists, &ivf->codes);
}

enum vr_status vr_ivf_make(const struct vr_index_spec *spec, const struct vr_cpu_table *table, struct vr_ivf *ivf)
{
    struct build build = {.rows = spec->rows};
    enum vr_status status = vr_ivf_lists(spec, &build.lists);
    if (status != VR_OK || spec->rows == 0) {
        return status;
    }
    build.row = malloc(build.rows * sizeof *build.row);
    build.list = malloc(build.rows * sizeof *build.list);
    build.offset = malloc(((size_t)build.lists + 1) * sizeof *build.offset);
    status = build.row != NULL && build.list != NULL && build.offset != NULL
                 ? run(&build, table, ivf)
                 : vr_fail(VR_ERR_NOMEM, "no memory to make an index of %u rows", build.rows);
    free(build.row);
    free(build.list);
    free(build.offset);
    return status;
}

void vr_ivf_free(struct vr_ivf *ivf)
{
    vr_codes_free(&ivf->codes);
    vr_clusters_close(&ivf->clusters);
}
