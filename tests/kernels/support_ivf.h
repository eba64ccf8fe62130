/* Indexes "ivf" of the CUDA backend against plain search of the very lists that they probe. The lists are read back
 * from the device; which of them a query probes, and the best rows in them, are computed here with the same chains of
 * float32 operations, so that answers must be the same bits. Functions fail the Criterion test that calls them. */
#ifndef VIREO_TESTS_KERNELS_SUPPORT_IVF_H
#define VIREO_TESTS_KERNELS_SUPPORT_IVF_H

#include "kernels/ivf.h"
#include "support_index.h"

/* A table and the index to make of it. */
struct ivf_setting {
    enum vr_table_dtype dtype;
    uint32_t rows, dim, queries, k;
    uint32_t lists, probes; /* as in the configuration */
    uint32_t clusters;      /* rows and queries lie around so many directions, of length 1; 0: all rows are the same */
};

struct ivf_world {
    struct rig rig;
    struct ivf_setting s;
    struct vr_index *index;
    float *vector;         /* [rows, dim] as the index sees them */
    float *query;          /* [queries, dim] */
    uint32_t *exclude_end; /* [queries + 1]; NULL: nothing is excluded */
    int32_t *exclude;
    struct vr_ivf_index *ivf; /* of the index; its pointers are the device's */
    struct {                  /* copies of what lies there */
        struct vr_ivf_list *list;
        int32_t *row_of_slot;
        float *centroid;
    } got;
    int32_t *row; /* [queries, k] of the latest search */
    float *score;
};

/* Rows and queries are made by `seed`; change w->vector or w->query before ivf_index and they count. */
void ivf_open(struct ivf_world *w, struct vr_backend *backend, const struct ivf_setting *s, uint64_t seed);
void ivf_index(struct ivf_world *w);
void ivf_close(struct ivf_world *w);

/* Exclude for each odd query the best `best` rows of all, and every `step`th row; for even ones nothing. */
void ivf_exclude(struct ivf_world *w, uint32_t best, uint32_t step);

/* Search with the first `queries` queries; the answer must be the plain search's. */
void ivf_search(struct ivf_world *w, uint32_t queries);
void ivf_check(struct ivf_world *w, uint32_t queries);
struct vr_index_search ivf_put_search(struct ivf_world *w, uint32_t queries);

/* Every row lies in one list, that of its nearest centroid; no list is empty; samples are as long as they should be. */
void ivf_check_lists(const struct ivf_world *w);

/* In the latest pass each query sampled the first rows of its lists, but for excluded ones. */
void ivf_check_counts(struct ivf_world *w, uint32_t queries);

/* The states of the latest pass's queries; the caller frees. */
struct vr_scan_query *ivf_states(struct ivf_world *w);

/* Bytes of device memory as a copy; the caller frees. */
void *ivf_fetch(struct rig *rig, const void *device, size_t bytes);

#endif
