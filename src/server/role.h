/* What this process of `vireo serve` is. With a device there are up to three kinds: the parent that was started (alone
 * when there is no device), the worker that serves, and now and then a probe that tries the device. Parent and worker
 * tell their children through one variable of the environment. */
#ifndef VIREO_SERVER_ROLE_H
#define VIREO_SERVER_ROLE_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/config.h"
#include "vireo/status.h"
#include "watch.h"

enum vr_role_kind { VR_ROLE_FIRST = 0, VR_ROLE_WORKER, VR_ROLE_PROBE };

struct vr_role {
    enum vr_role_kind kind;
    /* of a worker: */
    uint32_t listen_count;       /* listening sockets of the public port; 0: this process binds its own */
    int listen_fd[VR_LOOPS_MAX]; /* [listen_count], inherited, as the next */
    int admin_fd;                /* -1: this process binds its own */
    int control_fd;              /* a byte: stop; end of file: the parent is gone. -1: signals instead */
    int note_fd;                 /* what served last (struct vr_note); -1: nobody would read it */
    uint32_t restarts;           /* workers before this one */
    bool on_device;              /* begin on the device; else on the CPU */
    int failure;                 /* else: enum vr_device_failure, what ended the worker before */
    uint32_t probe_after_ms;     /* else: wait so long before the first probe */
    /* of a probe: */
    const char *bundle; /* what serves; NULL: the command line's */
};

/* What a worker leaves for the next one, in memory that the parent keeps: a worker that follows a crash loads what was
 * serving, and takes up nothing that was tried already. */
struct vr_note {
    struct vr_mark tried;     /* in the watched folder */
    char bundle[VR_PATH_MAX]; /* "": nothing but the command line's has served */
};
enum vr_status vr_note_create(int *fd);
void vr_note_write(int fd, const struct vr_note *note); /* nothing where fd is -1 */
void vr_note_read(int fd, struct vr_note *out);         /* all zero where there is none */

/* The role that the environment gives, FIRST where it gives none; what it inherits will not be inherited again, and the
 * children of this process are probes. VR_ERR_INVALID. */
enum vr_status vr_role_take(struct vr_role *out);

/* Give the next child this role. VR_ERR_NOMEM. */
enum vr_status vr_role_give(const struct vr_role *role);

#define VR_ROLE_PROBE_BYTES (VR_PATH_MAX + 32u)

/* The variable of a probe of `bundle`, for the environment that it is started in. */
void vr_role_probe(const char *bundle, char out[VR_ROLE_PROBE_BYTES]);
/* Whether a variable of the environment is a role. */
bool vr_role_is_variable(const char *variable);

#endif
