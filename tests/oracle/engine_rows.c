/* The engine behind a file, so that Python oracles can ask it: `oracle_engine_rows BUNDLE INDEX MODE INPUT OUTPUT`.
 * INDEX is exact, faiss_flat, faiss_hnsw or faiss_ivf; all numbers are little-endian, matrices row-major.
 *
 * MODE score:  INPUT u32 n; f64 viewer [n, viewer fields], context [n, ..]; f32 hist_tower, hist_content [n, dim];
 *              i32 row [n]; f64 video [n, ..], pair [n, 8].        OUTPUT f32 heads [n, 4], user_tower [n, tower_dim].
 * MODE search: INPUT u32 n, k; f64 viewer, context; u32 count [n]; i32 video [n, 50]; u32 flags [n, 50].
 *              OUTPUT f32 user_tower, hist_content [n, dim]; i32 and f32 [n, k] of the tower search, then of content
 *              (row -1 where fewer were found).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feed/engine_parts.h"

#define BATCH 32u
#define SOON (UINT64_MAX / 2)

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s: %s\n", what, vr_error_text());
        exit(1);
    }
}

/* The whole input, read in order. */
struct reader {
    char *data;
    size_t bytes, at;
};

static struct reader reader_open(const char *path)
{
    struct reader reader = {NULL, 0, 0};
    FILE *file = fopen(path, "rb");
    must(file != NULL && fseek(file, 0, SEEK_END) == 0, path);
    reader.bytes = (size_t)ftell(file);
    rewind(file);
    reader.data = malloc(reader.bytes + 1);
    must(reader.data != NULL && fread(reader.data, 1, reader.bytes, file) == reader.bytes, path);
    fclose(file);
    return reader;
}

/* The next `count` elements of `size` bytes, copied so that they are aligned. */
static void *take(struct reader *reader, size_t count, size_t size)
{
    must(count <= (reader->bytes - reader->at) / size, "the input is too short");
    void *block = malloc(count * size + 1);
    must(block != NULL, "memory");
    memcpy(block, reader->data + reader->at, count * size);
    reader->at += count * size;
    return block;
}

struct context {
    struct vr_bundle *bundle;
    struct vr_engine *engine;
    size_t viewer, context, video; /* fields */
    struct reader in;
    FILE *out;
};

static void put(struct context *c, const void *data, size_t count, size_t size)
{
    must(fwrite(data, size, count, c->out) == count, "write");
}

static void score(struct context *c)
{
    const uint32_t n = *(uint32_t *)take(&c->in, 1, 4), dim = c->bundle->tower_dim;
    const double *viewer = take(&c->in, n * c->viewer, 8), *context = take(&c->in, n * c->context, 8);
    const float *hist_tower = take(&c->in, (size_t)n * dim, 4);
    const float *hist_content = take(&c->in, (size_t)n * c->bundle->content_dim, 4);
    const int32_t *row = take(&c->in, n, 4);
    const double *video = take(&c->in, n * c->video, 8), *pair = take(&c->in, (size_t)n * VR_PAIR_FIELDS, 8);
    float *heads = malloc((size_t)n * VR_HEAD_COUNT * 4), *tower = malloc((size_t)n * dim * 4);
    struct vr_engine_slot *slot = NULL;
    must(vr_engine_slot_create(c->engine, BATCH, 1, 1, &slot) == VR_OK, "slot");
    for (size_t first = 0; first < n; first += BATCH) {
        struct vr_engine_rank rank[BATCH] = {{0}};
        struct vr_engine_ranked got[BATCH];
        const uint32_t count = n - first < BATCH ? (uint32_t)(n - first) : BATCH;
        for (size_t i = 0; i < count; i++) {
            const size_t at = first + i;
            rank[i].viewer_raw = viewer + at * c->viewer;
            rank[i].context_raw = context + at * c->context;
            rank[i].hist_tower = hist_tower + at * dim;
            rank[i].hist_content = hist_content + at * c->bundle->content_dim;
            rank[i].row = row + at;
            rank[i].video_raw = video + at * c->video;
            rank[i].pair_raw = pair + at * VR_PAIR_FIELDS;
            rank[i].candidates = 1;
        }
        must(vr_engine_score(slot, count, rank, SOON, got) == VR_OK, "score");
        memcpy(heads + first * VR_HEAD_COUNT, got[0].heads, count * VR_HEAD_COUNT * sizeof(float));
        memcpy(tower + first * dim, slot->ranking.vector[ENGINE_USER_TOWER].host, (size_t)count * dim * sizeof(float));
    }
    put(c, heads, (size_t)n * VR_HEAD_COUNT, 4);
    put(c, tower, (size_t)n * dim, 4);
    vr_engine_slot_destroy(slot);
}

struct answers {
    float *user_tower, *hist_content;
    int32_t *row[2]; /* tower, content: [n, k] */
    float *score[2];
};

