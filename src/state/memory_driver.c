/* The store before a driver (store.h): fetching viewers, checkpoints, trimming. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory_parts.h"
#include "viewer_pack.h"

#define TRIM_SHARDS 32u /* that one call looks at */
#define META_KEY 0u
#define META_VERSION 1u

struct meta {
    uint32_t version, zero;
    uint64_t applied;
    int64_t start_ms;
};

/* ---- fetching ---- */

static enum vr_status unpack(void *context, uint32_t key, const void *data, size_t len)
{
    enum vr_status status = vr_viewer_unpack(data, len, context);
    return status == VR_OK ? VR_OK : vr_fail_in(status, "viewer %u", key);
}

enum vr_status vr_store_find(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer,
                             struct vr_viewer_record **out)
{
    uint32_t index = viewer / VR_SHARDS;
    *out = index < shard->capacity ? shard->record[index] : NULL;
    bool stored = index < shard->place_capacity && (shard->place[index] & VR_PLACE_STORED) != 0;
    if (*out != NULL) {
        shard->place[index] |= VR_PLACE_USED;
        return VR_OK;
    }
    if (!stored) {
        return VR_OK;
    }
    enum vr_status status = store->driver_ops->get(store->driver, VR_TABLE_VIEWER, viewer, 0, unpack, out);
    if (status != VR_OK) {
        *out = NULL;
        return status == VR_ERR_NOT_FOUND ? vr_fail(VR_ERR_IO, "store: viewer %u is gone", viewer) : status;
    }
    if (!vr_store_place(store, shard, viewer, *out)) {
        vr_viewer_record_free(*out);
        *out = NULL;
        return vr_fail(VR_ERR_NOMEM, "state: no memory");
    }
    return VR_OK;
}

/* ---- attaching ---- */

static const enum vr_table id_tables[VR_ID_KIND_COUNT] = {VR_TABLE_VIDEO_ID, VR_TABLE_CREATOR_ID, VR_TABLE_VIEWER_ID};

struct attach {
    struct vr_store *store;
    uint32_t kind;
    struct meta meta;
};

static enum vr_status take_meta(void *context, uint32_t key, const void *data, size_t len)
{
    struct attach *attach = context;
    (void)key;
    if (len != sizeof attach->meta) {
        return vr_fail(VR_ERR_FORMAT, "store: its head has %zu bytes", len);
    }
    memcpy(&attach->meta, data, len);
    return attach->meta.version == META_VERSION
               ? VR_OK
               : vr_fail(VR_ERR_UNSUPPORTED, "store: version %u, this program knows %u", attach->meta.version,
                         META_VERSION);
}

static enum vr_status take_id(void *context, uint32_t key, const void *data, size_t len)
{
    struct attach *attach = context;
    uint32_t number;
    enum vr_status status = vr_id_table_intern(attach->store->ids[attach->kind], (struct vr_str){data, len}, &number);
    if (status == VR_OK && number != key) {
        return vr_fail(VR_ERR_FORMAT, "store: id %u stands in place %u", number, key);
    }
    attach->store->stored_ids[attach->kind] = key + 1;
    return status;
}

static enum vr_status take_video(void *context, uint32_t key, const void *data, size_t len)
{
    struct vr_store *store = ((struct attach *)context)->store;
    struct vr_video_shard *shard = &store->video[key / VR_BLOCK % VR_SHARDS];
    if (len != sizeof(struct vr_video_record)) {
        return vr_fail(VR_ERR_FORMAT, "store: video %u has %zu bytes", key, len);
    }
    pthread_mutex_lock(&shard->lock);
    struct vr_video_record *record = vr_store_video(store, shard, key);
    if (record != NULL) {
        memcpy(record, data, len);
        record->changed = 0;
    }
    pthread_mutex_unlock(&shard->lock);
    return record != NULL ? VR_OK : vr_fail(VR_ERR_NOMEM, "state: no memory");
}

static enum vr_status take_viewer(void *context, uint32_t key, const void *data, size_t len)
{
    struct vr_store *store = ((struct attach *)context)->store;
    struct vr_viewer_shard *shard = &store->viewer[key % VR_SHARDS];
    (void)data;
    (void)len;
    store->viewers++;
    return vr_store_note(shard, key, VR_PLACE_STORED) ? VR_OK : vr_fail(VR_ERR_NOMEM, "state: no memory");
}

