/* Records in memory, in front of a driver (driver.h) or alone: what state.c asks of the store. Arguments come checked
 * from there; what events mean is in viewer_record.c and labels.c. With a driver a viewer who is not in memory is
 * fetched, changed records are noted until the next checkpoint has put them there, and unchanged ones go when memory
 * passes its bound; counters of videos and the dictionaries are always in memory. All functions are safe from any
 * thread. */
#ifndef VIREO_STATE_STORE_H
#define VIREO_STATE_STORE_H

#include "driver.h"
#include "viewer_record.h"

struct vr_store;

/* The dictionaries, each with numbers of its own. */
enum vr_id_kind { VR_ID_VIDEO = 0, VR_ID_CREATOR, VR_ID_VIEWER };
#define VR_ID_KIND_COUNT 3u

struct vr_video_record {
    struct vr_totals totals;
    struct vr_trend trend;
    uint32_t changed; /* since the latest checkpoint */
};

struct vr_store_ops {
    void (*destroy)(struct vr_store *store);

    /* numbers: VR_ERR_NOMEM, VR_ERR_BUSY for a new viewer past max_viewers; find gives VR_DICT_NONE */
    enum vr_status (*intern)(struct vr_store *store, enum vr_id_kind kind, struct vr_str id, uint32_t *number);
    uint32_t (*find)(struct vr_store *store, enum vr_id_kind kind, struct vr_str id);
    uint32_t (*id_count)(struct vr_store *store, enum vr_id_kind kind);

    /* videos by number; numbers without a record give zeros */
    void (*video_counters)(struct vr_store *store, const uint32_t *number, uint32_t count, struct vr_counters *out);
    void (*video_trends)(struct vr_store *store, uint32_t first, uint32_t count, struct vr_trend *out);
    enum vr_status (*video_seed)(struct vr_store *store, uint32_t number,
                                 const struct vr_video_record *seed); /* adds */

    /* viewers by number; out->known is false without a record */
    enum vr_status (*viewer_read)(struct vr_store *store, uint32_t viewer, struct vr_arena *arena,
                                  struct vr_viewer *out);
    uint32_t (*viewer_recent)(struct vr_store *store, uint32_t viewer, struct vr_watch *out, uint32_t capacity);
    enum vr_status (*viewer_serve)(struct vr_store *store, uint32_t viewer, const uint32_t *video, uint32_t count);
    /* Takes ownership of the record on VR_OK; a viewer who has one already keeps it, and the seed is freed. */
    enum vr_status (*viewer_seed)(struct vr_store *store, uint32_t viewer, struct vr_viewer_record *seed);
    uint64_t (*viewer_count)(struct vr_store *store); /* of records */

    /* Labels, recents, seen, counters and trend of one event. On failure nothing has changed. */
    enum vr_status (*apply)(struct vr_store *store, uint32_t viewer, uint32_t video, const struct vr_event *event);

    uint64_t (*bytes)(struct vr_store *store);
};

/* The caller destroys the store through the table. VR_ERR_NOMEM. */
extern const struct vr_store_ops vr_memory_ops;
enum vr_status vr_memory_create(const struct vr_state_config *config, struct vr_store **out);

/* ---- with a driver (memory_driver.c) ---- */
/* Put the store, which is empty, before a driver, whose it becomes: dictionaries and videos are read. VR_ERR_FORMAT
 * (they do not fit together), VR_ERR_BUSY (more viewers than max_viewers), VR_ERR_IO, VR_ERR_NOMEM. */
struct vr_checkpoint {
    uint64_t applied; /* sequence of the last event that the records show */
    int64_t start_ms; /* vr_state.start_ms */
};
enum vr_status vr_store_attach(struct vr_store *store, const struct vr_driver_ops *ops, struct vr_driver *driver,
                               uint64_t cache_bytes, struct vr_checkpoint *out);

/* Put everything that changed into the driver, with `checkpoint`, all or nothing. Nobody may apply events meanwhile.
 * VR_ERR_IO, VR_ERR_NOMEM: it stays changed. */
enum vr_status vr_store_checkpoint(struct vr_store *store, const struct vr_checkpoint *checkpoint);

/* Viewers that changed since the latest checkpoint. */
uint32_t vr_store_changed(const struct vr_store *store);

/* Let unchanged viewers go who were not asked for lately, where records take more than the cache may; a part of the
 * shards a call, the next call goes on. */
void vr_store_trim(struct vr_store *store);

#endif
