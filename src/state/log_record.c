/* Records as bytes (log_record.h). */
#include "log_record.h"

#include <string.h>

#include "crc32c.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the log is little-endian");

#define FIELD_HEAD_BYTES 4u /* tag, zero, length */

/* Numbers of fields; a reader passes over those that it does not know. */
enum field_tag {
    FIELD_EVENT_ID = 1,
    FIELD_REQUEST_ID,
    FIELD_USER_ID,
    FIELD_VIDEO_ID,
    FIELD_MODEL_VERSION,
    FIELD_EXPERIMENT,
    FIELD_ARM,
    FIELD_SOURCE
};

/* Where a field's text is kept in an event. */
static const struct {
    enum field_tag tag;
    size_t at;
} fields[] = {
    {FIELD_EVENT_ID, offsetof(struct vr_event, event_id)},
    {FIELD_REQUEST_ID, offsetof(struct vr_event, request_id)},
    {FIELD_USER_ID, offsetof(struct vr_event, user_id)},
    {FIELD_VIDEO_ID, offsetof(struct vr_event, video_id)},
    {FIELD_MODEL_VERSION, offsetof(struct vr_event, model_version)},
    {FIELD_EXPERIMENT, offsetof(struct vr_event, experiment)},
    {FIELD_ARM, offsetof(struct vr_event, arm)},
    {FIELD_SOURCE, offsetof(struct vr_event, source)},
};
#define FIELDS (sizeof fields / sizeof *fields)

static struct vr_str text_of(const struct vr_event *event, size_t at)
{
    struct vr_str text;
    memcpy(&text, (const char *)event + at, sizeof text);
    return text;
}

static size_t payload_bytes(const struct vr_event *event)
{
    size_t bytes = VR_RECORD_HEAD_BYTES;
    for (size_t i = 0; i < FIELDS; i++) {
        size_t len = text_of(event, fields[i].at).len;
        bytes += len > 0 ? FIELD_HEAD_BYTES + len : 0;
    }
    return bytes;
}

static size_t padded(size_t bytes)
{
    return (bytes + VR_FRAME_ALIGN - 1) / VR_FRAME_ALIGN * VR_FRAME_ALIGN;
}

size_t vr_log_record_bytes(const struct vr_event *event)
{
    return padded(VR_FRAME_HEAD_BYTES + payload_bytes(event));
}

static void put(char **to, const void *value, size_t bytes)
{
    memcpy(*to, value, bytes);
    *to += bytes;
}

static void put_field(char **to, enum field_tag tag, struct vr_str text)
{
    if (text.len > 0) {
        const unsigned char head[2] = {(unsigned char)tag, 0};
        const uint16_t len = (uint16_t)text.len;
        put(to, head, sizeof head);
        put(to, &len, sizeof len);
        put(to, text.data, text.len);
    }
}

static void put_payload(const struct vr_log_record *record, char *to)
{
    const struct vr_event *event = &record->event;
    const unsigned char kinds[2] = {(unsigned char)record->kind, (unsigned char)event->type};
    const uint16_t position = (uint16_t)event->position;
    put(&to, &record->sequence, 8);
    put(&to, &record->group, 4);
    put(&to, kinds, 2);
    put(&to, &position, 2);
    put(&to, &event->time_ms, 8);
    put(&to, &record->received_ms, 8);
    put(&to, &event->watch_s, 4);
    put(&to, &event->duration_s, 4);
    for (size_t i = 0; i < FIELDS; i++) {
        put_field(&to, fields[i].tag, text_of(event, fields[i].at));
    }
}

static uint32_t checksum(const char *frame, uint32_t length)
{
    uint32_t crc = vr_crc32c(0, frame, 4); /* the length too: nothing else says how far to read */
    return vr_crc32c(crc, frame + VR_FRAME_HEAD_BYTES, length);
}

void vr_log_record_write(const struct vr_log_record *record, char *out)
{
    const uint32_t length = (uint32_t)payload_bytes(&record->event);
    memset(out, 0, vr_log_record_bytes(&record->event));
    memcpy(out, &length, 4);
    put_payload(record, out + VR_FRAME_HEAD_BYTES);
    const uint32_t crc = checksum(out, length);
    memcpy(out + 4, &crc, 4);
}

size_t vr_log_frame_check(const char *data, size_t left)
{
    uint32_t length;
    uint32_t crc;
    if (left < VR_FRAME_HEAD_BYTES) {
        return 0;
    }
    memcpy(&length, data, 4);
    memcpy(&crc, data + 4, 4);
    if (length < VR_RECORD_HEAD_BYTES || length > VR_RECORD_MAX_BYTES || padded(VR_FRAME_HEAD_BYTES + length) > left) {
        return 0;
    }
    return checksum(data, length) == crc ? padded(VR_FRAME_HEAD_BYTES + length) : 0;
}

/* Each field in its place; a field twice keeps the last. */
static bool read_fields(const char *from, const char *end, struct vr_event *event)
{
    while (from != end) {
        uint16_t len;
        if (end - from < (ptrdiff_t)FIELD_HEAD_BYTES) {
            return false;
        }
        memcpy(&len, from + 2, 2);
        if ((size_t)(end - from) < FIELD_HEAD_BYTES + len) {
            return false;
        }
        const struct vr_str text = {from + FIELD_HEAD_BYTES, len};
        for (size_t i = 0; i < FIELDS; i++) {
            if ((unsigned char)from[0] == (unsigned char)fields[i].tag) {
                memcpy((char *)event + fields[i].at, &text, sizeof text);
            }
        }
        from += FIELD_HEAD_BYTES + len;
    }
    return true;
}

enum vr_status vr_log_record_read(const char *frame, struct vr_log_record *out)
{
    uint32_t length;
    uint16_t position;
    const char *payload = frame + VR_FRAME_HEAD_BYTES;
    memcpy(&length, frame, 4);
    memset(out, 0, sizeof *out);
    memcpy(&out->sequence, payload, 8);
    memcpy(&out->group, payload + 8, 4);
    out->kind = (unsigned char)payload[12];
    out->event.type = (enum vr_event_type)(unsigned char)payload[13];
    memcpy(&position, payload + 14, 2);
    out->event.position = position;
    memcpy(&out->event.time_ms, payload + 16, 8);
    memcpy(&out->received_ms, payload + 24, 8);
    memcpy(&out->event.watch_s, payload + 32, 4);
    memcpy(&out->event.duration_s, payload + 36, 4);
    if (!read_fields(payload + VR_RECORD_HEAD_BYTES, payload + length, &out->event)) {
        return vr_fail(VR_ERR_FORMAT, "record %llu: its fields do not fit", (unsigned long long)out->sequence);
    }
    return VR_OK;
}
