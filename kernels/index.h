/* What all kinds of index share: the object, the check of a search's arguments (index.c). */
#ifndef VIREO_KERNELS_INDEX_H
#define VIREO_KERNELS_INDEX_H

#include <pthread.h>

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The addresses of a search's arguments, checked. */
struct vr_search_at {
    uint32_t queries, k;
    const float *query;             /* [queries, dim] */
    const uint32_t *exclude_offset; /* [queries + 1]; NULL: nothing is excluded */
    const int32_t *exclude;         /* [exclude_bound]; what lies behind is not read, whatever the offsets say */
    uint32_t exclude_bound;
    uint32_t exclude_most; /* rows of the longest list; 0: not known */
    int32_t *row;          /* [queries, k] */
    float *score;          /* [queries, k] */
};

/* Each kind of index defines what `state` is. */
struct vr_index {
    struct vr_backend *backend;
    uint32_t rows, dim;
    pthread_mutex_t removing;   /* one at a time */
    struct vr_stream *removals; /* of this index alone: a removal waits for no search */
    enum vr_status (*search)(struct vr_stream *stream, const struct vr_index *index, const struct vr_search_at *at);
    /* Put it on the stream; rows of the index, of the host. */
    enum vr_status (*remove)(struct vr_stream *stream, const struct vr_index *index, const int32_t *row,
                             uint32_t count);
    void (*destroy)(void *state);
    void *state;
};

enum vr_status vr_cuda_index_create(struct vr_backend *backend, const struct vr_index_spec *spec,
                                    struct vr_index **out);
void vr_cuda_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);
enum vr_status vr_cuda_index_search(struct vr_stream *stream, struct vr_index *index,
                                    const struct vr_index_search *args);
enum vr_status vr_cuda_index_remove(struct vr_index *index, const int32_t *row, uint32_t count, uint64_t deadline_us);
void vr_cuda_index_destroy(struct vr_index *index);

/* Row -1 and score 0 everywhere. */
enum vr_status vr_index_answer_nothing(struct vr_stream *stream, const struct vr_search_at *at);

/* scan_index.c: exact search, by halves or by int8. Fills index->search, remove, destroy and state. */
enum vr_status vr_scan_index_open(struct vr_backend *backend, const struct vr_index_spec *spec,
                                  const struct vr_cuda_table *table, struct vr_index *index);
void vr_scan_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);

/* ivf_index.c: search in the lists of the nearest centroids. The same. */
enum vr_status vr_ivf_index_open(struct vr_backend *backend, const struct vr_index_spec *spec,
                                 const struct vr_cuda_table *table, struct vr_index *index);

/* What it will take, at most: how many tiles end short, and how long the sample gets, shows in the build. */
void vr_ivf_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);

/* knn_index.c: an outside library's (knn.h). The same. */
enum vr_status vr_knn_index_open(struct vr_backend *backend, const struct vr_index_spec *spec,
                                 const struct vr_cuda_table *table, struct vr_index *index);
void vr_knn_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes);

#ifdef __cplusplus
}
#endif
#endif
