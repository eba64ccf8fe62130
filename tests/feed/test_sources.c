/* The look-up sources on a small bundle whose answers can be worked out by hand, and on a larger random one against
 * plain recomputation. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/hand_bundle.h"
#include "feed/sources.h"
#include "vireo/clock.h"

#define HOUR_MS HAND_HOUR_MS

static struct hand_bundle hand;
static const struct vr_state_config config = {.max_viewers = 1000,
                                              .recent_watches = 50,
                                              .trending_half_life_h = 12,
                                              .trending_refresh_ms = 0,
                                              .social_half_life_h = 10,
                                              .subscription_max_age_h = 4};
static struct vr_state *state;
static struct vr_arena *arena;
static struct vr_catalogue *catalogue;
static struct vr_viewer viewer;
static struct vr_source_input input;

static void open_world(void)
{
    uint32_t imported, other;
    cr_assert_eq(vr_state_create(&config, &state), VR_OK);
    cr_assert_eq(vr_arena_create(65536, &arena), VR_OK);
    /* Numbers differ from rows. */
    cr_assert_eq(vr_state_intern_video(state, vr_str_of("of another bundle"), &other), VR_OK);
    cr_assert_eq(vr_state_intern_creator(state, vr_str_of("somebody"), &other), VR_OK);
    cr_assert_eq(vr_state_import(state, hand_bundle_make(&hand), HAND_AS_OF_MS, &imported), VR_OK);
    cr_assert_eq(vr_catalogue_create(state, &hand.bundle, HAND_AS_OF_MS, &catalogue), VR_OK);
    cr_assert_eq(vr_state_viewer(state, vr_str_of("1"), arena, &viewer), VR_OK);
    input = (struct vr_source_input){.state = state,
                                     .catalogue = catalogue,
                                     .viewer = &viewer,
                                     .config = &config,
                                     .now_ms = HAND_AS_OF_MS,
                                     .want = 50,
                                     .deadline_us = UINT64_MAX,
                                     .arena = arena};
}

static void close_world(void)
{
    vr_catalogue_destroy(catalogue);
    vr_arena_destroy(arena);
    vr_state_destroy(state);
}

TestSuite(sources, .init = open_world, .fini = close_world);

static void check(const struct vr_source_result *result, uint32_t count, const int32_t *row, const double *score)
{
    cr_assert_eq(result->count, count, "%u rows", result->count);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(result->row[i], row[i], "place %u: row %d", i, result->row[i]);
        cr_assert_float_eq(result->score[i], score[i], 1e-5, "place %u: score %g", i, (double)result->score[i]);
    }
}

Test(sources, trending)
{
    struct vr_source_result result;
    cr_assert_eq(vr_source_trending(&input, &result), VR_OK);
    check(&result, 5, (int32_t[]){1, 5, 2, 6, 3}, (double[]){5, 2, 1, 1, 0.5});
    input.skip = (const int32_t[]){0, 2, 5, 7};
    input.skip_count = 4;
    input.want = 2;
    cr_assert_eq(vr_source_trending(&input, &result), VR_OK);
    check(&result, 2, (int32_t[]){1, 6}, (double[]){5, 1});
}

Test(sources, trending_passes_over_videos_of_other_bundles)
{
    struct vr_source_result result;
    enum vr_event_verdict verdict;
    struct vr_event like = {.event_id = vr_str_of("e"),
                            .request_id = vr_str_of("r"),
                            .user_id = vr_str_of("u"),
                            .video_id = vr_str_of("of another bundle"),
                            .type = VR_EVENT_LIKE,
                            .time_ms = HAND_AS_OF_MS};
    cr_assert_eq(vr_state_apply(state, &like, &verdict), VR_OK);
    like.event_id = vr_str_of("f");
    like.video_id = vr_str_of("came after the catalogue");
    cr_assert_eq(vr_state_apply(state, &like, &verdict), VR_OK);
    cr_assert_eq(vr_source_trending(&input, &result), VR_OK);
    check(&result, 5, (int32_t[]){1, 5, 2, 6, 3}, (double[]){5, 2, 1, 1, 0.5});
}

/* Friend "2": like of v0 at an unknown time, finish of v2 an hour ago, like of v4 now. Friend "3": v2 10 h ago. */
Test(sources, social)
{
    struct vr_source_result result;
    const double finish = 1.5 * pow(0.5, 0.1), long_view = 0.5;
    cr_assert_eq(vr_source_social(&input, &result), VR_OK);
    check(&result, 2, (int32_t[]){4, 2}, (double[]){2, finish + long_view});
    input.skip = (const int32_t[]){4};
    input.skip_count = 1;
    cr_assert_eq(vr_source_social(&input, &result), VR_OK);
    check(&result, 1, (int32_t[]){2}, (double[]){finish + long_view});
}

