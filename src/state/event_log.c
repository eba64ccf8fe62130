/* Appending to the log (event_log.h); reading it back is log_replay.c's. */
#include "event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event_log_parts.h"
#include "vireo/log.h"

#define GROUP_MAX_BYTES (16u << 20)
#define FIRST_GROUP_BYTES 65536u

static enum vr_status io_error(const struct vr_event_log *log, const char *what)
{
    return vr_fail(VR_ERR_IO, "event log in %s: %s: %s", log->folder, what, strerror(errno));
}

/* ---- segments ---- */

/* Close the segment in use; what lies behind its synced end, if anything, is void (log_segment.h). */
static void abandon(struct vr_event_log *log)
{
    if (log->fd >= 0) {
        close(log->fd);
    }
    log->fd = -1;
}

static enum vr_status sync_folder(struct vr_event_log *log)
{
    int fd = log->files->open(log->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return io_error(log, "opening the folder");
    }
    enum vr_status status = log->files->fdatasync(fd) == 0 ? VR_OK : io_error(log, "syncing the folder");
    close(fd);
    return status;
}

static enum vr_status write_all(struct vr_event_log *log, int fd, const char *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t written = log->files->write(fd, data, len, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written == 0 ? ENOSPC : errno;
            return io_error(log, "writing");
        }
        data += written;
        offset += (uint64_t)written;
        len -= (size_t)written;
    }
    return VR_OK;
}

/* A header under a name of its own, synced. */
static enum vr_status fill_segment(struct vr_event_log *log, int fd)
{
    char header[VR_SEGMENT_HEADER_BYTES];
    vr_segment_header_write(&(struct vr_segment_header){log->next, log->store_ms}, header);
    enum vr_status status = write_all(log, fd, header, sizeof header, 0);
    if (status == VR_OK && log->files->fdatasync(fd) != 0) {
        status = io_error(log, "syncing a new segment");
    }
    return status;
}

/* Give the new segment its name; a segment of the same name holds no record that counts. */
static enum vr_status name_segment(struct vr_event_log *log, const char *draft)
{
    char path[VR_SEGMENT_PATH_MAX];
    enum vr_status status = vr_segment_path(log->folder, log->next, ".log", path);
    if (status == VR_OK && log->files->rename(draft, path) != 0) {
        status = io_error(log, "renaming a new segment");
    }
    return status == VR_OK ? sync_folder(log) : status;
}

static enum vr_status begin_segment(struct vr_event_log *log)
{
    char draft[VR_SEGMENT_PATH_MAX];
    abandon(log);
    enum vr_status status = vr_segment_path(log->folder, log->next, ".new", draft);
    if (status != VR_OK) {
        return status;
    }
    (void)unlink(draft); /* of an attempt before: a file whose sync failed is not used again */
    int fd = log->files->open(draft, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) {
        return io_error(log, "making a segment");
    }
    status = fill_segment(log, fd);
    if (status == VR_OK) {
        status = name_segment(log, draft);
    }
    if (status != VR_OK) {
        close(fd);
        return status;
    }
    log->fd = fd;
    log->end = VR_SEGMENT_HEADER_BYTES;
    vr_log_count(&log->counts.segments, 1);
    return VR_OK;
}

/* ---- groups ---- */

static bool reserve_group(struct vr_event_log *log, size_t wanted)
{
    if (wanted <= log->group_capacity) {
        return true;
    }
    size_t capacity = log->group_capacity == 0 ? FIRST_GROUP_BYTES : log->group_capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    char *larger = realloc(log->group, capacity);
    if (larger == NULL) {
        return false;
    }
    log->group = larger;
    log->group_capacity = capacity;
    return true;
}

enum vr_status vr_event_log_add(struct vr_event_log *log, const struct vr_event *event, int64_t received_ms)
{
    size_t bytes = vr_log_record_bytes(event);
    if (log->group_bytes + bytes > GROUP_MAX_BYTES) {
        return vr_fail(VR_ERR_TOO_LARGE, "event log: a group of more than %u bytes", GROUP_MAX_BYTES);
    }
    if (!reserve_group(log, log->group_bytes + bytes)) {
        return vr_fail(VR_ERR_NOMEM, "event log: no memory for a group");
    }
    const struct vr_log_record record = {.sequence = log->next + log->group_records,
                                         .group = (uint32_t)log->group_bytes,
                                         .kind = VR_RECORD_EVENT,
                                         .received_ms = received_ms,
                                         .event = *event};
    vr_log_record_write(&record, log->group + log->group_bytes);
    log->group_bytes += bytes;
    log->group_records++;
    return VR_OK;
}

bool vr_event_log_is_empty(const struct vr_event_log *log)
{
    return log->group_records == 0;
}

/* The end of the segment is as it was before the group, or the segment is given up. */
static void take_back(struct vr_event_log *log)
{
    if (log->files->ftruncate(log->fd, (off_t)log->end) != 0) {
        abandon(log);
    }
}

static enum vr_status append_group(struct vr_event_log *log)
{
    bool full = log->fd >= 0 && log->end + log->group_bytes > log->segment_bytes && log->end > VR_SEGMENT_HEADER_BYTES;
    enum vr_status status = log->fd < 0 || full ? begin_segment(log) : VR_OK;
    if (status != VR_OK) {
        return status;
    }
    status = write_all(log, log->fd, log->group, log->group_bytes, log->end);
    if (status != VR_OK) {
        take_back(log);
        return status;
    }
    if (log->files->fdatasync(log->fd) != 0) {
        status = io_error(log, "syncing");
        take_back(log);
        abandon(log);
    }
    return status;
}

enum vr_status vr_event_log_commit(struct vr_event_log *log)
{
    if (log->group_records == 0) {
        return VR_OK;
    }
    enum vr_status status = append_group(log);
    if (status == VR_OK) {
        log->end += log->group_bytes;
        log->next += log->group_records;
        vr_log_count(&log->counts.commits, 1);
        vr_log_count(&log->counts.bytes, log->group_bytes);
    } else {
        vr_log_count(&log->counts.failures, 1);
    }
    log->group_bytes = 0;
    log->group_records = 0;
    return status;
}

/* ---- the log ---- */

uint64_t vr_event_log_next(const struct vr_event_log *log)
{
    return log->next;
}

int64_t vr_event_log_store_ms(const struct vr_event_log *log)
{
    return log->store_ms;
}

void vr_event_log_set_store_ms(struct vr_event_log *log, int64_t store_ms)
{
    log->store_ms = store_ms;
}

void vr_event_log_measure(const struct vr_event_log *log, struct vr_event_log_counts *out)
{
    out->commits = __atomic_load_n(&log->counts.commits, __ATOMIC_RELAXED);
    out->failures = __atomic_load_n(&log->counts.failures, __ATOMIC_RELAXED);
    out->bytes = __atomic_load_n(&log->counts.bytes, __ATOMIC_RELAXED);
    out->segments = __atomic_load_n(&log->counts.segments, __ATOMIC_RELAXED);
}

void vr_event_log_close(struct vr_event_log *log)
{
    if (log == NULL) {
        return;
    }
    abandon(log);
    free(log->group);
    free(log->folder);
    free(log);
}