enum vr_status vr_store_attach(struct vr_store *store, const struct vr_driver_ops *ops, struct vr_driver *driver,
                               uint64_t cache_bytes, struct vr_checkpoint *out)
{
    struct attach attach = {.store = store, .meta = {.start_ms = INT64_MIN}};
    store->driver_ops = ops;
    store->driver = driver;
    store->cache_bytes = cache_bytes;
    enum vr_status status = ops->get(driver, VR_TABLE_META, META_KEY, 0, take_meta, &attach);
    status = status == VR_ERR_NOT_FOUND ? VR_OK : status;
    for (uint32_t kind = 0; kind < VR_ID_KIND_COUNT && status == VR_OK; kind++) {
        attach.kind = kind;
        status = ops->walk(driver, id_tables[kind], take_id, &attach);
    }
    if (status == VR_OK) {
        status = ops->walk(driver, VR_TABLE_VIDEO, take_video, &attach);
    }
    if (status == VR_OK) {
        status = ops->walk(driver, VR_TABLE_VIEWER, take_viewer, &attach);
    }
    *out = (struct vr_checkpoint){attach.meta.applied, attach.meta.start_ms};
    return status;
}

/* ---- checkpoints ---- */

/* What is to be put, with the bytes in one run; places in it until all are there, for it moves as it grows. */
struct gathering {
    struct vr_put *put;
    size_t *at;
    size_t count, capacity;
    char *bytes;
    size_t len, room;
    bool failed;
};

/* Room for a record of `len` bytes; NULL once memory was short. */
static char *gather(struct gathering *g, enum vr_table table, uint32_t key, size_t len)
{
    if (g->count == g->capacity && !g->failed) {
        size_t capacity = g->capacity == 0 ? 1024 : g->capacity * 2;
        struct vr_put *put = realloc(g->put, capacity * sizeof *put);
        g->put = put != NULL ? put : g->put;
        size_t *at = put != NULL ? realloc(g->at, capacity * sizeof *at) : NULL;
        g->at = at != NULL ? at : g->at;
        g->failed = at == NULL;
        g->capacity = at != NULL ? capacity : g->capacity;
    }
    if (g->len + len > g->room && !g->failed) {
        size_t room = (g->len + len) * 2;
        char *bytes = realloc(g->bytes, room);
        g->bytes = bytes != NULL ? bytes : g->bytes;
        g->failed = bytes == NULL;
        g->room = bytes != NULL ? room : g->room;
    }
    if (g->failed) {
        return NULL;
    }
    g->put[g->count] = (struct vr_put){.table = table, .key = key, .len = len};
    g->at[g->count++] = g->len;
    g->len += len;
    return g->bytes + g->len - len;
}

static void gather_ids(struct vr_store *store, struct gathering *g, uint32_t end[VR_ID_KIND_COUNT])
{
    char id[VR_ID_MAX_BYTES];
    for (uint32_t kind = 0; kind < VR_ID_KIND_COUNT; kind++) {
        end[kind] = vr_id_table_count(store->ids[kind]);
        for (uint32_t n = store->stored_ids[kind]; n < end[kind]; n++) {
            size_t len = vr_id_table_copy(store->ids[kind], n, id, sizeof id);
            char *to = gather(g, id_tables[kind], n, len);
            if (to == NULL) {
                return;
            }
            memcpy(to, id, len);
        }
    }
}

