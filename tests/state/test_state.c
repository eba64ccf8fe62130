/* The state's contract: what is refused, what is bounded, seeds and their times, the catalogue, trending. Random
 * streams of events are in test_property.c. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "../support/hand_bundle.h"
#include "vireo/dict.h"
#include "vireo/hash.h"
#include "vireo/state.h"

#define T0 HAND_AS_OF_MS

static struct vr_state *state;
static struct vr_arena *arena;

static void open_state(void)
{
    const struct vr_state_config config = {.max_viewers = 1000,
                                           .recent_watches = 10,
                                           .trending_half_life_h = 12,
                                           .trending_refresh_ms = 1000,
                                           .social_half_life_h = 72,
                                           .subscription_max_age_h = 336};
    cr_assert_eq(vr_state_create(&config, &state), VR_OK);
    cr_assert_eq(vr_arena_create(4096, &arena), VR_OK);
}

static void close_state(void)
{
    vr_state_destroy(state);
    vr_arena_destroy(arena);
}

static unsigned event_number;

/* Apply a valid event with an id of its own and `request`; the verdict. */
static enum vr_event_verdict tell(const char *user, const char *video, enum vr_event_type type, const char *request,
                                  int64_t time_ms)
{
    char id[24];
    snprintf(id, sizeof id, "auto-%u", event_number++);
    struct vr_event event = {.event_id = vr_str_of(id),
                             .request_id = vr_str_of(request),
                             .user_id = vr_str_of(user),
                             .video_id = vr_str_of(video),
                             .type = type,
                             .time_ms = time_ms,
                             .watch_s = 5,
                             .duration_s = 10};
    enum vr_event_verdict verdict;
    cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_OK, "%s", vr_error_text());
    return verdict;
}

static struct vr_viewer viewer_of(const char *user)
{
    struct vr_viewer viewer;
    cr_assert_eq(vr_state_viewer(state, vr_str_of(user), arena, &viewer), VR_OK);
    return viewer;
}

TestSuite(state, .init = open_state, .fini = close_state);

Test(state, refuses_a_bad_configuration)
{
    struct vr_state *refused = NULL;
    struct vr_state_config config = {.max_viewers = 1000, .recent_watches = 0, .trending_half_life_h = 12};
    cr_assert_eq(vr_state_create(&config, &refused), VR_ERR_INVALID);
    config.recent_watches = VR_RECENT_WATCHES_MAX + 1;
    cr_assert_eq(vr_state_create(&config, &refused), VR_ERR_INVALID);
    config.recent_watches = 50;
    config.trending_half_life_h = 0;
    cr_assert_eq(vr_state_create(&config, &refused), VR_ERR_INVALID);
    config.trending_half_life_h = 12;
    config.max_viewers = 0;
    cr_assert_eq(vr_state_create(&config, &refused), VR_ERR_INVALID);
    vr_state_destroy(NULL);
}

Test(state, a_new_viewer_is_unknown_and_empty)
{
    struct vr_viewer viewer = viewer_of("nobody");
    cr_assert_not(viewer.known);
    cr_assert(isnan(viewer.age));
    cr_assert_eq(viewer.recent_count + viewer.seen_count + viewer.served_count + viewer.follow_count +
                     viewer.friend_count + viewer.profile_count,
                 0);
    cr_assert_eq(vr_state_recent_of(state, 12345, NULL, 0), 0);
    struct vr_counters counters = {.clicks = 1};
    vr_state_video_counters(state, (uint32_t[]){999999}, 1, &counters);
    cr_assert_eq(counters.clicks, 0);
}

