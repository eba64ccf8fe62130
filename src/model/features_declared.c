/* Declared features of a feature space, read from `features` of bundle.json. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "features_space.h"
#include "manifest.h"
#include "text.h"

#define TABLE_WIDTH_MAX 4096u
#define BOUNDARIES_MAX 255u

static enum vr_status read_field_name(const struct vr_feature_space *space, struct vr_json_value entry,
                                      const char *where, const char *key, enum vr_entity entity, uint32_t *field)
{
    struct vr_str name;
    enum vr_status status = vr_manifest_str(entry, where, key, 256, &name);
    if (status != VR_OK) {
        return status;
    }
    *field = vr_feature_field_find(space, entity, name);
    if (*field == UINT32_MAX) {
        return vr_fail(VR_ERR_FORMAT, "%s: '%s' is '%s', which is no %s field", where, key, vr_show(name).text,
                       vr_entity_name(entity));
    }
    return VR_OK;
}

static enum vr_status read_positive(struct vr_json_value entry, const char *where, const char *key, double *out)
{
    enum vr_status status = vr_manifest_double(entry, where, key, out);
    if (status == VR_OK && *out <= 0) {
        status = vr_fail(VR_ERR_FORMAT, "%s: '%s' must be above 0", where, key);
    }
    return status;
}

/* mean, std, clip and scale; `scales` are the words allowed. */
static enum vr_status read_standard(struct vr_json_value entry, const char *where, const char *scales,
                                    struct vr_feature *feature)
{
    uint32_t scale = 0;
    enum vr_status status = vr_manifest_word(entry, where, "scale", scales, &scale);
    feature->scale = (enum vr_feature_scale)scale;
    feature->width = 1;
    if (status == VR_OK) {
        status = vr_manifest_double(entry, where, "mean", &feature->mean);
    }
    if (status == VR_OK) {
        status = read_positive(entry, where, "std", &feature->std);
    }
    if (status == VR_OK) {
        status = read_positive(entry, where, "clip", &feature->clip);
    }
    if (status == VR_OK && feature->clip > FLT_MAX) {
        status = vr_fail(VR_ERR_FORMAT, "%s: 'clip' must be a float32, for it bounds one", where);
    }
    return status;
}

static enum vr_status read_dense(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                 struct vr_feature *feature)
{
    enum vr_status status = vr_manifest_keys(entry, where, "name entity kind field scale mean std clip");
    if (status == VR_OK) {
        status = read_field_name(space, entry, where, "field", feature->entity, &feature->field);
    }
    return status == VR_OK ? read_standard(entry, where, "identity log1p", feature) : status;
}

static enum vr_status read_rate(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                struct vr_feature *feature)
{
    enum vr_status status =
        vr_manifest_keys(entry, where, "name entity kind numerator denominator prior strength scale mean std clip");
    if (status == VR_OK) {
        status = read_field_name(space, entry, where, "numerator", feature->entity, &feature->field);
    }
    if (status == VR_OK) {
        status = read_field_name(space, entry, where, "denominator", feature->entity, &feature->denominator);
    }
    if (status == VR_OK) {
        status = vr_manifest_double(entry, where, "prior", &feature->prior);
    }
    if (status == VR_OK && feature->prior < 0) {
        status = vr_fail(VR_ERR_FORMAT, "%s: 'prior' must be at least 0", where);
    }
    if (status == VR_OK) {
        status = read_positive(entry, where, "strength", &feature->strength);
    }
    return status == VR_OK ? read_standard(entry, where, "identity log1p logit", feature) : status;
}

/* `width` and `rows`, where they are stated, must be the table's. */
static enum vr_status check_stated(struct vr_json_value entry, const char *where, const char *key, uint64_t found)
{
    int64_t stated = 0;
    if (!vr_manifest_has(entry, key)) {
        return VR_OK;
    }
    enum vr_status status = vr_manifest_int(entry, where, key, 1, INT32_MAX, &stated);
    if (status == VR_OK && (uint64_t)stated != found) {
        status = vr_fail(VR_ERR_FORMAT, "%s: '%s' is %lld, its table has %llu", where, key, (long long)stated,
                         (unsigned long long)found);
    }
    return status;
}

