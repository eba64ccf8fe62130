/* Roles through the environment (role.h): "probe", or "worker" and its numbers. */
#include "role.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "VR_SERVE_ROLE" /* not VIREO_: those are settings */

static bool close_on_exec(int fd)
{
    return fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static enum vr_status read_worker(const char *text, struct vr_role *out)
{
    unsigned on_device = 0;
    int got = sscanf(text, "worker %d %d %d %" SCNu32 " %u %d %" SCNu32, &out->listen_fd[0], &out->listen_fd[1],
                     &out->control_fd, &out->restarts, &on_device, &out->failure, &out->probe_after_ms);
    out->on_device = on_device != 0;
    out->kind = VR_ROLE_WORKER;
    bool good = got == 7 && close_on_exec(out->listen_fd[0]) && close_on_exec(out->listen_fd[1]) &&
                close_on_exec(out->control_fd);
    return good ? VR_OK : vr_fail(VR_ERR_INVALID, VARIABLE ": this is the program's own variable, do not set it");
}

enum vr_status vr_role_take(struct vr_role *out)
{
    *out = (struct vr_role){.listen_fd = {-1, -1}, .control_fd = -1, .on_device = true};
    const char *text = getenv(VARIABLE);
    if (text == NULL) {
        return VR_OK;
    }
    if (strcmp(text, "probe") == 0) {
        out->kind = VR_ROLE_PROBE;
        return VR_OK;
    }
    enum vr_status status = read_worker(text, out);
    if (status == VR_OK && setenv(VARIABLE, "probe", 1) != 0) {
        status = vr_fail(VR_ERR_NOMEM, "setenv: %s", strerror(errno));
    }
    return status;
}

enum vr_status vr_role_give(const struct vr_role *role)
{
    char text[128];
    snprintf(text, sizeof text, "worker %d %d %d %" PRIu32 " %u %d %" PRIu32, role->listen_fd[0], role->listen_fd[1],
             role->control_fd, role->restarts, role->on_device ? 1u : 0u, role->failure, role->probe_after_ms);
    return setenv(VARIABLE, text, 1) == 0 ? VR_OK : vr_fail(VR_ERR_NOMEM, "setenv: %s", strerror(errno));
}
