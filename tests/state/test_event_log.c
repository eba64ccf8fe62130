/* The event log: its checksum, its records as bytes, groups over segments, torn ends, damage, and every call of the
 * file system failing, with and without the machine stopping afterwards. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "state/crc32c.h"
#include "state/event_log.h"
#include "support_files.h"

#define SEGMENT_BYTES 2048u
#define FIRST_SEGMENT "00000000000000000001.log"
#define MODES 8u /* ways in which a machine stops */

static const char *folder;

static void begin(void)
{
    folder = files_begin();
}

static void end(void)
{
    files_end();
}

TestSuite(event_log, .init = begin, .fini = end);

/* ---- checksums and records ---- */

Test(event_log, the_checksum_is_crc_32c)
{
    char bytes[257];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 37 % 251);
    }
    cr_assert_eq(vr_crc32c(0, "123456789", 9), 0xe3069283u);
    cr_assert_eq(vr_crc32c_plain(0, "123456789", 9), 0xe3069283u);
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; from + len <= sizeof bytes; len++) {
            uint32_t crc = vr_crc32c(0, bytes + from, len);
            cr_assert_eq(crc, vr_crc32c_plain(0, bytes + from, len));
            cr_assert_eq(crc, vr_crc32c(vr_crc32c(0, bytes + from, len / 3), bytes + from + len / 3, len - len / 3));
        }
    }
}

static struct vr_event sample(const char *id)
{
    return (struct vr_event){.event_id = vr_str_of(id),
                             .request_id = vr_str_of("request"),
                             .user_id = vr_str_of("u"),
                             .video_id = vr_str_of("v17"),
                             .type = VR_EVENT_PLAY,
                             .time_ms = 1700000000123,
                             .watch_s = 3.25F,
                             .duration_s = 12.5F,
                             .position = 7,
                             .model_version = vr_str_of("model-1"),
                             .source = vr_str_of("trending")};
}

static void check_same(const struct vr_event *a, const struct vr_event *b)
{
    cr_assert(vr_str_equal(a->event_id, b->event_id) && vr_str_equal(a->request_id, b->request_id));
    cr_assert(vr_str_equal(a->user_id, b->user_id) && vr_str_equal(a->video_id, b->video_id));
    cr_assert(vr_str_equal(a->model_version, b->model_version) && vr_str_equal(a->experiment, b->experiment));
    cr_assert(vr_str_equal(a->arm, b->arm) && vr_str_equal(a->source, b->source));
    cr_assert(a->type == b->type && a->time_ms == b->time_ms && a->position == b->position);
    cr_assert(a->watch_s == b->watch_s && a->duration_s == b->duration_s);
}

Test(event_log, a_record_comes_back_and_no_bit_may_change)
{
    const struct vr_event event = sample("an id");
    const struct vr_log_record record = {
        .sequence = 9, .group = 24, .kind = VR_RECORD_EVENT, .received_ms = 1700000001000, .event = event};
    char frame[512];
    struct vr_log_record back;
    size_t bytes = vr_log_record_bytes(&event);
    cr_assert(bytes <= sizeof frame && bytes % VR_FRAME_ALIGN == 0);
    vr_log_record_write(&record, frame);
    cr_assert_eq(vr_log_frame_check(frame, bytes), bytes);
    cr_assert_eq(vr_log_record_read(frame, &back), VR_OK);
    cr_assert(back.sequence == 9 && back.group == 24 && back.kind == 1 && back.received_ms == 1700000001000);
    check_same(&back.event, &event);
    uint32_t length;
    memcpy(&length, frame, 4);
    for (size_t bit = 0; bit < (VR_FRAME_HEAD_BYTES + length) * 8; bit++) {
        frame[bit / 8] ^= (char)(1 << bit % 8);
        cr_assert_eq(vr_log_frame_check(frame, bytes), 0, "bit %zu", bit);
        frame[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t left = 0; left < bytes; left++) {
        cr_assert_eq(vr_log_frame_check(frame, left), 0);
    }
}

/* ---- logs ---- */

static struct vr_event_log *log_open(void)
{
    struct vr_event_log *log = NULL;
    const struct vr_event_log_options options = {.folder = folder, .segment_bytes = SEGMENT_BYTES, .files = &files_ops};
    cr_assert_eq(vr_event_log_open(&options, &log), VR_OK, "%s", vr_error_text());
    return log;
}

static enum vr_status refused(void)
{
    struct vr_event_log *log = NULL;
    const struct vr_event_log_options options = {.folder = folder, .segment_bytes = SEGMENT_BYTES, .files = &files_ops};
    enum vr_status status = vr_event_log_open(&options, &log);
    vr_event_log_close(log);
    return status;
}

/* A group of `count` events with the ids first, first + 1, ... */
static enum vr_status put(struct vr_event_log *log, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        char id[32];
        snprintf(id, sizeof id, "%d", i);
        const struct vr_event event = sample(id);
        cr_assert_eq(vr_event_log_add(log, &event, 1700000000000 + i), VR_OK);
    }
    return vr_event_log_commit(log);
}

