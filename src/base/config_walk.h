/* What config_yaml.c (mappings and scalars) and config_lists.c (lists) share: the walk over one YAML document. */
#ifndef VIREO_CONFIG_WALK_H
#define VIREO_CONFIG_WALK_H

#include <yaml.h>

#include "config_table.h"

#define WALK_PATH_BYTES 128u /* the longest path of the table fits several times */

struct walk {
    const char *name; /* of the file */
    yaml_document_t *document;
    struct vr_config *config;
    struct vr_arena *arena;
};

/* A list setting: reads the sequence `node` into walk->config. */
typedef enum vr_status list_reader(struct walk *walk, yaml_node_t *node, const char *path);

/* The reader of the list at `path`, or NULL. */
list_reader *config_list_find(const char *path);

/* Whether a list setting lies below the prefix ("rerank."). */
bool config_list_below(const char *prefix, size_t len);

/* VR_ERR_FORMAT with "name:line:column: path: text". */
enum vr_status walk_fail(const struct walk *walk, const yaml_node_t *node, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "a mapping", "a list" or "a scalar". */
const char *walk_kind(const yaml_node_t *node);

/* Assign the scalar `node` to `setting` of `base`. */
enum vr_status walk_scalar(struct walk *walk, const yaml_node_t *node, const struct setting *setting, void *base,
                           const char *path);

/* The text of the key of a mapping's pair number `index`, after checking that it is a scalar that no earlier pair
 * has. */
enum vr_status walk_key(struct walk *walk, const yaml_node_t *mapping, size_t index, const char *path,
                        struct vr_str *key);

#endif
