/* Raw fields of a feature space: the built-in ones of docs/bundle.md and those that a bundle declares. */
#include <stdio.h>

#include "features_space.h"
#include "manifest.h"
#include "text.h"

#define VOCAB_INLINE_MAX 4096u
static const struct vr_string_rules word_rules = {1, 256, true};

static const char *const viewer_fields[VR_VIEWER_FIELDS] = {
    "age",         "n_impressions", "n_clicks",      "n_finishes",     "n_likes",      "n_long_views",
    "sum_watch_s", "recent_n",      "recent_long",   "recent_watch_s", "recent_likes", "last_n",
    "last_clicks", "last_long",     "last_finishes", "last_watch_s",   "hour_n",       "since_s",
};
static const char *const context_fields[VR_CONTEXT_FIELDS] = {"hour", "weekday"};
static const char *const video_fields[VR_VIDEO_FIELDS] = {
    "row",      "creator",    "topic",   "duration_s",   "n_impressions",
    "n_clicks", "n_finishes", "n_likes", "n_long_views", "sum_watch_s",
};
static const char *const pair_fields[VR_PAIR_FIELDS] = {
    "age_h", "dot_tower", "dot_content", "topic_n", "topic_long", "creator_n", "creator_long", "watched_n",
};

static const char *const *built_in_fields(enum vr_entity entity, uint32_t *count)
{
    static const char *const *const names[VR_ENTITY_COUNT] = {viewer_fields, context_fields, video_fields, pair_fields};
    static const uint32_t counts[VR_ENTITY_COUNT] = {VR_VIEWER_FIELDS, VR_CONTEXT_FIELDS, VR_VIDEO_FIELDS,
                                                     VR_PAIR_FIELDS};
    *count = counts[entity];
    return names[entity];
}

const char *vr_entity_name(enum vr_entity entity)
{
    static const char *const names[VR_ENTITY_COUNT] = {"viewer", "context", "video", "pair"};
    return names[entity];
}

/* Room for the built-in fields and `declared` more. */
static enum vr_status add_built_in(struct vr_feature_space *space, enum vr_entity entity, size_t declared)
{
    struct vr_field_set *set = &space->fields[entity];
    uint32_t count;
    const char *const *names = built_in_fields(entity, &count);
    set->field = vr_arena_calloc(space->arena, count + declared, sizeof *set->field);
    set->vocab = vr_arena_calloc(space->arena, count + declared, sizeof(struct vr_vocabulary *));
    if (set->field == NULL || set->vocab == NULL) {
        return VR_ERR_NOMEM;
    }
    for (set->count = 0; set->count < count; set->count++) {
        set->field[set->count].name = vr_str_of(names[set->count]);
    }
    return VR_OK;
}

static enum vr_status add_word(struct vr_dict *vocab, const char *where, struct vr_str word)
{
    uint32_t before = vr_dict_count(vocab), number = before;
    if (word.len < word_rules.min_bytes || word.len > word_rules.max_bytes) {
        return vr_fail(VR_ERR_FORMAT, "%s: a string of its vocabulary has %zu bytes, must have %u to %u", where,
                       word.len, word_rules.min_bytes, word_rules.max_bytes);
    }
    enum vr_status status = vr_dict_intern(vocab, word, &number);
    if (status == VR_OK && number != before) {
        status = vr_fail(VR_ERR_FORMAT, "%s: '%s' is twice in its vocabulary", where, vr_show(word).text);
    }
    return status;
}

static enum vr_status read_inline_vocab(struct vr_json_value entry, const char *where, struct vr_dict *vocab)
{
    struct vr_json_value words, value;
    enum vr_status status = vr_manifest_array(entry, where, "vocab", 0, VOCAB_INLINE_MAX, &words);
    if (status != VR_OK) {
        return status;
    }
    for (struct vr_json_iter it = vr_json_begin(words); status == VR_OK && vr_json_next(&it, NULL, &value);) {
        struct vr_str word;
        if (vr_json_as_str(value, &word) != VR_OK) {
            return vr_fail(VR_ERR_FORMAT, "%s: its vocabulary must hold strings", where);
        }
        status = add_word(vocab, where, word);
    }
    return status;
}

/* An empty vocabulary, in the space's list. */
static enum vr_status add_vocabulary(struct vr_feature_space *space, struct vr_str tensor, struct vr_vocabulary **out)
{
    struct vr_vocabulary *vocab = vr_arena_calloc(space->arena, 1, sizeof *vocab);
    if (vocab == NULL) {
        return VR_ERR_NOMEM;
    }
    vocab->tensor = vr_arena_copy(space->arena, tensor);
    if (vocab->tensor.data == NULL) {
        return VR_ERR_NOMEM;
    }
    vocab->next = space->vocabularies;
    space->vocabularies = vocab;
    *out = vocab;
    return vr_dict_create(64, &vocab->words);
}

static enum vr_status read_tensor_words(struct vr_feature_space *space, const char *where, struct vr_vocabulary *vocab)
{
    struct vr_string_list list = {NULL, NULL, 0};
    enum vr_status status = vr_claim_strings(&space->claims, vocab->tensor.data, VR_DIM_ANY, word_rules, &list);
    for (uint32_t i = 0; status == VR_OK && i < list.count; i++) {
        status = add_word(vocab->words, where, vr_string_at(&list, i));
    }
    return status == VR_OK ? VR_OK : vr_fail_in(status, "%s", where);
}