struct ids {
    int id[4096];
    int count;
};

static enum vr_status note(void *context, const struct vr_log_record *record)
{
    struct ids *ids = context;
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)record->event.event_id.len, record->event.event_id.data);
    ids->id[ids->count++] = atoi(text);
    const struct vr_event expected = sample(text);
    check_same(&record->event, &expected);
    cr_assert_eq(record->received_ms, 1700000000000 + atoi(text));
    return VR_OK;
}

static struct ids replay(uint64_t from)
{
    static struct ids ids;
    struct vr_event_log *log = log_open();
    ids.count = 0;
    cr_assert_eq(vr_event_log_replay(log, from, note, &ids), VR_OK, "%s", vr_error_text());
    vr_event_log_close(log);
    return ids;
}

/* The ids 0, 1, ... count - 1, once each and in order. */
static void expect_all(int count)
{
    struct ids ids = replay(1);
    cr_assert_eq(ids.count, count, "%d of %d", ids.count, count);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(ids.id[i], i);
    }
}

Test(event_log, groups_come_back_over_segments)
{
    struct vr_event_log_counts counts;
    struct vr_event_log *log = log_open();
    cr_assert_eq(vr_event_log_store_ms(log), INT64_MIN);
    vr_event_log_set_store_ms(log, 42);
    cr_assert_eq(vr_event_log_commit(log), VR_OK, "an empty group");
    for (int i = 0; i < 200; i += 5) {
        cr_assert_eq(put(log, i, 5), VR_OK);
    }
    vr_event_log_measure(log, &counts);
    cr_assert_eq(counts.commits, 40);
    cr_assert_gt(counts.segments, 8);
    cr_assert_eq(vr_event_log_next(log), 201);
    vr_event_log_close(log);
    expect_all(200);
    cr_assert_eq(replay(151).count, 50);
    cr_assert_eq(replay(151).id[0], 150);
    cr_assert_eq(replay(500).count, 0);
    log = log_open();
    cr_assert_eq(vr_event_log_store_ms(log), 42);
    cr_assert_eq(put(log, 200, 3), VR_OK);
    vr_event_log_close(log);
    expect_all(203);
    struct ids ids = {.count = 0};
    cr_assert_eq(vr_log_folder_walk(folder, 1, note, &ids), VR_OK);
    cr_assert_eq(ids.count, 203);
}

Test(event_log, an_end_torn_at_any_byte_is_cut_off)
{
    struct vr_event_log *log = log_open();
    put(log, 0, 2);
    vr_event_log_close(log);
    long first = files_size(folder, FIRST_SEGMENT);
    for (long size = first; size >= VR_SEGMENT_HEADER_BYTES; size--) {
        log = log_open();
        long kept = files_size(folder, FIRST_SEGMENT);
        int known = (int)vr_event_log_next(log) - 1;
        cr_assert(kept <= size && known == (kept - (long)VR_SEGMENT_HEADER_BYTES) * 2 / (first - 40));
        cr_assert_eq(put(log, known, 2), VR_OK);
        vr_event_log_close(log);
        expect_all(known + 2);
        files_cut(folder, FIRST_SEGMENT, size - 1);
    }
}

