/* Spherical k-means, the host's part (kmeans.h): memory, the iterations, and what happens to empty lists. */
#include "kmeans.h"

#include <stdlib.h>
#include <string.h>

#include "vireo/clock.h"

#define WAIT_US 600000000u
#define ALIKE 0.999999f /* a row this near to its centroid is no better anywhere else */

enum vr_status vr_kmeans_open(struct vr_kmeans *kmeans, uint32_t capacity, uint32_t lists, uint32_t dim)
{
    *kmeans = (struct vr_kmeans){.capacity = capacity, .lists = lists, .dim = dim};
    const size_t rows = capacity, offsets = lists + (size_t)1;
    const struct {
        void **at;
        size_t bytes;
        bool pinned;
    } part[] = {
        {(void **)&kmeans->row, rows * dim * sizeof(float), false},
        {(void **)&kmeans->centroid, (size_t)lists * dim * sizeof(float), false},
        {(void **)&kmeans->list, rows * sizeof(int32_t), false},
        {(void **)&kmeans->score, rows * sizeof(float), false},
        {(void **)&kmeans->order, rows * sizeof(int32_t), false},
        {(void **)&kmeans->offset, offsets * sizeof(uint32_t), false},
        {(void **)&kmeans->host.list, rows * sizeof(int32_t), true},
        {(void **)&kmeans->host.score, rows * sizeof(float), true},
        {(void **)&kmeans->host.order, rows * sizeof(int32_t), true},
        {(void **)&kmeans->host.offset, offsets * sizeof(uint32_t), true},
    };
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof part / sizeof part[0]; i++) {
        status = vr_seam_memory_create(part[i].pinned, part[i].bytes, part[i].at);
    }
    return status;
}

void vr_kmeans_close(struct vr_kmeans *kmeans)
{
    void *const device[] = {kmeans->row, kmeans->centroid, kmeans->list, kmeans->score, kmeans->order, kmeans->offset};
    void *const pinned[] = {kmeans->host.list, kmeans->host.score, kmeans->host.order, kmeans->host.offset};
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++) {
        vr_seam_memory_destroy(false, device[i]);
    }
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        vr_seam_memory_destroy(true, pinned[i]);
    }
}

/* ---- grouping rows by list ---- */

/* Counting sort: order and offset from list. Within a list rows keep their order. */
static void group(struct vr_kmeans *kmeans, uint32_t count)
{
    uint32_t *offset = kmeans->host.offset;
    memset(offset, 0, (kmeans->lists + (size_t)1) * sizeof *offset);
    for (uint32_t i = 0; i < count; i++) {
        if (kmeans->host.list[i] >= 0) {
            offset[kmeans->host.list[i] + 1]++;
        }
    }
    for (uint32_t l = 0; l < kmeans->lists; l++) {
        offset[l + 1] += offset[l];
    }
    for (uint32_t i = 0; i < count; i++) { /* moves each offset to its list's end, which is the next one's begin */
        if (kmeans->host.list[i] >= 0) {
            kmeans->host.order[offset[kmeans->host.list[i]]++] = (int32_t)i;
        }
    }
    memmove(offset + 1, offset, kmeans->lists * sizeof *offset);
    offset[0] = 0;
}

/* A list that can give rows away: its worst ones are taken from `next` on. */
struct donor {
    uint32_t rows, next; /* left in the list; place in `worst` */
    bool sorted;
};

/* A row with its score, for sorting. */
struct scored {
    float score;
    int32_t row;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *one = a, *other = b;
    const int score = (one->score > other->score) - (one->score < other->score);
    return score != 0 ? score : (one->row > other->row) - (one->row < other->row);
}

static uint32_t largest_of(const struct donor *donor, uint32_t lists)
{
    uint32_t largest = 0;
    for (uint32_t l = 1; l < lists; l++) {
        largest = donor[l].rows > donor[largest].rows ? l : largest;
    }
    return largest;
}

/* The row that fits worst into the largest list; NULL when no list has one to spare. */
static const struct scored *take_worst(const struct vr_kmeans *kmeans, struct donor *donor, struct scored *worst)
{
    for (;;) {
        const uint32_t l = largest_of(donor, kmeans->lists), begin = kmeans->host.offset[l];
        if (donor[l].rows < 2) {
            return NULL;
        }
        if (!donor[l].sorted) {
            for (uint32_t i = begin; i < kmeans->host.offset[l + 1]; i++) {
                const int32_t row = kmeans->host.order[i];
                worst[i] = (struct scored){kmeans->host.score[row], row};
            }
            qsort(worst + begin, donor[l].rows, sizeof *worst, by_score);
            donor[l].sorted = true;
            donor[l].next = begin;
        }
        if (worst[donor[l].next].score < ALIKE) {
            donor[l].rows--;
            return &worst[donor[l].next++];
        }
        donor[l].rows = 0; /* all that is left lies at the centroid */
    }
}

/* Give each empty list one row of the largest. The objective rises by it: the row is its own centroid then, and the
 * others' sum is no farther from what it was. */
