/* The random requests of `vireo bench backends` (backends_parts.h). */
#include <math.h>
#include <stdlib.h>

#include "backends_parts.h"

#define POOL_MIN 64u

/* Where a request's arrays lie; [requests, ...] each. */
struct arrays {
    struct vr_recent *recent; /* VR_RECENT_MAX */
    int32_t *exclude;         /* VR_RECENT_MAX */
    int32_t *row;             /* candidates */
    double *video_raw;        /* candidates, video fields */
    double *pair_raw;         /* candidates, VR_PAIR_FIELDS */
};

struct maker {
    const struct vr_engine *engine;
    const struct vr_bundle *bundle;
    struct bench_pool *pool;
    struct arrays at;
    uint32_t video_fields;
    uint64_t state;
};

static uint32_t below(struct maker *m, uint32_t bound) /* splitmix64 */
{
    uint64_t z = m->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(((z ^ (z >> 31)) >> 32) * bound >> 32);
}

/* A viewer's latest watches out of the seed state. */
static uint32_t known_history(struct maker *m, struct vr_recent *recent)
{
    const struct vr_bundle_state *state = &m->bundle->state;
    const uint32_t viewer = below(m, state->viewer_id.count), end = state->recent_offset[viewer + 1];
    uint32_t begin = state->recent_offset[viewer];
    begin = end - begin > VR_RECENT_MAX ? end - VR_RECENT_MAX : begin;
    for (uint32_t i = begin; i < end; i++) {
        recent[i - begin] = (struct vr_recent){state->recent_video[i], state->recent_age_s[i], state->recent_watch_s[i],
                                               state->recent_flags[i]};
    }
    return end - begin;
}

static uint32_t random_history(struct maker *m, struct vr_recent *recent)
{
    for (uint32_t i = 0; i < VR_RECENT_MAX; i++) {
        const int32_t row = (int32_t)below(m, m->bundle->videos.count);
        recent[i] = (struct vr_recent){row, 3600.0f * (float)(VR_RECENT_MAX - i), 10.0f, below(m, 16)};
    }
    return VR_RECENT_MAX;
}

