/* One record of the event log, as bytes (docs/event-log.md has the format to the byte): a frame of length and checksum
 * around a payload of a fixed head and tagged fields. Everything is little-endian; frames begin at multiples of 8. */
#ifndef VIREO_STATE_LOG_RECORD_H
#define VIREO_STATE_LOG_RECORD_H

#include "vireo/state.h"

#define VR_FRAME_ALIGN 8u
#define VR_FRAME_HEAD_BYTES 8u     /* length, checksum */
#define VR_RECORD_HEAD_BYTES 40u   /* of a payload, before its fields */
#define VR_RECORD_MAX_BYTES 65536u /* a payload's; what claims more is no record */

enum vr_record_kind {
    VR_RECORD_EVENT = 1,
    VR_RECORD_SERVED = 2 /* kept for what the server showed, features included; readers pass over unknown kinds */
};

struct vr_log_record {
    uint64_t sequence;     /* 1, 2, ... over all segments */
    uint32_t group;        /* bytes from the group's first frame to this one: all before the group was synced */
    uint32_t kind;         /* enum vr_record_kind */
    int64_t received_ms;   /* the server's clock */
    struct vr_event event; /* its texts lie in the record's bytes */
};

/* The frame's bytes, with the padding behind it. */
size_t vr_log_record_bytes(const struct vr_event *event);

/* Write the frame of an EVENT record to out[vr_log_record_bytes]. */
void vr_log_record_write(const struct vr_log_record *record, char *out);

/* The bytes of the frame that begins at data[0 .. left), padding included; 0 where there is none that is whole and has
 * the right checksum. */
size_t vr_log_frame_check(const char *data, size_t left);

/* Read a checked frame. VR_ERR_FORMAT: the checksum holds, but the payload is no record. */
enum vr_status vr_log_record_read(const char *frame, struct vr_log_record *out);

#endif
