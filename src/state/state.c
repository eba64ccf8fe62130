/* The contract of vireo/state.h over a driver: arguments are checked here, an event is applied once, and everything
 * that is kept goes through the driver's table. */
#include "vireo/state.h"

#include <math.h>
#include <stdlib.h>

#include "state_internal.h"
#include "vireo/dict.h"
#include "vireo/log.h"

static bool config_is_valid(const struct vr_state_config *config)
{
    return config->max_viewers >= 1 && config->recent_watches >= 1 && config->recent_watches <= VR_RECENT_WATCHES_MAX &&
           config->trending_half_life_h > 0;
}

static enum vr_status open_parts(struct vr_state *state)
{
    enum vr_status status = vr_memory_create(&state->config, &state->store);
    if (status == VR_OK) {
        status = vr_event_window_create(VR_EVENT_WINDOW, &state->window);
    }
    if (status == VR_OK) {
        status = vr_trending_board_create(&state->config, state->ops, state->store, &state->trending);
    }
    return status;
}

/* `files` NULL: in memory. */
static enum vr_status make(const struct vr_state_config *config, const struct vr_state_files *files,
                           struct vr_state **out)
{
    if (!config_is_valid(config)) {
        return vr_fail(VR_ERR_INVALID,
                       "state: max_viewers must be 1 or more, recent_watches 1 to %u, "
                       "trending_half_life_h above 0",
                       VR_RECENT_WATCHES_MAX);
    }
    struct vr_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return vr_fail(VR_ERR_NOMEM, "state: no memory");
    }
    state->config = *config;
    state->ops = &vr_memory_ops;
    state->start_ms = VR_TIME_UNSET;
    state->lock_fd = -1;
    pthread_mutex_init(&state->import_lock, NULL);
    enum vr_status status = open_parts(state);
    if (status == VR_OK && files != NULL) {
        status = vr_durable_open(state, files);
    }
    if (status != VR_OK) {
        vr_state_destroy(state);
        return status;
    }
    *out = state;
    return VR_OK;
}

enum vr_status vr_state_create(const struct vr_state_config *config, struct vr_state **out)
{
    return make(config, NULL, out);
}

enum vr_status vr_state_open_files(const struct vr_state_config *config, const struct vr_state_files *files,
                                   struct vr_state **out)
{
    return make(config, files, out);
}

void vr_state_destroy(struct vr_state *state)
{
    if (state == NULL) {
        return;
    }
    vr_durable_close(state);
    vr_trending_board_destroy(state->trending);
    vr_event_window_destroy(state->window);
    if (state->store != NULL) {
        state->ops->destroy(state->store);
    }
    pthread_mutex_destroy(&state->import_lock);
    free(state);
}

int64_t vr_state_shift_ms_locked(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms)
{
    if (state->start_ms == VR_TIME_UNSET) {
        state->start_ms = now_ms;
    }
    return bundle->shift_state ? state->start_ms - bundle->as_of_ms : 0;
}

int64_t vr_state_shift_ms(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms)
{
    pthread_mutex_lock(&state->import_lock);
    int64_t shift = vr_state_shift_ms_locked(state, bundle, now_ms);
    pthread_mutex_unlock(&state->import_lock);
    return shift;
}

/* ---- numbers and counters ---- */

static bool id_is_valid(struct vr_str id)
{
    return id.len >= 1 && id.len <= VR_ID_MAX_BYTES;
}

uint32_t vr_state_video_number(struct vr_state *state, struct vr_str id)
{
    return state->ops->find(state->store, VR_ID_VIDEO, id);
}

uint32_t vr_state_creator_number(struct vr_state *state, struct vr_str id)
{
    return state->ops->find(state->store, VR_ID_CREATOR, id);
}

enum vr_status vr_state_intern_video(struct vr_state *state, struct vr_str id, uint32_t *number)
{
    return state->ops->intern(state->store, VR_ID_VIDEO, id, number);
}

enum vr_status vr_state_intern_creator(struct vr_state *state, struct vr_str id, uint32_t *number)
{
    return state->ops->intern(state->store, VR_ID_CREATOR, id, number);
}

