/* The making of an IVF index (ivf.h): centroids from a sample, every row to its nearest, lists as whole tiles. Rows of
 * a list stand in random order, so that its first ones are a sample of it. Everything follows from the rows and one
 * seed: the same table gives the same index. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ivf.h"
#include "kmeans.h"
#include "vireo/clock.h"

#define WAIT_US 600000000u
#define SAMPLE_PER_LIST 256u /* rows to train on, as FAISS */
#define SAMPLE_SHIFT 3u      /* of a list's rows: an eighth, if as much fits the memory of a search */

/* What the build alone needs. */
struct build {
    struct vr_backend *backend;
    struct vr_stream *stream;
    const struct vr_cuda_table *table;
    uint32_t rows;
    struct vr_kmeans kmeans;
    int32_t *order;                          /* pinned [rows], random; the first ones are the sample */
    int32_t *list_of;                        /* pinned [rows] */
    int32_t *number;                         /* device [sample] */
    float *centroid;                         /* pinned [lists, dim] */
    struct vr_ivf_list *list;                /* pinned [lists] */
    int32_t *row_of_slot;                    /* pinned [slots] */
    struct vr_scan_found *found, *found_got; /* of the rows: device; pinned */
};

static enum vr_status take(bool pinned, size_t bytes, void *at)
{
    return vr_seam_memory_create(pinned, bytes, at);
}

static void close_build(struct build *build)
{
    if (build->stream != NULL) { /* first: its work may use the rest */
        build->backend->ops->stream_destroy(build->stream);
    }
    void *const pinned[] = {build->order, build->list_of,     build->centroid,
                            build->list,  build->row_of_slot, build->found_got};
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        vr_seam_memory_destroy(true, pinned[i]);
    }
    vr_seam_memory_destroy(false, build->number);
    vr_seam_memory_destroy(false, build->found);
    vr_kmeans_close(&build->kmeans);
}

static enum vr_status open_build(struct build *build, uint32_t lists, uint32_t dim)
{
    const uint64_t most = (uint64_t)lists * SAMPLE_PER_LIST;
    const uint32_t sample = most < build->rows ? (uint32_t)most : build->rows;
    enum vr_status status = build->backend->ops->stream_create(build->backend, &build->stream);
    const struct {
        bool pinned;
        size_t bytes;
        void *at;
    } part[] = {
        {true, build->rows * sizeof(int32_t), &build->order},
        {true, build->rows * sizeof(int32_t), &build->list_of},
        {true, (size_t)lists * dim * sizeof(float), &build->centroid},
        {true, lists * sizeof *build->list, &build->list},
        {true, sizeof(struct vr_scan_found), &build->found_got},
        {false, sizeof(struct vr_scan_found), &build->found},
        {false, sample * sizeof(int32_t), &build->number},
    };
    for (size_t i = 0; status == VR_OK && i < sizeof part / sizeof part[0]; i++) {
        status = take(part[i].pinned, part[i].bytes, part[i].at);
    }
    return status == VR_OK ? vr_kmeans_open(&build->kmeans, sample, lists, dim) : status;
}

static enum vr_status wait(struct build *build)
{
    return vr_stream_wait(build->backend, build->stream, vr_clock_mono_us() + WAIT_US);
}

/* ---- centroids, and the list of each row ---- */

static enum vr_status train(struct build *build)
{
    const uint32_t sample = build->kmeans.capacity;
    const struct vr_kmeans_rows rows = {*build->table, build->number, 0, sample};
    vr_scan_shuffle(build->order, build->rows);
    const enum vr_status status =
        vr_seam_copy(build->stream->seam, build->number, build->order, sample * sizeof(int32_t));
    return status == VR_OK ? vr_kmeans_train(build->backend, build->stream, &build->kmeans, &rows) : status;
}

static enum vr_status assign(struct build *build)
{
    const struct vr_kmeans *kmeans = &build->kmeans;
    const size_t bytes = (size_t)kmeans->lists * kmeans->dim * sizeof(float);
    enum vr_status status = vr_seam_copy(build->stream->seam, build->centroid, kmeans->centroid, bytes);
    for (uint32_t first = 0; status == VR_OK && first < build->rows; first += kmeans->capacity) {
        const uint32_t left = build->rows - first;
        const uint32_t count = left < kmeans->capacity ? left : kmeans->capacity;
        const struct vr_kmeans_rows rows = {*build->table, NULL, first, count};
        status = vr_kmeans_assign(build->stream, &build->kmeans, &rows, build->list_of + first);
    }
    return status == VR_OK ? wait(build) : status;
}

/* ---- layout ---- */

/* Count the rows of each list, and leave out the lists that have none: to probe them would be in vain. Rows without a
 * direction go to the first list. Returns how many lists are left. */