static void keep(const struct context *c, const struct vr_engine_retrieved *got, size_t at, uint32_t k,
                 struct answers *answers)
{
    const struct vr_engine_found *found[2] = {&got->tower, &got->content};
    const size_t tower = c->bundle->tower_dim, content = c->bundle->content_dim;
    memcpy(answers->user_tower + at * tower, got->user_tower, tower * sizeof(float));
    memcpy(answers->hist_content + at * content, got->hist_content, content * sizeof(float));
    for (int i = 0; i < 2; i++) {
        for (uint32_t j = 0; j < k; j++) {
            answers->row[i][at * k + j] = j < found[i]->count ? found[i]->row[j] : -1;
            answers->score[i][at * k + j] = j < found[i]->count ? found[i]->score[j] : 0.0f;
        }
    }
}

static void put_answers(struct context *c, const struct answers *answers, uint32_t n, uint32_t k)
{
    put(c, answers->user_tower, (size_t)n * c->bundle->tower_dim, 4);
    put(c, answers->hist_content, (size_t)n * c->bundle->content_dim, 4);
    for (int i = 0; i < 2; i++) {
        put(c, answers->row[i], (size_t)n * k, 4);
        put(c, answers->score[i], (size_t)n * k, 4);
    }
}

static void search(struct context *c)
{
    const uint32_t n = *(uint32_t *)take(&c->in, 1, 4), k = *(uint32_t *)take(&c->in, 1, 4);
    const double *viewer = take(&c->in, n * c->viewer, 8), *context = take(&c->in, n * c->context, 8);
    const uint32_t *count = take(&c->in, n, 4);
    const int32_t *video = take(&c->in, (size_t)n * VR_RECENT_MAX, 4);
    const uint32_t *flags = take(&c->in, (size_t)n * VR_RECENT_MAX, 4);
    struct answers answers;
    answers.user_tower = malloc((size_t)n * c->bundle->tower_dim * 4);
    answers.hist_content = malloc((size_t)n * c->bundle->content_dim * 4);
    for (int i = 0; i < 2; i++) {
        answers.row[i] = malloc((size_t)n * k * 4);
        answers.score[i] = malloc((size_t)n * k * 4);
    }
    struct vr_engine_slot *slot = NULL;
    must(vr_engine_slot_create(c->engine, BATCH, 1, k, &slot) == VR_OK, "slot");
    for (size_t first = 0; first < n; first += BATCH) {
        struct vr_engine_user user[BATCH] = {{0}};
        struct vr_engine_retrieved got[BATCH];
        struct vr_recent recent[BATCH][VR_RECENT_MAX];
        const uint32_t batch = n - first < BATCH ? (uint32_t)(n - first) : BATCH;
        for (size_t i = 0; i < batch; i++) {
            const size_t at = first + i;
            for (size_t j = 0; j < VR_RECENT_MAX; j++) {
                recent[i][j] =
                    (struct vr_recent){video[at * VR_RECENT_MAX + j], NAN, NAN, flags[at * VR_RECENT_MAX + j]};
            }
            user[i] = (struct vr_engine_user){
                viewer + at * c->viewer, context + at * c->context, recent[i], count[at], NULL, 0, k, k};
        }
        must(vr_engine_retrieve(slot, batch, user, SOON, got) == VR_OK, "retrieve");
        for (size_t i = 0; i < batch; i++) {
            keep(c, &got[i], first + i, k, &answers);
        }
    }
    put_answers(c, &answers, n, k);
    vr_engine_slot_destroy(slot);
}

static struct vr_index_config index_of(const char *name)
{
    static const char *const names[] = {"exact", "faiss_flat", "faiss_hnsw", "faiss_ivf"};
    struct vr_index_config config = {VR_INDEX_EXACT, 32, 256, 0, 32};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            config.kind = (enum vr_index_kind)i;
            return config;
        }
    }
    must(false, name);
    return config;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s BUNDLE INDEX score|search INPUT OUTPUT\n", argv[0]);
        return 2;
    }
    struct vr_backend *backend = NULL;
    struct context c = {0};
    const struct vr_index_config index = index_of(argv[2]);
    must(vr_bundle_open(argv[1], &c.bundle) == VR_OK, argv[1]);
    must(vr_backend_open("cpu", 1, &backend) == VR_OK, "backend");
    must(vr_engine_create(backend, c.bundle, &index, &c.engine) == VR_OK, "engine");
    must(vr_engine_selftest(c.engine, NULL) == VR_OK, "selftest");
    c.viewer = vr_feature_field_count(c.bundle->features, VR_ENTITY_VIEWER);
    c.context = vr_feature_field_count(c.bundle->features, VR_ENTITY_CONTEXT);
    c.video = vr_feature_field_count(c.bundle->features, VR_ENTITY_VIDEO);
    c.in = reader_open(argv[4]);
    c.out = fopen(argv[5], "wb");
    must(c.out != NULL, argv[5]);
    if (strcmp(argv[3], "score") == 0) {
        score(&c);
    } else {
        search(&c);
    }
    must(fclose(c.out) == 0, argv[5]);
    fflush(NULL);
    _Exit(0); /* the process ends here: what it read is not given back piece by piece */
}
