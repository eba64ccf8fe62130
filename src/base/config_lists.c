/* The settings that are lists: satisfaction terms, caps, freshness quotas, blocked videos and the order in which rules
 * give way. Each reader replaces the whole list; items with fields need every field. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "config_walk.h"
#include "vireo/dict.h"

#define BLOCKED_MAX 100000u

static const struct setting term_fields[] = {
    {"name", SETTING_NAME, offsetof(struct vr_term_config, name), 0, 0, NULL},
    {"expression", SETTING_TEXT, offsetof(struct vr_term_config, expression), 0, 0, NULL},
};

static const struct setting cap_fields[] = {
    {"by", SETTING_CHOICE, offsetof(struct vr_cap_config, by), 0, 0, config_choice_cap_by},
    {"window", SETTING_U32, offsetof(struct vr_cap_config, window), 2, 50, NULL},
    {"max", SETTING_U32, offsetof(struct vr_cap_config, max), 1, 49, NULL},
};

static const struct setting freshness_fields[] = {
    {"by_position", SETTING_U32, offsetof(struct vr_freshness_config, by_position), 1, 50, NULL},
    {"count", SETTING_U32, offsetof(struct vr_freshness_config, count), 1, 50, NULL},
};

/* An element without fields is read by the same code as a scalar setting. */
static const struct setting text_setting = {"", SETTING_TEXT, 0, 0, 0, NULL};
static const struct setting rule_setting = {"", SETTING_CHOICE, 0, 0, 0, config_choice_rule};

#define FIELDS(table) table, sizeof(table) / sizeof((table)[0])

/* Read one element into items[index]; the elements before it are there, to be compared with. */
typedef enum vr_status item_reader(struct walk *walk, const yaml_node_t *node, void *items, size_t index,
                                   const char *path);

/* How many elements a list has, and the bytes of one. */
struct list_shape {
    size_t min, max, size;
};

/* Read a sequence into a new array of the walk's arena. */
static enum vr_status read_elements(struct walk *walk, const yaml_node_t *node, const char *path,
                                    struct list_shape shape, item_reader *read, void *out_items, uint32_t *out_count)
{
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count < shape.min || count > shape.max) {
        return walk_fail(walk, node, path, "expected a list of %zu to %zu, found %zu", shape.min, shape.max, count);
    }
    void *items = vr_arena_calloc(walk->arena, count, shape.size);
    if (items == NULL) {
        return VR_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        char at[WALK_PATH_BYTES];
        snprintf(at, sizeof at, "%s[%zu]", path, i);
        const yaml_node_t *element = yaml_document_get_node(walk->document, node->data.sequence.items.start[i]);
        enum vr_status status = read(walk, element, items, i, at);
        if (status != VR_OK) {
            return status;
        }
    }
    memcpy(out_items, &items, sizeof items); /* a pointer to whatever the elements are */
    *out_count = (uint32_t)count;
    return VR_OK;
}

static const struct setting *field_named(const struct setting *field, size_t count, struct vr_str key)
{
    for (size_t i = 0; i < count; i++) {
        if (vr_str_equal(vr_str_of(field[i].path), key)) {
            return &field[i];
        }
    }
    return NULL;
}

/* Read the mapping `node` into the struct at `item`; every one of `field[count]` must be there, nothing else. */
static enum vr_status read_item(struct walk *walk, const yaml_node_t *node, const struct setting *field, size_t count,
                                void *item, const char *path)
{
    if (node->type != YAML_MAPPING_NODE) {
        return walk_fail(walk, node, path, "expected a mapping, found %s", walk_kind(node));
    }
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    size_t pairs = (size_t)(node->data.mapping.pairs.top - pair);
    for (size_t i = 0; i < pairs; i++) {
        struct vr_str key = {NULL, 0};
        char at[WALK_PATH_BYTES + 68];
        enum vr_status status = walk_key(walk, node, i, path, &key);
        if (status != VR_OK) {
            return status;
        }
        snprintf(at, sizeof at, "%s.%s", path, config_show(key.data, key.len).text);
        const struct setting *setting = field_named(field, count, key);
        if (setting == NULL) {
            return walk_fail(walk, yaml_document_get_node(walk->document, pair[i].key), at, "unknown key");
        }
        status = walk_scalar(walk, yaml_document_get_node(walk->document, pair[i].value), setting, item, at);
        if (status != VR_OK) {
            return status;
        }
    }
    if (pairs < count) {
        return walk_fail(walk, node, path, "%zu of its %zu keys are missing", count - pairs, count);
    }
    return VR_OK;
}

/* ---- the lists ---- */

