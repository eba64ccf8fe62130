/* One viewer as the store keeps him, and what can be done with a record: apply an event, remember what was served, copy
 * it out. A driver holds the record's lock (or its own copy) around each call; what differs between drivers is where a
 * record lies, never what an event means. */
#ifndef VIREO_STATE_VIEWER_RECORD_H
#define VIREO_STATE_VIEWER_RECORD_H

#include "labels.h"
#include "number_set.h"

/* Impressions kept beyond the recent watches, so that the events of the last feeds still find theirs. */
#define VR_IMPRESSIONS_SPARE 100u

struct vr_viewer_record {
    float age; /* years, NaN unknown */
    struct vr_totals totals;
    struct vr_impression *impression; /* [impression_count], by time, oldest first */
    uint32_t impression_count, impression_capacity;
    struct vr_number_set seen, served;
    uint32_t *follow, *friends; /* creator numbers, viewer numbers */
    uint32_t follow_count, friend_count;
    struct vr_profile_value *profile; /* [profile_count]; texts in profile_text */
    uint32_t profile_count;
    char *profile_text;
    size_t profile_text_bytes;
};

/* An empty record of unknown age. NULL when memory is short. */
struct vr_viewer_record *vr_viewer_record_new(void);
void vr_viewer_record_free(struct vr_viewer_record *record); /* NULL is accepted */

/* Apply an event about `video`. `recent` is how many watches features read. On VR_ERR_NOMEM nothing has changed. */
enum vr_status vr_viewer_record_apply(struct vr_viewer_record *record, uint32_t recent, const struct vr_event *event,
                                      uint32_t video, struct vr_label_change *change);

/* Put an impression in its place by time (the latest among equals); the oldest goes when recent + VR_IMPRESSIONS_SPARE
 * are there. Its video becomes seen. On VR_ERR_NOMEM nothing has changed. */
enum vr_status vr_viewer_record_add(struct vr_viewer_record *record, uint32_t recent,
                                    const struct vr_impression *impression);

/* Remember these videos as served. On VR_ERR_NOMEM nothing has changed. */
enum vr_status vr_viewer_record_serve(struct vr_viewer_record *record, const uint32_t *video, uint32_t count);

/* Copy all into `arena`, recent watches at most `recent`. VR_ERR_NOMEM. */
enum vr_status vr_viewer_record_copy(const struct vr_viewer_record *record, uint32_t recent, struct vr_arena *arena,
                                     struct vr_viewer *out);

/* Recent watches, newest first, at most `capacity`; returns how many. */
uint32_t vr_viewer_record_recent(const struct vr_viewer_record *record, uint32_t recent, struct vr_watch *out,
                                 uint32_t capacity);

size_t vr_viewer_record_bytes(const struct vr_viewer_record *record);

/* Impressions stand by time, no two joinable ones have one key, sets and labels hold together. For tests. */
bool vr_viewer_record_is_valid(const struct vr_viewer_record *record);

#endif
