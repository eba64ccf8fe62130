/* The commands of `vireo` that are not the server. */
#ifndef VIREO_SERVER_COMMANDS_H
#define VIREO_SERVER_COMMANDS_H

#include <stdint.h>
#include <stdio.h>

#include "vireo/config.h"
#include "vireo/status.h"

/* `vireo check`: open a bundle, compute its golden cases on the configured backend, print a table of what is inside.
 * The bundle's own error when it is refused, the device's where the configuration asks for one that does not open. */
enum vr_status vr_check_bundle(const char *folder, const struct vr_config *config, FILE *out);

/* A probe: the same cases on the device alone; a line in the log, nothing printed. */
enum vr_status vr_probe_device(const char *folder, const struct vr_config *config);

/* `vireo version`. */
void vr_version_print(FILE *out);

/* `vireo show`: POST /v1/recommend with explain to `server` and print the feed as a table. VR_ERR_IO when there is no
 * answer, VR_ERR_INVALID with the problem's detail when it is none. */
enum vr_status vr_show_feed(const char *server, const char *user, uint32_t count, FILE *out);

#endif
