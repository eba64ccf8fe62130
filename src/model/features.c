/* A feature space as a whole: made from a bundle's JSON, asked for its fields, freed. */
#include "features_space.h"

#include <stdlib.h>

#include "manifest.h"

static enum vr_status read_dims(struct vr_feature_space *space, struct vr_json_value bundle)
{
    enum vr_status status = vr_manifest_u32(bundle, "", "tower_dim", 8, 256, &space->tower_dim);
    if (status == VR_OK) {
        status = vr_manifest_u32(bundle, "", "content_dim", 8, 256, &space->content_dim);
    }
    if (status == VR_OK && (space->tower_dim % 8 != 0 || space->content_dim % 8 != 0)) {
        status = vr_fail(VR_ERR_FORMAT, "tower_dim %u and content_dim %u must be multiples of 8", space->tower_dim,
                         space->content_dim);
    }
    return status;
}

static enum vr_status read_bundle(struct vr_feature_space *space, struct vr_json_value bundle, bool tables_may_miss)
{
    struct vr_json_value fields, features;
    enum vr_status status = read_dims(space, bundle);
    if (status == VR_OK) {
        status = vr_manifest_get(bundle, "", "fields", VR_JSON_OBJECT, &fields);
    }
    if (status == VR_OK) {
        status = vr_fields_read(space, fields);
    }
    if (status == VR_OK) {
        status = vr_manifest_array(bundle, "", "features", 1, 4096, &features);
    }
    if (status == VR_OK) {
        status = vr_features_read(space, features, tables_may_miss);
    }
    return status;
}

enum vr_status vr_feature_space_build(struct vr_json_value bundle, const struct vr_safetensors *weights,
                                      bool tables_may_miss, struct vr_feature_space **out)
{
    struct vr_feature_space *space = calloc(1, sizeof *space);
    if (space == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a feature space");
    }
    enum vr_status status = vr_arena_create(16384, &space->arena);
    if (status == VR_OK && weights != NULL) {
        status = vr_claims_begin(space->arena, weights, &space->claims);
    }
    if (status == VR_OK) {
        status = read_bundle(space, bundle, tables_may_miss);
    }
    if (status != VR_OK) {
        vr_feature_space_destroy(space);
        return status;
    }
    *out = space;
    return VR_OK;
}

enum vr_status vr_feature_space_create(struct vr_json_value bundle, const struct vr_safetensors *weights,
                                       struct vr_feature_space **out)
{
    return vr_feature_space_build(bundle, weights, weights == NULL, out);
}

void vr_feature_space_destroy(struct vr_feature_space *space)
{
    if (space == NULL) {
        return;
    }
    for (struct vr_vocabulary *vocab = space->vocabularies; vocab != NULL; vocab = vocab->next) {
        vr_dict_destroy(vocab->words);
    }
    vr_dict_destroy(space->names);
    vr_arena_destroy(space->arena);
    free(space);
}

uint32_t vr_feature_field_count(const struct vr_feature_space *space, enum vr_entity entity)
{
    return space->fields[entity].count;
}

struct vr_field vr_feature_field(const struct vr_feature_space *space, enum vr_entity entity, uint32_t index)
{
    return space->fields[entity].field[index];
}

uint32_t vr_feature_field_find(const struct vr_feature_space *space, enum vr_entity entity, struct vr_str name)
{
    const struct vr_field_set *set = &space->fields[entity];
    for (uint32_t i = 0; i < set->count; i++) {
        if (vr_str_equal(set->field[i].name, name)) {
            return i;
        }
    }
    return UINT32_MAX;
}

double vr_feature_code(const struct vr_feature_space *space, enum vr_entity entity, uint32_t field, struct vr_str text)
{
    const struct vr_vocabulary *vocab = space->fields[entity].vocab[field];
    uint32_t number = vocab == NULL || text.len == 0 ? VR_DICT_NONE : vr_dict_find(vocab->words, text);
    return number == VR_DICT_NONE ? 0.0 : (double)number + 1.0;
}
