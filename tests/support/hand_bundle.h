/* A small bundle made in memory for tests of the state and of the look-up sources: 8 videos of 3 creators, 4 viewers
 * with seeds. Only what those rooms read is filled in. Include it in one file of a test program. */
#ifndef VIREO_TESTS_HAND_BUNDLE_H
#define VIREO_TESTS_HAND_BUNDLE_H

#include <math.h>
#include <string.h>

#include "vireo/bundle.h"

#define HAND_VIDEOS 8u
#define HAND_VIEWERS 4u
#define HAND_AS_OF_MS INT64_C(1700000000000)
#define HAND_HOUR_MS INT64_C(3600000)

struct hand_list {
    char bytes[256];
    uint32_t offset[16];
};

struct hand_bundle {
    struct vr_bundle bundle;
    struct hand_list video, creator, viewer, levels;
    int64_t upload_ms[HAND_VIDEOS];
    struct vr_profile_column profile[2];
};

static struct vr_string_list hand_list_of(struct hand_list *list, const char *const *name, uint32_t count)
{
    list->offset[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = strlen(name[i]);
        memcpy(list->bytes + list->offset[i], name[i], len);
        list->offset[i + 1] = list->offset[i] + (uint32_t)len;
    }
    struct vr_string_list made = {list->bytes, list->offset, count};
    return made;
}

/* Video i of creator i % 3, uploaded i hours before as_of; video 6 of an unknown creator, video 7 at an unknown time.
 */
static void hand_videos(struct hand_bundle *hand)
{
    static const char *const video[] = {"v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"};
    static const char *const creator[] = {"anna", "bob", "carl"};
    static const int32_t creator_of[HAND_VIDEOS] = {0, 1, 2, 0, 1, 2, -1, 0};
    static const float duration_s[HAND_VIDEOS] = {10, 20, 30, 40, 50, 0, 70, 80};
    struct vr_bundle_videos *videos = &hand->bundle.videos;
    videos->count = HAND_VIDEOS;
    videos->id = hand_list_of(&hand->video, video, HAND_VIDEOS);
    videos->creator_id = hand_list_of(&hand->creator, creator, 3);
    videos->creator = creator_of;
    videos->duration_s = duration_s;
    for (uint32_t i = 0; i < HAND_VIDEOS; i++) {
        hand->upload_ms[i] = i == 7 ? INT64_MIN : HAND_AS_OF_MS - (int64_t)i * HAND_HOUR_MS;
    }
    videos->upload_ms = hand->upload_ms;
}

/* Viewer "1" follows anna (twice) and carl and has friends "2" and "3"; "4" has nothing. */
static void hand_seeds(struct hand_bundle *hand)
{
    static const char *const viewer[] = {"1", "2", "3", "4"};
    static const char *const level[] = {"low", "high"};
    static const float age[HAND_VIEWERS] = {31, 17, NAN, 50};
    static const float viewer_counters[HAND_VIEWERS * 6] = {10, 4, 3, 1, 2, 55.5F, 7, 1, 1, 0, 1, 12};
    static const uint32_t recent_offset[HAND_VIEWERS + 1] = {0, 2, 5, 6, 6};
    static const int32_t recent_video[] = {3, 1, 0, 2, 4, 2};
    static const float recent_age_s[] = {7200, 3600, NAN, 3600, 0, 36000};
    static const float recent_watch_s[] = {40, NAN, 1, 30, 400, 30};
    static const uint8_t recent_flags[] = {VR_WATCH_CLICK | VR_WATCH_FINISH,
                                           0,
                                           VR_WATCH_LIKE,
                                           VR_WATCH_FINISH | VR_WATCH_LONG_VIEW,
                                           VR_WATCH_LIKE | VR_WATCH_LONG_VIEW,
                                           VR_WATCH_LONG_VIEW};
    static const uint32_t follow_offset[HAND_VIEWERS + 1] = {0, 3, 3, 3, 3};
    static const int32_t follow_creator[] = {2, 0, 0};
    static const uint32_t friend_offset[HAND_VIEWERS + 1] = {0, 2, 3, 4, 4};
    static const int32_t friend_viewer[] = {1, 2, 0, 0};
    static const float video_counters[HAND_VIDEOS * 6] = {100, 40, 20, 10, 30, 1234};
    static const float video_trend[HAND_VIDEOS] = {0, 5, 1, 0.5F, 0, 2, 1, 0};
    static const double days[HAND_VIEWERS] = {12, NAN, 3, 0};
    static const int32_t level_of[HAND_VIEWERS] = {1, 0, -1, -1};
    struct vr_bundle_state *state = &hand->bundle.state;
    state->present = true;
    state->viewer_id = hand_list_of(&hand->viewer, viewer, HAND_VIEWERS);
    state->viewer_age = age;
    state->viewer_counters = viewer_counters;
    state->recent_offset = recent_offset;
    state->recent_video = recent_video;
    state->recent_age_s = recent_age_s;
    state->recent_watch_s = recent_watch_s;
    state->recent_flags = recent_flags;
    state->follow_offset = follow_offset;
    state->follow_creator = follow_creator;
    state->friend_offset = friend_offset;
    state->friend_viewer = friend_viewer;
    state->video_counters = video_counters;
    state->video_trend = video_trend;
    hand->profile[0] = (struct vr_profile_column){.name = vr_str_of("days"), .number = days};
    hand->profile[1] =
        (struct vr_profile_column){.name = vr_str_of("level"), .type = VR_FIELD_STRING, .index = level_of};
    hand->profile[1].values = hand_list_of(&hand->levels, level, 2);
    state->profile = hand->profile;
    state->profile_count = 2;
}

/* Fill `hand`; nothing has to be freed. The bundle points into it. */
static struct vr_bundle *hand_bundle_make(struct hand_bundle *hand)
{
    memset(hand, 0, sizeof *hand);
    hand->bundle.as_of_ms = HAND_AS_OF_MS;
    hand_videos(hand);
    hand_seeds(hand);
    return &hand->bundle;
}

#endif