/* The vocabulary of a tensor, read when a field is the first to name it. */
static enum vr_status read_tensor_vocab(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                        struct vr_vocabulary **out)
{
    struct vr_str tensor;
    enum vr_status status = vr_manifest_prefix(entry, where, "vocab_tensor", &tensor);
    if (status != VR_OK) {
        return status;
    }
    if (space->claims.file == NULL) {
        return vr_fail(VR_ERR_FORMAT, "%s: its vocabulary is in a tensor, and there are no tensors yet", where);
    }
    for (struct vr_vocabulary *vocab = space->vocabularies; vocab != NULL; vocab = vocab->next) {
        if (vr_str_equal(vocab->tensor, tensor)) {
            *out = vocab;
            return VR_OK;
        }
    }
    status = add_vocabulary(space, tensor, out);
    return status == VR_OK ? read_tensor_words(space, where, *out) : status;
}

static enum vr_status read_vocab(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                 struct vr_vocabulary **out)
{
    static const struct vr_str no_tensor = {"", 0};
    bool in_tensor = vr_manifest_has(entry, "vocab_tensor");
    if (in_tensor && vr_manifest_has(entry, "vocab")) {
        return vr_fail(VR_ERR_FORMAT, "%s: 'vocab' and 'vocab_tensor' exclude each other", where);
    }
    if (in_tensor) {
        return read_tensor_vocab(space, entry, where, out);
    }
    enum vr_status status = add_vocabulary(space, no_tensor, out);
    return status == VR_OK ? read_inline_vocab(entry, where, (*out)->words) : status;
}

static enum vr_status check_name(const struct vr_feature_space *space, enum vr_entity entity, const char *where,
                                 struct vr_str name)
{
    if (!vr_text_is_identifier(name)) {
        return vr_fail(VR_ERR_FORMAT, "%s: a name must be [a-z][a-z0-9_]*, at most 64 characters", where);
    }
    if (vr_feature_field_find(space, entity, name) != UINT32_MAX) {
        return vr_fail(VR_ERR_FORMAT, "%s: there is a field of this name already", where);
    }
    return VR_OK;
}

static enum vr_status read_field(struct vr_feature_space *space, enum vr_entity entity, struct vr_json_value entry)
{
    struct vr_field_set *set = &space->fields[entity];
    struct vr_field field = {{NULL, 0}, VR_FIELD_NUMBER, 0};
    char place[64], where[160];
    uint32_t type = 0;
    struct vr_str name = {NULL, 0};
    snprintf(place, sizeof place, "fields.%s", vr_entity_name(entity));
    enum vr_status status = vr_manifest_keys(entry, place, "name type vocab vocab_tensor");
    if (status == VR_OK) {
        status = vr_manifest_str(entry, place, "name", 256, &name);
    }
    if (status != VR_OK) {
        return status;
    }
    snprintf(where, sizeof where, "%s field '%s'", vr_entity_name(entity), vr_show(name).text);
    status = check_name(space, entity, where, name);
    if (status == VR_OK) {
        status = vr_manifest_word(entry, where, "type", "number string", &type);
    }
    if (status != VR_OK) {
        return status;
    }
    field.type = (enum vr_field_type)type;
    field.name = vr_arena_copy(space->arena, name);
    if (field.name.data == NULL) {
        return VR_ERR_NOMEM;
    }
    struct vr_vocabulary *vocab = NULL;
    if (field.type == VR_FIELD_STRING) {
        status = read_vocab(space, entry, where, &vocab);
    } else if (vr_manifest_has(entry, "vocab") || vr_manifest_has(entry, "vocab_tensor")) {
        status = vr_fail(VR_ERR_FORMAT, "%s: a number has no vocabulary", where);
    }
    if (status != VR_OK) {
        return status;
    }
    field.vocab_size = vocab == NULL ? 0 : vr_dict_count(vocab->words);
    set->field[set->count] = field;
    set->vocab[set->count++] = vocab;
    return VR_OK;
}

static enum vr_status read_entity(struct vr_feature_space *space, enum vr_entity entity, struct vr_json_value fields)
{
    const char *key = vr_entity_name(entity);
    struct vr_json_value list, entry;
    bool declared = vr_manifest_has(fields, key);
    enum vr_status status = VR_OK;
    if (declared) {
        status = vr_manifest_array(fields, "fields", key, 0, VR_DECLARED_FIELDS_MAX, &list);
    }
    if (status == VR_OK) {
        status = add_built_in(space, entity, declared ? vr_json_count(list) : 0);
    }
    if (status != VR_OK || !declared) {
        return status;
    }
    for (struct vr_json_iter it = vr_json_begin(list); status == VR_OK && vr_json_next(&it, NULL, &entry);) {
        status = read_field(space, entity, entry);
    }
    return status;
}

enum vr_status vr_fields_read(struct vr_feature_space *space, struct vr_json_value fields)
{
    enum vr_status status = vr_manifest_keys(fields, "fields", "viewer video context");
    for (uint32_t e = 0; status == VR_OK && e < VR_ENTITY_COUNT; e++) {
        status = read_entity(space, (enum vr_entity)e, fields);
    }
    return status;
}