static enum vr_status read_term(struct walk *walk, const yaml_node_t *node, void *items, size_t index, const char *path)
{
    struct vr_term_config *term = items;
    enum vr_status status = read_item(walk, node, FIELDS(term_fields), &term[index], path);
    for (size_t i = 0; status == VR_OK && i < index; i++) {
        if (strcmp(term[i].name, term[index].name) == 0) {
            status = walk_fail(walk, node, path, "the name '%s' occurs twice",
                               config_show(term[i].name, strlen(term[i].name)).text);
        }
    }
    return status;
}

static enum vr_status read_terms(struct walk *walk, yaml_node_t *node, const char *path)
{
    struct vr_satisfaction_config *to = &walk->config->satisfaction;
    const struct list_shape shape = {1, VR_TERMS_MAX, sizeof *to->term};
    return read_elements(walk, node, path, shape, read_term, &to->term, &to->count);
}

static enum vr_status read_cap(struct walk *walk, const yaml_node_t *node, void *items, size_t index, const char *path)
{
    struct vr_cap_config *cap = (struct vr_cap_config *)items + index;
    enum vr_status status = read_item(walk, node, FIELDS(cap_fields), cap, path);
    if (status == VR_OK && cap->max >= cap->window) {
        return walk_fail(walk, node, path, "max %u is not below the window of %u", cap->max, cap->window);
    }
    return status;
}

static enum vr_status read_caps(struct walk *walk, yaml_node_t *node, const char *path)
{
    struct vr_rerank_config *to = &walk->config->rerank;
    const struct list_shape shape = {0, VR_CAPS_MAX, sizeof *to->cap};
    return read_elements(walk, node, path, shape, read_cap, &to->cap, &to->cap_count);
}

static enum vr_status read_quota(struct walk *walk, const yaml_node_t *node, void *items, size_t index,
                                 const char *path)
{
    struct vr_freshness_config *quota = (struct vr_freshness_config *)items + index;
    enum vr_status status = read_item(walk, node, FIELDS(freshness_fields), quota, path);
    if (status == VR_OK && quota->count > quota->by_position) {
        return walk_fail(walk, node, path, "count %u is more than by_position %u", quota->count, quota->by_position);
    }
    return status;
}

static enum vr_status read_freshness(struct walk *walk, yaml_node_t *node, const char *path)
{
    struct vr_rerank_config *to = &walk->config->rerank;
    const struct list_shape shape = {0, VR_CAPS_MAX, sizeof *to->freshness};
    return read_elements(walk, node, path, shape, read_quota, &to->freshness, &to->freshness_count);
}

static enum vr_status read_id(struct walk *walk, const yaml_node_t *node, void *items, size_t index, const char *path)
{
    const char **id = (const char **)items + index;
    enum vr_status status = walk_scalar(walk, node, &text_setting, id, path);
    if (status == VR_OK && strlen(*id) > VR_ID_MAX_BYTES) {
        return walk_fail(walk, node, path, "an id of more than %u bytes", VR_ID_MAX_BYTES);
    }
    return status;
}

static enum vr_status read_blocked(struct walk *walk, yaml_node_t *node, const char *path)
{
    struct vr_rerank_config *to = &walk->config->rerank;
    const struct list_shape shape = {0, BLOCKED_MAX, sizeof *to->blocked};
    return read_elements(walk, node, path, shape, read_id, &to->blocked, &to->blocked_count);
}

static enum vr_status read_rule(struct walk *walk, const yaml_node_t *node, void *items, size_t index, const char *path)
{
    enum vr_rule *rule = items;
    enum vr_status status = walk_scalar(walk, node, &rule_setting, &rule[index], path);
    for (size_t i = 0; status == VR_OK && i < index; i++) {
        if (rule[i] == rule[index]) {
            status = walk_fail(walk, node, path, "the rule '%s' occurs twice", vr_rule_name(rule[index]));
        }
    }
    return status;
}

static enum vr_status read_give_way(struct walk *walk, yaml_node_t *node, const char *path)
{
    struct vr_rerank_config *to = &walk->config->rerank;
    const struct list_shape shape = {0, VR_RULE_COUNT, sizeof *to->give_way};
    return read_elements(walk, node, path, shape, read_rule, &to->give_way, &to->give_way_count);
}

static const struct {
    const char *path;
    list_reader *read;
} lists[] = {
    {"satisfaction", read_terms},     {"rerank.caps", read_caps},         {"rerank.freshness", read_freshness},
    {"rerank.blocked", read_blocked}, {"rerank.give_way", read_give_way},
};

list_reader *config_list_find(const char *path)
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strcmp(lists[i].path, path) == 0) {
            return lists[i].read;
        }
    }
    return NULL;
}

bool config_list_below(const char *prefix, size_t len)
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strncmp(lists[i].path, prefix, len) == 0) {
            return true;
        }
    }
    return false;
}