static uint32_t count_rows(struct build *build)
{
    const uint32_t lists = build->kmeans.lists, dim = build->kmeans.dim;
    int32_t *renamed = build->row_of_slot; /* has lists or more elements, and is filled later */
    memset(build->list, 0, lists * sizeof *build->list);
    for (uint32_t i = 0; i < build->rows; i++) {
        build->list_of[i] = build->list_of[i] < 0 ? 0 : build->list_of[i];
        build->list[build->list_of[i]].count++;
    }
    uint32_t kept = 0;
    for (uint32_t l = 0; l < lists; l++) {
        if (build->list[l].count > 0) {
            renamed[l] = (int32_t)kept;
            build->list[kept].count = build->list[l].count;
            memmove(build->centroid + (size_t)kept * dim, build->centroid + (size_t)l * dim, dim * sizeof(float));
            kept++;
        }
    }
    for (uint32_t i = 0; i < build->rows; i++) {
        build->list_of[i] = renamed[build->list_of[i]];
    }
    return kept;
}

static int falling(const void *a, const void *b)
{
    const uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return (one < other) - (one > other);
}

/* Scores of a query's sample at most, when it is `count >> shift` of a list, rounded up: its lists are the longest. */
static uint64_t sample_of_longest(const uint32_t *count, uint32_t probes, unsigned shift)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < probes; l++) {
        sum += (count[l] >> shift) + 1;
    }
    return sum;
}

/* How much of a list is its sample: as much as VR_SCAN_SAMPLE scores a query allow. */
static enum vr_status choose_sample(const struct build *build, struct vr_ivf_index *index)
{
    uint32_t *count = malloc(index->lists * sizeof *count);
    if (count == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index of %u lists", index->lists);
    }
    uint64_t slots = 0;
    for (uint32_t l = 0; l < index->lists; l++) {
        count[l] = build->list[l].count;
    }
    qsort(count, index->lists, sizeof *count, falling);
    for (uint32_t l = 0; l < index->probes; l++) {
        slots += count[l];
    }
    const uint64_t most = VR_SCAN_SAMPLE > 2 * index->probes ? VR_SCAN_SAMPLE : 2 * (uint64_t)index->probes;
    index->sample_shift = SAMPLE_SHIFT;
    while (index->sample_shift < 31 && sample_of_longest(count, index->probes, index->sample_shift) > most) {
        index->sample_shift++;
    }
    const uint64_t room = sample_of_longest(count, index->probes, index->sample_shift);
    index->sample_room = slots > VR_IVF_FEW ? (uint32_t)room : 0;
    free(count);
    return VR_OK;
}

/* A part of 2^-shift of `count`, rounded up or down by the dice of its list's number: short lists, in their sum, are
 * sampled as much as long ones. */
static uint32_t sample_of(uint32_t count, unsigned shift, uint32_t list)
{
    const uint32_t dice = (list + 1) * 2654435769u; /* 2^32 / golden ratio: consecutive numbers fall far apart */
    return (uint32_t)((count + (uint64_t)(dice >> (32 - shift))) >> shift);
}

/* Each list to tiles of its own. */
static void lay_out(struct build *build, struct vr_ivf_index *index)
{
    uint32_t tile = 0;
    for (uint32_t l = 0; l < index->lists; l++) {
        struct vr_ivf_list *list = &build->list[l];
        list->tile = tile;
        list->sample = sample_of(list->count, index->sample_shift, l);
        tile += (list->count + VR_SCAN_TILE - 1) / VR_SCAN_TILE;
        list->count = 0; /* counted again as slots are given out */
    }
    index->vectors.tiles = tile;
    index->vectors.rows = tile * VR_SCAN_TILE;
    memset(build->row_of_slot, 0xff, index->vectors.rows * sizeof *build->row_of_slot);
    for (uint32_t i = 0; i < build->rows; i++) {
        const int32_t row = build->order[i];
        struct vr_ivf_list *list = &build->list[build->list_of[row]];
        build->row_of_slot[list->tile * VR_SCAN_TILE + list->count++] = row;
    }
}

/* ---- the index ---- */

void vr_ivf_index_free(struct vr_ivf_index *index)
{
    vr_seam_memory_destroy(false, index->vectors.tile);
    vr_seam_memory_destroy(false, index->vectors.row_of_slot);
    vr_seam_memory_destroy(false, index->vectors.slot_of_row);
    vr_seam_memory_destroy(false, index->counts);
    vr_seam_memory_destroy(false, index->list);
    vr_seam_memory_destroy(false, index->centroid);
    vr_scan_free_table(&index->vectors.exact);
}

