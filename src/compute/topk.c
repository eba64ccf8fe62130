/* See topk.h. */
#include "topk.h"

static bool worse(float score, int32_t row, float than_score, int32_t than_row)
{
    return score < than_score || (score == than_score && row > than_row);
}

static void put(struct vr_topk *top, uint32_t at, float score, int32_t row)
{
    top->score[at] = score;
    top->row[at] = row;
}

static void sift_up(struct vr_topk *top, uint32_t at, float score, int32_t row)
{
    while (at > 0) {
        const uint32_t parent = (at - 1) / 2;
        if (!worse(score, row, top->score[parent], top->row[parent])) {
            break;
        }
        put(top, at, top->score[parent], top->row[parent]);
        at = parent;
    }
    put(top, at, score, row);
}

/* (score, row) goes in at the root of the first `count` places. */
static void sift_down(struct vr_topk *top, uint32_t count, float score, int32_t row)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count &&
            worse(top->score[child + 1], top->row[child + 1], top->score[child], top->row[child])) {
            child++;
        }
        if (!worse(top->score[child], top->row[child], score, row)) {
            break;
        }
        put(top, at, top->score[child], top->row[child]);
        at = child;
    }
    put(top, at, score, row);
}

void vr_topk_push(struct vr_topk *top, float score, int32_t row)
{
    if (score != score || top->k == 0) {
        return;
    }
    if (top->count < top->k) {
        sift_up(top, top->count++, score, row);
    } else if (worse(top->score[0], top->row[0], score, row)) {
        sift_down(top, top->count, score, row);
    }
}

void vr_topk_finish(struct vr_topk *top)
{
    for (uint32_t left = top->count; left > 1; left--) {
        const float worst_score = top->score[0];
        const int32_t worst_row = top->row[0];
        sift_down(top, left - 1, top->score[left - 1], top->row[left - 1]);
        put(top, left - 1, worst_score, worst_row);
    }
    for (uint32_t i = top->count; i < top->k; i++) {
        put(top, i, 0.0f, -1);
    }
}