Test(sources, social_counts_a_friends_strongest_watch_once)
{
    struct vr_source_result result;
    enum vr_event_verdict verdict;
    struct vr_event event = {.user_id = vr_str_of("2"),
                             .video_id = vr_str_of("v6"),
                             .type = VR_EVENT_FINISH,
                             .time_ms = HAND_AS_OF_MS,
                             .duration_s = 70};
    const char *const id[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        event.event_id = vr_str_of(id[i]);
        event.request_id = vr_str_of(id[i]);
        event.type = i == 1 ? VR_EVENT_LIKE : VR_EVENT_FINISH;
        cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_OK);
    }
    input.want = 1;
    input.skip = (const int32_t[]){2, 4};
    input.skip_count = 2;
    cr_assert_eq(vr_source_social(&input, &result), VR_OK);
    check(&result, 1, (int32_t[]){6}, (double[]){2});
}

/* anna has v0 (now), v3 (3 h), v7 (unknown), carl v2 (2 h) and v5 (5 h, too old). */
Test(sources, subscriptions)
{
    struct vr_source_result result;
    cr_assert_eq(vr_source_subscriptions(&input, &result), VR_OK);
    check(&result, 3, (int32_t[]){0, 2, 3}, (double[]){0, -2, -3});
    input.skip = (const int32_t[]){0};
    input.skip_count = 1;
    input.want = 1;
    cr_assert_eq(vr_source_subscriptions(&input, &result), VR_OK);
    check(&result, 1, (int32_t[]){2}, (double[]){-2});
    input.now_ms = HAND_AS_OF_MS - HOUR_MS; /* replay: v0 is not uploaded yet; 5 h become 4 */
    input.skip_count = 0;
    input.want = 50;
    cr_assert_eq(vr_source_subscriptions(&input, &result), VR_OK);
    check(&result, 3, (int32_t[]){2, 3, 5}, (double[]){-1, -2, -4});
}

Test(sources, have_nothing_for_a_new_viewer)
{
    struct vr_source_result result;
    cr_assert_eq(vr_state_viewer(state, vr_str_of("nobody"), arena, &viewer), VR_OK);
    cr_assert_eq(vr_source_social(&input, &result), VR_OK);
    cr_assert_eq(result.count, 0);
    cr_assert_eq(vr_source_subscriptions(&input, &result), VR_OK);
    cr_assert_eq(result.count, 0);
    cr_assert_eq(vr_source_trending(&input, &result), VR_OK);
    cr_assert_eq(result.count, 5);
    input.want = 0;
    cr_assert_eq(vr_source_trending(&input, &result), VR_OK);
    cr_assert_eq(result.count, 0);
}

Test(sources, are_late_past_their_deadline)
{
    struct vr_source_result result;
    input.deadline_us = vr_clock_mono_us();
    cr_assert_eq(vr_source_trending(&input, &result), VR_ERR_TIMEOUT);
    cr_assert_eq(vr_source_social(&input, &result), VR_ERR_TIMEOUT);
    cr_assert(strstr(vr_error_text(), "social") != NULL);
    cr_assert_eq(vr_source_subscriptions(&input, &result), VR_ERR_TIMEOUT);
}

/* ---- many friends and creators ---- */

#define MANY_VIDEOS 2000u
#define MANY_CREATORS 40u
#define FRIENDS 60
#define WATCHES 50

struct many {
    struct vr_bundle bundle;
    char bytes[MANY_VIDEOS * 8];
    uint32_t offset[MANY_VIDEOS + 1], creator_offset[MANY_CREATORS + 1];
    int32_t creator[MANY_VIDEOS];
    int64_t upload_ms[MANY_VIDEOS];
};

static struct vr_string_list numbered(char *bytes, uint32_t *offset, uint32_t count)
{
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        offset[i] = end;
        end += (uint32_t)sprintf(bytes + end, "x%u", i);
    }
    offset[count] = end;
    struct vr_string_list list = {bytes, offset, count};
    return list;
}

