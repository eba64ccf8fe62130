/* Import of a bundle's seed state (docs/bundle.md, "state/state.safetensors"): rows become the store's numbers, ages
 * become times. Every index is checked; that offsets end where their arrays end is the bundle reader's to check. A
 * failed import may leave some of the seeds in the store; the caller gives the store up or goes on without. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"

struct import {
    struct vr_state *state;
    const struct vr_bundle *bundle;
    const struct vr_bundle_state *seed;
    int64_t as_of_ms;  /* shifted */
    uint32_t *video;   /* [videos], number of a row */
    uint32_t *creator; /* [creators], number of a row */
    uint32_t *viewer;  /* [viewers], number of a row */
};

/* ---- videos ---- */

static enum vr_status seed_videos(const struct import *import)
{
    const struct vr_bundle_state *seed = import->seed;
    for (uint32_t row = 0; row < import->bundle->videos.count; row++) {
        struct vr_video_record record = {.trend = {0, import->as_of_ms}};
        if (seed->video_counters != NULL) {
            record.totals = vr_totals_of(&seed->video_counters[(size_t)row * 6]);
        }
        if (seed->video_trend != NULL && isfinite(seed->video_trend[row])) {
            record.trend.weight = (double)seed->video_trend[row];
        }
        const struct vr_state *state = import->state;
        enum vr_status status = state->ops->video_seed(state->store, import->video[row], &record);
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

/* ---- viewers ---- */

/* A span of one of the seed's offset arrays; false when it does not rise. */
static bool span_of(const uint32_t *offset, uint32_t row, uint32_t *begin, uint32_t *count)
{
    *begin = offset != NULL ? offset[row] : 0;
    uint32_t end = offset != NULL ? offset[row + 1] : 0;
    *count = end - *begin;
    return end >= *begin;
}

static enum vr_status bad_index(const char *tensor, uint32_t row)
{
    return vr_fail(VR_ERR_FORMAT, "seed state: %s of viewer %u is out of range", tensor, row);
}

/* The time of a watch `age_s` before as_of; INT64_MIN where the age is unknown. */
static int64_t watch_time(const struct import *import, float age_s)
{
    double age_ms = fmin((double)age_s * 1000.0, (double)VR_TIME_MAX_MS); /* llround takes no more than 2^63 */
    return isfinite(age_s) ? import->as_of_ms - (int64_t)llround(age_ms) : INT64_MIN;
}

static enum vr_status seed_watch(const struct import *import, uint32_t row, uint32_t i, struct vr_viewer_record *record)
{
    int32_t video = import->seed->recent_video[i];
    if (video < 0 || (uint32_t)video >= import->bundle->videos.count) {
        return bad_index("recent.video", row);
    }
    struct vr_impression watch = {
        .time_ms = watch_time(import, import->seed->recent_age_s[i]),
        .played_s = (double)import->seed->recent_watch_s[i],
        .duration_s = import->bundle->videos.duration_s != NULL ? import->bundle->videos.duration_s[video] : 0,
        .video = import->video[video],
        .flags = import->seed->recent_flags[i],
    };
    return vr_viewer_record_add(record, import->state->config.recent_watches, &watch);
}

static enum vr_status seed_recent(const struct import *import, uint32_t row, struct vr_viewer_record *record)
{
    uint32_t begin;
    uint32_t count;
    if (!span_of(import->seed->recent_offset, row, &begin, &count)) {
        return bad_index("recent.offsets", row);
    }
    enum vr_status status = VR_OK;
    for (uint32_t i = 0; i < count && status == VR_OK; i++) {
        status = seed_watch(import, row, begin + i, record);
    }
    return status;
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Sort and keep one of each; returns how many there are. */
static uint32_t make_set(uint32_t *number, uint32_t count)
{
    qsort(number, count, sizeof *number, compare_numbers);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || number[kept - 1] != number[i]) {
            number[kept++] = number[i];
        }
    }
    return kept;
}

/* Row indexes index[begin .. begin + *count) -> the set of their numbers in a new array, NULL for none. */
static enum vr_status numbers_of(const int32_t *index, uint32_t begin, const uint32_t *number, uint32_t numbers,
                                 uint32_t **out, uint32_t *count)
{
    if (*count == 0) {
        return VR_OK;
    }
    *out = malloc((size_t)*count * sizeof **out);
    if (*out == NULL) {
        return vr_fail(VR_ERR_NOMEM, "import: no memory");
    }
    for (uint32_t i = 0; i < *count; i++) {
        int32_t row = index[begin + i];
        if (row < 0 || (uint32_t)row >= numbers) {
            return VR_ERR_FORMAT;
        }
        (*out)[i] = number[row];
    }
    *count = make_set(*out, *count);
    return VR_OK;
}

static enum vr_status seed_follows(const struct import *import, uint32_t row, struct vr_viewer_record *record)
{
    uint32_t begin;
    if (!span_of(import->seed->follow_offset, row, &begin, &record->follow_count)) {
        return bad_index("follow.offsets", row);
    }
    enum vr_status status = numbers_of(import->seed->follow_creator, begin, import->creator,
                                       import->bundle->videos.creator_id.count, &record->follow, &record->follow_count);
    return status == VR_ERR_FORMAT ? bad_index("follow.creator", row) : status;
}

static enum vr_status seed_friends(const struct import *import, uint32_t row, struct vr_viewer_record *record)
{
    uint32_t begin;
    if (!span_of(import->seed->friend_offset, row, &begin, &record->friend_count)) {
        return bad_index("friend.offsets", row);
    }
    enum vr_status status = numbers_of(import->seed->friend_viewer, begin, import->viewer,
                                       import->seed->viewer_id.count, &record->friends, &record->friend_count);
    return status == VR_ERR_FORMAT ? bad_index("friend.viewer", row) : status;
}

/* The text of a viewer in a string column; empty where it is missing. */
static struct vr_str profile_text(const struct vr_profile_column *column, uint32_t row)
{
    static const struct vr_str nothing = {NULL, 0};
    bool has_text = column->type == VR_FIELD_STRING && column->index[row] >= 0 &&
                    (uint32_t)column->index[row] < column->values.count;
    return has_text ? vr_string_at(&column->values, (uint32_t)column->index[row]) : nothing;
}

static bool has_value(const struct vr_profile_column *column, uint32_t row)
{
    return column->type == VR_FIELD_STRING ? profile_text(column, row).data != NULL : !isnan(column->number[row]);
}

/* Count the values that a viewer has, and the bytes of their names and texts. */
static void measure_profile(const struct import *import, uint32_t row, struct vr_viewer_record *record)
{
    for (uint32_t i = 0; i < import->seed->profile_count; i++) {
        const struct vr_profile_column *column = &import->seed->profile[i];
        if (has_value(column, row)) {
            record->profile_count++;
            record->profile_text_bytes += column->name.len + profile_text(column, row).len;
        }
    }
}

static struct vr_str append(char **text, struct vr_str s)
{
    struct vr_str copy = {*text, s.len};
    if (s.len > 0) {
        memcpy(*text, s.data, s.len);
    }
    *text += s.len;
    return copy;
}

static enum vr_status seed_profile(const struct import *import, uint32_t row, struct vr_viewer_record *record)
{
    measure_profile(import, row, record);
    if (record->profile_count == 0) {
        return VR_OK;
    }
    record->profile = calloc(record->profile_count, sizeof *record->profile);
    record->profile_text = malloc(record->profile_text_bytes + 1);
    if (record->profile == NULL || record->profile_text == NULL) {
        return vr_fail(VR_ERR_NOMEM, "import: no memory");
    }
    struct vr_profile_value *value = record->profile;
    char *text = record->profile_text;
    for (uint32_t i = 0; i < import->seed->profile_count; i++) {
        const struct vr_profile_column *column = &import->seed->profile[i];
        if (has_value(column, row)) {
            value->is_text = column->type == VR_FIELD_STRING;
            value->number = value->is_text ? NAN : column->number[row];
            value->name = append(&text, column->name);
            value->text = append(&text, profile_text(column, row));
            value++;
        }
    }
    return VR_OK;
}

static enum vr_status seed_record(const struct import *import, uint32_t row, struct vr_viewer_record *record)
{
    if (import->seed->viewer_age != NULL) {
        record->age = import->seed->viewer_age[row];
    }
    if (import->seed->viewer_counters != NULL) {
        record->totals = vr_totals_of(&import->seed->viewer_counters[(size_t)row * 6]);
    }
    enum vr_status status = seed_recent(import, row, record);
    if (status == VR_OK) {
        status = seed_follows(import, row, record);
    }
    if (status == VR_OK) {
        status = seed_friends(import, row, record);
    }
    return status == VR_OK ? seed_profile(import, row, record) : status;
}

static enum vr_status seed_viewer(const struct import *import, uint32_t row)
{
    struct vr_viewer_record *record = vr_viewer_record_new();
    if (record == NULL) {
        return vr_fail(VR_ERR_NOMEM, "import: no memory");
    }
    const struct vr_state *state = import->state;
    enum vr_status status = seed_record(import, row, record);
    if (status == VR_OK) {
        status = state->ops->viewer_seed(state->store, import->viewer[row], record);
    }
    if (status != VR_OK) {
        vr_viewer_record_free(record);
    }
    return status;
}

static enum vr_status import_all(struct import *import)
{
    const struct vr_bundle_videos *videos = &import->bundle->videos;
    enum vr_status status = vr_state_intern_list(import->state, VR_ID_VIDEO, &videos->id, &import->video);
    if (status == VR_OK) {
        status = vr_state_intern_list(import->state, VR_ID_CREATOR, &videos->creator_id, &import->creator);
    }
    if (status == VR_OK) {
        status = vr_state_intern_list(import->state, VR_ID_VIEWER, &import->seed->viewer_id, &import->viewer);
    }
    if (status == VR_OK) {
        status = seed_videos(import);
    }
    for (uint32_t row = 0; row < import->seed->viewer_id.count && status == VR_OK; row++) {
        status = seed_viewer(import, row);
    }
    return status;
}

enum vr_status vr_state_import(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms,
                               uint32_t *imported)
{
    *imported = 0;
    enum vr_status status = VR_OK;
    pthread_mutex_lock(&state->import_lock);
    int64_t shift_ms = vr_state_shift_ms_locked(state, bundle, now_ms);
    if (bundle->state.present && state->ops->viewer_count(state->store) == 0) {
        struct import import = {.state = state, .bundle = bundle, .seed = &bundle->state};
        import.as_of_ms = bundle->as_of_ms + shift_ms;
        status = import_all(&import);
        free(import.video);
        free(import.creator);
        free(import.viewer);
        *imported = status == VR_OK ? bundle->state.viewer_id.count : 0;
        vr_trending_board_expire(state->trending);
    }
    pthread_mutex_unlock(&state->import_lock);
    return status;
}