static enum vr_status use_table(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                const struct vr_tensor *table, struct vr_feature *feature)
{
    bool is_float = table->dtype == VR_DTYPE_F32 || table->dtype == VR_DTYPE_F16;
    if (!is_float || table->rank != 2 || table->dim[0] == 0 || table->dim[0] > INT32_MAX || table->dim[1] == 0 ||
        table->dim[1] > TABLE_WIDTH_MAX) {
        return vr_fail(VR_ERR_FORMAT, "%s: its table '%s' must be F32 or F16 [rows, 1 to %u columns]", where,
                       vr_show(table->name).text, TABLE_WIDTH_MAX);
    }
    vr_claims_mark(&space->claims, table);
    feature->table = table;
    feature->rows = (uint32_t)table->dim[0];
    feature->width = (uint32_t)table->dim[1];
    enum vr_status status = check_stated(entry, where, "rows", feature->rows);
    return status == VR_OK ? check_stated(entry, where, "width", feature->width) : status;
}

/* Training, before the table exists: its width is stated; the rows are stated, or those of a string field. */
static enum vr_status use_stated_shape(const struct vr_feature_space *space, struct vr_json_value entry,
                                       const char *where, struct vr_feature *feature)
{
    const struct vr_field *field = &space->fields[feature->entity].field[feature->field];
    enum vr_status status = vr_manifest_u32(entry, where, "width", 1, TABLE_WIDTH_MAX, &feature->width);
    if (status != VR_OK) {
        return status;
    }
    if (vr_manifest_has(entry, "rows")) {
        return vr_manifest_u32(entry, where, "rows", 1, INT32_MAX, &feature->rows);
    }
    if (feature->kind == VR_FEATURE_BUCKET) {
        feature->rows = feature->boundaries + 2;
    } else {
        feature->rows = field->type == VR_FIELD_STRING ? field->vocab_size + 1 : (uint32_t)INT32_MAX;
    }
    return VR_OK;
}

static enum vr_status read_table(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                 bool may_miss, struct vr_feature *feature)
{
    struct vr_str name;
    enum vr_status status = vr_manifest_str(entry, where, "table", 128, &name);
    if (status != VR_OK) {
        return status;
    }
    const struct vr_tensor *table = space->claims.file == NULL ? NULL : vr_safetensors_find(space->claims.file, name);
    if (table != NULL) {
        return use_table(space, entry, where, table, feature);
    }
    if (!may_miss) {
        return vr_fail(VR_ERR_FORMAT, "%s: tensor '%s' is missing", where, vr_show(name).text);
    }
    return use_stated_shape(space, entry, where, feature);
}

static enum vr_status read_boundaries(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                      struct vr_feature *feature)
{
    struct vr_json_value list, value;
    enum vr_status status = vr_manifest_array(entry, where, "boundaries", 1, BOUNDARIES_MAX, &list);
    if (status != VR_OK) {
        return status;
    }
    feature->boundary = vr_arena_calloc(space->arena, vr_json_count(list), sizeof *feature->boundary);
    if (feature->boundary == NULL) {
        return VR_ERR_NOMEM;
    }
    double before = -INFINITY, boundary;
    for (struct vr_json_iter it = vr_json_begin(list); vr_json_next(&it, NULL, &value); before = boundary) {
        if (vr_json_as_double(value, &boundary) != VR_OK || !isfinite(boundary) || boundary <= before) {
            return vr_fail(VR_ERR_FORMAT, "%s: 'boundaries' must be numbers that rise", where);
        }
        feature->boundary[feature->boundaries++] = boundary;
    }
    return VR_OK;
}

static enum vr_status read_embedding(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                     bool may_miss, struct vr_feature *feature)
{
    enum vr_status status = vr_manifest_keys(entry, where, "name entity kind field table width rows");
    if (status == VR_OK) {
        status = read_field_name(space, entry, where, "field", feature->entity, &feature->field);
    }
    return status == VR_OK ? read_table(space, entry, where, may_miss, feature) : status;
}

static enum vr_status read_bucket(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                  bool may_miss, struct vr_feature *feature)
{
    enum vr_status status = vr_manifest_keys(entry, where, "name entity kind field boundaries table width rows");
    if (status == VR_OK) {
        status = read_field_name(space, entry, where, "field", feature->entity, &feature->field);
    }
    if (status == VR_OK) {
        status = read_boundaries(space, entry, where, feature);
    }
    if (status == VR_OK) {
        status = read_table(space, entry, where, may_miss, feature);
    }
    if (status == VR_OK && feature->rows != feature->boundaries + 2) {
        status = vr_fail(VR_ERR_FORMAT, "%s: its table has %u rows, must have %u (its boundaries and 2)", where,
                         feature->rows, feature->boundaries + 2);
    }
    return status;
}

