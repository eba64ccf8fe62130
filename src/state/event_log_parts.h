/* The log object, for event_log.c and log_replay.c. */
#ifndef VIREO_STATE_EVENT_LOG_PARTS_H
#define VIREO_STATE_EVENT_LOG_PARTS_H

#include "event_log.h"

struct vr_event_log {
    char *folder;
    uint64_t segment_bytes;
    const struct vr_file_ops *files;
    int64_t store_ms;
    uint64_t next; /* sequence of the next record */
    int fd;        /* of the segment in use; -1: the next commit begins one */
    uint64_t end;  /* its bytes that are synced */
    char *group;   /* [group_capacity], frames of the group that is being made */
    size_t group_bytes, group_capacity;
    uint32_t group_records;
    struct vr_event_log_counts counts; /* one writer; __atomic builtins */
};

static inline void vr_log_count(uint64_t *counter, uint64_t by)
{
    __atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

#endif
