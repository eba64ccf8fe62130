/* A store that lasts: verdicts of tickets, what is there after a restart, failing disks, and who may have the folder.
 * What the log itself does with each failing call is in test_event_log.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/hand_bundle.h"
#include "support_durable.h"
#include "support_files.h"

#define T0 HAND_AS_OF_MS
#define VIEWERS 8
#define VIDEOS 20

static const char *folder;

static void begin(void)
{
    folder = files_begin();
}

static void end(void)
{
    files_end();
}

TestSuite(durable, .init = begin, .fini = end);

static enum vr_status tell_one(struct vr_state *state, const struct vr_event *event, enum vr_event_verdict *verdict)
{
    struct vr_event_result result = {0};
    enum vr_status status = durable_tell(state, event, 1, &result);
    *verdict = result.verdict;
    return status;
}

/* Event number i of a random stream, always the same. */
static struct vr_event stream(int i)
{
    unsigned seed = (unsigned)i * 2654435761u;
    return durable_event(i, (int)(seed >> 8) % VIEWERS, (int)(seed >> 16) % VIDEOS,
                         (enum vr_event_type)((seed >> 4) % VR_EVENT_TYPE_COUNT), T0 + (int)(seed >> 12) % 100000);
}

static void tell_stream(struct vr_state *state, int from, int count, enum vr_event_verdict expected)
{
    for (int i = from; i < from + count; i++) {
        enum vr_event_verdict verdict;
        const struct vr_event event = stream(i);
        cr_assert_eq(tell_one(state, &event, &verdict), VR_OK, "%s", vr_error_text());
        cr_assert_eq(verdict, expected, "event %d", i);
    }
}

Test(durable, events_have_verdicts_of_their_own)
{
    struct vr_state *state = durable_open(folder, NULL);
    struct vr_event_result result[6] = {{0}};
    struct vr_event event[6] = {stream(0), stream(1), stream(0), stream(3), stream(4), stream(5)};
    event[3].time_ms = -1;
    event[4].arm = (struct vr_str){"0123456789012345678901234567890123456789012345678901234567890123456", 65};
    cr_assert(vr_state_is_durable(state));
    cr_assert_eq(durable_tell(state, event, 6, result), VR_OK);
    cr_assert_eq(result[0].verdict, VR_EVENT_ACCEPTED);
    cr_assert_eq(result[1].verdict, VR_EVENT_ACCEPTED);
    cr_assert_eq(result[2].verdict, VR_EVENT_DUPLICATE);
    cr_assert(result[3].verdict == VR_EVENT_REJECTED && strstr(result[3].reason, "time") != NULL);
    cr_assert(result[4].verdict == VR_EVENT_REJECTED && strstr(result[4].reason, "arm") != NULL);
    cr_assert(result[5].verdict == VR_EVENT_ACCEPTED && result[5].reason == NULL);
    struct vr_state_sizes sizes;
    vr_state_measure(state, &sizes);
    cr_assert(sizes.events == 3 && sizes.duplicates == 1 && sizes.rejected == 2);
    cr_assert(sizes.log_commits == 1 && sizes.log_segments == 1 && sizes.log_bytes > 0);
    vr_state_destroy(state);
}

/* A caller's own refusals (an unknown video) go through as they are, and are not in the log. */
Test(durable, what_the_caller_rejected_stays_rejected)
{
    struct vr_state *state = durable_open(folder, NULL);
    struct vr_event event[2] = {stream(0), stream(1)};
    struct vr_event_result result[2] = {{0}, {VR_EVENT_REJECTED, "unknown video_id"}};
    cr_assert_eq(durable_tell(state, event, 2, result), VR_OK);
    cr_assert_eq(result[0].verdict, VR_EVENT_ACCEPTED);
    cr_assert(result[1].verdict == VR_EVENT_REJECTED && strcmp(result[1].reason, "unknown video_id") == 0);
    vr_state_destroy(state);
    uint64_t replayed;
    state = durable_open(folder, &replayed);
    cr_assert_eq(replayed, 1);
    vr_state_destroy(state);
}

Test(durable, a_restart_finds_everything_and_every_id)
{
    uint64_t replayed;
    struct vr_state *whole = NULL;
    struct vr_state *state = durable_open(folder, NULL);
    tell_stream(state, 0, 150, VR_EVENT_ACCEPTED);
    vr_state_destroy(state);
    state = durable_open(folder, &replayed);
    cr_assert_eq(replayed, 150);
    tell_stream(state, 100, 50, VR_EVENT_DUPLICATE);
    tell_stream(state, 150, 50, VR_EVENT_ACCEPTED);
    vr_state_destroy(state);
    state = durable_open(folder, &replayed);
    cr_assert_eq(replayed, 200);
    cr_assert_eq(vr_state_create(&durable_config, &whole), VR_OK);
    for (int i = 0; i < 200; i++) {
        enum vr_event_verdict verdict;
        const struct vr_event event = stream(i);
        cr_assert_eq(vr_state_apply(whole, &event, &verdict), VR_OK);
    }
    durable_expect_same(state, whole, VIEWERS + 1, VIDEOS, T0 + 200000);
    vr_state_destroy(state);
    vr_state_destroy(whole);
}

