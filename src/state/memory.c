/* The store in memory: records in shards, each behind a mutex of its own; no call holds two. Viewers are spread by
 * number, videos in blocks of neighbours, so that a scan takes a lock once a block. Blocks never move. What a driver
 * behind it changes is in memory_driver.c. */
#include <stdlib.h>
#include <string.h>

#include "memory_parts.h"

#define SHARDS VR_SHARDS
#define BLOCK VR_BLOCK
#define FIRST_CAPACITY 16u
#define MS_PER_HOUR 3600000.0

static enum vr_status no_memory(void)
{
    return vr_fail(VR_ERR_NOMEM, "state: no memory");
}

void vr_store_count_bytes(struct vr_store *store, size_t before, size_t after)
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

static struct vr_video_shard *video_shard_of(struct vr_store *store, uint32_t number)
{
    return &store->video[number / BLOCK % SHARDS];
}

/* The record of a video, or NULL; the shard's lock is held. */
static struct vr_video_record *video_record(const struct vr_video_shard *shard, uint32_t number)
{
    uint32_t index = number / BLOCK / SHARDS;
    if (index >= shard->capacity || shard->block[index] == NULL) {
        return NULL;
    }
    return &shard->block[index][number % BLOCK];
}

/* The same, made where there is none; NULL when memory is short. */
struct vr_video_record *vr_store_video(struct vr_store *store, struct vr_video_shard *shard, uint32_t number)
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
        __atomic_fetch_add(&store->block_bytes, BLOCK * sizeof **shard->block, __ATOMIC_RELAXED);
    }
    return &shard->block[index][number % BLOCK];
}

