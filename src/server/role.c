/* Roles through the environment (role.h): "probe", with its bundle after a blank, or "worker" and its numbers. */
#include "role.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VARIABLE "VR_SERVE_ROLE" /* not VIREO_: those are settings */
#define PROBE "probe"

static bool close_on_exec(int fd)
{
    return fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* The listening sockets behind the numbers, each after a blank. */
static bool read_sockets(const char *text, struct vr_role *out)
{
    bool good = out->listen_count >= 1 && out->listen_count <= VR_LOOPS_MAX;
    for (uint32_t i = 0; good && i < out->listen_count; i++) {
        int used = 0;
        good = sscanf(text, " %d%n", &out->listen_fd[i], &used) == 1 && close_on_exec(out->listen_fd[i]);
        text += used;
    }
    return good && *text == '\0';
}

static enum vr_status read_worker(const char *text, struct vr_role *out)
{
    unsigned on_device = 0;
    int used = 0;
    int got = sscanf(text, "worker %d %d %d %" SCNu32 " %u %d %" SCNu32 " %" SCNu32 "%n", &out->admin_fd,
                     &out->control_fd, &out->note_fd, &out->restarts, &on_device, &out->failure, &out->probe_after_ms,
                     &out->listen_count, &used);
    out->on_device = on_device != 0;
    out->kind = VR_ROLE_WORKER;
    bool good =
        got == 8 && close_on_exec(out->admin_fd) && close_on_exec(out->control_fd) && close_on_exec(out->note_fd);
    return good && read_sockets(text + used, out)
               ? VR_OK
               : vr_fail(VR_ERR_INVALID, VARIABLE ": this is the program's own variable, do not set it");
}

enum vr_status vr_role_take(struct vr_role *out)
{
    *out = (struct vr_role){.admin_fd = -1, .control_fd = -1, .note_fd = -1, .on_device = true};
    const char *text = getenv(VARIABLE);
    if (text == NULL) {
        return VR_OK;
    }
    if (strncmp(text, PROBE, strlen(PROBE)) == 0) {
        const char *bundle = text + strlen(PROBE);
        out->kind = VR_ROLE_PROBE;
        out->bundle = *bundle == ' ' ? bundle + 1 : NULL;
        return VR_OK;
    }
    enum vr_status status = read_worker(text, out);
    if (status == VR_OK && setenv(VARIABLE, PROBE, 1) != 0) {
        status = vr_fail(VR_ERR_NOMEM, "setenv: %s", strerror(errno));
    }
    return status;
}

enum vr_status vr_role_give(const struct vr_role *role)
{
    char text[128 + VR_LOOPS_MAX * 12];
    int len = snprintf(text, sizeof text, "worker %d %d %d %" PRIu32 " %u %d %" PRIu32 " %" PRIu32, role->admin_fd,
                       role->control_fd, role->note_fd, role->restarts, role->on_device ? 1u : 0u, role->failure,
                       role->probe_after_ms, role->listen_count);
    for (uint32_t i = 0; i < role->listen_count; i++) {
        len += snprintf(text + len, sizeof text - (size_t)len, " %d", role->listen_fd[i]);
    }
    return setenv(VARIABLE, text, 1) == 0 ? VR_OK : vr_fail(VR_ERR_NOMEM, "setenv: %s", strerror(errno));
}

void vr_role_probe(const char *bundle, char out[VR_ROLE_PROBE_BYTES])
{
    (void)snprintf(out, VR_ROLE_PROBE_BYTES, "%s=%s %s", VARIABLE, PROBE, bundle);
}

bool vr_role_is_variable(const char *variable)
{
    return strncmp(variable, VARIABLE "=", strlen(VARIABLE "=")) == 0;
}

/* ---- notes ---- */

enum vr_status vr_note_create(int *fd)
{
    *fd = memfd_create("vireo-note", MFD_CLOEXEC);
    if (*fd < 0) {
        return vr_fail(VR_ERR_IO, "memfd_create: %s", strerror(errno));
    }
    return VR_OK;
}

/* In one call, so that a worker that dies leaves the note before or the whole new one. */
void vr_note_write(int fd, const struct vr_note *note)
{
    while (fd >= 0 && pwrite(fd, note, sizeof *note, 0) < 0 && errno == EINTR) {
    }
}

void vr_note_read(int fd, struct vr_note *out)
{
    ssize_t got = fd >= 0 ? pread(fd, out, sizeof *out, 0) : 0;
    if (got != (ssize_t)sizeof *out || out->bundle[sizeof out->bundle - 1] != '\0') {
        *out = (struct vr_note){.bundle = ""};
    }
}