/* ---- failing disks ---- */

static void check_failing(enum files_call call, int error, const char *word)
{
    enum vr_event_verdict verdict;
    struct vr_state *state = durable_open(folder, NULL);
    struct vr_arena *arena;
    struct vr_viewer viewer;
    cr_assert_eq(vr_arena_create(65536, &arena), VR_OK);
    tell_stream(state, 0, 5, VR_EVENT_ACCEPTED);
    files_fail(call, 0, 3, error);
    const struct vr_event late = durable_event(1000, 30, 3, VR_EVENT_LIKE, T0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(tell_one(state, &late, &verdict), VR_ERR_IO);
        cr_assert(strstr(vr_error_text(), word) != NULL, "%s", vr_error_text());
        cr_assert_eq(vr_state_viewer(state, late.user_id, arena, &viewer), VR_OK, "reading goes on");
        cr_assert_not(viewer.known, "what is not durable is not seen");
    }
    cr_assert_eq(tell_one(state, &late, &verdict), VR_OK);
    cr_assert_eq(verdict, VR_EVENT_ACCEPTED, "it is new: nothing of the failures counts");
    cr_assert_eq(vr_state_viewer(state, late.user_id, arena, &viewer), VR_OK);
    cr_assert(viewer.known && viewer.counters.likes == 1);
    struct vr_state_sizes sizes;
    vr_state_measure(state, &sizes);
    cr_assert(sizes.log_failures == 3 && sizes.events == 6 && sizes.unapplied == 0);
    vr_state_destroy(state);
    files_lose(0);
    uint64_t replayed;
    state = durable_open(folder, &replayed);
    cr_assert_eq(replayed, 6);
    cr_assert_eq(tell_one(state, &late, &verdict), VR_OK);
    cr_assert_eq(verdict, VR_EVENT_DUPLICATE);
    vr_state_destroy(state);
    vr_arena_destroy(arena);
}

Test(durable, a_full_disk_loses_nothing_that_was_acknowledged)
{
    check_failing(FILES_WRITE, ENOSPC, "No space left");
}

Test(durable, a_failing_sync_loses_nothing_that_was_acknowledged)
{
    check_failing(FILES_SYNC, EIO, "sync");
}

/* While the disk is full, what needs no disk is answered. */
Test(durable, rejections_need_no_disk)
{
    struct vr_state *state = durable_open(folder, NULL);
    struct vr_event bad = stream(1);
    enum vr_event_verdict verdict;
    tell_stream(state, 0, 1, VR_EVENT_ACCEPTED);
    files_fail(FILES_WRITE, 0, 100, ENOSPC);
    bad.time_ms = -1;
    cr_assert_eq(tell_one(state, &bad, &verdict), VR_OK);
    cr_assert_eq(verdict, VR_EVENT_REJECTED);
    tell_stream(state, 0, 1, VR_EVENT_DUPLICATE);
    const struct vr_event good = stream(2);
    cr_assert_eq(tell_one(state, &good, &verdict), VR_ERR_IO);
    vr_state_destroy(state);
}

/* ---- bounds and callers ---- */

Test(durable, a_viewer_past_the_bound_is_rejected_and_not_logged)
{
    struct vr_state *state = durable_open(folder, NULL);
    struct vr_event_result result = {0};
    for (int i = 0; i < (int)durable_config.max_viewers; i++) {
        const struct vr_event event = durable_event(i, i, 1, VR_EVENT_CLICK, T0);
        cr_assert_eq(durable_tell(state, &event, 1, &result), VR_OK);
        cr_assert_eq(result.verdict, VR_EVENT_ACCEPTED);
    }
    const struct vr_event past = durable_event(500, 500, 1, VR_EVENT_CLICK, T0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(durable_tell(state, &past, 1, &result), VR_OK);
        cr_assert(result.verdict == VR_EVENT_REJECTED && strstr(result.reason, "viewer") != NULL);
        result.reason = NULL;
    }
    vr_state_destroy(state);
    uint64_t replayed;
    state = durable_open(folder, &replayed);
    cr_assert_eq(replayed, durable_config.max_viewers);
    vr_state_destroy(state);
}

