/* A store that lasts (vireo/state.h): the folder with its lock, the event log in it, recovery at start, and the way of
 * events through the writer. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state_internal.h"
#include "vireo/clock.h"
#include "vireo/log.h"

#define SEGMENT_BYTES (64u << 20)
#define PATH_BYTES 1024u

/* ---- the folder ---- */

static enum vr_status path_in(const char *folder, const char *name, char out[PATH_BYTES])
{
    int len = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    return len > 0 && (unsigned)len < PATH_BYTES ? VR_OK : vr_fail(VR_ERR_TOO_LARGE, "%s: too long a path", folder);
}

/* The lock goes with the process, however that ends. */
static enum vr_status lock_folder(struct vr_state *state, const char *folder)
{
    char path[PATH_BYTES];
    enum vr_status status = path_in(folder, "lock", path);
    if (status != VR_OK) {
        return status;
    }
    state->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (state->lock_fd < 0) {
        return vr_fail(VR_ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(state->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? vr_fail(VR_ERR_BUSY, "%s: another process has this folder", folder)
                                    : vr_fail(VR_ERR_IO, "%s: %s", path, strerror(errno));
    }
    return VR_OK;
}

/* The folder's name in its parent, and what is in it. */
static enum vr_status sync_names(const struct vr_state_files *files)
{
    static const char *const names[] = {"..", "."};
    char path[PATH_BYTES];
    enum vr_status status = VR_OK;
    for (size_t i = 0; i < 2 && status == VR_OK; i++) {
        status = path_in(files->folder, names[i], path);
        int fd = status == VR_OK ? files->ops->open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) : -1;
        if (status == VR_OK && (fd < 0 || files->ops->fdatasync(fd) != 0)) {
            status = vr_fail(VR_ERR_IO, "%s: %s", path, strerror(errno));
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return status;
}

static enum vr_status open_log(struct vr_state *state, const struct vr_state_files *files)
{
    char folder[PATH_BYTES];
    enum vr_status status = path_in(files->folder, "events", folder);
    if (status == VR_OK && mkdir(folder, 0750) != 0 && errno != EEXIST) {
        status = vr_fail(VR_ERR_IO, "%s: %s", folder, strerror(errno));
    }
    if (status == VR_OK) {
        status = sync_names(files);
    }
    if (status != VR_OK) {
        return status;
    }
    const struct vr_event_log_options options = {
        .folder = folder, .segment_bytes = files->segment_bytes, .files = files->ops};
    status = vr_event_log_open(&options, &state->log);
    if (status == VR_OK && vr_event_log_store_ms(state->log) != INT64_MIN) {
        state->start_ms = vr_event_log_store_ms(state->log);
    }
    return status;
}

enum vr_status vr_durable_open(struct vr_state *state, const struct vr_state_files *files)
{
    enum vr_status status = lock_folder(state, files->folder);
    return status == VR_OK ? open_log(state, files) : status;
}

enum vr_status vr_state_open(const struct vr_state_config *config, const char *folder, struct vr_state **out)
{
    const struct vr_state_files files = {.folder = folder, .segment_bytes = SEGMENT_BYTES, .ops = &vr_file_ops_system};
    return vr_state_open_files(config, &files, out);
}

void vr_state_stop(struct vr_state *state)
{
    if (state->writer != NULL) {
        vr_event_writer_stop(state->writer);
    }
}

void vr_durable_close(struct vr_state *state)
{
    vr_event_writer_destroy(state->writer);
    vr_event_log_close(state->log);
    if (state->lock_fd >= 0) {
        close(state->lock_fd);
    }
}

bool vr_state_is_durable(const struct vr_state *state)
{
    return state->log != NULL;
}

/* ---- recovery ---- */

struct recovery {
    struct vr_state *state;
    uint64_t applied, passed_over;
};

/* The log is the truth: what it holds was new when it was written, whatever the window says. */
static enum vr_status recover_record(void *context, const struct vr_log_record *record)
{
    struct recovery *recovery = context;
    if (record->kind != VR_RECORD_EVENT || vr_event_fault(&record->event) != NULL) {
        recovery->passed_over++;
        return VR_OK;
    }
    (void)vr_event_window_add(recovery->state->window, record->event.event_id);
    vr_state_apply_logged(recovery->state, &record->event);
    recovery->applied++;
    return VR_OK;
}

enum vr_status vr_state_recover(struct vr_state *state, uint64_t *replayed)
{
    struct recovery recovery = {.state = state};
    *replayed = 0;
    if (state->log == NULL || state->writer != NULL) {
        return VR_OK;
    }
    uint64_t began_us = vr_clock_mono_us();
    enum vr_status status = vr_event_log_replay(state->log, 1, recover_record, &recovery);
    if (status != VR_OK) {
        return status;
    }
    vr_event_log_set_store_ms(state->log, state->start_ms);
    vr_trending_board_expire(state->trending);
    *replayed = recovery.applied;
    vr_log(VR_LOG_INFO, "state_recovered", "events=%" PRIu64 " passed_over=%" PRIu64 " next=%" PRIu64 " ms=%" PRIu64,
           recovery.applied, recovery.passed_over, vr_event_log_next(state->log),
           (vr_clock_mono_us() - began_us) / 1000);
    struct vr_event_writer *writer;
    status = vr_event_writer_start(state, &writer);
    if (status == VR_OK) {
        __atomic_store_n(&state->writer, writer, __ATOMIC_RELEASE);
    }
    return status;
}

/* ---- events ---- */

enum vr_status vr_state_submit(struct vr_state *state, struct vr_event_ticket *ticket)
{
    if (state->log == NULL) {
        return vr_fail(VR_ERR_UNSUPPORTED, "state: a store in memory has no log");
    }
    struct vr_event_writer *writer = __atomic_load_n(&state->writer, __ATOMIC_ACQUIRE);
    return writer != NULL ? vr_event_writer_submit(writer, ticket) : vr_fail(VR_ERR_CLOSED, "state: not recovered yet");
}