static int by_row(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The history's rows, rising, each once. */
static uint32_t exclusions(const struct vr_recent *recent, uint32_t count, int32_t *exclude)
{
    uint32_t known = 0, kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (recent[i].video >= 0) {
            exclude[known++] = recent[i].video;
        }
    }
    qsort(exclude, known, sizeof *exclude, by_row);
    for (uint32_t i = 0; i < known; i++) {
        if (kept == 0 || exclude[kept - 1] != exclude[i]) {
            exclude[kept++] = exclude[i];
        }
    }
    return kept;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

/* Rows without repetition: a random start, and a stride that meets every row before it comes back. */
static void draw_rows(struct maker *m, int32_t *row)
{
    const uint32_t videos = m->bundle->videos.count;
    uint32_t stride = 1 + below(m, videos);
    while (common_divisor(stride, videos) != 1) {
        stride++;
    }
    uint64_t at = below(m, videos);
    for (uint32_t c = 0; c < m->pool->candidates; c++, at += stride) {
        row[c] = (int32_t)(at % videos);
    }
}

static void fill_candidates(struct maker *m, uint32_t r)
{
    const struct vr_golden *golden = &m->bundle->golden;
    const float *counters = m->bundle->state.present ? m->bundle->state.video_counters : NULL;
    const uint32_t counted = VR_VIDEO_FIELDS - VR_VIDEO_IMPRESSIONS;
    const size_t first = (size_t)r * m->pool->candidates;
    int32_t *row = m->at.row + first;
    draw_rows(m, row);
    for (uint32_t c = 0; c < m->pool->candidates; c++) {
        double *video = m->at.video_raw + (first + c) * m->video_fields;
        vr_engine_video_raw(m->engine, row[c], video);
        for (uint32_t i = 0; counters != NULL && i < counted; i++) {
            video[VR_VIDEO_IMPRESSIONS + i] = (double)counters[(size_t)row[c] * counted + i];
        }
        const double *pair = golden->pair_raw + (size_t)below(m, golden->count) * VR_PAIR_FIELDS;
        for (uint32_t i = 0; i < VR_PAIR_FIELDS; i++) {
            m->at.pair_raw[(first + c) * VR_PAIR_FIELDS + i] = pair[i];
        }
    }
}

static void fill_request(struct maker *m, uint32_t r)
{
    const struct vr_bundle *bundle = m->bundle;
    const struct vr_golden *golden = &bundle->golden;
    struct vr_recent *recent = m->at.recent + (size_t)r * VR_RECENT_MAX;
    int32_t *exclude = m->at.exclude + (size_t)r * VR_RECENT_MAX;
    const size_t viewer = below(m, golden->count), context = below(m, golden->count);
    const bool known = bundle->state.present && bundle->state.viewer_id.count > 0;
    struct vr_engine_user *user = &m->pool->user[r];
    *user = (struct vr_engine_user){
        .viewer_raw = golden->viewer_raw + viewer * vr_feature_field_count(bundle->features, VR_ENTITY_VIEWER),
        .context_raw = golden->context_raw + context * vr_feature_field_count(bundle->features, VR_ENTITY_CONTEXT),
        .recent = recent,
        .recent_count = known ? known_history(m, recent) : random_history(m, recent),
        .exclude = exclude,
        .tower_k = m->pool->k,
        .content_k = m->pool->k,
    };
    user->exclude_count = exclusions(recent, user->recent_count, exclude);
    fill_candidates(m, r);
    m->pool->rank[r] = (struct vr_engine_rank){
        .viewer_raw = user->viewer_raw,
        .context_raw = user->context_raw,
        .recent = recent,
        .recent_count = user->recent_count,
        .row = m->at.row + (size_t)r * m->pool->candidates,
        .video_raw = m->at.video_raw + (size_t)r * m->pool->candidates * m->video_fields,
        .pair_raw = m->at.pair_raw + (size_t)r * m->pool->candidates * VR_PAIR_FIELDS,
        .candidates = m->pool->candidates,
    };
}

/* All arrays in one block, the widest elements first. */
static enum vr_status take_memory(struct maker *m)
{
    struct bench_pool *pool = m->pool;
    const size_t n = pool->count, rows = n * pool->candidates, history = n * VR_RECENT_MAX;
    const size_t doubles = rows * (m->video_fields + VR_PAIR_FIELDS);
    const size_t bytes = doubles * sizeof(double) + n * (sizeof *pool->user + sizeof *pool->rank) +
                         history * (sizeof(struct vr_recent) + sizeof(int32_t)) + rows * sizeof(int32_t);
    pool->memory = calloc(1, bytes);
    if (pool->memory == NULL) {
        vr_fail(VR_ERR_NOMEM, "no memory for %zu requests", n);
        return VR_ERR_NOMEM;
    }
    m->at.video_raw = pool->memory;
    m->at.pair_raw = m->at.video_raw + rows * m->video_fields;
    pool->user = (struct vr_engine_user *)(void *)(m->at.pair_raw + rows * VR_PAIR_FIELDS);
    pool->rank = (struct vr_engine_rank *)(void *)(pool->user + n);
    m->at.recent = (struct vr_recent *)(void *)(pool->rank + n);
    m->at.exclude = (int32_t *)(void *)(m->at.recent + history);
    m->at.row = m->at.exclude + history;
    return VR_OK;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

enum vr_status bench_pool_create(const struct vr_engine *engine, const struct vr_bench_backends_setup *setup,
                                 struct bench_pool *out)
{
    const struct vr_bundle *bundle = vr_engine_bundle(engine);
    const uint32_t twice = 2 * setup->batch[setup->batch_count - 1], videos = bundle->videos.count;
    *out = (struct bench_pool){.count = setup->requests > 0 ? setup->requests
                                        : twice > POOL_MIN  ? twice
                                                            : POOL_MIN,
                               .candidates = smaller(setup->candidates, videos),
                               .k = smaller(setup->k, videos)};
    struct maker maker = {.engine = engine, .bundle = bundle, .pool = out, .state = setup->seed};
    maker.video_fields = vr_feature_field_count(bundle->features, VR_ENTITY_VIDEO);
    if (bundle->golden.count == 0) {
        return vr_fail(VR_ERR_UNSUPPORTED, "the bundle has no golden cases, from which requests are drawn");
    }
    const enum vr_status status = take_memory(&maker);
    for (uint32_t r = 0; status == VR_OK && r < out->count; r++) {
        fill_request(&maker, r);
    }
    return status;
}

void bench_pool_destroy(struct bench_pool *pool)
{
    free(pool->memory);
    pool->memory = NULL;
}
