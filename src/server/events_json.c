/* Reads POST /v1/events bodies (request_json.h). */
#include <inttypes.h>
#include <stdio.h>

#include "request_json.h"

#define KEY_BYTES 48u /* "events[999].request_id" and its like */

static enum vr_status read_type(struct vr_json_value value, const char *path, enum vr_event_type *out)
{
    struct vr_str text;
    if (vr_json_as_str(value, &text) != VR_OK) {
        return vr_fail(VR_ERR_INVALID, "%s: a string, found %s", path, vr_json_type_name(vr_json_type_of(value)));
    }
    for (uint32_t i = 0; i < VR_EVENT_TYPE_COUNT; i++) {
        if (vr_str_equal(text, vr_str_of(vr_event_type_name((enum vr_event_type)i)))) {
            *out = (enum vr_event_type)i;
            return VR_OK;
        }
    }
    return vr_fail(VR_ERR_INVALID, "%s: \"%.*s\" is no event type", path, (int)(text.len < 32 ? text.len : 32),
                   text.data);
}

static enum vr_status read_time(struct vr_json_value value, const char *path, int64_t *out)
{
    if (vr_json_type_of(value) != VR_JSON_INT || vr_json_as_int(value, out) != VR_OK || *out < 0 ||
        *out > VR_TIME_MS_MAX) {
        return vr_fail(VR_ERR_INVALID, "%s: milliseconds since 1970-01-01 UTC, an integer", path);
    }
    return VR_OK;
}

static enum vr_status read_watch(struct vr_json_value value, const char *path, float *out)
{
    double seconds = 0.0;
    if (vr_json_as_double(value, &seconds) != VR_OK || !(seconds >= 0.0) || seconds > 86400.0) {
        return vr_fail(VR_ERR_INVALID, "%s: seconds, 0 to 86400", path);
    }
    *out = (float)seconds;
    return VR_OK;
}

static enum vr_status read_position(struct vr_json_value value, const char *path, uint32_t *out)
{
    int64_t position = 0;
    if (vr_json_type_of(value) != VR_JSON_INT || vr_json_as_int(value, &position) != VR_OK || position < 1 ||
        position > VR_COUNT_MAX) {
        return vr_fail(VR_ERR_INVALID, "%s: an integer in 1..%u", path, VR_COUNT_MAX);
    }
    *out = (uint32_t)position;
    return VR_OK;
}

/* A text that an answer said, told again; empty as experiment and arm are while there are none. */
static enum vr_status read_label(struct vr_json_value value, const char *path, struct vr_arena *arena,
                                 struct vr_str *out)
{
    struct vr_str text;
    if (vr_json_as_str(value, &text) != VR_OK || text.len > VR_ID_MAX_BYTES) {
        return vr_fail(VR_ERR_INVALID, "%s: a string of at most %u bytes", path, VR_ID_MAX_BYTES);
    }
    *out = vr_arena_copy(arena, text);
    return out->data != NULL ? VR_OK : VR_ERR_NOMEM;
}

enum member {
    EVENT_ID = 0,
    REQUEST_ID,
    USER_ID,
    VIDEO_ID,
    TYPE, /* the last that must be there */
    TIME,
    WATCH_S,
    POSITION,
    MODEL_VERSION,
    EXPERIMENT,
    ARM,
    SOURCE,
    MEMBERS
};
static const char *const member_names[MEMBERS] = {"event_id",      "request_id", "user_id", "video_id",
                                                  "type",          "time",       "watch_s", "position",
                                                  "model_version", "experiment", "arm",     "source"};

static enum member find_member(struct vr_str key)
{
    uint32_t i = 0;
    while (i < MEMBERS && !vr_str_equal(key, vr_str_of(member_names[i]))) {
        i++;
    }
    return (enum member)i;
}