Test(event_log, damage_to_acknowledged_events_is_refused)
{
    struct vr_event_log *log = log_open();
    put(log, 0, 1);
    long second = files_size(folder, FIRST_SEGMENT);
    put(log, 1, 2);
    long third = files_size(folder, FIRST_SEGMENT);
    put(log, 3, 2);
    vr_event_log_close(log);
    for (long at = VR_SEGMENT_HEADER_BYTES; at < third; at += 8) {
        files_flip(folder, FIRST_SEGMENT, at);
        cr_assert_eq(refused(), VR_ERR_CHECKSUM, "byte %ld", at);
        cr_assert(strstr(vr_error_text(), FIRST_SEGMENT) != NULL && strstr(vr_error_text(), "byte ") != NULL);
        files_flip(folder, FIRST_SEGMENT, at);
    }
    expect_all(5); /* as it was, it is fine */
    files_flip(folder, FIRST_SEGMENT, 20);
    cr_assert_eq(refused(), VR_ERR_CHECKSUM, "a damaged header");
    files_flip(folder, FIRST_SEGMENT, 20);
    files_flip(folder, FIRST_SEGMENT, third + 16); /* the last group: nobody can tell this from a torn end */
    expect_all(3);
    cr_assert_gt(second, (long)VR_SEGMENT_HEADER_BYTES);
}

Test(event_log, damage_to_an_earlier_segment_is_refused)
{
    struct ids ids = {.count = 0};
    struct vr_event_log *log = log_open();
    for (int i = 0; i < 40; i++) {
        put(log, i, 1);
    }
    long whole = files_size(folder, FIRST_SEGMENT);
    files_flip(folder, FIRST_SEGMENT, whole - 40);
    cr_assert_eq(vr_event_log_replay(log, 1, note, &ids), VR_ERR_CHECKSUM);
    files_flip(folder, FIRST_SEGMENT, whole - 40);
    files_cut(folder, FIRST_SEGMENT, whole - 200);
    ids.count = 0;
    cr_assert_eq(vr_event_log_replay(log, 1, note, &ids), VR_ERR_CHECKSUM);
    ids.count = 0;
    cr_assert_eq(vr_event_log_replay(log, 39, note, &ids), VR_OK, "what is not read is not judged");
    vr_event_log_close(log);
}

Test(event_log, a_file_that_is_no_segment_is_refused)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, "00000000000000000007.log");
    FILE *file = fopen(path, "w");
    fputs("something else altogether, and long enough for a header", file);
    fclose(file);
    cr_assert_eq(refused(), VR_ERR_FORMAT);
    remove(path);
    snprintf(path, sizeof path, "%s/notes.log", folder);
    file = fopen(path, "w");
    fclose(file);
    expect_all(0);
}

/* ---- failing calls ---- */

#define ATTEMPTS 40

/* Groups of 1 to 3 events, no id twice; the ids of those that were taken. The last groups are. */
static struct ids write_on(struct vr_event_log *log)
{
    struct ids taken = {.count = 0};
    bool last_taken = false;
    for (int attempt = 0; attempt < ATTEMPTS || (!last_taken && attempt < 2 * ATTEMPTS); attempt++) {
        int count = 1 + attempt * 7 % 3;
        last_taken = put(log, attempt * 10, count) == VR_OK;
        for (int i = 0; last_taken && i < count; i++) {
            taken.id[taken.count++] = attempt * 10 + i;
        }
    }
    cr_assert(last_taken && taken.count > ATTEMPTS, "%d: %s", taken.count, vr_error_text());
    return taken;
}

static void expect(const struct ids *taken)
{
    struct ids ids = replay(1);
    cr_assert_eq(ids.count, taken->count, "%d of %d", ids.count, taken->count);
    for (int i = 0; i < ids.count; i++) {
        cr_assert_eq(ids.id[i], taken->id[i]);
    }
}