Test(state, rejects_what_is_no_event)
{
    char long_id[66];
    memset(long_id, 'x', 65);
    long_id[65] = '\0';
    struct vr_event good = {.event_id = vr_str_of("e"),
                            .request_id = vr_str_of("r"),
                            .user_id = vr_str_of("u"),
                            .video_id = vr_str_of("v"),
                            .type = VR_EVENT_PLAY,
                            .time_ms = T0,
                            .watch_s = 1};
    struct vr_event bad[14];
    for (size_t i = 0; i < 14; i++) {
        bad[i] = good;
    }
    bad[0].event_id.len = 0;
    bad[1].event_id = vr_str_of(long_id);
    bad[2].request_id.len = 0;
    bad[3].request_id = vr_str_of(long_id);
    bad[4].user_id.len = 0;
    bad[5].user_id = vr_str_of(long_id);
    bad[6].video_id.len = 0;
    bad[7].video_id = vr_str_of(long_id);
    bad[8].type = (enum vr_event_type)VR_EVENT_TYPE_COUNT;
    bad[9].time_ms = -1;
    bad[10].time_ms = INT64_MAX;
    bad[11].watch_s = -0.5F;
    bad[12].watch_s = NAN;
    bad[13].watch_s = INFINITY;
    enum vr_event_verdict verdict;
    for (size_t i = 0; i < 14; i++) {
        verdict = VR_EVENT_ACCEPTED;
        cr_assert_eq(vr_state_apply(state, &bad[i], &verdict), VR_ERR_INVALID, "case %zu", i);
        cr_assert_eq(verdict, VR_EVENT_REJECTED);
        cr_assert_eq(strncmp(vr_error_text(), "event: ", 7), 0);
    }
    struct vr_state_sizes sizes;
    vr_state_measure(state, &sizes);
    cr_assert_eq(sizes.rejected, 14);
    cr_assert_eq(sizes.viewers + sizes.videos + sizes.events, 0, "a rejected event leaves nothing behind");
    cr_assert_eq(vr_state_apply(state, &good, &verdict), VR_OK, "its id was not used up");
    cr_assert_eq(verdict, VR_EVENT_ACCEPTED);
    cr_assert_eq(vr_state_apply(state, &good, &verdict), VR_OK);
    cr_assert_eq(verdict, VR_EVENT_DUPLICATE);
}

Test(state, event_types_have_names)
{
    cr_assert_str_eq(vr_event_type_name(VR_EVENT_IMPRESSION), "impression");
    cr_assert_str_eq(vr_event_type_name(VR_EVENT_DISLIKE), "dislike");
    cr_assert_str_eq(vr_event_type_name((enum vr_event_type)77), "unknown");
}

Test(state, impressions_are_keyed_by_viewer_request_and_video)
{
    tell("a", "x", VR_EVENT_CLICK, "r1", T0);
    tell("a", "x", VR_EVENT_LIKE, "r1", T0 + 1);
    tell("a", "x", VR_EVENT_SKIP, "r2", T0 + 2);
    tell("a", "y", VR_EVENT_DISLIKE, "r1", T0 + 3);
    tell("b", "x", VR_EVENT_IMPRESSION, "r1", T0 + 4);
    struct vr_viewer a = viewer_of("a");
    cr_assert_eq(a.recent_count, 3);
    cr_assert_eq(a.recent[0].flags, VR_WATCH_CLICK | VR_WATCH_LIKE);
    cr_assert_eq(a.recent[0].request, (uint32_t)vr_hash_bytes("r1", 2));
    cr_assert_eq(a.recent[1].flags | a.recent[2].flags, 0);
    cr_assert_eq(a.recent[1].watch_s, 0, "shown, not played");
    cr_assert_eq(a.seen_count, 2);
    cr_assert_eq(a.counters.impressions, 3);
    cr_assert_eq(a.counters.clicks, 1);
    struct vr_counters x;
    uint32_t number = vr_state_video_number(state, vr_str_of("x"));
    vr_state_video_counters(state, &number, 1, &x);
    cr_assert_eq(x.impressions, 3);
    cr_assert_eq(x.likes, 1);
    cr_assert_eq(viewer_of("b").counters.impressions, 1);
}

Test(state, recents_are_bounded_and_old_impressions_are_no_longer_joined)
{
    char request[16];
    for (int i = 0; i < 200; i++) {
        snprintf(request, sizeof request, "r%d", i);
        tell("a", "x", VR_EVENT_IMPRESSION, request, T0 + i);
    }
    struct vr_viewer viewer = viewer_of("a");
    cr_assert_eq(viewer.recent_count, 10);
    cr_assert_eq(viewer.recent[0].time_ms, T0 + 190);
    cr_assert_eq(viewer.recent[9].time_ms, T0 + 199);
    tell("a", "x", VR_EVENT_CLICK, "r90", T0 + 300); /* the oldest of the 110 that are kept */
    cr_assert_eq(viewer_of("a").counters.impressions, 200);
    tell("a", "x", VR_EVENT_CLICK, "r89", T0 + 300);
    cr_assert_eq(viewer_of("a").counters.impressions, 201);
    tell("a", "x", VR_EVENT_IMPRESSION, "ancient", 0);
    viewer = viewer_of("a");
    cr_assert_eq(viewer.counters.impressions, 202, "counted,");
    cr_assert_eq(viewer.recent[0].time_ms, T0 + 191, "but older than all that is kept");

    struct vr_watch watch[VR_RECENT_WATCHES_MAX];
    cr_assert_eq(vr_state_recent_of(state, 0, watch, 4), 4);
    cr_assert_eq(watch[0].time_ms, T0 + 300, "newest first");
    cr_assert_eq(watch[3].time_ms, T0 + 197);
    cr_assert_eq(vr_state_recent_of(state, 0, watch, VR_RECENT_WATCHES_MAX), 10);
}

