/* The server as main sees it: everything of `vireo serve` between the settings and the exit status. */
#ifndef VIREO_SERVER_SERVER_H
#define VIREO_SERVER_SERVER_H

#include "role.h"
#include "vireo/config.h"
#include "vireo/status.h"

struct vr_server_setup {
    const struct vr_config *config; /* outlives the run */
    const char *bundle;             /* folder */
    const char *data_dir;           /* NULL: none */
    const struct vr_role *role;     /* outlives the run, as argv does */
    char *const *argv;              /* of this process, for its probes */
};

/* How a run ended. */
enum vr_server_end {
    VR_SERVER_END_CLEAN = 0, /* stopped by a signal, everything in hand answered */
    VR_SERVER_END_CUT,       /* the drain timeout passed with requests in hand */
    VR_SERVER_END_FORCED,    /* a second signal, or the timeout while the bundle was being loaded */
    VR_SERVER_END_LOADING,   /* like CLEAN, but the bundle was still being loaded, which cannot be broken off */
    VR_SERVER_END_DEVICE,    /* the device was lost: everything in hand answered, another worker is to follow */
    VR_SERVER_END_UNTIDY,    /* like CLEAN, but with a lost device, of which nothing can be freed */
};

/* Listen, load the bundle, serve until SIGTERM or SIGINT, drain. Blocks. After FORCED, LOADING, DEVICE and UNTIDY not
 * all is torn down, for other threads are at work or the device hangs: the caller ends the process. Fails with what
 * stopped it: VR_ERR_INVALID and VR_ERR_IO for addresses, the bundle's own error when it is refused, VR_ERR_NOMEM. */
enum vr_status vr_server_run(const struct vr_server_setup *setup, enum vr_server_end *end);

#endif
