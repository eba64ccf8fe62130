/* The memory driver: records in shards, each behind a mutex of its own; no call holds two. Viewers are spread by
 * number, videos in blocks of neighbours, so that a scan takes a lock once a block. Blocks never move. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "id_table.h"

#define SHARDS 64u
#define BLOCK 256u /* videos a block */
#define FIRST_CAPACITY 16u
#define MS_PER_HOUR 3600000.0

struct video_shard {
    pthread_mutex_t lock;
    struct vr_video_record **block; /* [capacity] of [BLOCK]; NULL: all zeros so far */
    uint32_t capacity;
};

struct viewer_shard {
    pthread_mutex_t lock;
    struct vr_viewer_record **record; /* [capacity]; NULL: none */
    uint32_t capacity;
};

struct vr_store {
    struct vr_id_table *ids[VR_ID_KIND_COUNT];
    struct video_shard video[SHARDS];
    struct viewer_shard viewer[SHARDS];
    uint32_t recent;       /* watches that are read */
    double half_life_ms;   /* of trends */
    uint64_t viewers;      /* records; this and record_bytes change through __atomic builtins only */
    uint64_t record_bytes; /* of records and blocks */
};

static enum vr_status no_memory(void)
{
    return vr_fail(VR_ERR_NOMEM, "state: no memory");
}

static void count_bytes(struct vr_store *store, size_t before, size_t after)
{
    __atomic_fetch_add(&store->record_bytes, (uint64_t)after - (uint64_t)before, __ATOMIC_RELAXED);
}

/* A larger copy of an array of pointers with place for entry `index` (>= *capacity), new entries NULL, the old array
 * freed; NULL when memory is short, with the old array as it was. */
static void *grow_pointers(void *array, uint32_t *capacity, uint32_t index)
{
    size_t wanted = *capacity == 0 ? FIRST_CAPACITY : (size_t)*capacity * 2;
    wanted = wanted > index ? wanted : (size_t)index + 1;
    void **larger = realloc(array, wanted * sizeof *larger);
    if (larger == NULL) {
        return NULL;
    }
    memset(larger + *capacity, 0, (wanted - *capacity) * sizeof *larger);
    *capacity = (uint32_t)wanted;
    return larger;
}

/* ---- numbers ---- */

static enum vr_status memory_intern(struct vr_store *store, enum vr_id_kind kind, struct vr_str id, uint32_t *number)
{
    return vr_id_table_intern(store->ids[kind], id, number);
}

static uint32_t memory_find(struct vr_store *store, enum vr_id_kind kind, struct vr_str id)
{
    return vr_id_table_find(store->ids[kind], id);
}

static uint32_t memory_id_count(struct vr_store *store, enum vr_id_kind kind)
{
    return vr_id_table_count(store->ids[kind]);
}

/* ---- videos ---- */

static struct video_shard *video_shard_of(struct vr_store *store, uint32_t number)
{
    return &store->video[number / BLOCK % SHARDS];
}

/* The record of a video, or NULL; the shard's lock is held. */
static struct vr_video_record *video_record(const struct video_shard *shard, uint32_t number)
{
    uint32_t index = number / BLOCK / SHARDS;
    if (index >= shard->capacity || shard->block[index] == NULL) {
        return NULL;
    }
    return &shard->block[index][number % BLOCK];
}

/* The same, made where there is none; NULL when memory is short. */
static struct vr_video_record *video_make(struct vr_store *store, struct video_shard *shard, uint32_t number)
{
    uint32_t index = number / BLOCK / SHARDS;
    if (index >= shard->capacity) {
        struct vr_video_record **larger = grow_pointers(shard->block, &shard->capacity, index);
        if (larger == NULL) {
            return NULL;
        }
        shard->block = larger;
    }
    if (shard->block[index] == NULL) {
        shard->block[index] = calloc(BLOCK, sizeof **shard->block);
        if (shard->block[index] == NULL) {
            return NULL;
        }
        count_bytes(store, 0, BLOCK * sizeof **shard->block);
    }
    return &shard->block[index][number % BLOCK];
}

static void memory_video_counters(struct vr_store *store, const uint32_t *number, uint32_t count,
                                  struct vr_counters *out)
{
    for (uint32_t i = 0; i < count; i++) {
        struct video_shard *shard = video_shard_of(store, number[i]);
        struct vr_totals totals = {0};
        pthread_mutex_lock(&shard->lock);
        const struct vr_video_record *record = video_record(shard, number[i]);
        if (record != NULL) {
            totals = record->totals;
        }
        pthread_mutex_unlock(&shard->lock);
        out[i] = vr_totals_counters(&totals);
    }
}