static void gather_videos(struct vr_store *store, struct gathering *g)
{
    for (uint32_t s = 0; s < VR_SHARDS; s++) {
        struct vr_video_shard *shard = &store->video[s];
        pthread_mutex_lock(&shard->lock);
        for (uint32_t i = 0; i < shard->capacity * VR_BLOCK; i++) {
            struct vr_video_record *block = shard->block[i / VR_BLOCK];
            if (block == NULL || block[i % VR_BLOCK].changed == 0) {
                continue;
            }
            uint32_t number = (i / VR_BLOCK * VR_SHARDS + s) * VR_BLOCK + i % VR_BLOCK;
            char *to = gather(g, VR_TABLE_VIDEO, number, sizeof *block);
            if (to != NULL) {
                memcpy(to, &block[i % VR_BLOCK], sizeof *block);
            }
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

/* A changed viewer of a shard whose lock is held. He counts as unchanged from here on: what changes while the driver
 * writes is for the next checkpoint. */
static void gather_viewer(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer, struct gathering *g)
{
    const struct vr_viewer_record *record = shard->record[viewer / VR_SHARDS];
    char *to = gather(g, VR_TABLE_VIEWER, viewer, vr_viewer_pack_bytes(record));
    if (to != NULL) {
        vr_viewer_pack(record, to);
        shard->place[viewer / VR_SHARDS] &= (uint8_t)~VR_PLACE_CHANGED;
        __atomic_fetch_sub(&store->changed, 1, __ATOMIC_RELAXED);
    }
}

static void gather_viewers(struct vr_store *store, struct gathering *g)
{
    for (uint32_t s = 0; s < VR_SHARDS; s++) {
        struct vr_viewer_shard *shard = &store->viewer[s];
        pthread_mutex_lock(&shard->lock);
        for (uint32_t i = 0; i < shard->capacity; i++) {
            if (shard->record[i] != NULL && (shard->place[i] & VR_PLACE_CHANGED) != 0) {
                gather_viewer(store, shard, i * VR_SHARDS + s, g);
            }
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

static enum vr_status put_all(struct vr_store *store, struct gathering *g, const struct vr_checkpoint *checkpoint)
{
    const struct meta meta = {
        .version = META_VERSION, .applied = checkpoint->applied, .start_ms = checkpoint->start_ms};
    char *to = gather(g, VR_TABLE_META, META_KEY, sizeof meta);
    if (to == NULL) {
        return vr_fail(VR_ERR_NOMEM, "checkpoint: no memory");
    }
    memcpy(to, &meta, sizeof meta);
    for (size_t i = 0; i < g->count; i++) {
        g->put[i].data = g->bytes + g->at[i];
    }
    return store->driver_ops->put(store->driver, g->put, g->count);
}

/* What was gathered is in the driver now, or has to be gathered again. */
static void settle(struct vr_store *store, const struct gathering *g, bool stored)
{
    for (size_t i = 0; i < g->count; i++) {
        uint32_t key = g->put[i].key;
        if (g->put[i].table == VR_TABLE_VIEWER) {
            struct vr_viewer_shard *shard = &store->viewer[key % VR_SHARDS];
            pthread_mutex_lock(&shard->lock);
            if (stored) {
                shard->place[key / VR_SHARDS] |= VR_PLACE_STORED;
            } else {
                vr_store_mark(store, shard, key);
            }
            pthread_mutex_unlock(&shard->lock);
        } else if (g->put[i].table == VR_TABLE_VIDEO && stored) { /* only events change videos, and none came */
            struct vr_video_shard *shard = &store->video[key / VR_BLOCK % VR_SHARDS];
            pthread_mutex_lock(&shard->lock);
            vr_store_video(store, shard, key)->changed = 0;
            pthread_mutex_unlock(&shard->lock);
        }
    }
}

enum vr_status vr_store_checkpoint(struct vr_store *store, const struct vr_checkpoint *checkpoint)
{
    struct gathering g = {.put = NULL};
    uint32_t end[VR_ID_KIND_COUNT] = {0};
    gather_viewers(store, &g);
    gather_videos(store, &g);
    gather_ids(store, &g, end); /* last: records name only ids that were there */
    enum vr_status status = put_all(store, &g, checkpoint);
    settle(store, &g, status == VR_OK);
    if (status == VR_OK) {
        memcpy(store->stored_ids, end, sizeof end);
    }
    free(g.put);
    free(g.at);
    free(g.bytes);
    return status;
}

uint32_t vr_store_changed(const struct vr_store *store)
{
    return __atomic_load_n(&store->changed, __ATOMIC_RELAXED);
}

/* ---- trimming ---- */

/* Whoever was not asked for since the last time goes; the others lose their mark. */
static void trim_shard(struct vr_store *store, struct vr_viewer_shard *shard)
{
    for (uint32_t i = 0; i < shard->capacity; i++) {
        if (shard->record[i] == NULL || (shard->place[i] & VR_PLACE_CHANGED) != 0) {
            continue;
        }
        if ((shard->place[i] & VR_PLACE_USED) != 0) {
            shard->place[i] &= (uint8_t)~VR_PLACE_USED;
            continue;
        }
        vr_store_count_bytes(store, vr_viewer_record_bytes(shard->record[i]), 0);
        vr_viewer_record_free(shard->record[i]);
        shard->record[i] = NULL;
    }
}

void vr_store_trim(struct vr_store *store)
{
    for (uint32_t n = 0; n < TRIM_SHARDS; n++) {
        if (__atomic_load_n(&store->record_bytes, __ATOMIC_RELAXED) <= store->cache_bytes) {
            return;
        }
        struct vr_viewer_shard *shard = &store->viewer[store->hand];
        pthread_mutex_lock(&shard->lock);
        trim_shard(store, shard);
        pthread_mutex_unlock(&shard->lock);
        store->hand = (store->hand + 1) % VR_SHARDS;
    }
}
