/* Exact search in one pass (scan*.cu): the index, the scratch of a search, and what the files share.
 *
 * A scan of all scores would write [queries, rows] floats and read them again to select. Instead:
 *   prepare    queries as halves, scaled by a power of two, with the bound of what halving them costs    scan_query.cu
 *   sample     scores of the first `sample` slots; slots are in random order, so they are a sample        scan.cu
 *   threshold  the r-th best of each query's sample, less twice the bound scan_threshold.cu collect    scores of all
 * slots; those at or above the threshold are noted                             scan.cu select     what was noted is
 * scored again exactly, in float32, sorted, and its best k given out       scan_select.cu safe       queries for which
 * that is not provably the exact top k are scanned without a threshold     scan_safe.cu
 *
 * Why it is exact: a slot that was not noted has an approximate score below the threshold T, so its true score is below
 * T + bound. If the k-th best true score among the noted is at least T + bound, no other slot belongs in the answer.
 * r is the smallest number with P(Binomial(k, sample / rows) >= r) < 1e-7: fewer than r of the true top k are in the
 * sample, then the r-th best of the sample is not above the k-th best of all. Overflow, ties in great number, vectors
 * that are not finite, and the one case in ten million all end in the safe pass: slower, and right.
 *
 * Scores are one chain of fused multiply-adds in the order of the dimensions: the same bits in any batch. */
#ifndef VIREO_KERNELS_SCAN_H
#define VIREO_KERNELS_SCAN_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_SCAN_TILE 128u      /* slots of a tile */
#define VR_SCAN_QUERIES 128u   /* of one pass */
#define VR_SCAN_CAPACITY 8192u /* slots noted for a query */
#define VR_SCAN_SAMPLE 32768u  /* slots of the sample, at least */
#define VR_SCAN_K_MAX 1000u
#define VR_SCAN_DIM_MAX 256u

/* Vectors as halves, tile after tile, each tile the image that shared memory holds: chunks of 8 halves, chunk c of row
 * r at place c ^ swizzle(r) of the row, so that reading one chunk of 8 rows meets no bank twice. */
struct vr_scan_vectors {
    uint16_t *tile;       /* [tiles, VR_SCAN_TILE, dim_padded] */
    int32_t *row_of_slot; /* [rows]; -1: no row, a slot of zeros */
    int32_t *slot_of_row; /* [rows]; NULL: nobody asks */
    uint32_t rows, tiles;
    uint32_t dim, dim_padded;   /* padded: 32, 64, 128 or 256, with zeros */
    struct vr_cuda_table exact; /* the vectors as they were given, for true scores; data NULL: halves, the tiles are */
};

struct vr_scan_index {
    struct vr_scan_vectors vectors;
    float largest_norm; /* of a row; NaN or infinity: everything goes the safe way */
    uint32_t sample;    /* slots, a multiple of VR_SCAN_TILE unless it is `rows` */
};

/* One query of a pass, made by prepare. */
struct vr_scan_query {
    float scale;     /* halves are query * scale, a power of two; 0: the query is zeros, or unsafe */
    float bound;     /* of |approximate - true| score, in the scaled domain */
    float threshold; /* scaled; -infinity: everything is noted */
    uint32_t noted;  /* slots found at or above the threshold, also past the capacity */
    uint32_t unsafe; /* 1: the safe pass has to answer */
};

/* Exclusions of a search; offset NULL: none. What lies past `bound` is not read. */
struct vr_scan_exclude {
    const uint32_t *offset; /* [queries + 1] */
    const int32_t *row;     /* [offset[queries]], ascending in each query */
    uint32_t bound;         /* of elements in row */
};

/* A pass over up to VR_SCAN_QUERIES queries, passed to kernels by value. */
struct vr_scan_pass {
    struct vr_scan_vectors vectors;
    struct vr_scan_exclude exclude;
    uint32_t first, queries, k, sample, rank; /* first: of the pass in the search */
    float largest_norm;
    const float *query;          /* [queries, dim] of this pass */
    int32_t *row;                /* [queries, k] of this pass */
    float *score;                /* [queries, k] */
    uint16_t *half;              /* [VR_SCAN_QUERIES, dim_padded] */
    struct vr_scan_query *state; /* [VR_SCAN_QUERIES] */
    float *sampled;              /* [VR_SCAN_QUERIES, sample] */
    uint32_t *noted;             /* [VR_SCAN_QUERIES, VR_SCAN_CAPACITY] slots */
    uint64_t *part;              /* [VR_SCAN_QUERIES, VR_SCAN_CAPACITY] keys of the safe pass */
};

/* Each puts its kernels on the stream. */
enum vr_status vr_scan_prepare(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_sample(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_threshold(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_collect(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_select(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_safe(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_safe_merge(struct vr_stream *stream, const struct vr_scan_pass *pass); /* its second half */

/* Let the kernels have the shared memory that they ask for; once, before the first search. */
enum vr_status vr_scan_tiles_allow_shared(void);
enum vr_status vr_scan_select_allow_shared(void);
enum vr_status vr_scan_safe_allow_shared(void);

/* Fill vectors->tile from a table by row_of_slot, and put the largest squared norm's bits into *norm_bits (device,
 * zeroed before). */
enum vr_status vr_scan_build(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                             const struct vr_cuda_table *table, uint32_t *norm_bits);

/* r of the threshold, see above. */
uint32_t vr_scan_rank(uint32_t rows, uint32_t sample, uint32_t k);

/* For whoever builds vr_scan_vectors (scan_index.c): dim_padded of a dimension; the rows 0 .. rows - 1 in random order,
 * the same for the same number of rows; the table as it is, where halves are not (else *copy stays), as the caller of
 * index_create keeps its own. vr_scan_free_table frees a copy, a failed one and a zeroed one too. */
uint32_t vr_scan_padded(uint32_t dim);
void vr_scan_shuffle(int32_t *row, uint32_t rows);
enum vr_status vr_scan_copy_table(struct vr_stream *stream, const struct vr_cuda_table *table,
                                  struct vr_cuda_table *copy);
void vr_scan_free_table(struct vr_cuda_table *copy);

#ifdef __cplusplus
}
#endif
#endif
