/* Raw fields of a request (docs/bundle.md, "Fields"): what the state, the request and the catalogue say, as numbers
 * that the declared features read. `now` is the request's; nothing here reads a clock. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "steps.h"

/* One given value: a number, or a text. */
struct value {
    bool is_text;
    double number;
    struct vr_str text;
};

/* A string field sees the decimal text of an integer; other numbers are unknown strings. */
static double code_of_number(const struct vr_feature_space *space, enum vr_entity entity, uint32_t field, double number)
{
    char text[32];
    if (!(fabs(number) < 9007199254740992.0) || floor(number) != number) {
        return 0.0;
    }
    snprintf(text, sizeof text, "%" PRId64, (int64_t)number);
    return vr_feature_code(space, entity, field, vr_str_of(text));
}

/* Put a value into its declared field; unknown names are passed over. */
static void fill(const struct vr_feature_space *space, enum vr_entity entity, uint32_t builtin, struct vr_str name,
                 struct value value, double *raw)
{
    uint32_t index = vr_feature_field_find(space, entity, name);
    if (index == UINT32_MAX || index < builtin) {
        return;
    }
    if (vr_feature_field(space, entity, index).type == VR_FIELD_NUMBER) {
        raw[index] = value.is_text ? NAN : value.number;
    } else if (value.is_text) {
        raw[index] = vr_feature_code(space, entity, index, value.text);
    } else {
        raw[index] = code_of_number(space, entity, index, value.number);
    }
}

/* A row of missing values in arena memory: NaN, or 0 in a string field. NULL when memory is short. */
static double *missing_row(const struct vr_feature_space *space, enum vr_entity entity, struct vr_arena *arena)
{
    uint32_t count = vr_feature_field_count(space, entity);
    double *raw = vr_arena_calloc(arena, count, sizeof *raw);
    for (uint32_t i = 0; raw != NULL && i < count; i++) {
        raw[i] = vr_feature_field(space, entity, i).type == VR_FIELD_NUMBER ? NAN : 0.0;
    }
    return raw;
}

/* Six totals into six neighbouring fields, in the order that viewers and videos share. */
static void fill_counters(const struct vr_counters *counters, double *raw)
{
    const float total[6] = {counters->impressions, counters->clicks,     counters->finishes,
                            counters->likes,       counters->long_views, counters->watch_s};
    for (uint32_t i = 0; i < 6; i++) {
        raw[i] = total[i];
    }
}

static enum vr_status fill_recent(const struct vr_catalogue *catalogue, struct vr_visit *visit)
{
    const struct vr_viewer *viewer = &visit->viewer;
    uint32_t kept = viewer->recent_count < VR_RECENT_MAX ? viewer->recent_count : VR_RECENT_MAX;
    const struct vr_watch *watch = viewer->recent + (viewer->recent_count - kept);
    int64_t now_ms = visit->job->request.now_ms;
    visit->recent = vr_arena_calloc(visit->job->arena, kept, sizeof *visit->recent);
    if (visit->recent == NULL) {
        return VR_ERR_NOMEM;
    }
    visit->recent_count = kept;
    for (uint32_t i = 0; i < kept; i++) {
        bool timed = watch[i].time_ms != INT64_MIN;
        double age_s = timed ? fmax(0.0, (double)(now_ms - watch[i].time_ms) / 1000.0) : NAN;
        visit->recent[i] = (struct vr_recent){.video = vr_catalogue_row(catalogue, watch[i].video),
                                              .age_s = (float)age_s,
                                              .watch_s = watch[i].watch_s,
                                              .flags = watch[i].flags};
    }
    return VR_OK;
}

static void fill_viewer(const struct vr_feature_space *space, struct vr_visit *visit)
{
    const struct vr_viewer *viewer = &visit->viewer;
    double *raw = visit->viewer_raw;
    raw[VR_VIEWER_AGE] = viewer->age;
    fill_counters(&viewer->counters, raw + VR_VIEWER_IMPRESSIONS);
    vr_history_fields(visit->recent, visit->recent_count, raw);
    for (uint32_t i = 0; i < viewer->profile_count; i++) {
        const struct vr_profile_value *given = &viewer->profile[i];
        struct value value = {given->is_text, given->number, given->text};
        fill(space, VR_ENTITY_VIEWER, VR_VIEWER_FIELDS, given->name, value, raw);
    }
    struct value id = {.is_text = true, .text = visit->job->request.user_id};
    fill(space, VR_ENTITY_VIEWER, VR_VIEWER_FIELDS, vr_str_of("id"), id, raw);
}

