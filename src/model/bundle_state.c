/* state/state.safetensors of a bundle: seed histories, follows, friends, profiles and counters. */
#include <math.h>
#include <stdio.h>

#include "bundle_parts.h"

#define COUNTERS 6u
#define FLAGS_ALL (VR_WATCH_CLICK | VR_WATCH_LIKE | VR_WATCH_LONG_VIEW | VR_WATCH_FINISH)

static uint64_t length_of(const struct vr_claims *claims, const char *name)
{
    return vr_safetensors_find(claims->file, vr_str_of(name))->dim[0];
}

static enum vr_status read_viewers(struct vr_claims *claims, struct vr_bundle_state *state)
{
    enum vr_status status = vr_claim_strings(claims, "viewer.id", VR_DIM_ANY, vr_id_rules, &state->viewer_id);
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "viewer.age", VR_SHAPE_1(state->viewer_id.count), VR_NOT_NEGATIVE_OR_NAN,
                                  &state->viewer_age);
    }
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "viewer.counters", VR_SHAPE_2(state->viewer_id.count, COUNTERS),
                                  VR_NOT_NEGATIVE, &state->viewer_counters);
    }
    return status;
}

static enum vr_status read_number_profile(struct vr_claims *claims, const char *name, uint32_t viewers,
                                          struct vr_profile_column *column)
{
    enum vr_status status = vr_claim_f64(claims, name, VR_SHAPE_1(viewers), &column->number);
    return status == VR_OK ? vr_check_doubles(name, column->number, viewers, VR_ANY_OR_NAN) : status;
}

static enum vr_status read_string_profile(struct vr_claims *claims, const char *name, uint32_t viewers,
                                          struct vr_profile_column *column)
{
    const struct vr_string_rules rules = {1, 256, true};
    char part[128];
    snprintf(part, sizeof part, "%s.values", name);
    enum vr_status status = vr_claim_strings(claims, part, VR_DIM_ANY, rules, &column->values);
    snprintf(part, sizeof part, "%s.index", name);
    return status == VR_OK ? vr_claim_index(claims, part, VR_SHAPE_1(viewers), -1, column->values.count, &column->index)
                           : status;
}

/* The column of one declared viewer field; none when the file lacks it. */
static enum vr_status read_profile(struct vr_claims *claims, struct vr_field field, struct vr_bundle_state *state)
{
    struct vr_profile_column *column = &state->profile[state->profile_count];
    char name[96], index[112];
    snprintf(name, sizeof name, "profile.%.*s", (int)field.name.len, field.name.data);
    snprintf(index, sizeof index, "%s.index", name);
    bool is_string = field.type == VR_FIELD_STRING;
    if (!vr_claims_has(claims, is_string ? index : name)) {
        return VR_OK;
    }
    column->name = field.name;
    column->type = field.type;
    enum vr_status status = is_string ? read_string_profile(claims, name, state->viewer_id.count, column)
                                      : read_number_profile(claims, name, state->viewer_id.count, column);
    state->profile_count += status == VR_OK;
    return status;
}

static enum vr_status read_profiles(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_bundle_state *state = &bundle->state;
    uint32_t fields = vr_feature_field_count(bundle->features, VR_ENTITY_VIEWER);
    state->profile = vr_arena_calloc(bundle->storage->arena, fields, sizeof *state->profile);
    enum vr_status status = state->profile == NULL ? VR_ERR_NOMEM : VR_OK;
    for (uint32_t i = VR_VIEWER_FIELDS; status == VR_OK && i < fields; i++) {
        struct vr_field field = vr_feature_field(bundle->features, VR_ENTITY_VIEWER, i);
        bool is_id = field.type == VR_FIELD_STRING && vr_str_equal(field.name, vr_str_of("id"));
        status = is_id ? VR_OK : read_profile(claims, field, state);
    }
    return status;
}

static enum vr_status read_recent(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_bundle_state *state = &bundle->state;
    enum vr_status status =
        vr_claim_index(claims, "recent.video", VR_SHAPE_1(VR_DIM_ANY), 0, bundle->videos.count, &state->recent_video);
    if (status != VR_OK) {
        return status;
    }
    const uint64_t rows = length_of(claims, "recent.video");
    status = vr_claim_offsets(claims, "recent.offsets", state->viewer_id.count, rows, &state->recent_offset);
    if (status == VR_OK) {
        status =
            vr_claim_numbers(claims, "recent.age_s", VR_SHAPE_1(rows), VR_NOT_NEGATIVE_OR_NAN, &state->recent_age_s);
    }
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "recent.watch_s", VR_SHAPE_1(rows), VR_NOT_NEGATIVE_OR_NAN,
                                  &state->recent_watch_s);
    }
    if (status == VR_OK) {
        status = vr_claim_u8(claims, "recent.flags", VR_SHAPE_1(rows), &state->recent_flags);
    }
    for (uint64_t i = 0; status == VR_OK && i < rows; i++) {
        if (state->recent_flags[i] & ~(unsigned)FLAGS_ALL) {
            status = vr_fail(VR_ERR_FORMAT, "tensor 'recent.flags': element %llu is %u, outside 0 to %u",
                             (unsigned long long)i, state->recent_flags[i], (unsigned)FLAGS_ALL);
        }
    }
    return status;
}

/* Lists of each viewer: who is followed, or who is a friend. */
static enum vr_status read_lists(struct vr_claims *claims, const char *offsets, const char *values, uint32_t viewers,
                                 uint32_t limit, const uint32_t **offset, const int32_t **value)
{
    enum vr_status status = vr_claim_index(claims, values, VR_SHAPE_1(VR_DIM_ANY), 0, limit, value);
    return status == VR_OK ? vr_claim_offsets(claims, offsets, viewers, length_of(claims, values), offset) : status;
}

static enum vr_status read_graph(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_bundle_state *state = &bundle->state;
    const uint32_t viewers = state->viewer_id.count;
    enum vr_status status = read_lists(claims, "follow.offsets", "follow.creator", viewers,
                                       bundle->videos.creator_id.count, &state->follow_offset, &state->follow_creator);
    if (status == VR_OK) {
        status = read_lists(claims, "friend.offsets", "friend.viewer", viewers, viewers, &state->friend_offset,
                            &state->friend_viewer);
    }
    return status;
}

static enum vr_status read_totals(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_bundle_state *state = &bundle->state;
    const uint32_t n = bundle->videos.count;
    enum vr_status status =
        vr_claim_numbers(claims, "video.counters", VR_SHAPE_2(n, COUNTERS), VR_NOT_NEGATIVE, &state->video_counters);
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "video.trend", VR_SHAPE_1(n), VR_NOT_NEGATIVE, &state->video_trend);
    }
    return status;
}

enum vr_status vr_bundle_read_state(struct vr_bundle *bundle)
{
    struct vr_claims *claims = &bundle->storage->file[VR_FILE_STATE].claims;
    enum vr_status status = read_viewers(claims, &bundle->state);
    if (status == VR_OK) {
        status = read_profiles(bundle, claims);
    }
    if (status == VR_OK) {
        status = read_recent(bundle, claims);
    }
    if (status == VR_OK) {
        status = read_graph(bundle, claims);
    }
    if (status == VR_OK) {
        status = read_totals(bundle, claims);
    }
    if (status == VR_OK) {
        status = vr_claims_end(claims);
    }
    bundle->state.present = status == VR_OK;
    return vr_in_file(status, VR_FILE_STATE);
}