void vr_state_video_counters(struct vr_state *state, const uint32_t *number, uint32_t count, struct vr_counters *out)
{
    state->ops->video_counters(state->store, number, count, out);
}

enum vr_status vr_state_intern_list(struct vr_state *state, enum vr_id_kind kind, const struct vr_string_list *list,
                                    uint32_t **out)
{
    *out = NULL;
    uint32_t *number = calloc((size_t)list->count + 1, sizeof *number); /* never 0 bytes */
    if (number == NULL) {
        return vr_fail(VR_ERR_NOMEM, "state: no memory for %u numbers", list->count);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        enum vr_status status = state->ops->intern(state->store, kind, vr_string_at(list, i), &number[i]);
        if (status != VR_OK) {
            free(number);
            return status;
        }
    }
    *out = number;
    return VR_OK;
}

/* ---- viewers ---- */

static const struct vr_viewer new_viewer = {.age = NAN};

enum vr_status vr_state_viewer(struct vr_state *state, struct vr_str user_id, struct vr_arena *arena,
                               struct vr_viewer *out)
{
    *out = new_viewer;
    uint32_t number = state->ops->find(state->store, VR_ID_VIEWER, user_id);
    return number != VR_DICT_NONE ? state->ops->viewer_read(state->store, number, arena, out) : VR_OK;
}

uint32_t vr_state_recent_of(struct vr_state *state, uint32_t viewer, struct vr_watch *out, uint32_t capacity)
{
    return state->ops->viewer_recent(state->store, viewer, out, capacity);
}

enum vr_status vr_state_record_served(struct vr_state *state, struct vr_str user_id, const uint32_t *video,
                                      uint32_t count, int64_t now_ms)
{
    (void)now_ms; /* a number of videos is kept, not a span of time */
    if (count == 0) {
        return VR_OK;
    }
    if (!id_is_valid(user_id)) {
        return vr_fail(VR_ERR_INVALID, "user_id must have 1 to %u bytes", VR_ID_MAX_BYTES);
    }
    uint32_t viewer;
    enum vr_status status = state->ops->intern(state->store, VR_ID_VIEWER, user_id, &viewer);
    return status == VR_OK ? state->ops->viewer_serve(state->store, viewer, video, count) : status;
}

/* ---- events ---- */

const char *vr_event_type_name(enum vr_event_type type)
{
    static const char *const name[VR_EVENT_TYPE_COUNT] = {"impression", "click", "play", "finish",
                                                          "like",       "share", "skip", "dislike"};
    return (unsigned)type < VR_EVENT_TYPE_COUNT ? name[type] : "unknown";
}

const char *vr_event_fault(const struct vr_event *event)
{
    if (!id_is_valid(event->event_id)) {
        return "event_id must have 1 to 64 bytes";
    }
    if (!id_is_valid(event->request_id)) {
        return "request_id must have 1 to 64 bytes";
    }
    if (!id_is_valid(event->user_id) || !id_is_valid(event->video_id)) {
        return "user_id and video_id must have 1 to 64 bytes";
    }
    if ((unsigned)event->type >= VR_EVENT_TYPE_COUNT) {
        return "unknown type";
    }
    if (event->time_ms < 0 || event->time_ms > VR_TIME_MAX_MS) {
        return "time must lie between 1970 and 9999";
    }
    if (event->type == VR_EVENT_PLAY && !(isfinite(event->watch_s) && event->watch_s >= 0)) {
        return "watch_s must be a number of at least 0";
    }
    if (event->position > UINT16_MAX || event->model_version.len > VR_ID_MAX_BYTES ||
        event->experiment.len > VR_ID_MAX_BYTES || event->arm.len > VR_ID_MAX_BYTES ||
        event->source.len > VR_ID_MAX_BYTES) {
        return "position, model_version, experiment, arm or source is too long";
    }
    return NULL;
}

void vr_state_count_verdict(struct vr_state *state, enum vr_event_verdict verdict)
{
    __atomic_fetch_add(&state->verdicts[verdict], 1, __ATOMIC_RELAXED);
}

