/* The k best of a stream of (score, row) in any order, for the reference and FAISS' findings: a heap in the caller's
 * two result rows whose root is the worst, and in the end the sorted answer. Larger scores are better, equal scores by
 * the smaller row; a NaN score is never taken. */
#ifndef VIREO_COMPUTE_TOPK_H
#define VIREO_COMPUTE_TOPK_H

#include <stdbool.h>
#include <stdint.h>

struct vr_topk {
    float *score; /* [k] */
    int32_t *row; /* [k] */
    uint32_t k, count;
};

/* Empty, over the caller's memory. */
static inline struct vr_topk vr_topk_open(float *score, int32_t *row, uint32_t k)
{
    struct vr_topk top;
    top.score = score;
    top.row = row;
    top.k = k;
    top.count = 0;
    return top;
}

void vr_topk_push(struct vr_topk *top, float score, int32_t row);

/* Sort best first and fill the rest with row -1, score 0. */
void vr_topk_finish(struct vr_topk *top);

#endif