static enum vr_status fill_empty(struct vr_kmeans *kmeans, uint32_t count)
{
    struct donor *donor = calloc(kmeans->lists, sizeof *donor);
    struct scored *worst = malloc(count * sizeof *worst);
    enum vr_status status = VR_OK;
    if (donor == NULL || worst == NULL) {
        status = vr_fail(VR_ERR_NOMEM, "no memory to train an index of %u rows", count);
    }
    for (uint32_t l = 0; status == VR_OK && l < kmeans->lists; l++) {
        donor[l].rows = kmeans->host.offset[l + 1] - kmeans->host.offset[l];
    }
    for (uint32_t l = 0; status == VR_OK && l < kmeans->lists; l++) {
        const struct scored *row = NULL;
        if (kmeans->host.offset[l + 1] == kmeans->host.offset[l]) {
            row = take_worst(kmeans, donor, worst);
        }
        if (row != NULL) {
            kmeans->host.list[row->row] = (int32_t)l;
        }
    }
    if (status == VR_OK) {
        group(kmeans, count);
    }
    free(donor);
    free(worst);
    return status;
}

static bool has_empty(const struct vr_kmeans *kmeans)
{
    for (uint32_t l = 0; l < kmeans->lists; l++) {
        if (kmeans->host.offset[l + 1] == kmeans->host.offset[l]) {
            return true;
        }
    }
    return false;
}

/* ---- training ---- */

static double sum_of_scores(const struct vr_kmeans *kmeans, uint32_t count)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        sum += kmeans->host.list[i] >= 0 ? (double)kmeans->host.score[i] : 0.0;
    }
    return sum;
}

/* The nearest centroids, to the host. */
static enum vr_status fetch_nearest(struct vr_backend *backend, struct vr_stream *stream, struct vr_kmeans *kmeans,
                                    uint32_t count)
{
    enum vr_status status = vr_kmeans_nearest(stream, kmeans, count);
    if (status == VR_OK) {
        status = vr_seam_copy(stream->seam, kmeans->host.list, kmeans->list, count * sizeof(int32_t));
    }
    if (status == VR_OK) {
        status = vr_seam_copy(stream->seam, kmeans->host.score, kmeans->score, count * sizeof(float));
    }
    return status == VR_OK ? vr_stream_wait(backend, stream, vr_clock_mono_us() + WAIT_US) : status;
}

/* New centroids from the groups. The host's arrays are next written after the next wait. */
static enum vr_status move_centroids(struct vr_stream *stream, struct vr_kmeans *kmeans, uint32_t count)
{
    const size_t offsets = kmeans->lists + (size_t)1;
    enum vr_status status = vr_seam_copy(stream->seam, kmeans->order, kmeans->host.order, count * sizeof(int32_t));
    if (status == VR_OK) {
        status = vr_seam_copy(stream->seam, kmeans->offset, kmeans->host.offset, offsets * sizeof(uint32_t));
    }
    return status == VR_OK ? vr_kmeans_move(stream, kmeans) : status;
}

/* Assign, note the objective, and unless that is the end move the centroids. */
static enum vr_status iterate(struct vr_backend *backend, struct vr_stream *stream, struct vr_kmeans *kmeans,
                              uint32_t count, bool *ended)
{
    const uint32_t i = kmeans->iterations;
    enum vr_status status = fetch_nearest(backend, stream, kmeans, count);
    if (status != VR_OK) {
        return status;
    }
    kmeans->objective[i] = sum_of_scores(kmeans, count);
    kmeans->iterations = i + 1;
    *ended = i > 0 && kmeans->objective[i] <= kmeans->objective[i - 1];
    if (*ended) {
        return VR_OK;
    }
    group(kmeans, count);
    status = has_empty(kmeans) ? fill_empty(kmeans, count) : VR_OK;
    return status == VR_OK ? move_centroids(stream, kmeans, count) : status;
}

enum vr_status vr_kmeans_train(struct vr_backend *backend, struct vr_stream *stream, struct vr_kmeans *kmeans,
                               const struct vr_kmeans_rows *rows)
{
    bool ended = false;
    enum vr_status status = vr_kmeans_gather(stream, kmeans, rows);
    if (status == VR_OK) {
        const size_t bytes = (size_t)kmeans->lists * kmeans->dim * sizeof(float);
        status = vr_seam_copy(stream->seam, kmeans->centroid, kmeans->row, bytes);
    }
    kmeans->iterations = 0;
    while (status == VR_OK && !ended && kmeans->iterations < VR_KMEANS_ITERATIONS) {
        status = iterate(backend, stream, kmeans, rows->count, &ended);
    }
    return status;
}

enum vr_status vr_kmeans_assign(struct vr_stream *stream, struct vr_kmeans *kmeans, const struct vr_kmeans_rows *rows,
                                int32_t *list)
{
    enum vr_status status = vr_kmeans_gather(stream, kmeans, rows);
    if (status == VR_OK) {
        status = vr_kmeans_nearest(stream, kmeans, rows->count);
    }
    return status == VR_OK ? vr_seam_copy(stream->seam, list, kmeans->list, rows->count * sizeof(int32_t)) : status;
}
