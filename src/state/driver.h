/* What a place of storage does for the store: packed records by table and number, one table of functions a driver. The
 * store keeps records in memory before it (store.h) and asks only for what is not there. LMDB is here (driver_lmdb.c);
 * a networked store fills the same table. All functions are safe from any thread. */
#ifndef VIREO_STATE_DRIVER_H
#define VIREO_STATE_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "vireo/status.h"

struct vr_driver; /* the driver's own; defined in the driver's file */

enum vr_table {
    VR_TABLE_META = 0, /* key 0: struct of checkpoint.c */
    VR_TABLE_VIDEO_ID, /* strings of the dictionaries, by number */
    VR_TABLE_CREATOR_ID,
    VR_TABLE_VIEWER_ID,
    VR_TABLE_VIDEO, /* counters and trend */
    VR_TABLE_VIEWER /* one packed record a viewer (viewer_pack.h) */
};
#define VR_TABLE_COUNT 6u

struct vr_put {
    enum vr_table table;
    uint32_t key;
    const void *data;
    size_t len;
};

/* Gets a record, borrowed for the call. */
typedef enum vr_status vr_driver_visit(void *context, uint32_t key, const void *data, size_t len);

struct vr_driver_ops {
    const char *name; /* "lmdb" */
    void (*close)(struct vr_driver *driver);

    /* One record. VR_ERR_NOT_FOUND: there is none. VR_ERR_TIMEOUT: `deadline_us` (monotonic, 0: none) has passed; an
     * embedded driver looks at it before it reads. VR_ERR_IO, and what `visit` gave. */
    enum vr_status (*get)(struct vr_driver *driver, enum vr_table table, uint32_t key, uint64_t deadline_us,
                          vr_driver_visit *visit, void *context);

    /* All of a table, keys rising. VR_ERR_IO, and what `visit` gave. */
    enum vr_status (*walk)(struct vr_driver *driver, enum vr_table table, vr_driver_visit *visit, void *context);

    /* All of them or none, durable on VR_OK. VR_ERR_IO. */
    enum vr_status (*put)(struct vr_driver *driver, const struct vr_put *put, size_t count);
};

/* LMDB in `folder`, which exists. VR_ERR_IO, VR_ERR_NOMEM. */
extern const struct vr_driver_ops vr_lmdb_ops;
enum vr_status vr_lmdb_open(const char *folder, struct vr_driver **out);

#endif
