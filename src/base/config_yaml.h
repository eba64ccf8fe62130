/* Reading a YAML document over a configuration, private to src/base/config*.c. */
#ifndef VIREO_CONFIG_YAML_H
#define VIREO_CONFIG_YAML_H

#include <stddef.h>

#include "vireo/arena.h"
#include "vireo/config.h"

/* Lay the settings of the document over `config`, whose strings and lists go into `arena`. `name` stands for the file
 * in messages of the form "name:line:column: path: what is wrong". VR_ERR_FORMAT, VR_ERR_NOMEM. On failure `config`
 * may hold a part of the settings. */
enum vr_status config_yaml_read(const char *name, const char *data, size_t len, struct vr_config *config,
                                struct vr_arena *arena);

#endif
