/* The store in memory, for memory.c and memory_driver.c. */
#ifndef VIREO_STATE_MEMORY_PARTS_H
#define VIREO_STATE_MEMORY_PARTS_H

#include <pthread.h>

#include "id_table.h"
#include "store.h"

#define VR_SHARDS 64u
#define VR_BLOCK 256u /* videos a block */

struct vr_video_shard {
    pthread_mutex_t lock;
    struct vr_video_record **block; /* [capacity] of [VR_BLOCK]; NULL: all zeros so far */
    uint32_t capacity;
};

/* What is known of a viewer's place. */
enum vr_place {
    VR_PLACE_STORED = 1,  /* the driver has a record */
    VR_PLACE_CHANGED = 2, /* the record in memory is newer */
    VR_PLACE_USED = 4     /* asked for since the trimming hand came by */
};

struct vr_viewer_shard {
    pthread_mutex_t lock;
    struct vr_viewer_record **record; /* [capacity]; NULL: none in memory */
    uint8_t *place;                   /* [place_capacity], enum vr_place */
    uint32_t capacity, place_capacity;
};

struct vr_store {
    struct vr_id_table *ids[VR_ID_KIND_COUNT];
    struct vr_video_shard video[VR_SHARDS];
    struct vr_viewer_shard viewer[VR_SHARDS];
    uint32_t recent;       /* watches that are read */
    double half_life_ms;   /* of trends */
    uint64_t viewers;      /* records; this and what follows change through __atomic builtins only */
    uint64_t record_bytes; /* of viewers in memory */
    uint64_t block_bytes;  /* of videos */
    uint32_t changed;      /* viewers */
    /* With a driver: */
    const struct vr_driver_ops *driver_ops; /* NULL: none */
    struct vr_driver *driver;
    uint64_t cache_bytes;
    uint32_t stored_ids[VR_ID_KIND_COUNT]; /* strings that the driver has */
    uint32_t hand;                         /* shard that the next trimming begins at */
};

/* All below with the shard's lock held. */
void vr_store_count_bytes(struct vr_store *store, size_t before, size_t after);
/* Note what is known of a viewer; false when memory is short. */
bool vr_store_note(struct vr_viewer_shard *shard, uint32_t viewer, enum vr_place place);
/* The viewer's record is changed from now on; its place was noted before. */
void vr_store_mark(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer);
/* The record of a viewer, fetched where it is not in memory; *out NULL where there is none. */
enum vr_status vr_store_find(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer,
                             struct vr_viewer_record **out);
/* Put a record in a viewer's place, which is free; false when memory is short. */
bool vr_store_place(struct vr_store *store, struct vr_viewer_shard *shard, uint32_t viewer,
                    struct vr_viewer_record *record);
/* A video's record, made where there is none; NULL when memory is short. */
struct vr_video_record *vr_store_video(struct vr_store *store, struct vr_video_shard *shard, uint32_t number);

#endif