static enum vr_status take_member(enum member which, struct vr_json_value value, const char *path,
                                  struct vr_arena *arena, struct vr_event *out)
{
    switch (which) {
    case EVENT_ID: return vr_id_read(value, path, arena, &out->event_id);
    case REQUEST_ID: return vr_id_read(value, path, arena, &out->request_id);
    case USER_ID: return vr_id_read(value, path, arena, &out->user_id);
    case VIDEO_ID: return vr_id_read(value, path, arena, &out->video_id);
    case TYPE: return read_type(value, path, &out->type);
    case TIME: return read_time(value, path, &out->time_ms);
    case WATCH_S: return read_watch(value, path, &out->watch_s);
    case POSITION: return read_position(value, path, &out->position);
    case MODEL_VERSION: return read_label(value, path, arena, &out->model_version);
    case EXPERIMENT: return read_label(value, path, arena, &out->experiment);
    case ARM: return read_label(value, path, arena, &out->arm);
    case SOURCE: return read_label(value, path, arena, &out->source);
    case MEMBERS: break;
    }
    return vr_fail(VR_ERR_INVALID, "%s: unknown key", path);
}

/* Which members an event must have, and that watch_s goes with a play. */
static enum vr_status check_members(unsigned given, const char *where, const struct vr_event *event)
{
    for (uint32_t i = EVENT_ID; i <= TYPE; i++) {
        if ((given & 1u << i) == 0) {
            return vr_fail(VR_ERR_INVALID, "%s%s: missing", where, member_names[i]);
        }
    }
    bool has_watch = (given & 1u << WATCH_S) != 0;
    if (has_watch != (event->type == VR_EVENT_PLAY)) {
        return vr_fail(VR_ERR_INVALID, has_watch ? "%swatch_s: only a play has it" : "%swatch_s: a play needs it",
                       where);
    }
    return VR_OK;
}

/* `where` is put before key names in refusals: "" or "events[3].". */
static enum vr_status read_event(struct vr_json_value value, const char *where, int64_t now_ms, struct vr_arena *arena,
                                 struct vr_event *out)
{
    if (vr_json_type_of(value) != VR_JSON_OBJECT) {
        const char *type = vr_json_type_name(vr_json_type_of(value));
        return *where == '\0' ? vr_fail(VR_ERR_INVALID, "an event is an object, found %s", type)
                              : vr_fail(VR_ERR_INVALID, "%.*s: an event is an object, found %s", (int)strlen(where) - 1,
                                        where, type);
    }
    out->time_ms = now_ms;
    unsigned given = 0;
    struct vr_json_iter it = vr_json_begin(value);
    struct vr_json_value member;
    struct vr_str key;
    while (vr_json_next(&it, &key, &member)) {
        enum member which = find_member(key);
        char path[KEY_BYTES + 32];
        snprintf(path, sizeof path, "%s%.*s", where, (int)(key.len < 32 ? key.len : 32), key.data);
        enum vr_status status = take_member(which, member, path, arena, out);
        if (status != VR_OK) {
            return status;
        }
        given |= 1u << which;
    }
    return check_members(given, where, out);
}

static enum vr_status read_list(struct vr_json_value list, int64_t now_ms, struct vr_arena *arena,
                                struct vr_event_batch *out)
{
    struct vr_json_iter it = vr_json_begin(list);
    struct vr_json_value value;
    for (uint32_t i = 0; vr_json_next(&it, NULL, &value); i++) {
        char where[KEY_BYTES];
        snprintf(where, sizeof where, "events[%u].", i);
        enum vr_status status = read_event(value, where, now_ms, arena, &out->event[i]);
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

enum vr_status vr_events_read(struct vr_json_value root, int64_t now_ms, struct vr_arena *arena,
                              struct vr_event_batch *out)
{
    struct vr_json_value list;
    bool batch = vr_json_type_of(root) == VR_JSON_OBJECT && vr_json_get(root, "events", &list) == VR_OK;
    size_t count = batch ? vr_json_count(list) : 1;
    if (batch && vr_json_count(root) != 1) {
        return vr_fail(VR_ERR_INVALID, "events: stands alone in the body");
    }
    if (batch && (vr_json_type_of(list) != VR_JSON_ARRAY || count == 0 || count > VR_EVENTS_MAX)) {
        return vr_fail(VR_ERR_INVALID, "events: an array of 1 to %u events", VR_EVENTS_MAX);
    }
    out->count = (uint32_t)count;
    out->event = vr_arena_calloc(arena, count, sizeof *out->event);
    if (out->event == NULL) {
        return VR_ERR_NOMEM;
    }
    return batch ? read_list(list, now_ms, arena, out) : read_event(root, "", now_ms, arena, &out->event[0]);
}
