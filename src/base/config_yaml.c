/* Reads a YAML document over a configuration. libyaml builds the tree of nodes with their places; the tree is walked
 * along the tables of settings (config_table.c) and lists (config_lists.c), so a message can always say file, line,
 * column and path. libcyaml, which maps YAML to structs, was tried: 1.3.1 cannot tell an absent key from zero, takes
 * any misspelt boolean for true, reads 010 as 8 and places an unknown key at its mapping. */
#include "config_yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config_walk.h"

enum vr_status walk_fail(const struct walk *walk, const yaml_node_t *node, const char *path, const char *format, ...)
{
    char text[320] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return vr_fail(VR_ERR_FORMAT, "%s:%zu:%zu: %s%s%s", walk->name, node->start_mark.line + 1,
                   node->start_mark.column + 1, path, *path == '\0' ? "" : ": ", text);
}

const char *walk_kind(const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_MAPPING_NODE: return "a mapping";
    case YAML_SEQUENCE_NODE: return "a list";
    default: return "a scalar";
    }
}

static struct vr_str scalar_text(const yaml_node_t *node)
{
    struct vr_str text = {(const char *)node->data.scalar.value, node->data.scalar.length};
    return text;
}

static bool is_plain(const yaml_node_t *node)
{
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* YAML's null: nothing, ~ or null, unquoted. */
static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || !is_plain(node)) {
        return false;
    }
    struct vr_str text = scalar_text(node);
    return text.len == 0 || vr_str_equal(text, vr_str_of("~")) || vr_str_equal(text, vr_str_of("null"));
}

static bool is_text(enum setting_type type)
{
    return type == SETTING_TEXT || type == SETTING_NAME || type == SETTING_ADDRESS;
}

enum vr_status walk_scalar(struct walk *walk, const yaml_node_t *node, const struct setting *setting, void *base,
                           const char *path)
{
    if (node->type != YAML_SCALAR_NODE || is_null(node)) {
        return walk_fail(walk, node, path, "expected a value, found %s",
                         node->type == YAML_SCALAR_NODE ? "none" : walk_kind(node));
    }
    bool quoted_matters = setting->type != SETTING_CHOICE && !is_text(setting->type);
    if (quoted_matters && !is_plain(node)) {
        return walk_fail(walk, node, path, "expected %s, found a quoted text",
                         setting->type == SETTING_BOOL ? "true or false" : "a number");
    }
    struct vr_str text = scalar_text(node);
    enum vr_status status = config_setting_assign(setting, text.data, text.len, base, walk->arena);
    if (status == VR_ERR_FORMAT) {
        char why[256];
        snprintf(why, sizeof why, "%s", vr_error_text());
        return walk_fail(walk, node, path, "%s", why);
    }
    return status;
}

static yaml_node_t *node_at(const struct walk *walk, int index)
{
    return yaml_document_get_node(walk->document, index);
}

enum vr_status walk_key(struct walk *walk, const yaml_node_t *mapping, size_t index, const char *path,
                        struct vr_str *key)
{
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    const yaml_node_t *node = node_at(walk, pair[index].key);
    if (node->type != YAML_SCALAR_NODE) {
        return walk_fail(walk, node, path, "expected a key, found %s", walk_kind(node));
    }
    *key = scalar_text(node);
    for (size_t i = 0; i < index; i++) { /* the earlier keys are known and differ, so they are few */
        if (vr_str_equal(scalar_text(node_at(walk, pair[i].key)), *key)) {
            return walk_fail(walk, node, path, "the key '%s' occurs twice", config_show(key->data, key->len).text);
        }
    }
    return VR_OK;
}

/* "prefix.key" into path[WALK_PATH_BYTES]. */
static void join(char *path, const char *prefix, struct vr_str key)
{
    snprintf(path, WALK_PATH_BYTES, "%s%s%s", prefix, *prefix == '\0' ? "" : ".", config_show(key.data, key.len).text);
}

/* Whether any setting or list lies below `path`, i.e. it names a section. */
static bool is_section(const char *path)
{
    char prefix[WALK_PATH_BYTES + 1];
    int len = snprintf(prefix, sizeof prefix, "%s.", path);
    for (size_t i = 0; i < config_settings_count; i++) {
        if (strncmp(config_settings[i].path, prefix, (size_t)len) == 0) {
            return true;
        }
    }
    return config_list_below(prefix, (size_t)len);
}