static void memory_video_trends(struct vr_store *store, uint32_t first, uint32_t count, struct vr_trend *out)
{
    memset(out, 0, (size_t)count * sizeof *out);
    for (uint32_t i = 0; i < count;) {
        struct video_shard *shard = video_shard_of(store, first + i);
        uint32_t left = BLOCK - (first + i) % BLOCK; /* numbers of this block from here */
        uint32_t end = left < count - i ? i + left : count;
        pthread_mutex_lock(&shard->lock);
        const struct vr_video_record *record = video_record(shard, first + i);
        for (uint32_t k = 0; record != NULL && k < end - i; k++) {
            out[i + k] = record[k].trend;
        }
        pthread_mutex_unlock(&shard->lock);
        i = end;
    }
}

static enum vr_status memory_video_seed(struct vr_store *store, uint32_t number, const struct vr_video_record *seed)
{
    struct video_shard *shard = video_shard_of(store, number);
    pthread_mutex_lock(&shard->lock);
    struct vr_video_record *record = video_make(store, shard, number);
    if (record != NULL) {
        vr_totals_add(&record->totals, &seed->totals);
        if (seed->trend.weight > 0) {
            vr_trend_add(&record->trend, seed->trend.weight, seed->trend.time_ms, store->half_life_ms);
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return record != NULL ? VR_OK : no_memory();
}

/* ---- viewers ---- */

static struct viewer_shard *viewer_shard_of(struct vr_store *store, uint32_t viewer)
{
    return &store->viewer[viewer % SHARDS];
}

/* The record of a viewer, or NULL; the shard's lock is held. */
static struct vr_viewer_record *viewer_record(const struct viewer_shard *shard, uint32_t viewer)
{
    uint32_t index = viewer / SHARDS;
    return index < shard->capacity ? shard->record[index] : NULL;
}

/* Put a record in a viewer's place, which is free; false when memory is short. The shard's lock is held. */
static bool viewer_place(struct vr_store *store, struct viewer_shard *shard, uint32_t viewer,
                         struct vr_viewer_record *record)
{
    uint32_t index = viewer / SHARDS;
    if (index >= shard->capacity) {
        struct vr_viewer_record **larger = grow_pointers(shard->record, &shard->capacity, index);
        if (larger == NULL) {
            return false;
        }
        shard->record = larger;
    }
    shard->record[index] = record;
    count_bytes(store, 0, vr_viewer_record_bytes(record));
    __atomic_fetch_add(&store->viewers, 1, __ATOMIC_RELAXED);
    return true;
}

/* The viewer's record, made where there is none; NULL when memory is short. The shard's lock is held. */
static struct vr_viewer_record *viewer_make(struct vr_store *store, struct viewer_shard *shard, uint32_t viewer)
{
    struct vr_viewer_record *record = viewer_record(shard, viewer);
    if (record != NULL) {
        return record;
    }
    record = vr_viewer_record_new();
    if (record != NULL && !viewer_place(store, shard, viewer, record)) {
        vr_viewer_record_free(record);
        record = NULL;
    }
    return record;
}

static enum vr_status memory_viewer_read(struct vr_store *store, uint32_t viewer, struct vr_arena *arena,
                                         struct vr_viewer *out)
{
    struct viewer_shard *shard = viewer_shard_of(store, viewer);
    enum vr_status status = VR_OK;
    pthread_mutex_lock(&shard->lock);
    const struct vr_viewer_record *record = viewer_record(shard, viewer);
    if (record != NULL) {
        status = vr_viewer_record_copy(record, store->recent, arena, out);
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
}

static uint32_t memory_viewer_recent(struct vr_store *store, uint32_t viewer, struct vr_watch *out, uint32_t capacity)
{
    struct viewer_shard *shard = viewer_shard_of(store, viewer);
    pthread_mutex_lock(&shard->lock);
    const struct vr_viewer_record *record = viewer_record(shard, viewer);
    uint32_t count = record != NULL ? vr_viewer_record_recent(record, store->recent, out, capacity) : 0;
    pthread_mutex_unlock(&shard->lock);
    return count;
}

static enum vr_status memory_viewer_serve(struct vr_store *store, uint32_t viewer, const uint32_t *video,
                                          uint32_t count)
{
    struct viewer_shard *shard = viewer_shard_of(store, viewer);
    enum vr_status status = VR_ERR_NOMEM;
    pthread_mutex_lock(&shard->lock);
    struct vr_viewer_record *record = viewer_make(store, shard, viewer);
    if (record != NULL) {
        size_t before = vr_viewer_record_bytes(record);
        status = vr_viewer_record_serve(record, video, count);
        count_bytes(store, before, vr_viewer_record_bytes(record));
    }
    pthread_mutex_unlock(&shard->lock);
    return record != NULL ? status : no_memory();
}

static enum vr_status memory_viewer_seed(struct vr_store *store, uint32_t viewer, struct vr_viewer_record *seed)
{
    struct viewer_shard *shard = viewer_shard_of(store, viewer);
    enum vr_status status = VR_OK;
    pthread_mutex_lock(&shard->lock);
    if (viewer_record(shard, viewer) != NULL) {
        vr_viewer_record_free(seed);
    } else if (!viewer_place(store, shard, viewer, seed)) {
        status = no_memory();
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
}

static uint64_t memory_viewer_count(struct vr_store *store)
{
    return __atomic_load_n(&store->viewers, __ATOMIC_RELAXED);
}

/* ---- events ---- */

static enum vr_status apply_to_viewer(struct vr_store *store, uint32_t viewer, uint32_t video,
                                      const struct vr_event *event, struct vr_label_change *change)
{
    struct viewer_shard *shard = viewer_shard_of(store, viewer);
    enum vr_status status = VR_ERR_NOMEM;
    pthread_mutex_lock(&shard->lock);
    struct vr_viewer_record *record = viewer_make(store, shard, viewer);
    if (record != NULL) {
        size_t before = vr_viewer_record_bytes(record);
        status = vr_viewer_record_apply(record, store->recent, event, video, change);
        count_bytes(store, before, vr_viewer_record_bytes(record));
    }
    pthread_mutex_unlock(&shard->lock);
    return record != NULL ? status : no_memory();
}

/* The video's record is made first, so that nothing can fail once the viewer's has changed. */
static enum vr_status memory_apply(struct vr_store *store, uint32_t viewer, uint32_t video,
                                   const struct vr_event *event)
{
    static const struct vr_video_record nothing;
    struct vr_label_change change = {.trend = 0};
    enum vr_status status = memory_video_seed(store, video, &nothing);
    if (status == VR_OK) {
        status = apply_to_viewer(store, viewer, video, event, &change);
    }
    if (status != VR_OK) {
        return status;
    }
    struct vr_video_record seed = {.totals = change.delta, .trend = {change.trend, event->time_ms}};
    return memory_video_seed(store, video, &seed);
}

/* ---- the store ---- */

static uint64_t memory_bytes(struct vr_store *store)
{
    uint64_t bytes = sizeof *store + __atomic_load_n(&store->record_bytes, __ATOMIC_RELAXED);
    for (uint32_t kind = 0; kind < VR_ID_KIND_COUNT; kind++) {
        bytes += vr_id_table_bytes(store->ids[kind]);
    }
    return bytes;
}

static void free_video_shard(struct video_shard *shard)
{
    for (uint32_t i = 0; i < shard->capacity; i++) {
        free(shard->block[i]);
    }
    free(shard->block);
    pthread_mutex_destroy(&shard->lock);
}

static void free_viewer_shard(struct viewer_shard *shard)
{
    for (uint32_t i = 0; i < shard->capacity; i++) {
        vr_viewer_record_free(shard->record[i]);
    }
    free(shard->record);
    pthread_mutex_destroy(&shard->lock);
}

static void memory_destroy(struct vr_store *store)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        free_video_shard(&store->video[i]);
        free_viewer_shard(&store->viewer[i]);
    }
    for (uint32_t kind = 0; kind < VR_ID_KIND_COUNT; kind++) {
        vr_id_table_destroy(store->ids[kind]);
    }
    free(store);
}

/* Videos and creators come from bundles, whose operator bounds them; viewers come from anywhere. */
enum vr_status vr_memory_create(const struct vr_state_config *config, struct vr_store **out)
{
    static const char *const kinds[VR_ID_KIND_COUNT] = {"videos", "creators", "viewers"};
    struct vr_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return no_memory();
    }
    store->recent = config->recent_watches;
    store->half_life_ms = (double)config->trending_half_life_h * MS_PER_HOUR;
    for (uint32_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&store->video[i].lock, NULL);
        pthread_mutex_init(&store->viewer[i].lock, NULL);
    }
    for (uint32_t kind = 0; kind < VR_ID_KIND_COUNT; kind++) {
        uint32_t limit = kind == VR_ID_VIEWER ? config->max_viewers : UINT32_MAX;
        enum vr_status status = vr_id_table_create(limit, kinds[kind], &store->ids[kind]);
        if (status != VR_OK) {
            memory_destroy(store);
            return status;
        }
    }
    *out = store;
    return VR_OK;
}

const struct vr_store_ops vr_memory_ops = {
    .name = "memory",
    .destroy = memory_destroy,
    .intern = memory_intern,
    .find = memory_find,
    .id_count = memory_id_count,
    .video_counters = memory_video_counters,
    .video_trends = memory_video_trends,
    .video_seed = memory_video_seed,
    .viewer_read = memory_viewer_read,
    .viewer_recent = memory_viewer_recent,
    .viewer_serve = memory_viewer_serve,
    .viewer_seed = memory_viewer_seed,
    .viewer_count = memory_viewer_count,
    .apply = memory_apply,
    .bytes = memory_bytes,
};
