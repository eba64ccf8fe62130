/* What this process of `vireo serve` is. With a device there are up to three kinds: the parent that was started (alone
 * when there is no device), the worker that serves, and now and then a probe that tries the device. Parent and worker
 * tell their children through one variable of the environment. */
#ifndef VIREO_SERVER_ROLE_H
#define VIREO_SERVER_ROLE_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/config.h"
#include "vireo/status.h"

enum vr_role_kind { VR_ROLE_FIRST = 0, VR_ROLE_WORKER, VR_ROLE_PROBE };

struct vr_role {
    enum vr_role_kind kind;
    /* of a worker: */
    uint32_t listen_count;       /* listening sockets of the public port; 0: this process binds its own */
    int listen_fd[VR_LOOPS_MAX]; /* [listen_count], inherited, as the next */
    int admin_fd;                /* -1: this process binds its own */
    int control_fd;              /* a byte: stop; end of file: the parent is gone. -1: signals instead */
    uint32_t restarts;           /* workers before this one */
    bool on_device;              /* begin on the device; else on the CPU */
    int failure;                 /* else: enum vr_device_failure, what ended the worker before */
    uint32_t probe_after_ms;     /* else: wait so long before the first probe */
};

/* The role that the environment gives, FIRST where it gives none; what it inherits will not be inherited again, and the
 * children of this process are probes. VR_ERR_INVALID. */
enum vr_status vr_role_take(struct vr_role *out);

/* Give the next child this role. VR_ERR_NOMEM. */
enum vr_status vr_role_give(const struct vr_role *role);

#endif