Test(state, served_keeps_the_latest_300)
{
    uint32_t video[50];
    for (uint32_t feed = 0; feed < 8; feed++) {
        for (uint32_t i = 0; i < 50; i++) {
            video[i] = 1000 - (feed * 50 + i);
        }
        cr_assert_eq(vr_state_record_served(state, vr_str_of("a"), video, 50, T0), VR_OK);
    }
    struct vr_viewer viewer = viewer_of("a");
    cr_assert(viewer.known);
    cr_assert_eq(viewer.served_count, VR_SERVED_MAX);
    cr_assert_eq(viewer.served[0], 601);
    cr_assert_eq(viewer.served[299], 900);
    cr_assert_eq(vr_state_record_served(state, vr_str_of("b"), video, 0, T0), VR_OK);
    cr_assert_not(viewer_of("b").known);
    cr_assert_eq(vr_state_record_served(state, vr_str_of(""), video, 1, T0), VR_ERR_INVALID);
    const struct vr_str long_id = {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef+", 65};
    cr_assert_eq(vr_state_record_served(state, long_id, video, 1, T0), VR_ERR_INVALID);
}

/* ---- seeds ---- */

static void check_seeded_profile(const struct vr_viewer *viewer)
{
    cr_assert_eq(viewer->profile_count, 2);
    cr_assert(vr_str_equal(viewer->profile[0].name, vr_str_of("days")));
    cr_assert_not(viewer->profile[0].is_text);
    cr_assert_eq(viewer->profile[0].number, 12);
    cr_assert(vr_str_equal(viewer->profile[1].name, vr_str_of("level")));
    cr_assert(viewer->profile[1].is_text);
    cr_assert(vr_str_equal(viewer->profile[1].text, vr_str_of("high")));
}

static void check_seeds(int64_t as_of_ms)
{
    struct vr_viewer one = viewer_of("1");
    cr_assert(one.known);
    cr_assert_eq(one.age, 31);
    cr_assert_eq(one.counters.impressions, 10);
    cr_assert_eq(one.counters.watch_s, 55.5F);
    cr_assert_eq(one.recent_count, 2);
    cr_assert_eq(one.recent[0].video, vr_state_video_number(state, vr_str_of("v3")));
    cr_assert_eq(one.recent[0].time_ms, as_of_ms - 2 * HAND_HOUR_MS);
    cr_assert_eq(one.recent[0].flags, VR_WATCH_CLICK | VR_WATCH_FINISH);
    cr_assert(isnan(one.recent[1].watch_s), "unknown stays unknown");
    cr_assert_eq(one.seen_count, 2);
    cr_assert_eq(one.follow_count, 2, "a creator followed twice is one");
    cr_assert_eq(one.follow[0], vr_state_creator_number(state, vr_str_of("anna")));
    cr_assert_eq(one.friend_count, 2);
    check_seeded_profile(&one);
    struct vr_viewer two = viewer_of("2");
    cr_assert_eq(two.recent[0].time_ms, INT64_MIN);
    cr_assert_eq(two.recent[2].watch_s, 300, "capped");
    cr_assert_eq(two.profile_count, 1, "missing values are left out");
    cr_assert_eq(viewer_of("4").profile_count, 1);
    cr_assert(viewer_of("4").known);
    struct vr_watch watch;
    cr_assert_eq(vr_state_recent_of(state, one.friends[0], &watch, 1), 1);
    cr_assert_eq(watch.time_ms, as_of_ms);
    struct vr_counters counters;
    vr_state_video_counters(state, (uint32_t[]){vr_state_video_number(state, vr_str_of("v0"))}, 1, &counters);
    cr_assert_eq(counters.watch_s, 1234);
}

Test(state, imports_seeds_once)
{
    struct hand_bundle hand;
    struct vr_bundle *bundle = hand_bundle_make(&hand);
    uint32_t imported = 77;
    cr_assert_eq(vr_state_import(state, bundle, T0 + 5000, &imported), VR_OK, "%s", vr_error_text());
    cr_assert_eq(imported, HAND_VIEWERS);
    check_seeds(T0);
    tell("1", "v3", VR_EVENT_CLICK, "r", T0 + 6000);
    cr_assert_eq(viewer_of("1").counters.impressions, 11, "no event joins a seed");
    cr_assert_eq(vr_state_import(state, bundle, T0 + 5000, &imported), VR_OK);
    cr_assert_eq(imported, 0);
    cr_assert_eq(viewer_of("1").counters.impressions, 11);
}

Test(state, shifts_seeds_to_the_first_start)
{
    struct hand_bundle hand;
    struct vr_bundle *bundle = hand_bundle_make(&hand);
    bundle->shift_state = true;
    uint32_t imported;
    const int64_t start_ms = T0 + 1000 * HAND_HOUR_MS;
    cr_assert_eq(vr_state_import(state, bundle, start_ms, &imported), VR_OK);
    check_seeds(start_ms);
    struct vr_catalogue *catalogue;
    cr_assert_eq(vr_catalogue_create(state, bundle, start_ms + 9 * HAND_HOUR_MS, &catalogue), VR_OK);
    cr_assert_eq(catalogue->upload_ms[2], start_ms - 2 * HAND_HOUR_MS, "a reload moves no upload");
    cr_assert_eq(catalogue->upload_ms[7], INT64_MIN);
    vr_catalogue_destroy(catalogue);
}

Test(state, imports_nothing_into_a_used_store_or_from_no_state)
{
    struct hand_bundle hand;
    struct vr_bundle *bundle = hand_bundle_make(&hand);
    uint32_t imported = 77;
    bundle->state.present = false;
    cr_assert_eq(vr_state_import(state, bundle, T0, &imported), VR_OK);
    cr_assert_eq(imported, 0);
    bundle->state.present = true;
    tell("someone", "x", VR_EVENT_CLICK, "r", T0);
    imported = 77;
    cr_assert_eq(vr_state_import(state, bundle, T0, &imported), VR_OK);
    cr_assert_eq(imported, 0);
    cr_assert_not(viewer_of("1").known);
}

Test(state, refuses_indexes_out_of_range)
{
    static const int32_t bad_video[] = {3, 1, 0, 2, 4, 8}, bad_creator[] = {2, 0, -1}, bad_friend[] = {1, 2, 4, 0};
    static const uint32_t falling[HAND_VIEWERS + 1] = {0, 2, 1, 6, 6};
    const char *const said[] = {"recent.video", "follow.creator", "friend.viewer", "recent.offsets"};
    for (int i = 0; i < 4; i++) {
        struct hand_bundle hand;
        struct vr_bundle *bundle = hand_bundle_make(&hand);
        uint32_t imported;
        bundle->state.recent_video = i == 0 ? bad_video : bundle->state.recent_video;
        bundle->state.follow_creator = i == 1 ? bad_creator : bundle->state.follow_creator;
        bundle->state.friend_viewer = i == 2 ? bad_friend : bundle->state.friend_viewer;
        bundle->state.recent_offset = i == 3 ? falling : bundle->state.recent_offset;
        close_state();
        open_state();
        cr_assert_eq(vr_state_import(state, bundle, T0, &imported), VR_ERR_FORMAT, "%s", said[i]);
        cr_assert(strstr(vr_error_text(), said[i]) != NULL, "%s", vr_error_text());
    }
}

/* ---- catalogue ---- */

Test(state, catalogue_joins_rows_and_numbers)
{
    struct hand_bundle hand;
    struct vr_bundle *bundle = hand_bundle_make(&hand);
    struct vr_catalogue *catalogue;
    uint32_t elsewhere, late, number;
    cr_assert_eq(vr_state_intern_video(state, vr_str_of("of another bundle"), &elsewhere), VR_OK);
    cr_assert_eq(vr_state_intern_video(state, vr_str_of("v5"), &number), VR_OK);
    cr_assert_eq(vr_state_intern_creator(state, vr_str_of("zoe"), &number), VR_OK);
    cr_assert_eq(vr_catalogue_create(state, bundle, T0, &catalogue), VR_OK);
    cr_assert_eq(vr_state_intern_video(state, vr_str_of("late"), &late), VR_OK);
    cr_assert_eq(catalogue->count, HAND_VIDEOS);
    for (int32_t row = 0; row < (int32_t)HAND_VIDEOS; row++) {
        cr_assert_eq(vr_catalogue_row(catalogue, catalogue->number[row]), row);
        cr_assert_eq(catalogue->number[row],
                     vr_state_video_number(state, vr_string_at(&bundle->videos.id, (uint32_t)row)));
    }
    cr_assert_eq(vr_catalogue_row(catalogue, elsewhere), -1);
    cr_assert_eq(vr_catalogue_row(catalogue, late), -1);
    cr_assert_eq(catalogue->creator_of_number[vr_state_creator_number(state, vr_str_of("carl"))], 2);
    cr_assert_eq(catalogue->creator_of_number[vr_state_creator_number(state, vr_str_of("zoe"))], -1);
    cr_assert_eq(catalogue->creator_number[1], vr_state_creator_number(state, vr_str_of("bob")));
    const int32_t of_creator[] = {0, 3, 7, 1, 4, 2, 5}; /* anna (unknown time last), bob, carl */
    cr_assert_arr_eq(catalogue->upload_offset, ((uint32_t[]){0, 3, 5, 7}), 4 * sizeof(uint32_t));
    cr_assert_arr_eq(catalogue->upload_row, of_creator, sizeof of_creator);
    vr_catalogue_destroy(catalogue);
    vr_catalogue_destroy(NULL);
}

/* Times of a hostile bundle: arithmetic on them may not overflow (UBSan would report it). */
Test(state, times_that_no_clock_shows_are_harmless)
{
    static const float age_s[] = {3e38F, 1e30F, 3600, 3600, 0, 36000};
    const int64_t now_ms = T0 + HAND_HOUR_MS;
    struct hand_bundle hand;
    struct vr_bundle *bundle = hand_bundle_make(&hand);
    struct vr_catalogue *catalogue;
    uint32_t imported;
    bundle->shift_state = true;
    bundle->state.recent_age_s = age_s;
    hand.upload_ms[1] = INT64_MAX;
    hand.upload_ms[4] = INT64_MIN + 1;
    cr_assert_eq(vr_state_import(state, bundle, now_ms, &imported), VR_OK);
    cr_assert_eq(viewer_of("1").recent_count, 2);
    cr_assert_lt(viewer_of("1").recent[0].time_ms, 0);
    cr_assert_gt(viewer_of("1").recent[0].time_ms, INT64_MIN / 2, "old, but not unknown");
    cr_assert_eq(vr_catalogue_create(state, bundle, now_ms, &catalogue), VR_OK);
    cr_assert_eq(catalogue->upload_ms[1], INT64_MIN);
    cr_assert_eq(catalogue->upload_ms[4], INT64_MIN);
    cr_assert_eq(catalogue->upload_ms[2], hand.upload_ms[2] + HAND_HOUR_MS);
    vr_catalogue_destroy(catalogue);
}

/* ---- trending ---- */

Test(state, trending_ranks_decayed_weights)
{
    struct hand_bundle hand;
    uint32_t imported;
    cr_assert_eq(vr_state_import(state, hand_bundle_make(&hand), T0, &imported), VR_OK);
    const struct vr_trending *list = vr_state_trending(state, T0);
    cr_assert_eq(list->count, 5);
    const uint32_t order[] = {1, 5, 2, 6, 3}; /* by seed weight 5 2 1 1 0.5, the tie by number */
    cr_assert_arr_eq(list->video, order, sizeof order);
    tell("a", "v4", VR_EVENT_LIKE, "r", T0 + 12 * HAND_HOUR_MS);
    const struct vr_trending *later = vr_state_trending(state, T0 + 12 * HAND_HOUR_MS);
    cr_assert_eq(later->count, 6);
    cr_assert_eq(later->video[0], 4);
    cr_assert_float_eq(later->score[0], 4, 1e-6);
    cr_assert_float_eq(later->score[1], 2.5, 1e-6, "half of 5 after one half-life");
    cr_assert_eq(list->count, 5, "a list that is held does not change");
    vr_state_trending_release(state, list);
    vr_state_trending_release(state, later);
}

Test(state, trending_is_rebuilt_when_old)
{
    const struct vr_trending *first = vr_state_trending(state, T0);
    cr_assert_eq(first->count, 0);
    tell("a", "x", VR_EVENT_CLICK, "r", T0);
    const struct vr_trending *same = vr_state_trending(state, T0 + 1000);
    cr_assert_eq(same, first);
    const struct vr_trending *next = vr_state_trending(state, T0 + 1001);
    cr_assert_eq(next->count, 1);
    const struct vr_trending *back = vr_state_trending(state, T0 - 1001);
    cr_assert_neq(back, next, "a clock that went back makes it old too");
    vr_state_trending_release(state, first);
    vr_state_trending_release(state, same);
    vr_state_trending_release(state, next);
    vr_state_trending_release(state, back);
}

Test(state, trending_is_cut_to_the_best_500)
{
    char video[24];
    for (int i = 0; i < 700; i++) {
        snprintf(video, sizeof video, "video-%d", i);
        tell("a", video, i % 7 == 0 ? VR_EVENT_LIKE : VR_EVENT_CLICK, "r", T0);
    }
    const struct vr_trending *list = vr_state_trending(state, T0);
    cr_assert_eq(list->count, VR_TRENDING_MAX);
    for (uint32_t i = 0; i < list->count; i++) {
        cr_assert_eq(list->video[i], i < 100 ? i * 7 : (i - 100) + (i - 100) / 6 + 1);
    }
    vr_state_trending_release(state, list);
}

Test(state, measures_itself)
{
    struct vr_state_sizes before, after;
    vr_state_measure(state, &before);
    for (int i = 0; i < 1000; i++) {
        char user[24];
        snprintf(user, sizeof user, "user-%d", i);
        tell(user, user, VR_EVENT_CLICK, "r", T0);
    }
    vr_state_measure(state, &after);
    cr_assert_eq(after.viewers, 1000);
    cr_assert_eq(after.videos, 1000);
    cr_assert_eq(after.events, 1000);
    cr_assert_gt(after.bytes, before.bytes + 1000 * 300);
    cr_assert_lt(after.bytes, before.bytes + 1000 * 1200);
}

/* A stranger who invents viewers meets a bound; those who are known go on, and a turned-away event may come again. */
Test(state_limits, invented_viewers_are_turned_away_at_max_viewers)
{
    enum { MAX = 100, INVENTED = 5000 };
    const struct vr_state_config config = {.max_viewers = MAX, .recent_watches = 10, .trending_half_life_h = 12};
    const uint32_t video = 0;
    uint32_t accepted = 0;
    struct vr_state_sizes sizes, after;
    cr_assert_eq(vr_state_create(&config, &state), VR_OK);
    cr_assert_eq(vr_arena_create(4096, &arena), VR_OK);
    for (uint32_t i = 0; i < INVENTED; i++) {
        char user[24], id[24];
        snprintf(user, sizeof user, "invented-%u", i);
        snprintf(id, sizeof id, "e-%u", i);
        struct vr_event event = {.event_id = vr_str_of(id),
                                 .request_id = vr_str_of("r"),
                                 .user_id = vr_str_of(user),
                                 .video_id = vr_str_of("v"),
                                 .type = VR_EVENT_CLICK,
                                 .time_ms = T0};
        enum vr_event_verdict verdict;
        enum vr_status status = vr_state_apply(state, &event, &verdict);
        cr_assert_eq(status, i < MAX ? VR_OK : VR_ERR_BUSY);
        cr_assert_eq(verdict, i < MAX ? VR_EVENT_ACCEPTED : VR_EVENT_REJECTED);
        accepted += verdict == VR_EVENT_ACCEPTED;
        if (i == MAX) {
            vr_state_measure(state, &sizes);
            cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_ERR_BUSY, "sent again, it is no duplicate");
        }
    }
    cr_assert_eq(vr_state_record_served(state, vr_str_of("one more"), &video, 1, T0), VR_ERR_BUSY);
    cr_assert_eq(vr_state_record_served(state, vr_str_of("invented-7"), &video, 1, T0), VR_OK);
    cr_assert_eq(tell("invented-7", "v", VR_EVENT_LIKE, "r", T0), VR_EVENT_ACCEPTED);
    cr_assert_not(viewer_of("one more").known);
    vr_state_measure(state, &after);
    cr_assert_eq(after.viewers, MAX);
    cr_assert_eq(after.events, accepted + 1);
    cr_assert_leq(after.bytes, sizes.bytes + 1024, "what is turned away leaves nothing behind");
    close_state();
}