static void memory_video_counters(struct vr_store *store, const uint32_t *number, uint32_t count,
                                  struct vr_counters *out)
{
    for (uint32_t i = 0; i < count; i++) {
        struct vr_video_shard *shard = video_shard_of(store, number[i]);
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
        struct vr_video_shard *shard = video_shard_of(store, first + i);
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
    struct vr_video_shard *shard = video_shard_of(store, number);
    pthread_mutex_lock(&shard->lock);
    struct vr_video_record *record = vr_store_video(store, shard, number);
    if (record != NULL) {
        vr_totals_add(&record->totals, &seed->totals);
        if (seed->trend.weight > 0) {
            vr_trend_add(&record->trend, seed->trend.weight, seed->trend.time_ms, store->half_life_ms);
        }
        record->changed = 1;
    }
    pthread_mutex_unlock(&shard->lock);
    return record != NULL ? VR_OK : no_memory();
}

/* ---- viewers ---- */

static struct vr_viewer_shard *viewer_shard_of(struct vr_store *store, uint32_t viewer)
{
    return &store->viewer[viewer % SHARDS];
}

bool vr_store_note(struct vr_viewer_shard *shard, uint32_t viewer, enum vr_place place)
{
    uint32_t index = viewer / SHARDS;
    if (index >= shard->place_capacity) {
        uint32_t wanted = shard->place_capacity == 0 ? FIRST_CAPACITY : shard->place_capacity * 2;
        wanted = wanted > index ? wanted : index + 1;
        uint8_t *larger = realloc(shard->place, wanted);
        if (larger == NULL) {
            return false;
        }
        memset(larger + shard->place_capacity, 0, wanted - shard->place_capacity);
        shard->place = larger;
        shard->place_capacity = wanted;
    }
    shard->place[index] |= (uint8_t)place;
    return true;
}

void vr_store_mark(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer)
{
    uint8_t *place = &shard->place[viewer / SHARDS];
    if ((*place & VR_PLACE_CHANGED) == 0) {
        *place |= VR_PLACE_CHANGED;
        __atomic_fetch_add(&store->changed, 1, __ATOMIC_RELAXED);
    }
}

bool vr_store_place(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer,
                    struct vr_viewer_record *record)
{
    uint32_t index = viewer / SHARDS;
    if (!vr_store_note(shard, viewer, VR_PLACE_USED)) {
        return false;
    }
    if (index >= shard->capacity) {
        struct vr_viewer_record **larger = grow_pointers(shard->record, &shard->capacity, index);
        if (larger == NULL) {
            return false;
        }
        shard->record = larger;
    }
    shard->record[index] = record;
    vr_store_count_bytes(store, 0, vr_viewer_record_bytes(record));
    return true;
}

/* A record that nobody had before. */
static bool place_new(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer,
                      struct vr_viewer_record *record)
{
    if (!vr_store_place(store, shard, viewer, record)) {
        return false;
    }
    __atomic_fetch_add(&store->viewers, 1, __ATOMIC_RELAXED);
    vr_store_mark(store, shard, viewer);
    return true;
}

/* The viewer's record, made where there is none. The shard's lock is held. */
static enum vr_status viewer_make(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer,
                                  struct vr_viewer_record **out)
{
    enum vr_status status = vr_store_find(store, shard, viewer, out);
    if (status != VR_OK || *out != NULL) {
        return status;
    }
    struct vr_viewer_record *record = vr_viewer_record_new();
    if (record == NULL || !place_new(store, shard, viewer, record)) {
        vr_viewer_record_free(record);
        return no_memory();
    }
    *out = record;
    return VR_OK;
}

static enum vr_status memory_viewer_read(struct vr_store *store, uint32_t viewer, struct vr_arena *arena,
                                         struct vr_viewer *out)
{
    struct vr_viewer_shard *shard = viewer_shard_of(store, viewer);
    struct vr_viewer_record *record;
    pthread_mutex_lock(&shard->lock);
    enum vr_status status = vr_store_find(store, shard, viewer, &record);
    if (status == VR_OK && record != NULL) {
        status = vr_viewer_record_copy(record, store->recent, arena, out);
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
}

static uint32_t memory_viewer_recent(struct vr_store *store, uint32_t viewer, struct vr_watch *out, uint32_t capacity)
{
    struct vr_viewer_shard *shard = viewer_shard_of(store, viewer);
    struct vr_viewer_record *record;
    pthread_mutex_lock(&shard->lock);
    bool found = vr_store_find(store, shard, viewer, &record) == VR_OK && record != NULL;
    uint32_t count = found ? vr_viewer_record_recent(record, store->recent, out, capacity) : 0;
    pthread_mutex_unlock(&shard->lock);
    return count;
}

static enum vr_status memory_viewer_serve(struct vr_store *store, uint32_t viewer, const uint32_t *video,
                                          uint32_t count)
{
    struct vr_viewer_shard *shard = viewer_shard_of(store, viewer);
    struct vr_viewer_record *record;
    pthread_mutex_lock(&shard->lock);
    enum vr_status status = viewer_make(store, shard, viewer, &record);
    if (status == VR_OK) {
        size_t before = vr_viewer_record_bytes(record);
        status = vr_viewer_record_serve(record, video, count);
        vr_store_count_bytes(store, before, vr_viewer_record_bytes(record));
        vr_store_mark(store, shard, viewer);
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
}

static enum vr_status memory_viewer_seed(struct vr_store *store, uint32_t viewer, struct vr_viewer_record *seed)
{
    struct vr_viewer_shard *shard = viewer_shard_of(store, viewer);
    struct vr_viewer_record *record;
    pthread_mutex_lock(&shard->lock);
    enum vr_status status = vr_store_find(store, shard, viewer, &record);
    if (status == VR_OK && record != NULL) {
        vr_viewer_record_free(seed);
    } else if (status == VR_OK && !place_new(store, shard, viewer, seed)) {
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
    struct vr_viewer_shard *shard = viewer_shard_of(store, viewer);
    struct vr_viewer_record *record;
    pthread_mutex_lock(&shard->lock);
    enum vr_status status = viewer_make(store, shard, viewer, &record);
    if (status == VR_OK) {
        size_t before = vr_viewer_record_bytes(record);
        status = vr_viewer_record_apply(record, store->recent, event, video, change);
        vr_store_count_bytes(store, before, vr_viewer_record_bytes(record));
        vr_store_mark(store, shard, viewer);
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
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
    uint64_t bytes = sizeof *store + __atomic_load_n(&store->record_bytes, __ATOMIC_RELAXED) +
                     __atomic_load_n(&store->block_bytes, __ATOMIC_RELAXED);
    for (uint32_t kind = 0; kind < VR_ID_KIND_COUNT; kind++) {
        bytes += vr_id_table_bytes(store->ids[kind]);
    }
    return bytes;
}

static void free_video_shard(struct vr_video_shard *shard)
{
    for (uint32_t i = 0; i < shard->capacity; i++) {
        free(shard->block[i]);
    }
    free(shard->block);
    pthread_mutex_destroy(&shard->lock);
}

static void free_viewer_shard(struct vr_viewer_shard *shard)
{
    for (uint32_t i = 0; i < shard->capacity; i++) {
        vr_viewer_record_free(shard->record[i]);
    }
    free(shard->record);
    free(shard->place);
    pthread_mutex_destroy(&shard->lock);
}

static void memory_destroy(struct vr_store *store)
{
    if (store->driver != NULL) {
        store->driver_ops->close(store->driver);
    }
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
