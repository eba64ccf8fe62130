/* The viewer's record of viewer_record.h. Memory is reserved before anything changes, so a failure leaves the record
 * as it was. */
#include "viewer_record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/hash.h"

#define FIRST_CAPACITY 8u

static enum vr_status no_memory(void)
{
    return vr_fail(VR_ERR_NOMEM, "viewer record: no memory");
}

struct vr_viewer_record *vr_viewer_record_new(void)
{
    struct vr_viewer_record *record = calloc(1, sizeof *record);
    if (record != NULL) {
        record->age = NAN;
    }
    return record;
}

void vr_viewer_record_free(struct vr_viewer_record *record)
{
    if (record == NULL) {
        return;
    }
    free(record->impression);
    vr_number_set_clear(&record->seen);
    vr_number_set_clear(&record->served);
    free(record->follow);
    free(record->friends);
    free(record->profile);
    free(record->profile_text);
    free(record);
}

/* ---- impressions ---- */

static uint64_t request_key(struct vr_str request_id)
{
    uint64_t hash = vr_hash_bytes(request_id.data, request_id.len);
    return hash != 0 ? hash : 1; /* 0 marks an imported impression */
}

/* Newest first: events come soon after their impression. */
static struct vr_impression *find(struct vr_viewer_record *record, uint64_t request, uint32_t video)
{
    for (uint32_t i = record->impression_count; i-- > 0;) {
        struct vr_impression *impression = &record->impression[i];
        if (impression->video == video && impression->request == request) {
            return impression;
        }
    }
    return NULL;
}

static bool reserve_impression(struct vr_viewer_record *record)
{
    if (record->impression_count < record->impression_capacity) {
        return true;
    }
    uint32_t capacity = record->impression_capacity == 0 ? FIRST_CAPACITY : record->impression_capacity * 2;
    struct vr_impression *larger = realloc(record->impression, (size_t)capacity * sizeof *larger);
    if (larger == NULL) {
        return false;
    }
    record->impression = larger;
    record->impression_capacity = capacity;
    return true;
}

/* Move impressions that are later than entry i behind it, so that all stand by time again. */
static void settle(struct vr_impression *impression, uint32_t i)
{
    struct vr_impression moving = impression[i];
    for (; i > 0 && impression[i - 1].time_ms > moving.time_ms; i--) {
        impression[i] = impression[i - 1];
    }
    impression[i] = moving;
}

static void drop_oldest(struct vr_viewer_record *record)
{
    record->impression_count--;
    memmove(record->impression, record->impression + 1, record->impression_count * sizeof *record->impression);
}

enum vr_status vr_viewer_record_add(struct vr_viewer_record *record, uint32_t recent,
                                    const struct vr_impression *impression)
{
    if (!reserve_impression(record) || !vr_number_set_reserve(&record->seen, 1, VR_SEEN_MAX)) {
        return no_memory();
    }
    record->impression[record->impression_count++] = *impression;
    settle(record->impression, record->impression_count - 1);
    if (record->impression_count > recent + VR_IMPRESSIONS_SPARE) {
        drop_oldest(record);
    }
    vr_number_set_add(&record->seen, impression->video, VR_SEEN_MAX);
    return VR_OK;
}

enum vr_status vr_viewer_record_apply(struct vr_viewer_record *record, uint32_t recent, const struct vr_event *event,
                                      uint32_t video, struct vr_label_change *change)
{
    uint64_t request = request_key(event->request_id);
    struct vr_impression *found = find(record, request, video);
    if (found != NULL) {
        *change = vr_impression_apply(found, event, false);
        settle(record->impression, (uint32_t)(found - record->impression));
    } else {
        struct vr_impression made = {.request = request, .video = video, .time_ms = event->time_ms};
        *change = vr_impression_apply(&made, event, true);
        enum vr_status status = vr_viewer_record_add(record, recent, &made);
        if (status != VR_OK) {
            return status;
        }
    }
    vr_totals_add(&record->totals, &change->delta);
    return VR_OK;
}

enum vr_status vr_viewer_record_serve(struct vr_viewer_record *record, const uint32_t *video, uint32_t count)
{
    if (!vr_number_set_reserve(&record->served, count, VR_SERVED_MAX)) {
        return no_memory();
    }
    for (uint32_t i = 0; i < count; i++) {
        vr_number_set_add(&record->served, video[i], VR_SERVED_MAX);
    }
    return VR_OK;
}

/* ---- reading ---- */

