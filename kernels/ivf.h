/* IVF-Flat, list-major (ivf*.cu): vectors in lists by their nearest centroid (kmeans.h); a query looks into the lists
 * of the nearest centroids only, and each list is read once for all queries of a batch that ask for it.
 *
 *   prepare    queries as halves, with the bound of what halving them costs          scan_query.cu
 *   coarse     scores of all centroids, in float32                                   ivf_probe.cu
 *   probe      each query marks the lists of its best `probes` centroids             ivf_probe.cu
 *   plan       the tiles of marked lists become two worklists                        ivf_probe.cu
 *   sample     scores of the first rows of each marked list                          ivf_scan.cu
 *   threshold  the r-th best of a query's sample, less twice the bound               ivf_threshold.cu
 *   collect    scores of all rows of marked lists; those at or above it are noted    ivf_scan.cu
 *   select     what was noted is scored again in float32, sorted, the best k given   scan_select.cu
 *   safe       queries for which that is not provably the top k of their lists       ivf_safe.cu
 *
 * The proof is that of the exact scan (scan.h) with "slots of the probed lists" for "slots": the answer is always the
 * exact top k of the probed lists, and with all lists probed that of all rows. The sample decides speed alone: rows of
 * a list are in random order, so its first ones are a sample of it, and r is the scan's for the share that is sampled.
 * A query with few slots to look at, or a sample shorter than r, notes everything.
 *
 * Which queries ask for a list is a set of VR_SCAN_QUERIES bits beside it. The host reads nothing back: kernels walk
 * worklists whose lengths stand in device memory, so a search can be captured. */
#ifndef VIREO_KERNELS_IVF_H
#define VIREO_KERNELS_IVF_H

#include "scan.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_IVF_LISTS_MAX 65536u
#define VR_IVF_FEW 2048u /* slots that are noted without a threshold */
#define VR_IVF_WORDS (VR_SCAN_QUERIES / 32u)

/* A list's slots: `count` from the first of tile `tile` on; its tiles are its own. */
struct vr_ivf_list {
    uint32_t tile, count;
    uint32_t sample; /* of count, the first ones */
};

/* A tile of a worklist. */
struct vr_ivf_item {
    uint32_t tile, rows;          /* rows: slots that are looked at, the first ones of the tile */
    uint32_t asked[VR_IVF_WORDS]; /* bit q: query q of the pass asks for it */
};

/* A query of a pass; zeroed before each. */
struct vr_ivf_query {
    uint32_t slots;   /* of its lists */
    uint32_t sampled; /* scores */
};

struct vr_ivf_index {
    struct vr_scan_vectors vectors; /* rows: all slots, whole tiles; row_of_slot is -1 where a list has ended too */
    struct vr_ivf_list *list;       /* device [lists] */
    float *centroid;                /* device [lists, dim] */
    uint32_t lists, probes;         /* no list is empty */
    uint32_t sample_shift;          /* a list's sample is its count >> sample_shift, rounded up or down by chance */
    uint32_t sample_room;           /* scores of a query's sample at most; 0: nothing needs a threshold */
    struct vr_scan_counts *counts;  /* device */
};

/* A pass over up to VR_SCAN_QUERIES queries, passed to kernels by value. */
struct vr_ivf_pass {
    struct vr_scan_pass scan; /* `sampled` [VR_SCAN_QUERIES, sample_room] and `rank` are this file's */
    const struct vr_ivf_list *list;
    const float *centroid;
    uint32_t lists, probes, sample_room;
    float *coarse;                          /* [VR_SCAN_QUERIES, lists] */
    struct vr_ivf_query *query;             /* [VR_SCAN_QUERIES]; zeroed with what follows up to and with `works` */
    uint32_t *asked;                        /* [lists, VR_IVF_WORDS] */
    uint32_t *works;                        /* [2]: items of sample_work, of work */
    struct vr_ivf_item *sample_work, *work; /* [tiles] each, in any order */
};

/* Each puts its kernels on the stream. */
enum vr_status vr_ivf_probe(struct vr_stream *stream, const struct vr_ivf_pass *pass);
enum vr_status vr_ivf_sample(struct vr_stream *stream, const struct vr_ivf_pass *pass);
enum vr_status vr_ivf_threshold(struct vr_stream *stream, const struct vr_ivf_pass *pass);
enum vr_status vr_ivf_collect(struct vr_stream *stream, const struct vr_ivf_pass *pass);
enum vr_status vr_ivf_safe(struct vr_stream *stream, const struct vr_ivf_pass *pass);

/* Let the kernels have the shared memory that they ask for, of at most `most` bytes a block; once, before the first
 * search. */
enum vr_status vr_ivf_allow_shared(size_t most);

/* ivf_index.c: where the scratch of a pass lies in `memory` (NULL: nowhere yet); returns its bytes. *zeroed: bytes from
 * pass->query on that a pass begins with as zeros. */
size_t vr_ivf_lay_out(const struct vr_ivf_index *index, char *memory, struct vr_ivf_pass *pass, size_t *zeroed);

/* ivf_build.c: an index in device memory from a table; *index is zeroed but for vectors.dim, coding and row_bytes.
 * After a failure too vr_ivf_index_free frees what was taken. */
enum vr_status vr_ivf_index_build(struct vr_backend *backend, const struct vr_index_spec *spec,
                                  const struct vr_cuda_table *table, struct vr_ivf_index *index);
void vr_ivf_index_free(struct vr_ivf_index *index);

/* Lists that the build will ask for; fewer where some stay empty. VR_ERR_UNSUPPORTED when there are too many. */
enum vr_status vr_ivf_choose_lists(const struct vr_index_spec *spec, uint32_t *out);

#ifdef __cplusplus
}
#endif
#endif
