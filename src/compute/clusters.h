/* Spherical k-means on the CPU: rows and centroids are directions, a row belongs to the centroid with the largest dot
 * product, and a centroid is the normalised sum of its rows (Dhillon and Modha, Machine Learning 42, 2001). Why this
 * one for inner products, kernels/kmeans.h says; the CUDA backend makes its lists the same way.
 *
 * Rows and centroids are compared as int8 (code_block.h): 4,096 products of a row cost what 512 would in float32, and
 * what the codes lose is far less than what lies between two centroids. Sums are whole numbers and run in one order:
 * the same rows give the same clusters on every processor. Centroids are moved in float32. */
#ifndef VIREO_COMPUTE_CLUSTERS_H
#define VIREO_COMPUTE_CLUSTERS_H

#include "code_block.h"
#include "cpu.h"

struct vr_clusters {
    uint32_t count, dim, groups; /* clusters; groups of 4 dimensions */
    float *centroid;             /* [count, dim], of length 1 */
    uint8_t *tile;               /* [tiles, groups, 16, 4]: all centroids by one unit; lanes past the end are zeros */
    vr_code_block *sums;
};

/* After a failure too vr_clusters_close frees what was taken. count > 0. */
enum vr_status vr_clusters_open(struct vr_clusters *clusters, uint32_t count, uint32_t dim);
void vr_clusters_close(struct vr_clusters *clusters);

/* Train on these rows of a table, which are in random order, at least `count` of them: centroids start at the first
 * ones. Rows without a direction (zeros, NaN, infinity) take no part. */
enum vr_status vr_clusters_train(struct vr_clusters *clusters, const struct vr_cpu_table *table, const int32_t *row,
                                 uint32_t rows);

/* cluster[i] of rows 0 .. rows - 1 of a table; -1 where a row has no direction. */
enum vr_status vr_clusters_assign(const struct vr_clusters *clusters, const struct vr_cpu_table *table, uint32_t rows,
                                  int32_t *cluster);

/* Sums of up to VR_CODE_QUERIES queries with the clusters of block `first` .. , VR_CODE_ROWS of them or what is left.
 */
void vr_clusters_sums(const struct vr_clusters *clusters, uint32_t first, const struct vr_code_query *query,
                      uint32_t queries, struct vr_code_sums *out);

#endif
