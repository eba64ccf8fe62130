/* Indexes of outside libraries, FAISS and cuVS, in the index contract (retrieval.index faiss_gpu_*, cuvs_*): where
 * CMake finds them, to compare with the own indexes and to serve from. A search:
 *
 *   prepare   the queries as the library gets them: zeros for one that is not finite     knn_refine.cu
 *   search    the library's own best rows, more than are wanted                          knn_faiss*.cc, knn_cuvs.c
 *   refine    true scores, less what is excluded or removed, sorted; the best k given    knn_refine.cu
 *
 * Scores are those of the exact scan (one chain of fused multiply-adds over the table's own values, which are kept as
 * floats), so a found row has the same bits whatever found it. Which rows are found is the library's: at a tie across
 * its last place it may take either, and rows that it does not give are missing. An index of few rows has no library
 * behind it: refine looks at all of them.
 *
 * Threads and streams. A library's handles belong to one thread: FAISS's are not safe to share, not even for searches.
 * Each index has a thread of its own (knn_thread.c) that makes the handles, builds the index, runs every search in the
 * order of the calls, and frees all; so a model that is being loaded never stands in the way of the one that serves.
 * The library works on a stream of that thread, never on a lane's: FAISS remembers the streams that it was given, and
 * lanes come and go. Before a search this stream follows the lane's, and after it the lane's follows this one
 * (vr_seam_stream_follow); the calling lane waits until that is so, which is until the work is put there, not until it
 * is done. None of it can be captured in a plan. */
#ifndef VIREO_KERNELS_KNN_H
#define VIREO_KERNELS_KNN_H

#include "index.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_KNN_QUERIES 128u /* of one call of a library */
#define VR_KNN_FOUND_MAX \
    2048u               /* rows found for a query at most: FAISS selects no more, and refine sorts them at once */
#define VR_KNN_FEW 512u /* rows that need no library; FAISS trains codes from 256 on */
#define VR_KNN_RESERVE (256u << 20) /* bytes of device memory that an index's handles set aside for searches */

/* What a library builds. Its work is put on `stream`. */
struct vr_knn_spec {
    enum vr_index_kind kind;
    uint32_t rows, dim;
    uint32_t lists, probes; /* of IVF: probes <= lists <= rows */
    const float *vector;    /* device [rows, dim]; outlives the index */
    void *stream;           /* CUDA's handle */
};

/* A library's index with all its handles; each library's file defines what it is. */
struct vr_knn;

/* One library, as its file gives it. All but `memory` is called by the index's own thread. Errors: as vr_knn_fail. */
struct vr_knn_library {
    const char *name;
    uint32_t kinds; /* bits VR_INDEX_.. */
    enum vr_status (*create)(const struct vr_knn_spec *spec, struct vr_knn **out);
    /* Rows of the best inner products of each query: id [queries, k], anything outside 0 .. rows where there are
     * fewer; score [queries, k] is scratch. All on the device; query [queries, dim] is finite. */
    enum vr_status (*search)(struct vr_knn *knn, uint32_t queries, const float *query, uint32_t k, int64_t *id,
                             float *score);
    void (*destroy)(struct vr_knn *knn);
    uint64_t (*memory)(const struct vr_knn_spec *spec); /* device bytes of such an index and its handles, about */
};

/* The library that has this kind, NULL: none in this build. All kinds that there are; names for vr_backend_built. */
const struct vr_knn_library *vr_knn_library_of(enum vr_index_kind kind);
uint32_t vr_knn_kinds(void);

/* For the libraries' files: VR_ERR_NOMEM where the library's words say that memory is out, else VR_ERR_BACKEND. */
enum vr_status vr_knn_fail(const char *library, const char *text);

/* Codes of a product quantizer for `dim` dimensions: the largest number of bytes a row that FAISS has kernels for, that
 * divides dim, and that gives each at least two dimensions. */
uint32_t vr_knn_code_bytes(uint32_t dim);

/* ---- knn_thread.c ---- */

struct vr_knn_thread;

/* A search put to the thread; `stream` is the lane's. */
struct vr_knn_call {
    struct vr_seam_stream *stream;
    uint32_t queries, k;
    const float *query; /* as vr_knn_library's */
    int64_t *id;
    float *score;
};

/* Starts the thread, which builds the index; returns once it is built. `spec->stream` is the thread's to set. */
enum vr_status vr_knn_thread_start(const struct vr_knn_library *library, const struct vr_knn_spec *spec,
                                   struct vr_knn_thread **out);

/* Any number of threads may call. VR_ERR_DEVICE_LOST when a call has not come back in time, and from then on: the
 * library hangs, and only a new process helps. */
enum vr_status vr_knn_thread_search(struct vr_knn_thread *thread, const struct vr_knn_call *call);

/* Frees the index and ends the thread. False when the library hangs: then the thread is left as it is, with what it
 * uses. NULL is accepted. */
bool vr_knn_thread_stop(struct vr_knn_thread *thread);

/* How long a call may take, 10 s; for tests. Set it while nothing runs. */
void vr_knn_thread_patience(uint64_t us);

/* ---- knn_refine.cu: each puts its kernel on the stream ---- */

/* Passed to the kernel by value. */
struct vr_knn_pass {
    const float *vector; /* [rows, dim] */
    uint32_t rows, dim;
    const float *query; /* [queries, dim] */
    const int64_t *id;  /* [queries, found]; NULL: all rows, and found is rows */
    uint32_t queries, k, found;
    uint32_t first;                 /* of the queries, in the search: their exclusions */
    const uint32_t *exclude_offset; /* as struct vr_search_at's */
    const int32_t *exclude;
    uint32_t exclude_bound;
    const uint32_t *removed; /* [rows / 32 + 1], bit row % 32 of word row / 32 */
    int32_t *row;            /* [queries, k] */
    float *score;
};
enum vr_status vr_knn_refine(struct vr_stream *stream, const struct vr_knn_pass *args);

/* to [queries, dim] */
enum vr_status vr_knn_prepare(struct vr_stream *stream, uint32_t queries, uint32_t dim, const float *query, float *to);

/* Set the bits of row [count], of the host. */
enum vr_status vr_knn_remove(struct vr_stream *stream, uint32_t *removed, const int32_t *row, uint32_t count);

/* to [rows, dim]: the table's values */
enum vr_status vr_knn_unpack(struct vr_stream *stream, const struct vr_cuda_table *table, uint32_t rows, float *to);

#ifdef __cplusplus
}
#endif
#endif