static enum vr_status read_vector(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                  struct vr_feature *feature)
{
    uint32_t vector = 0;
    enum vr_status status = vr_manifest_keys(entry, where, "name entity kind vector");
    if (status == VR_OK) {
        status = vr_manifest_word(entry, where, "vector", "hist_tower hist_content user_tower tower content", &vector);
    }
    if (status != VR_OK) {
        return status;
    }
    feature->vector = (enum vr_vector)vector;
    enum vr_entity owner = vector <= VR_VECTOR_USER_TOWER ? VR_ENTITY_VIEWER : VR_ENTITY_VIDEO;
    if (feature->entity != owner) {
        return vr_fail(VR_ERR_FORMAT, "%s: its vector belongs to the entity %s", where, vr_entity_name(owner));
    }
    bool is_content = feature->vector == VR_VECTOR_HIST_CONTENT || feature->vector == VR_VECTOR_CONTENT;
    feature->width = is_content ? space->content_dim : space->tower_dim;
    return VR_OK;
}

static enum vr_status read_kind(struct vr_feature_space *space, struct vr_json_value entry, const char *where,
                                bool may_miss, struct vr_feature *feature)
{
    switch (feature->kind) {
    case VR_FEATURE_DENSE: return read_dense(space, entry, where, feature);
    case VR_FEATURE_RATE: return read_rate(space, entry, where, feature);
    case VR_FEATURE_EMBEDDING: return read_embedding(space, entry, where, may_miss, feature);
    case VR_FEATURE_BUCKET: return read_bucket(space, entry, where, may_miss, feature);
    case VR_FEATURE_VECTOR: return read_vector(space, entry, where, feature);
    }
    return VR_ERR_INVALID;
}

static enum vr_status add_name(struct vr_feature_space *space, const char *where, struct vr_feature *feature,
                               struct vr_str name)
{
    uint32_t number = space->features;
    if (!vr_text_is_identifier(name)) {
        return vr_fail(VR_ERR_FORMAT, "%s: a name must be [a-z][a-z0-9_]*, at most 64 characters", where);
    }
    enum vr_status status = vr_dict_intern(space->names, name, &number);
    if (status == VR_OK && number != space->features) {
        status = vr_fail(VR_ERR_FORMAT, "%s is there twice", where);
    }
    feature->name = vr_arena_copy(space->arena, name);
    return status == VR_OK && feature->name.data == NULL ? VR_ERR_NOMEM : status;
}

static enum vr_status read_feature(struct vr_feature_space *space, struct vr_json_value entry, bool may_miss)
{
    struct vr_feature *feature = &space->feature[space->features];
    struct vr_str name = {NULL, 0};
    uint32_t entity = 0, kind = 0;
    enum vr_status status = VR_OK;
    if (vr_json_type_of(entry) != VR_JSON_OBJECT) {
        return vr_fail(VR_ERR_FORMAT, "'features' must hold objects");
    }
    status = vr_manifest_str(entry, "a feature", "name", 256, &name);
    if (status != VR_OK) {
        return status;
    }
    char where[VR_SHOWN_BYTES + 16];
    snprintf(where, sizeof where, "feature '%s'", vr_show(name).text);
    status = add_name(space, where, feature, name);
    if (status == VR_OK) {
        status = vr_manifest_word(entry, where, "entity", VR_ENTITY_WORDS, &entity);
    }
    if (status == VR_OK) {
        status = vr_manifest_word(entry, where, "kind", VR_FEATURE_KIND_WORDS, &kind);
    }
    if (status != VR_OK) {
        return status;
    }
    feature->entity = (enum vr_entity)entity;
    feature->kind = (enum vr_feature_kind)kind;
    status = read_kind(space, entry, where, may_miss, feature);
    space->features += status == VR_OK;
    return status;
}

enum vr_status vr_features_read(struct vr_feature_space *space, struct vr_json_value features, bool tables_may_miss)
{
    struct vr_json_value entry;
    size_t count = vr_json_count(features);
    enum vr_status status = vr_dict_create((uint32_t)count, &space->names);
    if (status != VR_OK) {
        return status;
    }
    space->feature = vr_arena_calloc(space->arena, count, sizeof *space->feature);
    if (space->feature == NULL) {
        return VR_ERR_NOMEM;
    }
    for (struct vr_json_iter it = vr_json_begin(features); status == VR_OK && vr_json_next(&it, NULL, &entry);) {
        status = read_feature(space, entry, tables_may_miss);
    }
    return status;
}