/* Make the catalogue of 2,000 videos with random creators and uploads up to 8 h ago, many at the same minute. */
static void open_many(struct many *many)
{
    static char creator_bytes[MANY_CREATORS * 8];
    memset(many, 0, sizeof *many);
    many->bundle.as_of_ms = HAND_AS_OF_MS;
    many->bundle.videos.count = MANY_VIDEOS;
    many->bundle.videos.id = numbered(many->bytes, many->offset, MANY_VIDEOS);
    many->bundle.videos.creator_id = numbered(creator_bytes, many->creator_offset, MANY_CREATORS);
    for (uint32_t i = 0; i < MANY_VIDEOS; i++) {
        many->creator[i] = rand() % ((int)MANY_CREATORS + 1) - 1;
        many->upload_ms[i] = HAND_AS_OF_MS - rand() % (8 * 60) * INT64_C(60000);
    }
    many->bundle.videos.creator = many->creator;
    many->bundle.videos.upload_ms = many->upload_ms;
    vr_catalogue_destroy(catalogue);
    cr_assert_eq(vr_catalogue_create(state, &many->bundle, HAND_AS_OF_MS, &catalogue), VR_OK);
    input.catalogue = catalogue;
}

Test(sources, subscriptions_of_many_creators_equal_a_sort)
{
    static struct many many;
    uint32_t follow[MANY_CREATORS];
    struct vr_source_result result;
    srand(5);
    open_many(&many);
    for (uint32_t i = 0; i < MANY_CREATORS / 2; i++) {
        follow[i] = catalogue->creator_number[i * 2];
    }
    viewer.follow = follow;
    viewer.follow_count = MANY_CREATORS / 2;
    cr_assert_eq(vr_source_subscriptions(&input, &result), VR_OK);
    cr_assert_eq(result.count, input.want);
    for (uint32_t i = 0; i < result.count; i++) { /* exactly i rows are better than the one in place i */
        uint32_t better = 0;
        int32_t row = result.row[i];
        for (int32_t k = 0; k < (int32_t)MANY_VIDEOS; k++) {
            bool followed = many.creator[k] >= 0 && many.creator[k] % 2 == 0;
            bool newer =
                many.upload_ms[k] > many.upload_ms[row] || (many.upload_ms[k] == many.upload_ms[row] && k < row);
            better += followed && newer;
        }
        cr_assert_eq(better, i);
        cr_assert_eq(many.creator[row] % 2, 0);
    }
}

/* Each friend watches 50 videos with a random label, at a random time. */
static void befriend(double *total, uint32_t *friends)
{
    for (int f = 0; f < FRIENDS; f++) {
        char user[16], video[16], id[32];
        snprintf(user, sizeof user, "f%d", f);
        for (int i = 0; i < WATCHES; i++) {
            int row = (f * 17 + i * 31) % (int)MANY_VIDEOS;
            bool like = rand() % 2 == 0;
            int64_t age_ms = rand() % 100 * HOUR_MS;
            snprintf(video, sizeof video, "x%d", row);
            snprintf(id, sizeof id, "f%d-%d", f, i);
            struct vr_event event = {.event_id = vr_str_of(id),
                                     .request_id = vr_str_of("r"),
                                     .user_id = vr_str_of(user),
                                     .video_id = vr_str_of(video),
                                     .type = like ? VR_EVENT_LIKE : VR_EVENT_CLICK,
                                     .time_ms = HAND_AS_OF_MS - age_ms};
            enum vr_event_verdict verdict;
            cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_OK);
            total[row] += like ? 2 * pow(0.5, (double)age_ms / (double)HOUR_MS / 10) : 0;
        }
        friends[f] = HAND_VIEWERS + (uint32_t)f;
    }
}

Test(sources, social_of_many_friends_equals_plain_sums)
{
    static struct many many;
    static double total[MANY_VIDEOS];
    uint32_t friends[FRIENDS];
    struct vr_source_result result;
    srand(6);
    open_many(&many);
    befriend(total, friends);
    viewer.friends = friends;
    viewer.friend_count = FRIENDS;
    cr_assert_eq(vr_source_social(&input, &result), VR_OK);
    cr_assert_eq(result.count, input.want);
    for (uint32_t i = 0; i < result.count; i++) {
        uint32_t better = 0;
        for (uint32_t k = 0; k < MANY_VIDEOS; k++) {
            better += total[k] > total[result.row[i]] * (1 + 1e-9);
        }
        cr_assert_leq(better, i);
        cr_assert_float_eq(result.score[i], total[result.row[i]], 1e-5);
        cr_assert(i == 0 || result.score[i - 1] >= result.score[i]);
    }
}