static enum vr_status take_index(struct vr_ivf_index *index, uint32_t rows)
{
    struct vr_scan_vectors *vectors = &index->vectors;
    enum vr_status status = take(false, (size_t)vectors->rows * vectors->row_bytes, &vectors->tile);
    if (status == VR_OK) {
        status = take(false, vectors->rows * sizeof(int32_t), &vectors->row_of_slot);
    }
    if (status == VR_OK) {
        status = take(false, rows * sizeof(int32_t), &vectors->slot_of_row);
    }
    if (status == VR_OK) {
        status = take(false, sizeof *index->counts, &index->counts);
    }
    if (status == VR_OK) {
        status = take(false, index->lists * sizeof *index->list, &index->list);
    }
    return status == VR_OK ? take(false, (size_t)index->lists * vectors->dim * sizeof(float), &index->centroid)
                           : status;
}

static enum vr_status fill(struct build *build, struct vr_ivf_index *index)
{
    struct vr_scan_vectors *vectors = &index->vectors;
    struct vr_seam_stream *seam = build->stream->seam;
    enum vr_status status = take_index(index, build->rows);
    const struct {
        void *to;
        const void *from;
        size_t bytes;
    } copy[] = {
        {vectors->row_of_slot, build->row_of_slot, vectors->rows * sizeof(int32_t)},
        {index->list, build->list, index->lists * sizeof *index->list},
        {index->centroid, build->centroid, (size_t)index->lists * vectors->dim * sizeof(float)},
    };
    for (size_t i = 0; status == VR_OK && i < sizeof copy / sizeof copy[0]; i++) {
        status = vr_seam_copy(seam, copy[i].to, copy[i].from, copy[i].bytes);
    }
    if (status == VR_OK) {
        status = vr_scan_copy_table(build->stream, build->table, vectors->coding, &vectors->exact);
    }
    if (status == VR_OK) {
        status = vr_scan_build(build->stream, vectors, build->table, build->found);
    }
    if (status == VR_OK) {
        status = vr_seam_copy(seam, build->found_got, build->found, sizeof(struct vr_scan_found));
    }
    status = status == VR_OK ? wait(build) : status;
    if (status == VR_OK) {
        vr_scan_take_found(vectors, build->found_got);
    }
    return status;
}

/* From lists to an index. */
static enum vr_status finish(struct build *build, const struct vr_index_config *config, struct vr_ivf_index *index)
{
    const size_t slots = (size_t)build->rows + (size_t)build->kmeans.lists * (VR_SCAN_TILE - 1); /* at most */
    if (slots > INT32_MAX) {
        return vr_fail(VR_ERR_UNSUPPORTED, "index ivf: %u rows in %u lists are too many", build->rows,
                       build->kmeans.lists);
    }
    enum vr_status status = take(true, slots * sizeof(int32_t), &build->row_of_slot);
    if (status != VR_OK) {
        return status;
    }
    index->lists = count_rows(build);
    index->probes = config->ivf_probes < index->lists ? config->ivf_probes : index->lists;
    index->probes = index->probes > 0 ? index->probes : 1;
    status = choose_sample(build, index);
    if (status != VR_OK) {
        return status;
    }
    lay_out(build, index);
    return fill(build, index);
}

enum vr_status vr_ivf_choose_lists(const struct vr_index_spec *spec, uint32_t *out)
{
    const double rule = 4.0 * sqrt((double)spec->rows);
    uint32_t lists = rule < VR_IVF_LISTS_MAX ? (uint32_t)rule : VR_IVF_LISTS_MAX;
    lists = spec->config.ivf_lists > 0 ? spec->config.ivf_lists : lists;
    *out = lists < spec->rows ? lists : spec->rows;
    if (*out > VR_IVF_LISTS_MAX) {
        return vr_fail(VR_ERR_UNSUPPORTED, "index ivf takes up to %u lists, not %u", VR_IVF_LISTS_MAX, *out);
    }
    return VR_OK;
}

enum vr_status vr_ivf_index_build(struct vr_backend *backend, const struct vr_index_spec *spec,
                                  const struct vr_cuda_table *table, struct vr_ivf_index *index)
{
    struct build build = {.backend = backend, .table = table, .rows = spec->rows};
    uint32_t lists = 0;
    enum vr_status status = vr_ivf_choose_lists(spec, &lists);
    if (status != VR_OK || spec->rows == 0) {
        return status;
    }
    status = open_build(&build, lists, spec->dim);
    if (status == VR_OK) {
        status = train(&build);
    }
    if (status == VR_OK) {
        status = assign(&build);
    }
    if (status == VR_OK) {
        status = finish(&build, &spec->config, index);
    }
    close_build(&build);
    return status;
}
