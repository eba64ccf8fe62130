/* The parent of a server with a device. An error of the device can be beyond repair for the process that met it, so the
 * process that serves is a child: the parent holds the listening sockets, runs one worker, and the next one at once
 * when it ends. Connections wait in the sockets' backlog meanwhile. The parent itself opens no device, starts no thread
 * and loads no bundle. */
#ifndef VIREO_SERVER_SUPERVISOR_H
#define VIREO_SERVER_SUPERVISOR_H

#include "vireo/config.h"
#include "vireo/status.h"

/* A worker's exit status: its device is lost, it has answered what it held, and wants to be followed. */
#define VR_EXIT_DEVICE_LOST 75

/* Bind, run workers until one ends for good or a signal stops them: SIGTERM, SIGINT, SIGHUP let the worker drain, a
 * second one ends it at once. A worker is this program again with the same words `argv`. *exit_status is the last
 * worker's. VR_ERR_INVALID and VR_ERR_IO for addresses, VR_ERR_IO when no worker can be started. */
enum vr_status vr_supervisor_run(const struct vr_config *config, char *const *argv, int *exit_status);

#endif