Test(durable, seeds_come_before_the_log)
{
    struct hand_bundle hand;
    uint64_t replayed;
    uint32_t imported;
    enum vr_event_verdict verdict;
    struct vr_viewer viewer;
    struct vr_arena *arena;
    const struct vr_state_files files = {.folder = folder, .segment_bytes = 4096, .ops = &files_ops};
    cr_assert_eq(vr_arena_create(65536, &arena), VR_OK);
    hand_bundle_make(&hand);
    hand.bundle.shift_state = true;
    for (int start = 0; start < 3; start++) { /* each start an hour after the one before */
        struct vr_state *state;
        struct vr_catalogue *catalogue;
        int64_t now_ms = T0 + 7200000 + start * INT64_C(3600000);
        cr_assert_eq(vr_state_open_files(&durable_config, &files, &state), VR_OK);
        cr_assert_eq(vr_state_import(state, &hand.bundle, now_ms, &imported), VR_OK);
        cr_assert_gt(imported, 0);
        cr_assert_eq(vr_catalogue_create(state, &hand.bundle, now_ms, &catalogue), VR_OK);
        cr_assert_eq(catalogue->upload_ms[1], hand.bundle.videos.upload_ms[1] + 7200000, "time stands where it began");
        cr_assert_eq(vr_state_recover(state, &replayed), VR_OK);
        cr_assert_eq(replayed, start);
        struct vr_event event = durable_event(start, 1, 3, VR_EVENT_CLICK, now_ms);
        event.user_id = vr_str_of("1");
        event.request_id = event.event_id;
        cr_assert_eq(tell_one(state, &event, &verdict), VR_OK);
        cr_assert_eq(vr_state_viewer(state, vr_str_of("1"), arena, &viewer), VR_OK);
        cr_assert(viewer.follow_count > 0 || viewer.friend_count > 0, "his seed");
        cr_assert_geq(viewer.counters.clicks, start + 1);
        vr_catalogue_destroy(catalogue);
        vr_state_destroy(state);
    }
    vr_arena_destroy(arena);
}

Test(durable, one_process_has_the_folder)
{
    struct vr_state *state = durable_open(folder, NULL);
    struct vr_state *second = NULL;
    cr_assert_eq(vr_state_open(&durable_config, folder, &second), VR_ERR_BUSY);
    cr_assert(strstr(vr_error_text(), folder) != NULL);
    vr_state_destroy(state);
    cr_assert_eq(vr_state_open(&durable_config, folder, &second), VR_OK);
    vr_state_destroy(second);
    cr_assert_eq(vr_state_open(&durable_config, "/nonexistent/vireo", &second), VR_ERR_IO);
}

Test(durable, events_have_one_way_in)
{
    struct vr_state *state;
    struct vr_event_result result = {0};
    enum vr_event_verdict verdict;
    uint64_t replayed;
    const struct vr_event event = stream(0);
    cr_assert_eq(vr_state_create(&durable_config, &state), VR_OK);
    cr_assert_not(vr_state_is_durable(state));
    cr_assert_eq(vr_state_recover(state, &replayed), VR_OK);
    cr_assert_eq(durable_tell(state, &event, 1, &result), VR_ERR_UNSUPPORTED);
    vr_state_stop(state);
    cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_OK);
    vr_state_destroy(state);
    cr_assert_eq(vr_state_open(&durable_config, folder, &state), VR_OK);
    cr_assert_eq(durable_tell(state, &event, 1, &result), VR_ERR_CLOSED, "not recovered");
    cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_ERR_UNSUPPORTED);
    cr_assert_eq(vr_state_recover(state, &replayed), VR_OK);
    cr_assert_eq(durable_tell(state, &event, 1, &result), VR_OK);
    vr_state_stop(state);
    cr_assert_eq(durable_tell(state, &event, 1, &result), VR_ERR_CLOSED, "stopped");
    vr_state_stop(state);
    vr_state_destroy(state);
}

Test(durable, a_damaged_log_is_no_start)
{
    struct vr_state *state = durable_open(folder, NULL);
    tell_stream(state, 0, 100, VR_EVENT_ACCEPTED);
    vr_state_destroy(state);
    files_flip(folder, "events/00000000000000000001.log", 400);
    uint64_t replayed;
    cr_assert_eq(vr_state_open(&durable_config, folder, &state), VR_OK, "the last segment is fine");
    cr_assert_eq(vr_state_recover(state, &replayed), VR_ERR_CHECKSUM);
    struct vr_event_result result = {0};
    const struct vr_event event = stream(200);
    cr_assert_eq(durable_tell(state, &event, 1, &result), VR_ERR_CLOSED, "nothing is taken");
    vr_state_destroy(state);
    files_flip(folder, "events/00000000000000000001.log", 400);
    state = durable_open(folder, &replayed);
    cr_assert_eq(replayed, 100);
    vr_state_destroy(state);
}
