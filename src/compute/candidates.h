/* One query's way through coded rows (codes.h) to its exact k best: rows are noted while their score of codes plus its
 * bound can reach what k rows are known to score truly; the rest is never looked at again.
 *
 * - take: of a block's sums, those at or above one whole number are noted, with score - bound.
 * - When the memory is full, the k-th largest of these is a score that k rows reach truly: rows whose score + bound is
 *   below it go. If too many stay (ties, vectors far apart in length, queries that are not finite), they are scored
 *   truly, and the best k of them are kept: so the memory never overflows, whatever the rows are, and what is hard is
 *   slower and never wrong.
 * - finish: what is left is scored truly, the k that look best first, as the k-th true score rules most others out.
 *
 * The answer is the exact one by construction: a row is dropped only where k others score truly at least as much as its
 * upper bound. Nothing is tuned for it, nothing can fail. */
#ifndef VIREO_COMPUTE_CANDIDATES_H
#define VIREO_COMPUTE_CANDIDATES_H

#include "codes.h"
#include "exclusion.h"
#include "select.h"

#define VR_CANDIDATES_QUERIES 64u /* that walk over blocks together */

struct vr_candidates {
    /* What each block asks for, in one cache line. */
    _Alignas(64) struct vr_codes_query query;
    float threshold; /* k rows met so far score truly at or above it: lower upper bounds are of no interest */
    float widest;    /* bound of what is noted */
    uint64_t *noted; /* [room], vr_select_key(score - bound, slot) */
    uint32_t count;  /* of what is noted */
    uint32_t soft;   /* at most the room: the next shrinking */

    const struct vr_codes *codes;
    struct vr_exclusion out;
    uint32_t k, room;
    struct vr_select best; /* by true scores */
    void *turn;            /* for vr_codes_score */
};

/* Memory for a group of queries, from a stream's scratch: aligned to 64 bytes, at least 2 MB. */
struct vr_candidates_memory {
    void *turn;    /* vr_codes_turn_bytes(dim), shared */
    int8_t *code;  /* [VR_CANDIDATES_QUERIES, groups, 4] */
    uint64_t *key; /* [keys] */
    size_t keys;
};

struct vr_candidates_memory vr_candidates_memory_of(uint32_t dim, void *scratch, size_t bytes);

/* How many queries of `k` walk together in that memory. */
uint32_t vr_candidates_queries(const struct vr_candidates_memory *memory, uint32_t k);

/* Queries first .. first + count of a search. */
void vr_candidates_open(const struct vr_codes *codes, const struct vr_search_at *at, uint32_t first, uint32_t count,
                        const struct vr_candidates_memory *memory, struct vr_candidates *out);

/* Look through one block for `count` queries. Meanwhile the codes of block `next` are asked for, if there is one. */
void vr_candidates_scan(const struct vr_codes *codes, uint32_t block, uint32_t next, struct vr_candidates *const *query,
                        uint32_t count);

/* The answer: score [k], row [k]. */
void vr_candidates_finish(struct vr_candidates *query, float *score, int32_t *row);

#endif
