/* Spherical k-means on the device: rows and centroids are directions, a row belongs to the centroid with the largest
 * dot product, and a centroid is the normalised sum of its rows (Dhillon and Modha, Machine Learning 42, 2001).
 *
 * Why this one: two-tower vectors have length 1, so the largest inner product is the largest cosine, and lists by
 * cosine keep together what one query wants. Auvolat et al. (Clustering is Efficient for Approximate Maximum Inner
 * Product Search, arXiv:1507.05910) found it better than hashing and trees for this search, and FAISS takes it for
 * inner products too. Ordinary k-means centroids have lengths of their own: with inner products the long ones would
 * take rows and queries that are nearer to others. Vectors of other lengths are clustered by their directions.
 *
 * The device compares and adds up; the host groups rows by list between the two and gives lists that became empty the
 * rows that lie worst in the largest. Sums run in one order, so the same rows give the same bits. */
#ifndef VIREO_KERNELS_KMEANS_H
#define VIREO_KERNELS_KMEANS_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_KMEANS_ITERATIONS 10u /* at most */
#define VR_KMEANS_DIM_MAX 256u

/* Which rows of a table are worked on. */
struct vr_kmeans_rows {
    struct vr_cuda_table table;
    const int32_t *number; /* device [count]; NULL: `first` and those that follow */
    uint32_t first, count;
};

/* Memory of a training; one owner, one stream. Rows without a direction (zeros, NaN, infinity) take part in nothing:
 * their list is -1. */
struct vr_kmeans {
    uint32_t capacity, lists, dim;
    float *row;       /* device [capacity, dim], of length 1 or all zeros */
    float *centroid;  /* device [lists, dim], of length 1 */
    int32_t *list;    /* device [capacity] */
    float *score;     /* device [capacity], with its centroid */
    int32_t *order;   /* device [capacity], rows list after list */
    uint32_t *offset; /* device [lists + 1], of each list in order */
    struct {
        int32_t *list, *order; /* pinned, as above */
        float *score;
        uint32_t *offset;
    } host;
    uint32_t iterations;                    /* done; it ends when nothing is gained any more */
    double objective[VR_KMEANS_ITERATIONS]; /* sum of scores after each assignment; never falls but by rounding */
};

/* Memory for up to `capacity` rows. After a failure too vr_kmeans_close frees what was taken. */
enum vr_status vr_kmeans_open(struct vr_kmeans *kmeans, uint32_t capacity, uint32_t lists, uint32_t dim);
void vr_kmeans_close(struct vr_kmeans *kmeans);

/* Train on rows that are in random order, at least `lists` of them: the first ones are where centroids start. Waits for
 * the device. */
enum vr_status vr_kmeans_train(struct vr_backend *backend, struct vr_stream *stream, struct vr_kmeans *kmeans,
                               const struct vr_kmeans_rows *rows);

/* Put on the stream: kmeans->list of these rows, into `list` (host, pinned [count]) as well. */
enum vr_status vr_kmeans_assign(struct vr_stream *stream, struct vr_kmeans *kmeans, const struct vr_kmeans_rows *rows,
                                int32_t *list);

/* kmeans.cu: each puts one kernel on the stream. */
enum vr_status vr_kmeans_gather(struct vr_stream *stream, struct vr_kmeans *kmeans, const struct vr_kmeans_rows *rows);
enum vr_status vr_kmeans_nearest(struct vr_stream *stream, struct vr_kmeans *kmeans, uint32_t count);
enum vr_status vr_kmeans_move(struct vr_stream *stream, struct vr_kmeans *kmeans);

#ifdef __cplusplus
}
#endif
#endif