static void fill_context(const struct vr_bundle *bundle, struct vr_visit *visit)
{
    const struct vr_feed_request *request = &visit->job->request;
    vr_time_fields(request->now_ms, bundle->utc_offset_min, visit->context_raw);
    for (uint32_t i = 0; i < request->context_count; i++) {
        const struct vr_context_value *given = &request->context[i];
        struct value value = {given->is_text, given->number, given->text};
        fill(bundle->features, VR_ENTITY_CONTEXT, VR_CONTEXT_FIELDS, given->name, value, visit->context_raw);
    }
}

void vr_step_viewer(const struct vr_lane *lane, struct vr_visit *visit)
{
    const struct vr_model *model = lane->binding->model;
    struct vr_arena *arena = visit->job->arena;
    enum vr_status status = vr_state_viewer(lane->state, visit->job->request.user_id, arena, &visit->viewer);
    if (status == VR_OK && visit->viewer.unavailable) {
        vr_visit_degrade(visit, "viewer_unavailable");
    }
    if (status == VR_OK) {
        status = fill_recent(model->catalogue, visit);
    }
    if (status == VR_OK) {
        visit->viewer_raw = missing_row(model->bundle->features, VR_ENTITY_VIEWER, arena);
        visit->context_raw = missing_row(model->bundle->features, VR_ENTITY_CONTEXT, arena);
        status = visit->viewer_raw != NULL && visit->context_raw != NULL ? VR_OK : VR_ERR_NOMEM;
    }
    if (status != VR_OK) {
        vr_visit_fail(visit, status);
        return;
    }
    fill_viewer(model->bundle->features, visit);
    fill_context(model->bundle, visit);
}

static void fill_pair(const struct vr_model *model, const struct vr_visit *visit, int32_t row, double *raw)
{
    const struct vr_bundle_videos *videos = &model->bundle->videos;
    raw[VR_PAIR_AGE_H] = vr_age_hours(visit->job->request.now_ms, model->catalogue->upload_ms[row]);
    raw[VR_PAIR_DOT_TOWER] = 0.0; /* the ranker fills these two in */
    raw[VR_PAIR_DOT_CONTENT] = 0.0;
    vr_history_matches(visit->recent, visit->recent_count, videos->topic, videos->creator, row, raw);
}

/* Totals of the candidates' videos, [count] in arena memory; NULL when memory is short. */
static const struct vr_counters *read_counters(const struct vr_lane *lane, const struct vr_visit *visit)
{
    const struct vr_candidates *candidates = &visit->candidates;
    struct vr_arena *arena = visit->job->arena;
    uint32_t *number = vr_arena_calloc(arena, candidates->count, sizeof *number);
    struct vr_counters *counters = vr_arena_calloc(arena, candidates->count, sizeof *counters);
    if (number == NULL || counters == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < candidates->count; i++) {
        number[i] = lane->binding->model->catalogue->number[candidates->row[i]];
    }
    vr_state_video_counters(lane->state, number, candidates->count, counters);
    return counters;
}

void vr_step_candidate_fields(const struct vr_lane *lane, struct vr_visit *visit)
{
    const struct vr_model *model = lane->binding->model;
    const struct vr_candidates *candidates = &visit->candidates;
    uint32_t video_fields = vr_feature_field_count(model->bundle->features, VR_ENTITY_VIDEO);
    uint32_t pair_fields = vr_feature_field_count(model->bundle->features, VR_ENTITY_PAIR);
    const struct vr_counters *counters = read_counters(lane, visit);
    visit->video_raw = vr_arena_calloc(visit->job->arena, (size_t)candidates->count * video_fields, sizeof(double));
    visit->pair_raw = vr_arena_calloc(visit->job->arena, (size_t)candidates->count * pair_fields, sizeof(double));
    if (counters == NULL || visit->video_raw == NULL || visit->pair_raw == NULL) {
        vr_visit_fail(visit, VR_ERR_NOMEM);
        return;
    }
    for (uint32_t i = 0; i < candidates->count; i++) {
        double *video_raw = visit->video_raw + (size_t)i * video_fields;
        vr_engine_video_raw(model->engine, candidates->row[i], video_raw);
        fill_counters(&counters[i], video_raw + VR_VIDEO_IMPRESSIONS);
        fill_pair(model, visit, candidates->row[i], visit->pair_raw + (size_t)i * pair_fields);
    }
}