/* Each call of a kind in turn fails `times`, `other` (if it is another) fails whenever it is called from then on, and
 * the machine stops at the end in each way: what was taken is there once and in order, and nothing else. */
static void fail_everywhere(enum files_call call, int error, long times, enum files_call other)
{
    bool reached = true;
    for (long after = 0; reached; after++) {
        for (unsigned how = 0; how < MODES; how++) {
            struct vr_event_log *log = log_open();
            if (other != call) {
                files_fail(other, 0, LONG_MAX, EIO);
            }
            files_fail(call, after, times, error);
            struct ids taken = write_on(log);
            reached = files_calls(call) > after;
            files_fail(call, -1, 0, 0);
            files_fail(other, -1, 0, 0);
            vr_event_log_close(log);
            files_lose(how);
            expect(&taken);
            files_end();
            folder = files_begin();
        }
    }
}

Test(event_log, any_write_may_fail)
{
    fail_everywhere(FILES_WRITE, ENOSPC, 1, FILES_WRITE);
    fail_everywhere(FILES_WRITE, ENOSPC, 3, FILES_WRITE);
}

Test(event_log, any_sync_may_fail)
{
    fail_everywhere(FILES_SYNC, EIO, 1, FILES_SYNC);
    fail_everywhere(FILES_SYNC, EIO, 3, FILES_SYNC);
}

Test(event_log, any_open_or_rename_may_fail)
{
    fail_everywhere(FILES_OPEN, EMFILE, 1, FILES_OPEN);
    fail_everywhere(FILES_RENAME, ENOSPC, 1, FILES_RENAME);
}

/* Then the end cannot be cut back either: the next segment makes it void. */
Test(event_log, a_failed_sync_and_a_failed_cut)
{
    fail_everywhere(FILES_SYNC, EIO, 1, FILES_TRUNCATE);
    fail_everywhere(FILES_WRITE, ENOSPC, 1, FILES_TRUNCATE);
}

/* The machine stops with a group written and not synced: a beginning of it may be there, nothing else. */
Test(event_log, what_was_not_synced_is_there_in_part_or_not)
{
    for (unsigned how = 0; how < 200; how++) {
        struct vr_event_log *log = log_open();
        for (int i = 0; i < 4; i++) {
            cr_assert_eq(put(log, i, 1), VR_OK);
        }
        files_fail(FILES_SYNC, 0, 1, EIO);
        files_fail(FILES_TRUNCATE, 0, 1, EIO);
        cr_assert_eq(put(log, 4, 9), VR_ERR_IO);
        cr_assert(strstr(vr_error_text(), "sync") != NULL);
        files_fail(FILES_SYNC, -1, 0, 0);
        files_fail(FILES_TRUNCATE, -1, 0, 0);
        vr_event_log_close(log);
        files_lose(how);
        struct ids ids = replay(1);
        cr_assert(ids.count >= 4 && ids.count <= 13, "%d", ids.count);
        for (int i = 0; i < ids.count; i++) {
            cr_assert_eq(ids.id[i], i);
        }
        files_end();
        folder = files_begin();
    }
}

Test(event_log, a_refused_start_leaves_the_log_as_it_was)
{
    struct vr_event_log *log = log_open();
    put(log, 0, 2);
    vr_event_log_close(log);
    long size = files_size(folder, FIRST_SEGMENT);
    files_cut(folder, FIRST_SEGMENT, size - 3);
    files_fail(FILES_TRUNCATE, 0, 1, EIO);
    cr_assert_eq(refused(), VR_ERR_IO);
    files_fail(FILES_SYNC, 0, 1, EIO);
    files_fail(FILES_TRUNCATE, -1, 0, 0);
    cr_assert_eq(refused(), VR_ERR_IO, "what cannot be synced may not be told to be durable");
    files_fail(FILES_SYNC, -1, 0, 0);
    expect_all(1);
}
