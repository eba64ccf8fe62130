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

/* An element of a list without fields, read by the same code as a scalar setting. */
struct text_item {
    const char *text;
};
static const struct setting text_setting = {"", SETTING_TEXT, offsetof(struct text_item, text), 0, 0, NULL};

struct rule_item {
    enum vr_rule rule;
};
static const struct setting rule_setting = {"", SETTING_CHOICE,    offsetof(struct rule_item, rule), 0,
                                            0,  config_choice_rule};

#define FIELDS(table) table, sizeof(table) / sizeof((table)[0])

static void item_path(char *path, const char *list, size_t index)
{
    snprintf(path, WALK_PATH_BYTES, "%s[%zu]", list, index);
}

static yaml_node_t *element(const struct walk *walk, const yaml_node_t *node, size_t index)
{
    return yaml_document_get_node(walk->document, node->data.sequence.items.start[index]);
}

/* The number of elements, after checking it against `min` and `max`. */
static enum vr_status list_length(const struct walk *walk, const yaml_node_t *node, const char *path, size_t min,
                                  size_t max, size_t *out)
{
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count < min || count > max) {
        return walk_fail(walk, node, path, "expected a list of %zu to %zu, found %zu", min, max, count);
    }
    *out = count;
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

static enum vr_status read_terms(struct walk *walk, yaml_node_t *node, const char *path)
{
    size_t count = 0;
    enum vr_status status = list_length(walk, node, path, 1, VR_TERMS_MAX, &count);
    struct vr_term_config *term = vr_arena_calloc(walk->arena, VR_TERMS_MAX, sizeof *term);
    if (status != VR_OK || term == NULL) {
        return status != VR_OK ? status : VR_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        char at[WALK_PATH_BYTES];
        item_path(at, path, i);
        status = read_item(walk, element(walk, node, i), FIELDS(term_fields), &term[i], at);
        if (status != VR_OK) {
            return status;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(term[k].name, term[i].name) == 0) {
                return walk_fail(walk, element(walk, node, i), at, "the name '%s' occurs twice",
                                 config_show(term[i].name, strlen(term[i].name)).text);
            }
        }
    }
    walk->config->satisfaction.term = term;
    walk->config->satisfaction.count = (uint32_t)count;
    return VR_OK;
}

static enum vr_status read_caps(struct walk *walk, yaml_node_t *node, const char *path)
{
    size_t count = 0;
    enum vr_status status = list_length(walk, node, path, 0, VR_CAPS_MAX, &count);
    struct vr_cap_config *cap = vr_arena_calloc(walk->arena, VR_CAPS_MAX, sizeof *cap);
    if (status != VR_OK || cap == NULL) {
        return status != VR_OK ? status : VR_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        char at[WALK_PATH_BYTES];
        item_path(at, path, i);
        status = read_item(walk, element(walk, node, i), FIELDS(cap_fields), &cap[i], at);
        if (status != VR_OK) {
            return status;
        }
        if (cap[i].max >= cap[i].window) {
            return walk_fail(walk, element(walk, node, i), at, "max %u is not below the window of %u", cap[i].max,
                             cap[i].window);
        }
    }
    walk->config->rerank.cap = cap;
    walk->config->rerank.cap_count = (uint32_t)count;
    return VR_OK;
}

static enum vr_status read_freshness(struct walk *walk, yaml_node_t *node, const char *path)
{
    size_t count = 0;
    enum vr_status status = list_length(walk, node, path, 0, VR_CAPS_MAX, &count);
    struct vr_freshness_config *quota = vr_arena_calloc(walk->arena, VR_CAPS_MAX, sizeof *quota);
    if (status != VR_OK || quota == NULL) {
        return status != VR_OK ? status : VR_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        char at[WALK_PATH_BYTES];
        item_path(at, path, i);
        status = read_item(walk, element(walk, node, i), FIELDS(freshness_fields), &quota[i], at);
        if (status != VR_OK) {
            return status;
        }
        if (quota[i].count > quota[i].by_position) {
            return walk_fail(walk, element(walk, node, i), at, "count %u is more than by_position %u", quota[i].count,
                             quota[i].by_position);
        }
    }
    walk->config->rerank.freshness = quota;
    walk->config->rerank.freshness_count = (uint32_t)count;
    return VR_OK;
}

static enum vr_status read_blocked(struct walk *walk, yaml_node_t *node, const char *path)
{
    size_t count = 0;
    enum vr_status status = list_length(walk, node, path, 0, BLOCKED_MAX, &count);
    const char **blocked = vr_arena_calloc(walk->arena, count, sizeof *blocked);
    if (status != VR_OK || blocked == NULL) {
        return status != VR_OK ? status : VR_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct text_item item;
        char at[WALK_PATH_BYTES];
        item_path(at, path, i);
        status = walk_scalar(walk, element(walk, node, i), &text_setting, &item, at);
        if (status != VR_OK) {
            return status;
        }
        if (strlen(item.text) > VR_ID_MAX_BYTES) {
            return walk_fail(walk, element(walk, node, i), at, "an id of more than %u bytes", VR_ID_MAX_BYTES);
        }
        blocked[i] = item.text;
    }
    walk->config->rerank.blocked = blocked;
    walk->config->rerank.blocked_count = (uint32_t)count;
    return VR_OK;
}

static enum vr_status read_give_way(struct walk *walk, yaml_node_t *node, const char *path)
{
    size_t count = 0;
    enum vr_status status = list_length(walk, node, path, 0, VR_RULE_COUNT, &count);
    enum vr_rule *rule = vr_arena_calloc(walk->arena, VR_RULE_COUNT, sizeof *rule);
    if (status != VR_OK || rule == NULL) {
        return status != VR_OK ? status : VR_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct rule_item item;
        char at[WALK_PATH_BYTES];
        item_path(at, path, i);
        status = walk_scalar(walk, element(walk, node, i), &rule_setting, &item, at);
        if (status != VR_OK) {
            return status;
        }
        for (size_t k = 0; k < i; k++) {
            if (rule[k] == item.rule) {
                return walk_fail(walk, element(walk, node, i), at, "the rule '%s' occurs twice",
                                 vr_rule_name(item.rule));
            }
        }
        rule[i] = item.rule;
    }
    walk->config->rerank.give_way = rule;
    walk->config->rerank.give_way_count = (uint32_t)count;
    return VR_OK;
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
