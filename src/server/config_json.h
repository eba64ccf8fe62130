/* The settings in force as JSON, for GET /admin/config. No setting is a secret. */
#ifndef VIREO_SERVER_CONFIG_JSON_H
#define VIREO_SERVER_CONFIG_JSON_H

#include "vireo/config.h"
#include "vireo/json.h"

void vr_config_write(struct vr_json_writer *out, const struct vr_config *config);
#endif
