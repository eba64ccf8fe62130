/* The event log: records of one folder, appended a group at a time and durable when a commit has succeeded. One thread
 * uses it at a time. docs/event-log.md has the format, the states of an event and what a crash at each point leaves. */
#ifndef VIREO_STATE_EVENT_LOG_H
#define VIREO_STATE_EVENT_LOG_H

#include "file_ops.h"
#include "log_segment.h"

struct vr_event_log;

struct vr_event_log_options {
    const char *folder;     /* exists */
    uint64_t segment_bytes; /* a group goes into a new segment where it would make one larger than this */
    const struct vr_file_ops *files;
};

/* Find where the log ends: the last segment is read, what a crash left behind its last record is cut off and reported
 * (log line event_log_cut), and what is left is synced. VR_ERR_CHECKSUM: records that were acknowledged are damaged,
 * the text says where and what to do. VR_ERR_IO, VR_ERR_NOMEM, VR_ERR_FORMAT, VR_ERR_UNSUPPORTED. */
enum vr_status vr_event_log_open(const struct vr_event_log_options *options, struct vr_event_log **out);
void vr_event_log_close(struct vr_event_log *log); /* NULL is accepted */

/* When the store began, of the first segment; INT64_MIN while there is none. */
int64_t vr_event_log_store_ms(const struct vr_event_log *log);
void vr_event_log_set_store_ms(struct vr_event_log *log, int64_t store_ms); /* before the first commit */

/* The sequence that the next record gets. */
uint64_t vr_event_log_next(const struct vr_event_log *log);

/* Call `visit` with every record from sequence `from` on (what it gets is borrowed for the call), until it fails.
 * VR_ERR_CHECKSUM as vr_event_log_open; VR_ERR_IO, VR_ERR_NOMEM, and what `visit` gave. */
typedef enum vr_status vr_log_visit(void *context, const struct vr_log_record *record);
enum vr_status vr_event_log_replay(const struct vr_event_log *log, uint64_t from, vr_log_visit *visit, void *context);

/* The same over a folder that another process may be writing to, and without changing anything: a torn end is passed
 * over. For tools. */
enum vr_status vr_log_folder_walk(const char *folder, uint64_t from, vr_log_visit *visit, void *context);

/* Put an event into the group that is being made. VR_ERR_NOMEM, VR_ERR_TOO_LARGE (the group; commit first). */
enum vr_status vr_event_log_add(struct vr_event_log *log, const struct vr_event *event, int64_t received_ms);

bool vr_event_log_is_empty(const struct vr_event_log *log); /* the group */

/* Write the group and sync it; an empty one is VR_OK. On VR_ERR_IO nothing of it counts, its sequences are given out
 * again, and the next commit may succeed: after a failed sync it begins a new segment, since nobody knows what of the
 * old one's end has reached the disk. */
enum vr_status vr_event_log_commit(struct vr_event_log *log);

struct vr_event_log_counts {
    uint64_t commits, failures; /* of groups that were not empty */
    uint64_t bytes;             /* written and synced by this process */
    uint64_t segments;          /* in the folder */
};
void vr_event_log_measure(const struct vr_event_log *log, struct vr_event_log_counts *out); /* from any thread */

#endif
