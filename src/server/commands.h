/* The commands of `vireo` that are not the server. */
#ifndef VIREO_SERVER_COMMANDS_H
#define VIREO_SERVER_COMMANDS_H

#include <stdint.h>
#include <stdio.h>

#include "vireo/status.h"

/* `vireo check`: open a bundle, compute its golden cases on the CPU backend, print a table of what is inside. The
 * bundle's own error when it is refused. */
enum vr_status vr_check_bundle(const char *folder, FILE *out);

/* `vireo version`. */
void vr_version_print(FILE *out);

/* `vireo show`: POST /v1/recommend with explain to `server` and print the feed as a table. VR_ERR_IO when there is no
 * answer, VR_ERR_INVALID with the problem's detail when it is none. */
enum vr_status vr_show_feed(const char *server, const char *user, uint32_t count, FILE *out);

#endif
