/* Do two backends give the same answers? (backends_parts.h) */
#include <math.h>

#include "backends_parts.h"

/* docs/bundle.md's tolerances of both. The user tower is float32 everywhere; a score is a product of a vector that may
 * be off with a unit one: as much again. */
struct bench_difference bench_bound(const struct bench_side *a, const struct bench_side *b)
{
    const struct vr_golden_bound x = vr_golden_bound_of(a->engine);
    const struct vr_golden_bound y = vr_golden_bound_of(b->engine);
    return (struct bench_difference){.user_tower = 2e-4,
                                     .score = 2e-4,
                                     .probability = x.probability + y.probability,
                                     .watch_s_relative = x.watch_s + y.watch_s};
}

struct pair {
    struct bench_side *a, *b;
    uint32_t batch;
    struct bench_difference bound;
    struct bench_difference *worst;
};

/* Note a difference; false: past the bound, or no number. Two values that are both no numbers are the same. */
static bool within(float x, float y, double scale, double bound, double *worst)
{
    const double off = isnan(x) && isnan(y) ? 0.0 : fabs((double)x - (double)y) / scale;
    *worst = off > *worst || isnan(off) ? off : *worst;
    return off <= bound;
}

static enum vr_status differ(const struct pair *pair, uint32_t request, const char *what, double x, double y)
{
    return vr_fail(VR_ERR_CHECKSUM, "%s and %s give different answers: request %u in batches of %u, %s: %.9g and %.9g",
                   pair->a->name, pair->b->name, request, pair->batch, what, x, y);
}

static bool holds(const struct vr_engine_found *found, int32_t row)
{
    for (uint32_t i = 0; i < found->count; i++) {
        if (found->row[i] == row) {
            return true;
        }
    }
    return false;
}

/* The index of a row of `mine` that is not in `other` and is better than its last by more than the bound; else -1. */
static int32_t stray(const struct pair *pair, const struct vr_engine_found *mine, const struct vr_engine_found *other)
{
    for (uint32_t i = 0; i < mine->count; i++) {
        if (!holds(other, mine->row[i]) &&
            (double)mine->score[i] > (double)other->score[other->count - 1] + pair->bound.score) {
            return (int32_t)i;
        }
    }
    return -1;
}

static enum vr_status found_agree(const struct pair *pair, uint32_t request, const char *what,
                                  const struct vr_engine_found *x, const struct vr_engine_found *y)
{
    if (x->count != y->count) {
        return differ(pair, request, what, x->count, y->count);
    }
    for (uint32_t i = 0; i < x->count; i++) {
        if (!within(x->score[i], y->score[i], 1.0, pair->bound.score, &pair->worst->score)) {
            return differ(pair, request, what, (double)x->score[i], (double)y->score[i]);
        }
    }
    const int32_t in_x = stray(pair, x, y), in_y = stray(pair, y, x);
    if (in_x >= 0 || in_y >= 0) {
        const uint32_t at = (uint32_t)(in_x >= 0 ? in_x : in_y);
        return differ(pair, request, what, x->row[at], y->row[at]);
    }
    return VR_OK;
}

static enum vr_status retrieved_agree(const struct pair *pair, uint32_t i, uint32_t request)
{
    const struct vr_engine_retrieved *x = &pair->a->retrieved[i], *y = &pair->b->retrieved[i];
    for (uint32_t c = 0; c < pair->a->tower_dim; c++) {
        if (!within(x->user_tower[c], y->user_tower[c], 1.0, pair->bound.user_tower, &pair->worst->user_tower)) {
            return differ(pair, request, "user tower", (double)x->user_tower[c], (double)y->user_tower[c]);
        }
    }
    const enum vr_status status = found_agree(pair, request, "two-tower search", &x->tower, &y->tower);
    return status == VR_OK ? found_agree(pair, request, "content search", &x->content, &y->content) : status;
}

static enum vr_status heads_agree(const struct pair *pair, uint32_t i, uint32_t request, uint32_t candidates)
{
    static const char *const names[VR_HEAD_COUNT] = {"click", "watch_s", "like", "finish"};
    const float *x = pair->a->ranked[i].heads, *y = pair->b->ranked[i].heads;
    for (size_t c = 0; c < (size_t)candidates * VR_HEAD_COUNT; c++) {
        const bool watch = c % VR_HEAD_COUNT == VR_HEAD_WATCH_S;
        const double scale = watch ? fmax(fabs((double)x[c]), 1.0) : 1.0;
        if (!within(x[c], y[c], scale, watch ? pair->bound.watch_s_relative : pair->bound.probability,
                    watch ? &pair->worst->watch_s_relative : &pair->worst->probability)) {
            return differ(pair, request, names[c % VR_HEAD_COUNT], (double)x[c], (double)y[c]);
        }
    }
    return VR_OK;
}

static enum vr_status batch_agrees(const struct pair *pair, const struct bench_pool *pool, uint32_t first)
{
    enum vr_status status = bench_side_retrieve(pair->a, pool, first, pair->batch);
    if (status == VR_OK) {
        status = bench_side_retrieve(pair->b, pool, first, pair->batch);
    }
    for (uint32_t i = 0; status == VR_OK && i < pair->batch; i++) {
        status = retrieved_agree(pair, i, (first + i) % pool->count);
    }
    if (status == VR_OK) {
        status = bench_side_rank(pair->a, pair->batch);
    }
    if (status == VR_OK) {
        status = bench_side_rank(pair->b, pair->batch);
    }
    for (uint32_t i = 0; status == VR_OK && i < pair->batch; i++) {
        status = heads_agree(pair, i, (first + i) % pool->count, pool->candidates);
    }
    return status;
}

enum vr_status bench_agree(struct bench_side *a, struct bench_side *b, const struct bench_pool *pool, uint32_t batch,
                           struct bench_difference *worst)
{
    const struct pair pair = {a, b, batch, bench_bound(a, b), worst};
    enum vr_status status = VR_OK;
    for (uint32_t first = 0; status == VR_OK && first < pool->count; first += batch) {
        status = batch_agrees(&pair, pool, first);
        worst->requests += batch;
    }
    return status;
}
