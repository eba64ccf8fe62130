/* Segments of the event log, read: which there are in a folder, what their headers say, their records in order, and
 * what to make of bytes that are no record. A segment is the file NUMBER.log, NUMBER being the sequence of its first
 * record with 20 digits. Writing is event_log.h's. */
#ifndef VIREO_STATE_LOG_SEGMENT_H
#define VIREO_STATE_LOG_SEGMENT_H

#include "log_record.h"

#define VR_SEGMENT_HEADER_BYTES 40u
#define VR_SEGMENT_VERSION 1u
#define VR_SEGMENT_PATH_MAX 1024u

struct vr_segment_header {
    uint64_t first;   /* sequence of its first record */
    int64_t store_ms; /* when the store began: what as_of_ms of shifted bundles became */
};
void vr_segment_header_write(const struct vr_segment_header *header, char out[VR_SEGMENT_HEADER_BYTES]);
/* VR_ERR_FORMAT, VR_ERR_CHECKSUM, VR_ERR_UNSUPPORTED (a later version). */
enum vr_status vr_segment_header_read(const char *data, size_t len, struct vr_segment_header *out);

/* The path of a segment, or of the file that becomes one. VR_ERR_TOO_LARGE. */
enum vr_status vr_segment_path(const char *folder, uint64_t first, const char *ending, char out[VR_SEGMENT_PATH_MAX]);

/* The first sequences of a folder's segments, rising, in an array that the caller frees. VR_ERR_IO, VR_ERR_NOMEM. */
enum vr_status vr_segment_list(const char *folder, uint64_t **first, size_t *count);

/* A segment in memory, walked record by record. */
struct vr_segment {
    char *data;
    size_t len;
    struct vr_segment_header header;
    uint64_t end; /* records of this sequence and later are void: the next segment begins there; UINT64_MAX: the last */
    size_t at;    /* bytes walked */
    uint64_t next; /* sequence of the record to come */
};

/* Read a segment whole; free with vr_segment_close, which accepts all zeros. `next_first`: of the next segment,
 * UINT64_MAX for the last. VR_ERR_IO, VR_ERR_NOMEM, and the header's errors with its name in the text. */
enum vr_status vr_segment_open(const char *folder, uint64_t first, uint64_t next_first, struct vr_segment *out);
void vr_segment_close(struct vr_segment *segment);

/* The next record, or false where no further one is: at the end, at one that is void, or at bytes that are none. */
bool vr_segment_next(struct vr_segment *segment, struct vr_log_record *out);

enum vr_segment_rest {
    VR_REST_NONE = 0, /* the records end where the file does */
    VR_REST_TORN,     /* what follows was never acknowledged, or is void */
    VR_REST_CORRUPT   /* records that were acknowledged are lost */
};

/* After vr_segment_next gave false: what stands between `at` and the file's end. A group is written only after the one
 * before was synced, so bytes that are no record are the remains of a write that a crash broke off, unless a group
 * begins behind them, or the next segment begins with a later sequence than these records come to. */
enum vr_segment_rest vr_segment_judge(const struct vr_segment *segment);

#endif
