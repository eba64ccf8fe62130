/* The k best of the scores of rows, for the scans. A score that can still enter is appended as one
 * 64-bit key; when the memory is full, the best k keys stay and the least score that can still enter rises. Few keys
 * are ever compared with each other: appending costs no order, and each shrinking looks at a key about twice.
 *
 * Larger scores are better, equal scores by the smaller row (so -0 counts as 0); a NaN score never reaches the limit.
 */
#ifndef VIREO_COMPUTE_SELECT_H
#define VIREO_COMPUTE_SELECT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct vr_select {
    uint64_t *key; /* [room], the larger the better */
    uint32_t k, room, count;
    bool ascending; /* rows come in ascending order: on a tie the earlier one stays, and a later one need not enter */
    float limit;    /* the least score that can still enter */
};

/* Empty, over the caller's memory of `room` > k keys; k > 0. */
static inline struct vr_select vr_select_open(uint64_t *key, uint32_t room, uint32_t k, bool ascending)
{
    struct vr_select select;
    select.key = key;
    select.k = k;
    select.room = room;
    select.count = 0;
    select.ascending = ascending;
    select.limit = -__builtin_inff();
    return select;
}

/* Scores in the order of unsigned numbers: negative ones turned over, others above them. */
static inline uint64_t vr_select_key(float score, int32_t row)
{
    const float positive_zero = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    bits ^= bits >> 31 != 0 ? UINT32_MAX : 0x80000000u;
    return (uint64_t)bits << 32 | ~(uint32_t)row;
}

/* The score of a key. */
static inline float vr_select_score(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= bits >> 31 != 0 ? 0x80000000u : UINT32_MAX;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

static inline int32_t vr_select_row(uint64_t key)
{
    return (int32_t) ~(uint32_t)key;
}

/* The caller has seen that score >= limit and that count < room. */
static inline void vr_select_push(struct vr_select *select, float score, int32_t row)
{
    select->key[select->count++] = vr_select_key(score, row);
}

/* The largest `best` of `count` keys, which all differ, come first, in no order. */
void vr_select_keep(uint64_t *key, uint32_t count, uint32_t best);

/* Keep the best k and raise the limit. */
void vr_select_shrink(struct vr_select *select);

/* The answer, best first: score [k], row [k]; row -1 and score 0 where fewer were pushed. */
void vr_select_finish(struct vr_select *select, float *score, int32_t *row);

#endif
