/* Every allocation of every call of the state fails once: the call answers VR_ERR_NOMEM, changes nothing that can be
 * seen, and the same call succeeds afterwards. */
#include <criterion/criterion.h>

#include "../support/hand_bundle.h"
#include "support_alloc.h"
#include "vireo/state.h"

#define NOW_MS (HAND_AS_OF_MS + HAND_HOUR_MS)

static const struct vr_state_config config = {.max_viewers = 1000,
                                              .recent_watches = 50,
                                              .trending_half_life_h = 12,
                                              .trending_refresh_ms = 1000,
                                              .social_half_life_h = 72};

static struct vr_event event_of(const char *id, enum vr_event_type type)
{
    struct vr_event event = {.event_id = vr_str_of(id),
                             .request_id = vr_str_of("r"),
                             .user_id = vr_str_of("viewer"),
                             .video_id = vr_str_of("video"),
                             .type = type,
                             .time_ms = NOW_MS};
    return event;
}

Test(nomem, create)
{
    long count = 0;
    for (;; count++) {
        struct vr_state *state = NULL;
        alloc_fail_after(count);
        enum vr_status status = vr_state_create(&config, &state);
        bool failed = alloc_has_failed();
        alloc_fail_after(-1);
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK);
        vr_state_destroy(state);
        if (!failed) {
            break;
        }
    }
    cr_assert_geq(count, 10);
}

Test(nomem, apply_changes_nothing)
{
    long count = 0;
    bool failed = true;
    for (; failed; count++) {
        struct vr_state *state;
        struct vr_state_sizes sizes;
        enum vr_event_verdict verdict;
        struct vr_event event = event_of("e", VR_EVENT_CLICK);
        struct vr_counters counters;
        cr_assert_eq(vr_state_create(&config, &state), VR_OK);
        alloc_fail_after(count);
        enum vr_status status = vr_state_apply(state, &event, &verdict);
        failed = alloc_has_failed();
        alloc_fail_after(-1);
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK);
        cr_assert_eq(verdict, failed ? VR_EVENT_REJECTED : VR_EVENT_ACCEPTED);
        vr_state_video_counters(state, (uint32_t[]){0}, 1, &counters);
        cr_assert_eq(counters.clicks, failed ? 0 : 1);

        cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_OK);
        cr_assert_eq(verdict, failed ? VR_EVENT_ACCEPTED : VR_EVENT_DUPLICATE, "a failed event may be sent again");
        vr_state_video_counters(state, (uint32_t[]){0}, 1, &counters);
        cr_assert_eq(counters.clicks, 1);
        vr_state_measure(state, &sizes);
        cr_assert_eq(sizes.events, 1);
        vr_state_destroy(state);
    }
    cr_assert_geq(count, 6);
}

Test(nomem, record_served)
{
    long count = 0;
    bool failed = true;
    for (; failed; count++) {
        struct vr_state *state;
        const uint32_t video[3] = {5, 2, 9};
        cr_assert_eq(vr_state_create(&config, &state), VR_OK);
        alloc_fail_after(count);
        enum vr_status status = vr_state_record_served(state, vr_str_of("viewer"), video, 3, NOW_MS);
        failed = alloc_has_failed();
        alloc_fail_after(-1);
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK);
        cr_assert_eq(vr_state_record_served(state, vr_str_of("viewer"), video, 3, NOW_MS), VR_OK);
        vr_state_destroy(state);
    }
    cr_assert_geq(count, 4);
}

Test(nomem, import)
{
    long count = 0;
    bool failed = true;
    for (; failed; count++) {
        struct hand_bundle hand;
        struct vr_bundle *bundle = hand_bundle_make(&hand);
        struct vr_state *state;
        uint32_t imported;
        cr_assert_eq(vr_state_create(&config, &state), VR_OK);
        alloc_fail_after(count);
        enum vr_status status = vr_state_import(state, bundle, NOW_MS, &imported);
        failed = alloc_has_failed();
        alloc_fail_after(-1);
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK);
        cr_assert_eq(imported, failed ? 0 : HAND_VIEWERS);
        vr_state_destroy(state);
    }
    cr_assert_geq(count, 25);
}

Test(nomem, catalogue)
{
    long count = 0;
    bool failed = true;
    for (; failed; count++) {
        struct hand_bundle hand;
        struct vr_bundle *bundle = hand_bundle_make(&hand);
        struct vr_state *state;
        struct vr_catalogue *catalogue = NULL;
        cr_assert_eq(vr_state_create(&config, &state), VR_OK);
        alloc_fail_after(count);
        enum vr_status status = vr_catalogue_create(state, bundle, NOW_MS, &catalogue);
        failed = alloc_has_failed();
        alloc_fail_after(-1);
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK);
        cr_assert_eq(catalogue == NULL, failed);
        vr_catalogue_destroy(catalogue);
        vr_state_destroy(state);
    }
    cr_assert_geq(count, 8);
}

Test(nomem, trending_keeps_the_old_list)
{
    struct vr_state *state;
    enum vr_event_verdict verdict;
    struct vr_event click = event_of("a", VR_EVENT_CLICK);
    struct vr_event like = event_of("b", VR_EVENT_LIKE);
    cr_assert_eq(vr_state_create(&config, &state), VR_OK);
    cr_assert_eq(vr_state_apply(state, &click, &verdict), VR_OK);
    vr_state_trending_release(state, vr_state_trending(state, NOW_MS));
    cr_assert_eq(vr_state_apply(state, &like, &verdict), VR_OK);
    alloc_fail_after(0);
    const struct vr_trending *list = vr_state_trending(state, NOW_MS + 60000);
    cr_assert(alloc_has_failed());
    alloc_fail_after(-1);
    cr_assert_eq(list->count, 1);
    cr_assert_float_eq(list->score[0], 1.0, 1e-6);
    vr_state_trending_release(state, list);
    list = vr_state_trending(state, NOW_MS + 60000);
    cr_assert_float_eq(list->score[0], 5.0, 0.01);
    vr_state_trending_release(state, list);
    vr_state_destroy(state);
}