static struct vr_watch watch_of(const struct vr_impression *impression)
{
    struct vr_watch watch = {
        .video = impression->video,
        .flags = impression->flags,
        .time_ms = impression->time_ms,
        .watch_s = (float)vr_impression_watch_s(impression),
        .request = (uint32_t)impression->request,
    };
    return watch;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t vr_viewer_record_recent(const struct vr_viewer_record *record, uint32_t recent, struct vr_watch *out,
                                 uint32_t capacity)
{
    uint32_t count = smaller(smaller(record->impression_count, recent), capacity);
    for (uint32_t i = 0; i < count; i++) {
        out[i] = watch_of(&record->impression[record->impression_count - 1 - i]);
    }
    return count;
}

/* A copy of `count` numbers in the arena; false when memory is short. An empty array gives NULL. */
static bool copy_numbers(struct vr_arena *arena, const uint32_t *numbers, uint32_t count, const uint32_t **out)
{
    *out = NULL;
    if (count == 0) {
        return true;
    }
    uint32_t *copy = vr_arena_alloc(arena, (size_t)count * sizeof *copy);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, numbers, (size_t)count * sizeof *copy);
    *out = copy;
    return true;
}

static bool copy_recent(const struct vr_viewer_record *record, uint32_t recent, struct vr_arena *arena,
                        struct vr_viewer *out)
{
    uint32_t count = smaller(record->impression_count, recent);
    struct vr_watch *watch = vr_arena_alloc(arena, (size_t)count * sizeof *watch);
    if (watch == NULL) {
        return false;
    }
    const struct vr_impression *first = record->impression + (record->impression_count - count);
    for (uint32_t i = 0; i < count; i++) {
        watch[i] = watch_of(&first[i]);
    }
    out->recent = watch;
    out->recent_count = count;
    return true;
}

static struct vr_str moved(struct vr_str s, const char *from, const char *to)
{
    struct vr_str at = {to + (s.data - from), s.len};
    return s.data == NULL ? s : at;
}

static bool copy_profile(const struct vr_viewer_record *record, struct vr_arena *arena, struct vr_viewer *out)
{
    if (record->profile_count == 0) {
        return true;
    }
    struct vr_profile_value *value = vr_arena_alloc(arena, record->profile_count * sizeof *value);
    char *text = vr_arena_alloc(arena, record->profile_text_bytes);
    if (value == NULL || text == NULL) {
        return false;
    }
    memcpy(text, record->profile_text, record->profile_text_bytes);
    for (uint32_t i = 0; i < record->profile_count; i++) {
        value[i] = record->profile[i];
        value[i].name = moved(value[i].name, record->profile_text, text);
        value[i].text = moved(value[i].text, record->profile_text, text);
    }
    out->profile = value;
    out->profile_count = record->profile_count;
    return true;
}

enum vr_status vr_viewer_record_copy(const struct vr_viewer_record *record, uint32_t recent, struct vr_arena *arena,
                                     struct vr_viewer *out)
{
    struct vr_viewer viewer = {
        .known = true,
        .age = record->age,
        .counters = vr_totals_counters(&record->totals),
        .seen_count = record->seen.count,
        .served_count = record->served.count,
        .follow_count = record->follow_count,
        .friend_count = record->friend_count,
    };
    if (!copy_recent(record, recent, arena, &viewer) ||
        !copy_numbers(arena, record->seen.sorted, record->seen.count, &viewer.seen) ||
        !copy_numbers(arena, record->served.sorted, record->served.count, &viewer.served) ||
        !copy_numbers(arena, record->follow, record->follow_count, &viewer.follow) ||
        !copy_numbers(arena, record->friends, record->friend_count, &viewer.friends) ||
        !copy_profile(record, arena, &viewer)) {
        return VR_ERR_NOMEM;
    }
    *out = viewer;
    return VR_OK;
}

size_t vr_viewer_record_bytes(const struct vr_viewer_record *record)
{
    return sizeof *record + record->impression_capacity * sizeof *record->impression +
           vr_number_set_bytes(&record->seen) + vr_number_set_bytes(&record->served) +
           ((size_t)record->follow_count + record->friend_count) * sizeof(uint32_t) +
           record->profile_count * sizeof *record->profile + record->profile_text_bytes;
}

/* ---- invariants ---- */

static bool impression_is_valid(const struct vr_viewer_record *record, uint32_t i)
{
    const struct vr_impression *impression = &record->impression[i];
    if (i > 0 && record->impression[i - 1].time_ms > impression->time_ms) {
        return false;
    }
    for (uint32_t j = 0; j < i && impression->request != 0; j++) {
        if (record->impression[j].request == impression->request && record->impression[j].video == impression->video) {
            return false;
        }
    }
    return !(vr_impression_watch_s(impression) > VR_WATCH_CAP_S);
}

bool vr_viewer_record_is_valid(const struct vr_viewer_record *record)
{
    for (uint32_t i = 0; i < record->impression_count; i++) {
        if (!impression_is_valid(record, i)) {
            return false;
        }
    }
    return record->impression_count <= record->impression_capacity && vr_number_set_is_valid(&record->seen) &&
           vr_number_set_is_valid(&record->served) && record->seen.count <= VR_SEEN_MAX &&
           record->served.count <= VR_SERVED_MAX;
}
