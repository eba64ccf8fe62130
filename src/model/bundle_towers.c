/* Features, user tower and item tower of a bundle, and the checks that concern all weights. */
#include <math.h>
#include <stdio.h>

#include "bundle_parts.h"
#include "features_space.h"
#include "manifest.h"
#include "text.h"

#define LAYER_WIDTH_MAX 4096u

enum vr_status vr_bundle_read_features(struct vr_bundle *bundle, struct vr_json_value root)
{
    struct vr_bundle_storage *storage = bundle->storage;
    const struct vr_safetensors *weights = storage->file[VR_FILE_WEIGHTS].tensors;
    enum vr_status status = vr_feature_space_create(root, weights, &bundle->features);
    if (status != VR_OK) {
        return vr_in_json(status);
    }
    bundle->tower_dim = bundle->features->tower_dim;
    bundle->content_dim = bundle->features->content_dim;
    for (size_t i = 0; i < vr_safetensors_count(weights); i++) {
        if (bundle->features->claims.taken[i]) {
            vr_claims_mark(&storage->file[VR_FILE_WEIGHTS].claims, vr_safetensors_at(weights, i));
        }
    }
    return VR_OK;
}

static bool is_total(uint32_t video_field)
{
    return video_field >= VR_VIDEO_IMPRESSIONS && video_field <= VR_VIDEO_WATCH_S;
}

static bool suits_user_tower(const struct vr_feature *f)
{
    bool entity = f->entity == VR_ENTITY_VIEWER || f->entity == VR_ENTITY_CONTEXT;
    return entity && !(f->kind == VR_FEATURE_VECTOR && f->vector == VR_VECTOR_USER_TOWER);
}

/* A video that has just been uploaded has neither totals nor a tower vector. */
static bool suits_item_tower(const struct vr_feature *f)
{
    if (f->entity != VR_ENTITY_VIDEO) {
        return false;
    }
    if (f->kind == VR_FEATURE_VECTOR) {
        return f->vector != VR_VECTOR_TOWER;
    }
    return !is_total(f->field) && !(f->kind == VR_FEATURE_RATE && is_total(f->denominator));
}

static enum vr_status check_inputs(const struct vr_feature_space *space, struct vr_json_value inputs, const char *where,
                                   bool (*suits)(const struct vr_feature *))
{
    struct vr_json_value element;
    for (struct vr_json_iter it = vr_json_begin(inputs); vr_json_next(&it, NULL, &element);) {
        struct vr_str name = {NULL, 0};
        if (vr_json_as_str(element, &name) != VR_OK || name.len == 0) {
            return vr_fail(VR_ERR_FORMAT, "%s: 'inputs' must hold names of features", where);
        }
        uint32_t number = vr_dict_find(space->names, name);
        if (number != VR_DICT_NONE && !suits(&space->feature[number])) {
            return vr_fail(VR_ERR_FORMAT, "%s: 'inputs' may not name '%s'", where, vr_show(name).text);
        }
    }
    return VR_OK;
}

/* What sets the two towers apart. */
struct tower_kind {
    const char *key; /* in bundle.json */
    bool (*suits)(const struct vr_feature *);
    uint32_t blocks;
    enum vr_entity entity[2]; /* [blocks] */
};
static const struct tower_kind user_kind = {"user_tower", suits_user_tower, 2, {VR_ENTITY_VIEWER, VR_ENTITY_CONTEXT}};
static const struct tower_kind item_kind = {"item_tower", suits_item_tower, 1, {VR_ENTITY_VIDEO, VR_ENTITY_VIDEO}};

static enum vr_status read_inputs(struct vr_bundle *bundle, struct vr_json_value spec, const struct tower_kind *kind,
                                  struct vr_tower *tower)
{
    struct vr_json_value inputs = {NULL, 0};
    enum vr_status status = vr_manifest_array(spec, kind->key, "inputs", 1, 4096, &inputs);
    if (status == VR_OK) {
        status = check_inputs(bundle->features, inputs, kind->key, kind->suits);
    }
    for (uint32_t i = 0; status == VR_OK && i < kind->blocks; i++) {
        status = vr_feature_block_create(bundle->features, inputs, kind->entity[i], &tower->block[i]);
        if (status == VR_OK) {
            tower->block_count++;
            tower->width += tower->block[i].width;
        } else {
            status = vr_fail_in(status, "%s", kind->key);
        }
    }
    return status;
}

