/* Packed viewers (viewer_pack.h), little-endian: a head of counts and totals, then the arrays: impressions, numbers
 * seen and served in the order of adding, follows, friends, profile values, their texts. */
#include "viewer_pack.h"

#include <stdlib.h>
#include <string.h>

#define VERSION 1u

struct head {
    uint32_t version;
    float age;
    struct vr_totals totals;
    uint32_t impressions, seen, served, follows, friends, profile;
    uint64_t text_bytes;
};

struct packed_impression {
    uint64_t request;
    int64_t time_ms;
    double played_s;
    float duration_s;
    uint32_t video, flags, finished;
};

struct packed_value { /* texts as places in the record's text */
    uint32_t name_at, name_len, text_at, text_len;
    double number;
    uint32_t is_text, zero;
};

static size_t bytes_of(const struct head *head)
{
    return sizeof *head + head->impressions * sizeof(struct packed_impression) +
           ((size_t)head->seen + head->served + head->follows + head->friends) * sizeof(uint32_t) +
           head->profile * sizeof(struct packed_value) + head->text_bytes;
}

static struct head head_of(const struct vr_viewer_record *record)
{
    struct head head;
    memset(&head, 0, sizeof head);
    head.version = VERSION;
    head.age = record->age;
    head.totals = record->totals;
    head.impressions = record->impression_count;
    head.seen = record->seen.count;
    head.served = record->served.count;
    head.follows = record->follow_count;
    head.friends = record->friend_count;
    head.profile = record->profile_count;
    head.text_bytes = record->profile_count > 0 ? record->profile_text_bytes : 0;
    return head;
}

size_t vr_viewer_pack_bytes(const struct vr_viewer_record *record)
{
    const struct head head = head_of(record);
    return bytes_of(&head);
}

static void put(char **to, const void *data, size_t bytes)
{
    if (bytes > 0) {
        memcpy(*to, data, bytes);
        *to += bytes;
    }
}

static void put_impression(char **to, const struct vr_impression *from)
{
    struct packed_impression packed;
    memset(&packed, 0, sizeof packed);
    packed.request = from->request;
    packed.time_ms = from->time_ms;
    packed.played_s = from->played_s;
    packed.duration_s = from->duration_s;
    packed.video = from->video;
    packed.flags = from->flags;
    packed.finished = from->finished;
    put(to, &packed, sizeof packed);
}

static uint32_t place_of(const struct vr_viewer_record *record, struct vr_str text)
{
    return text.data != NULL ? (uint32_t)(text.data - record->profile_text) : 0;
}

static void put_value(char **to, const struct vr_viewer_record *record, const struct vr_profile_value *value)
{
    struct packed_value packed;
    memset(&packed, 0, sizeof packed);
    packed.name_at = place_of(record, value->name);
    packed.name_len = (uint32_t)value->name.len;
    packed.text_at = place_of(record, value->text);
    packed.text_len = (uint32_t)value->text.len;
    packed.number = value->number;
    packed.is_text = value->is_text;
    put(to, &packed, sizeof packed);
}

void vr_viewer_pack(const struct vr_viewer_record *record, char *out)
{
    const struct head head = head_of(record);
    put(&out, &head, sizeof head);
    for (uint32_t i = 0; i < head.impressions; i++) {
        put_impression(&out, &record->impression[i]);
    }
    put(&out, record->seen.order, head.seen * sizeof(uint32_t));
    put(&out, record->served.order, head.served * sizeof(uint32_t));
    put(&out, record->follow, head.follows * sizeof(uint32_t));
    put(&out, record->friends, head.friends * sizeof(uint32_t));
    for (uint32_t i = 0; i < head.profile; i++) {
        put_value(&out, record, &record->profile[i]);
    }
    put(&out, record->profile_text, head.text_bytes);
}

/* ---- back ---- */

/* What is still to be read; sizes were checked as a whole before. */
struct reader {
    const char *at;
};

static void take(struct reader *reader, void *out, size_t bytes)
{
    if (bytes > 0) {
        memcpy(out, reader->at, bytes);
        reader->at += bytes;
    }
}

