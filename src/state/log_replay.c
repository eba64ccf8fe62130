/* Reading the log back (event_log.h): where it ends, and its records in order. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event_log_parts.h"
#include "vireo/log.h"

/* ---- walking ---- */

static enum vr_status fail_corrupt(const struct vr_segment *segment, const char *folder)
{
    return vr_fail(VR_ERR_CHECKSUM,
                   "%s/%020" PRIu64 ".log: damaged at byte %zu: record %" PRIu64
                   " is not what was written, and acknowledged records follow. Bring the file back from a copy, or cut "
                   "it off with `truncate -s %zu` and move the later segments away, which loses them",
                   folder, segment->header.first, segment->at, segment->next, segment->at);
}

/* A segment between two others that has bytes behind its records: the end of a group whose sync failed. */
static void report_void(const struct vr_segment *segment)
{
    if (segment->end != UINT64_MAX && segment->at < segment->len) {
        vr_log(VR_LOG_INFO, "event_log_void", "segment=%020" PRIu64 " offset=%zu bytes=%zu", segment->header.first,
               segment->at, segment->len - segment->at);
    }
}

static enum vr_status walk_segment(struct vr_segment *segment, const char *folder, uint64_t from, vr_log_visit *visit,
                                   void *context)
{
    struct vr_log_record record;
    enum vr_status status = VR_OK;
    while (status == VR_OK && vr_segment_next(segment, &record)) {
        status = record.sequence >= from ? visit(context, &record) : VR_OK;
    }
    if (status == VR_OK && vr_segment_judge(segment) == VR_REST_CORRUPT) {
        return fail_corrupt(segment, folder);
    }
    report_void(segment);
    return status;
}

enum vr_status vr_log_folder_walk(const char *folder, uint64_t from, vr_log_visit *visit, void *context)
{
    uint64_t *first;
    size_t count;
    enum vr_status status = vr_segment_list(folder, &first, &count);
    for (size_t i = 0; i < count && status == VR_OK; i++) {
        uint64_t end = i + 1 < count ? first[i + 1] : UINT64_MAX;
        struct vr_segment segment;
        if (end <= from) {
            continue; /* wholly before */
        }
        status = vr_segment_open(folder, first[i], end, &segment);
        if (status == VR_OK) {
            status = walk_segment(&segment, folder, from, visit, context);
            vr_segment_close(&segment);
        }
    }
    free(first);
    return status;
}

enum vr_status vr_event_log_replay(const struct vr_event_log *log, uint64_t from, vr_log_visit *visit, void *context)
{
    return from < log->next ? vr_log_folder_walk(log->folder, from, visit, context) : VR_OK;
}

/* ---- opening ---- */

/* Cut off what a crash left behind the last record, and sync the rest: what is read here may be told to be durable. */
static enum vr_status settle_end(struct vr_event_log *log, const struct vr_segment *segment)
{
    if (segment->at < segment->len) {
        vr_log(VR_LOG_WARN, "event_log_cut", "segment=%020" PRIu64 " offset=%zu bytes=%zu", segment->header.first,
               segment->at, segment->len - segment->at);
        if (log->files->ftruncate(log->fd, (off_t)segment->at) != 0) {
            return vr_fail(VR_ERR_IO, "event log in %s: cutting off its torn end: %s", log->folder, strerror(errno));
        }
    }
    if (log->files->fdatasync(log->fd) != 0) {
        return vr_fail(VR_ERR_IO, "event log in %s: syncing: %s", log->folder, strerror(errno));
    }
    log->end = segment->at;
    return VR_OK;
}

static enum vr_status go_on_with(struct vr_event_log *log, struct vr_segment *segment)
{
    struct vr_log_record record;
    char path[VR_SEGMENT_PATH_MAX];
    while (vr_segment_next(segment, &record)) {
    }
    if (vr_segment_judge(segment) == VR_REST_CORRUPT) {
        return fail_corrupt(segment, log->folder);
    }
    enum vr_status status = vr_segment_path(log->folder, segment->header.first, ".log", path);
    if (status != VR_OK) {
        return status;
    }
    log->fd = log->files->open(path, O_RDWR | O_CLOEXEC, 0);
    if (log->fd < 0) {
        return vr_fail(VR_ERR_IO, "%s: %s", path, strerror(errno));
    }
    log->next = segment->next;
    log->store_ms = segment->header.store_ms;
    return settle_end(log, segment);
}

static enum vr_status find_end(struct vr_event_log *log)
{
    uint64_t *first;
    size_t count;
    struct vr_segment segment;
    enum vr_status status = vr_segment_list(log->folder, &first, &count);
    if (status == VR_OK && count > 0) {
        status = vr_segment_open(log->folder, first[count - 1], UINT64_MAX, &segment);
        if (status == VR_OK) {
            status = go_on_with(log, &segment);
            vr_segment_close(&segment);
        }
    }
    log->counts.segments = count;
    free(first);
    return status;
}

enum vr_status vr_event_log_open(const struct vr_event_log_options *options, struct vr_event_log **out)
{
    struct vr_event_log *log = calloc(1, sizeof *log);
    char *folder = strdup(options->folder);
    if (log == NULL || folder == NULL) {
        free(log);
        free(folder);
        return vr_fail(VR_ERR_NOMEM, "event log: no memory");
    }
    *log = (struct vr_event_log){.folder = folder,
                                 .segment_bytes = options->segment_bytes,
                                 .files = options->files,
                                 .store_ms = INT64_MIN,
                                 .next = 1,
                                 .fd = -1};
    enum vr_status status = find_end(log);
    if (status != VR_OK) {
        vr_event_log_close(log);
        return status;
    }
    *out = log;
    return VR_OK;
}