/* Claims TENSOR.weight and TENSOR.bias; in rows of `in` floats. */
static enum vr_status claim_layer(struct vr_bundle *bundle, struct vr_str tensor, uint32_t in, struct vr_layer *layer)
{
    struct vr_claims *claims = &bundle->storage->file[VR_FILE_WEIGHTS].claims;
    char name[128];
    const struct vr_tensor *weight;
    snprintf(name, sizeof name, "%.*s.weight", (int)tensor.len, tensor.data);
    enum vr_status status = vr_claim_tensor(claims, name, VR_DTYPE_F32, VR_SHAPE_2(VR_DIM_ANY, in), &weight);
    if (status != VR_OK) {
        return status;
    }
    if (weight->dim[0] == 0 || weight->dim[0] > LAYER_WIDTH_MAX) {
        return vr_fail(VR_ERR_FORMAT, "tensor '%s' has %llu outputs, must have 1 to %u", name,
                       (unsigned long long)weight->dim[0], LAYER_WIDTH_MAX);
    }
    layer->in = in;
    layer->out = (uint32_t)weight->dim[0];
    layer->weight = weight->data;
    snprintf(name, sizeof name, "%.*s.bias", (int)tensor.len, tensor.data);
    return vr_claim_f32(claims, name, VR_SHAPE_1(layer->out), &layer->bias);
}

static enum vr_status read_layer(struct vr_bundle *bundle, struct vr_json_value entry, const char *where, uint32_t in,
                                 struct vr_layer *layer)
{
    struct vr_str tensor = {NULL, 0};
    uint32_t activation = 0;
    enum vr_status status = vr_manifest_keys(entry, where, "tensor activation");
    if (status == VR_OK) {
        status = vr_manifest_prefix(entry, where, "tensor", &tensor);
    }
    if (status == VR_OK) {
        status = vr_manifest_word(entry, where, "activation", "none relu", &activation);
    }
    if (status != VR_OK) {
        return vr_in_json(status);
    }
    layer->activation = (enum vr_activation)activation;
    return vr_in_file(claim_layer(bundle, tensor, in, layer), VR_FILE_WEIGHTS);
}

static enum vr_status read_layers(struct vr_bundle *bundle, struct vr_json_value spec, const char *where,
                                  struct vr_tower *tower)
{
    struct vr_json_value layers, entry;
    uint32_t in = tower->width;
    enum vr_status status = vr_in_json(vr_manifest_array(spec, where, "layers", 1, VR_LAYERS_MAX, &layers));
    if (status != VR_OK) {
        return status;
    }
    for (struct vr_json_iter it = vr_json_begin(layers); vr_json_next(&it, NULL, &entry); tower->layer_count++) {
        status = read_layer(bundle, entry, where, in, &tower->layer[tower->layer_count]);
        if (status != VR_OK) {
            return status;
        }
        in = tower->layer[tower->layer_count].out;
    }
    if (in != bundle->tower_dim) {
        return vr_fail(VR_ERR_FORMAT, "bundle.json: %s: its last layer has %u outputs, tower_dim is %u", where, in,
                       bundle->tower_dim);
    }
    return VR_OK;
}

static enum vr_status read_tower(struct vr_bundle *bundle, struct vr_json_value root, const struct tower_kind *kind,
                                 struct vr_tower *tower)
{
    struct vr_json_value spec = {NULL, 0};
    enum vr_status status = vr_manifest_get(root, "", kind->key, VR_JSON_OBJECT, &spec);
    if (status == VR_OK) {
        status = vr_manifest_keys(spec, kind->key, "inputs layers");
    }
    if (status == VR_OK) {
        status = read_inputs(bundle, spec, kind, tower);
    }
    return status == VR_OK ? read_layers(bundle, spec, kind->key, tower) : vr_in_json(status);
}

enum vr_status vr_bundle_read_towers(struct vr_bundle *bundle, struct vr_json_value root)
{
    enum vr_status status = read_tower(bundle, root, &user_kind, &bundle->user_tower);
    return status == VR_OK ? read_tower(bundle, root, &item_kind, &bundle->item_tower) : status;
}

static enum vr_status check_finite(const struct vr_tensor *tensor)
{
    if (tensor->dtype == VR_DTYPE_F32) {
        return vr_check_floats(tensor->name.data, tensor->data, tensor->bytes / sizeof(float), VR_ANY_FINITE);
    }
    const uint16_t *half = tensor->data;
    for (size_t i = 0; tensor->dtype == VR_DTYPE_F16 && i < tensor->bytes / sizeof *half; i++) {
        if ((half[i] & 0x7C00u) == 0x7C00u) { /* infinity or NaN */
            return vr_fail(VR_ERR_FORMAT, "tensor '%s': element %zu is not finite", tensor->name.data, i);
        }
    }
    return VR_OK;
}

enum vr_status vr_bundle_check_weights(struct vr_bundle *bundle)
{
    const struct vr_safetensors *weights = bundle->storage->file[VR_FILE_WEIGHTS].tensors;
    enum vr_status status = vr_claims_end(&bundle->storage->file[VR_FILE_WEIGHTS].claims);
    for (size_t i = 0; status == VR_OK && i < vr_safetensors_count(weights); i++) {
        status = check_finite(vr_safetensors_at(weights, i));
    }
    return vr_in_file(status, VR_FILE_WEIGHTS);
}