/* Note the verdict, in the answer and in the counters. */
static void decide(struct vr_state *state, enum vr_event_verdict decision, enum vr_event_verdict *verdict)
{
    *verdict = decision;
    vr_state_count_verdict(state, decision);
}

static uint64_t decided(const struct vr_state *state, enum vr_event_verdict decision)
{
    return __atomic_load_n(&state->verdicts[decision], __ATOMIC_RELAXED);
}

static enum vr_status intern_both(struct vr_state *state, const struct vr_event *event, uint32_t *viewer,
                                  uint32_t *video)
{
    enum vr_status status = state->ops->intern(state->store, VR_ID_VIEWER, event->user_id, viewer);
    return status == VR_OK ? state->ops->intern(state->store, VR_ID_VIDEO, event->video_id, video) : status;
}

enum vr_status vr_state_intern_event(struct vr_state *state, const struct vr_event *event)
{
    uint32_t viewer;
    uint32_t video;
    return intern_both(state, event, &viewer, &video);
}

/* Apply an event whose id is new. */
static enum vr_status apply_once(struct vr_state *state, const struct vr_event *event)
{
    uint32_t viewer;
    uint32_t video;
    enum vr_status status = intern_both(state, event, &viewer, &video);
    return status == VR_OK ? state->ops->apply(state->store, viewer, video, event) : status;
}

void vr_state_apply_logged(struct vr_state *state, const struct vr_event *event)
{
    if (apply_once(state, event) != VR_OK) {
        if (__atomic_fetch_add(&state->unapplied, 1, __ATOMIC_RELAXED) == 0) { /* the others show in the metrics */
            vr_log(VR_LOG_ERROR, "event_not_applied", "error=\"%s\"", vr_error_text());
        }
    }
}

enum vr_status vr_state_apply(struct vr_state *state, const struct vr_event *event, enum vr_event_verdict *verdict)
{
    const char *fault = vr_event_fault(event);
    if (state->log != NULL) {
        *verdict = VR_EVENT_REJECTED;
        return vr_fail(VR_ERR_UNSUPPORTED, "state: the events of a durable store go through its log");
    }
    if (fault != NULL) {
        decide(state, VR_EVENT_REJECTED, verdict);
        return vr_fail(VR_ERR_INVALID, "event: %s", fault);
    }
    if (!vr_event_window_add(state->window, event->event_id)) {
        decide(state, VR_EVENT_DUPLICATE, verdict);
        return VR_OK;
    }
    enum vr_status status = apply_once(state, event);
    if (status != VR_OK) {
        vr_event_window_forget(state->window, event->event_id);
        *verdict = VR_EVENT_REJECTED;
        return status;
    }
    decide(state, VR_EVENT_ACCEPTED, verdict);
    return VR_OK;
}

/* ---- trending and sizes ---- */

const struct vr_trending *vr_state_trending(struct vr_state *state, int64_t now_ms)
{
    return vr_trending_board_get(state->trending, now_ms);
}

void vr_state_trending_release(struct vr_state *state, const struct vr_trending *list)
{
    (void)state;
    vr_trending_release(list);
}

void vr_state_measure(struct vr_state *state, struct vr_state_sizes *out)
{
    out->viewers = state->ops->viewer_count(state->store);
    out->videos = state->ops->id_count(state->store, VR_ID_VIDEO);
    out->events = decided(state, VR_EVENT_ACCEPTED);
    out->duplicates = decided(state, VR_EVENT_DUPLICATE);
    out->rejected = decided(state, VR_EVENT_REJECTED);
    out->bytes = state->ops->bytes(state->store) + vr_event_window_bytes(state->window);
    out->unapplied = __atomic_load_n(&state->unapplied, __ATOMIC_RELAXED);
    struct vr_event_log_counts log = {0};
    if (state->log != NULL) {
        vr_event_log_measure(state->log, &log);
    }
    out->log_commits = log.commits;
    out->log_failures = log.failures;
    out->log_bytes = log.bytes;
    out->log_segments = log.segments;
}