static bool take_impressions(struct reader *reader, uint32_t count, struct vr_viewer_record *record)
{
    record->impression = count > 0 ? malloc(count * sizeof *record->impression) : NULL;
    if (count > 0 && record->impression == NULL) {
        return false;
    }
    record->impression_capacity = count;
    record->impression_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct packed_impression packed;
        take(reader, &packed, sizeof packed);
        record->impression[i] = (struct vr_impression){.request = packed.request,
                                                       .time_ms = packed.time_ms,
                                                       .played_s = packed.played_s,
                                                       .duration_s = packed.duration_s,
                                                       .video = packed.video,
                                                       .flags = packed.flags,
                                                       .finished = packed.finished != 0};
    }
    return true;
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static bool take_set(struct reader *reader, uint32_t count, uint32_t limit, struct vr_number_set *set)
{
    if (count == 0) {
        return true;
    }
    if (!vr_number_set_reserve(set, count, limit)) {
        return false;
    }
    take(reader, set->order, count * sizeof *set->order);
    memcpy(set->sorted, set->order, count * sizeof *set->sorted);
    qsort(set->sorted, count, sizeof *set->sorted, compare_numbers);
    set->count = count;
    return true;
}

static bool take_numbers(struct reader *reader, uint32_t count, uint32_t **out, uint32_t *out_count)
{
    *out = count > 0 ? malloc(count * sizeof **out) : NULL;
    if (count > 0 && *out == NULL) {
        return false;
    }
    take(reader, *out, count * sizeof **out);
    *out_count = count;
    return true;
}

static struct vr_str text_at(const struct vr_viewer_record *record, uint32_t at, uint32_t len)
{
    bool fits = len > 0 && (size_t)at + len <= record->profile_text_bytes;
    return fits ? (struct vr_str){record->profile_text + at, len} : (struct vr_str){NULL, 0};
}

static bool take_profile(struct reader *reader, const struct head *head, struct vr_viewer_record *record)
{
    if (head->profile == 0) {
        return true;
    }
    record->profile = calloc(head->profile, sizeof *record->profile);
    record->profile_text = malloc(head->text_bytes + 1);
    if (record->profile == NULL || record->profile_text == NULL) {
        return false;
    }
    record->profile_count = head->profile;
    record->profile_text_bytes = head->text_bytes;
    memcpy(record->profile_text, reader->at + head->profile * sizeof(struct packed_value), head->text_bytes);
    for (uint32_t i = 0; i < head->profile; i++) {
        struct packed_value packed;
        take(reader, &packed, sizeof packed);
        record->profile[i] = (struct vr_profile_value){.name = text_at(record, packed.name_at, packed.name_len),
                                                       .is_text = packed.is_text != 0,
                                                       .number = packed.number,
                                                       .text = text_at(record, packed.text_at, packed.text_len)};
    }
    return true;
}

enum vr_status vr_viewer_unpack(const void *data, size_t len, struct vr_viewer_record **out)
{
    struct head head;
    struct reader reader = {data};
    if (len < sizeof head) {
        return vr_fail(VR_ERR_FORMAT, "packed viewer: %zu bytes", len);
    }
    take(&reader, &head, sizeof head);
    if (head.version != VERSION || head.seen > VR_SEEN_MAX || head.served > VR_SERVED_MAX || head.text_bytes > len ||
        bytes_of(&head) != len) {
        return vr_fail(VR_ERR_FORMAT, "packed viewer: version %u, %zu bytes", head.version, len);
    }
    struct vr_viewer_record *record = vr_viewer_record_new();
    if (record == NULL || !take_impressions(&reader, head.impressions, record) ||
        !take_set(&reader, head.seen, VR_SEEN_MAX, &record->seen) ||
        !take_set(&reader, head.served, VR_SERVED_MAX, &record->served) ||
        !take_numbers(&reader, head.follows, &record->follow, &record->follow_count) ||
        !take_numbers(&reader, head.friends, &record->friends, &record->friend_count) ||
        !take_profile(&reader, &head, record)) {
        vr_viewer_record_free(record);
        return vr_fail(VR_ERR_NOMEM, "packed viewer: no memory");
    }
    record->age = head.age;
    record->totals = head.totals;
    *out = record;
    return VR_OK;
}