static enum vr_status walk_mapping(struct walk *walk, const yaml_node_t *node, const char *prefix);

/* The value of one key: a scalar setting, a list, or a section one level down (the table is three levels deep). */
static enum vr_status walk_member(struct walk *walk, const yaml_node_pair_t *pair, const char *path)
{
    yaml_node_t *value = node_at(walk, pair->value);
    const struct setting *setting = config_setting_find(path);
    if (setting != NULL) {
        return walk_scalar(walk, value, setting, walk->config, path);
    }
    list_reader *reader = config_list_find(path);
    if (reader != NULL) {
        if (value->type != YAML_SEQUENCE_NODE) {
            return walk_fail(walk, value, path, "expected a list, found %s", walk_kind(value));
        }
        return reader(walk, value, path);
    }
    if (is_section(path)) {
        return walk_mapping(walk, value, path);
    }
    return walk_fail(walk, node_at(walk, pair->key), path, "unknown key");
}

static enum vr_status walk_mapping(struct walk *walk, const yaml_node_t *node, const char *prefix)
{
    if (is_null(node)) {
        return VR_OK; /* a section whose every line is commented out */
    }
    if (node->type != YAML_MAPPING_NODE) {
        return walk_fail(walk, node, prefix, "expected a mapping, found %s", walk_kind(node));
    }
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    size_t count = (size_t)(node->data.mapping.pairs.top - pair);
    for (size_t i = 0; i < count; i++) {
        struct vr_str key = {NULL, 0};
        char path[WALK_PATH_BYTES];
        enum vr_status status = walk_key(walk, node, i, prefix, &key);
        if (status == VR_OK) {
            join(path, prefix, key);
            bool dotted = key.len > 0 && memchr(key.data, '.', key.len) != NULL; /* no path in one key */
            status = dotted ? walk_fail(walk, node_at(walk, pair[i].key), path, "unknown key")
                            : walk_member(walk, &pair[i], path);
        }
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

/* A byte offset as line and column (both from 1, the column in bytes), for errors of the character decoder. */
static void locate(const char *data, size_t offset, size_t *line, size_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset; i++) {
        (*column)++;
        if (data[i] == '\n') {
            (*line)++;
            *column = 1;
        }
    }
}

static enum vr_status yaml_failure(const char *name, const char *data, size_t len, const yaml_parser_t *parser)
{
    size_t line = parser->problem_mark.line + 1;
    size_t column = parser->problem_mark.column + 1;
    if (parser->error == YAML_MEMORY_ERROR) {
        return vr_fail(VR_ERR_NOMEM, "%s: no memory", name);
    }
    if (parser->error == YAML_READER_ERROR) {
        locate(data, parser->problem_offset < len ? parser->problem_offset : len, &line, &column);
    }
    return vr_fail(VR_ERR_FORMAT, "%s:%zu:%zu: not YAML: %s", name, line, column,
                   parser->problem != NULL ? parser->problem : "unreadable");
}

/* VR_ERR_FORMAT when another document follows. */
static enum vr_status check_end(const struct walk *walk, yaml_parser_t *parser, const char *data, size_t len)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next)) {
        return yaml_failure(walk->name, data, len, parser);
    }
    yaml_node_t *root = yaml_document_get_root_node(&next);
    enum vr_status status = root == NULL ? VR_OK : walk_fail(walk, root, "", "a second document; one is expected");
    yaml_document_delete(&next);
    return status;
}

enum vr_status config_yaml_read(const char *name, const char *data, size_t len, struct vr_config *config,
                                struct vr_arena *arena)
{
    yaml_parser_t parser;
    yaml_document_t document;
    struct walk walk = {name, &document, config, arena};
    enum vr_status status = VR_OK;
    if (!yaml_parser_initialize(&parser)) {
        return vr_fail(VR_ERR_NOMEM, "%s: no memory", name);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    if (!yaml_parser_load(&parser, &document)) {
        status = yaml_failure(name, data, len, &parser);
        goto done;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root != NULL) {
        status = walk_mapping(&walk, root, "");
        if (status == VR_OK) {
            status = check_end(&walk, &parser, data, len);
        }
    }
    yaml_document_delete(&document);
done:
    yaml_parser_delete(&parser);
    return status;
}
