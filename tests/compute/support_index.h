/* Searches on any backend against plain search in float64: order, ties, exclusions, ragged sizes. Exact kinds must
 * return the same rows but for scores closer than the rounding of float32. Functions fail the Criterion test that calls
 * them. */
#ifndef VIREO_TESTS_COMPUTE_SUPPORT_INDEX_H
#define VIREO_TESTS_COMPUTE_SUPPORT_INDEX_H

#include "support_ops.h"

#define DIM 24u /* of the vectors, unless a setting says otherwise */

struct world;

/* An index to make, and the searches to make in it. */
struct setting {
    enum vr_index_kind kind;
    enum vr_table_dtype dtype;
    uint32_t rows, queries, k;
    uint32_t dim;    /* 0: DIM */
    uint32_t probes; /* of IVF; 0: 32 */
    bool whole;      /* vectors and queries of whole numbers from -2 to 2: sums are exact, and ties abound */
    /* Changes w->vector [rows, dim] and w->query [queries, dim] before they are stored; NULL: they stay uniform. */
    void (*shape)(struct world *w, const struct setting *s, struct dice *dice);
};

struct world {
    struct rig rig;
    uint32_t dim;
    struct vr_index *index;
    float *vector; /* [rows, dim] as the index sees them */
    float *query;  /* [queries, dim] */
    bool *removed; /* [rows]: the checks expect that it is not returned */
    int32_t *row;  /* [queries, k] of the latest search */
    float *score;
};

void *must_alloc(size_t bytes);
void world_open(struct world *w, struct vr_backend *backend, const struct setting *s);
void world_close(struct world *w);

/* exclude_offset NULL: nothing is excluded. */
enum vr_status search(struct world *w, uint32_t queries, uint32_t k, const float *query, const uint32_t *exclude_offset,
                      const int32_t *exclude);

/* Order, ties, exclusions and scores of one answer; returns how many rows were found. */
uint32_t check_answer(const struct world *w, const struct setting *s, uint32_t query, const uint32_t *offset,
                      const int32_t *exclude);

/* How many rows that may be returned score above `score` by more than rounding. */
uint32_t clearly_above(const struct world *w, const struct setting *s, uint32_t query, double score,
                       const uint32_t *offset, const int32_t *exclude);
double dot64(const struct world *w, uint32_t query, int32_t row);

/* Every `step`th row is excluded for odd queries, nothing for even ones; the caller frees both. */
int32_t *exclusions(const struct setting *s, uint32_t step, uint32_t **offset);

/* The latest search of all queries, as an exact kind must have answered it. */
void check_exact(const struct world *w, const struct setting *s, const uint32_t *offset, const int32_t *exclude);

/* One exact setting without exclusions, with every row and with every third excluded. */
void check_setting(struct vr_backend *backend, const struct setting *s);

/* The settings that every exact kind passes; or every `step`-th of them from `first` on, so that seeds take turns. */
void check_all(struct vr_backend *backend, enum vr_index_kind kind);
void check_some(struct vr_backend *backend, enum vr_index_kind kind, uint32_t first, uint32_t step);

/* NaN, infinite and zero queries beside an ordinary one. */
void check_odd_queries(struct vr_backend *backend, enum vr_index_kind kind);

/* Each query alone gives the bits that it gave in the batch. */
void check_alone_and_in_a_batch(struct vr_backend *backend, const struct setting *s);

/* Small whole numbers: sums are exact in any order, so exact search must give the reference's very answer, and every
 * score is shared by many rows. */
void check_ties(struct vr_backend *backend, uint32_t rows);

#endif
