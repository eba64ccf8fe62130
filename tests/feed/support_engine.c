/* See support_engine.h. */
#include "support_engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    abort();
}

struct vr_bundle *engine_bundle(const char *architecture)
{
    char folder[] = "/tmp/vireo-engine-XXXXXX", command[1024];
    if (mkdtemp(folder) == NULL) {
        give_up("mkdtemp", folder);
    }
    snprintf(command, sizeof command,
             "'%s/.venv/bin/python' '%s/tests/support/tiny_bundle.py' %s --architecture %s >&2", VIREO_SOURCE_DIR,
             VIREO_SOURCE_DIR, folder, architecture);
    if (system(command) != 0) {
        give_up(command, "failed; `make deps-test` makes the Python environment");
    }
    struct vr_bundle *bundle = NULL;
    const enum vr_status status = vr_bundle_open(folder, &bundle);
    snprintf(command, sizeof command, "rm -r '%s'", folder); /* the mappings stay */
    if (status != VR_OK || system(command) != 0) {
        give_up(folder, vr_error_text());
    }
    return bundle;
}

static uint32_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

/* Small counts, with something missing now and then. */
static void fill_raw(uint64_t *state, double *raw, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        raw[i] = next(state) % 11 == 0 ? NAN : (double)(next(state) % 40);
    }
}

void engine_case_make(const struct vr_engine *engine, uint64_t seed, uint32_t candidates, bool odd,
                      struct engine_case *out)
{
    const struct vr_bundle *bundle = vr_engine_bundle(engine);
    const uint32_t fields = vr_feature_field_count(bundle->features, VR_ENTITY_VIDEO);
    uint64_t state = seed * 7919;
    memset(out, 0, sizeof *out);
    fill_raw(&state, out->viewer_raw, vr_feature_field_count(bundle->features, VR_ENTITY_VIEWER));
    fill_raw(&state, out->context_raw, vr_feature_field_count(bundle->features, VR_ENTITY_CONTEXT));
    out->recent_count = 1 + next(&state) % VR_RECENT_MAX;
    for (uint32_t i = 0; i < out->recent_count; i++) {
        const int32_t video = (int32_t)(next(&state) % (bundle->videos.count + 5)) - 1; /* some are unknown */
        out->recent[i] =
            (struct vr_recent){video < (int32_t)bundle->videos.count ? video : -1, 10.0f, NAN, next(&state) % 16};
    }
    out->candidates = candidates;
    for (uint32_t c = 0; c < candidates; c++) {
        out->row[c] = odd && c == 0 ? -1 : (int32_t)(next(&state) % bundle->videos.count);
        vr_engine_video_raw(engine, out->row[c], out->video_raw + (size_t)c * fields);
        fill_raw(&state, out->pair_raw + (size_t)c * VR_PAIR_FIELDS, VR_PAIR_FIELDS);
    }
}

struct vr_engine_user engine_case_user(const struct engine_case *c, uint32_t tower_k, uint32_t content_k)
{
    struct vr_engine_user user = {c->viewer_raw, c->context_raw, c->recent, c->recent_count, NULL, 0,
                                  tower_k,       content_k};
    return user;
}

struct vr_engine_rank engine_case_rank(const struct engine_case *c)
{
    struct vr_engine_rank rank = {
        .viewer_raw = c->viewer_raw,
        .context_raw = c->context_raw,
        .recent = c->recent,
        .recent_count = c->recent_count,
        .row = c->row,
        .video_raw = c->video_raw,
        .pair_raw = c->pair_raw,
        .candidates = c->candidates,
    };
    return rank;
}

/* ---- a backend that fails ---- */

static const struct vr_backend_ops *inner_ops;
static long calls, failing = -1;

static enum vr_status fault(void)
{
    return calls++ == failing ? vr_fail(VR_ERR_BACKEND, "injected fault %ld", failing) : VR_OK;
}

/* The signature and the call of one operation, with the fault in front. */
#define FAULTY(name, signature, call)                           \
    static enum vr_status faulty_##name signature               \
    {                                                           \
        const enum vr_status status = fault();                  \
        return status != VR_OK ? status : inner_ops->name call; \
    }
FAULTY(buffer_create, (struct vr_backend * b, enum vr_memory m, size_t n, struct vr_buffer **out), (b, m, n, out))
FAULTY(stream_create, (struct vr_backend * b, struct vr_stream **out), (b, out))
FAULTY(stream_poll, (struct vr_stream * s, bool *done), (s, done))
FAULTY(copy, (struct vr_stream * s, struct vr_view to, struct vr_view from, size_t n), (s, to, from, n))
FAULTY(gather, (struct vr_stream * s, const struct vr_gather *a), (s, a))
FAULTY(pool_rows, (struct vr_stream * s, const struct vr_pool_rows *a), (s, a))
FAULTY(linear, (struct vr_stream * s, const struct vr_linear *a), (s, a))
FAULTY(normalize, (struct vr_stream * s, const struct vr_normalize *a), (s, a))
FAULTY(expert_mix, (struct vr_stream * s, const struct vr_expert_mix *a), (s, a))
FAULTY(task_heads, (struct vr_stream * s, const struct vr_task_heads *a), (s, a))
FAULTY(index_create, (struct vr_backend * b, const struct vr_index_spec *spec, struct vr_index **out), (b, spec, out))
FAULTY(index_search, (struct vr_stream * s, struct vr_index *i, const struct vr_index_search *a), (s, i, a))

void engine_faulty_make(struct engine_faulty *faulty, struct vr_backend *inner)
{
    static struct vr_backend_ops ops;
    inner_ops = inner->ops;
    ops = *inner->ops;
    ops.buffer_create = faulty_buffer_create;
    ops.stream_create = faulty_stream_create;
    ops.stream_poll = faulty_stream_poll;
    ops.copy = faulty_copy;
    ops.gather = faulty_gather;
    ops.pool_rows = faulty_pool_rows;
    ops.linear = faulty_linear;
    ops.normalize = faulty_normalize;
    ops.expert_mix = faulty_expert_mix;
    ops.task_heads = faulty_task_heads;
    ops.index_create = faulty_index_create;
    ops.index_search = faulty_index_search;
    faulty->backend = (struct vr_backend){&ops, inner->device};
}

void engine_faulty_arm(long nth)
{
    calls = 0;
    failing = nth;
}

long engine_faulty_calls(void)
{
    return calls;
}
