/* A bundle as a whole: opened part by part, closed at once. See bundle_parts.h for the order of the parts. */
#include "vireo/bundle.h"

#include <stdio.h>
#include <stdlib.h>

#include "bundle_parts.h"
#include "manifest.h"

#define JSON_MAX_BYTES (16u << 20)
#define JSON_MAX_DEPTH 16u
#define TEXT_MAX_BYTES 4096u

static enum vr_status copy_text(struct vr_bundle *bundle, struct vr_str text, struct vr_str *out)
{
    *out = vr_arena_copy(bundle->storage->arena, text);
    return out->data == NULL ? VR_ERR_NOMEM : VR_OK;
}

/* Before anything else: another version may have other keys. */
static enum vr_status read_format(struct vr_json_value root)
{
    uint32_t format;
    int64_t version = 0;
    if (vr_json_type_of(root) != VR_JSON_OBJECT) {
        return vr_fail(VR_ERR_FORMAT, "must be an object");
    }
    enum vr_status status = vr_manifest_word(root, "", "format", "vireo-bundle", &format);
    if (status == VR_OK) {
        status = vr_manifest_int(root, "", "format_version", 0, INT64_MAX, &version);
    }
    if (status == VR_OK && version != VR_BUNDLE_FORMAT_VERSION) {
        status = vr_fail(VR_ERR_UNSUPPORTED, "format version %lld, this program reads %d", (long long)version,
                         VR_BUNDLE_FORMAT_VERSION);
    }
    return status;
}

static enum vr_status read_model_version(struct vr_bundle *bundle, struct vr_json_value root)
{
    struct vr_str version = {NULL, 0};
    enum vr_status status = vr_manifest_str(root, "", "model_version", sizeof bundle->model_version - 1, &version);
    for (size_t i = 0; status == VR_OK && i < version.len; i++) {
        char c = version.data[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                    c == '_' || c == '-';
        if (!fits) {
            status = vr_fail(VR_ERR_FORMAT, "'model_version' may hold [A-Za-z0-9._-] only");
        }
    }
    if (status == VR_OK) {
        memcpy(bundle->model_version, version.data, version.len);
    }
    return status;
}

static enum vr_status read_scalars(struct vr_bundle *bundle, struct vr_json_value root)
{
    struct vr_str data = {NULL, 0};
    int64_t offset = 0;
    enum vr_status status = read_model_version(bundle, root);
    if (status == VR_OK) {
        status = vr_manifest_int(root, "", "as_of_ms", 0, INT64_C(253402300799999), &bundle->as_of_ms); /* year 9999 */
    }
    if (status == VR_OK) {
        status = vr_manifest_int(root, "", "utc_offset_min", -840, 840, &offset);
        bundle->utc_offset_min = (int32_t)offset;
    }
    if (status == VR_OK) {
        status = vr_manifest_bool(root, "", "shift_state", &bundle->shift_state);
    }
    if (status == VR_OK) {
        status = vr_manifest_str(root, "", "data", TEXT_MAX_BYTES, &data);
    }
    return status == VR_OK ? copy_text(bundle, data, &bundle->data) : status;
}

static enum vr_status read_term(struct vr_bundle *bundle, struct vr_json_value entry)
{
    struct vr_str name = {NULL, 0}, expression = {NULL, 0};
    struct vr_term_spec *term = &bundle->term[bundle->term_count];
    enum vr_status status = vr_manifest_keys(entry, "satisfaction", "name expression");
    if (status == VR_OK) {
        status = vr_manifest_str(entry, "satisfaction", "name", 64, &name);
    }
    if (status == VR_OK) {
        status = vr_manifest_str(entry, "satisfaction", "expression", 1024, &expression);
    }
    if (status == VR_OK) {
        status = copy_text(bundle, name, &term->name);
    }
    if (status == VR_OK) {
        status = copy_text(bundle, expression, &term->expression);
    }
    bundle->term_count += status == VR_OK;
    return status;
}

/* The terms are compiled once to see that they are sound. */
static enum vr_status read_terms(struct vr_bundle *bundle, struct vr_json_value root)
{
    struct vr_json_value list, entry;
    struct vr_terms *terms = NULL;
    enum vr_status status = vr_manifest_array(root, "", "satisfaction", 1, VR_TERM_COUNT_MAX, &list);
    if (status != VR_OK) {
        return status;
    }
    for (struct vr_json_iter it = vr_json_begin(list); status == VR_OK && vr_json_next(&it, NULL, &entry);) {
        status = read_term(bundle, entry);
    }
    if (status == VR_OK) {
        status = vr_terms_create(bundle->term, bundle->term_count, &terms);
        status = status == VR_OK ? VR_OK : vr_fail_in(status, "satisfaction");
    }
    vr_terms_destroy(terms);
    return status;
}

/* What stands in bundle.json alone. */
static enum vr_status read_manifest(struct vr_bundle *bundle, struct vr_json_value root, struct vr_json_value *files)
{
    enum vr_status status = read_format(root);
    if (status == VR_OK) {
        status = vr_manifest_keys(root, "",
                                  "format format_version model_version as_of_ms utc_offset_min shift_state data files "
                                  "tower_dim content_dim fields features user_tower item_tower ranker satisfaction");
    }
    if (status == VR_OK) {
        status = read_scalars(bundle, root);
    }
    if (status == VR_OK) {
        status = read_terms(bundle, root);
    }
    if (status == VR_OK) {
        status = vr_manifest_get(root, "", "files", VR_JSON_OBJECT, files);
    }
    return status == VR_OK ? VR_OK : vr_fail_in(status, "bundle.json");
}

static enum vr_status read_networks(struct vr_bundle *bundle, struct vr_json_value root)
{
    enum vr_status status = vr_bundle_read_features(bundle, root);
    if (status == VR_OK) {
        status = vr_bundle_read_towers(bundle, root);
    }
    if (status == VR_OK) {
        status = vr_bundle_read_ranker(bundle, root);
    }
    return status == VR_OK ? vr_bundle_check_weights(bundle) : status;
}

static enum vr_status read_bundle(struct vr_bundle *bundle, const char *folder, struct vr_json_value root)
{
    struct vr_json_value files = {NULL, 0};
    enum vr_status status = read_manifest(bundle, root, &files);
    if (status == VR_OK) {
        status = vr_bundle_open_files(bundle, folder, files);
    }
    if (status == VR_OK) {
        status = read_networks(bundle, root);
    }
    if (status == VR_OK) {
        status = vr_bundle_read_videos(bundle);
    }
    if (status == VR_OK) {
        status = vr_bundle_read_golden(bundle);
    }
    if (status == VR_OK && bundle->storage->file[VR_FILE_STATE].tensors != NULL) {
        status = vr_bundle_read_state(bundle);
    }
    return status;
}

/* Parses bundle.json and reads everything it leads to; the document lives no longer than this. */
static enum vr_status read_document(struct vr_bundle *bundle, const char *folder, const struct vr_mapping *text)
{
    struct vr_json *json = NULL;
    struct vr_json_value root;
    enum vr_status status = vr_json_create(JSON_MAX_BYTES, JSON_MAX_DEPTH, &json);
    if (status != VR_OK) {
        return status;
    }
    status = vr_json_parse(json, text->data, text->bytes, &root);
    if (status == VR_ERR_TOO_LARGE) {
        status = VR_ERR_FORMAT;
    }
    status = status == VR_OK ? read_bundle(bundle, folder, root) : vr_fail_in(status, "bundle.json");
    vr_json_destroy(json);
    return status;
}

static enum vr_status read_folder(struct vr_bundle *bundle, const char *folder)
{
    char path[4096];
    struct vr_mapping text;
    int length = snprintf(path, sizeof path, "%s/bundle.json", folder);
    if (length < 0 || (size_t)length >= sizeof path) {
        return vr_fail(VR_ERR_INVALID, "the path of the bundle is too long");
    }
    enum vr_status status = vr_mapping_open(path, JSON_MAX_BYTES, &text);
    if (status == VR_ERR_TOO_LARGE) {
        status = VR_ERR_FORMAT;
    }
    if (status == VR_OK && text.bytes == 0) {
        status = vr_fail(VR_ERR_FORMAT, "empty");
    }
    if (status != VR_OK) {
        return vr_fail_in(status, "bundle.json");
    }
    status = read_document(bundle, folder, &text);
    vr_mapping_close(&text);
    return status;
}

enum vr_status vr_bundle_open(const char *folder, struct vr_bundle **out)
{
    struct vr_bundle *bundle = calloc(1, sizeof *bundle);
    if (bundle == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a bundle");
    }
    bundle->storage = calloc(1, sizeof *bundle->storage);
    if (bundle->storage == NULL) {
        free(bundle);
        return vr_fail(VR_ERR_NOMEM, "no memory for a bundle");
    }
    enum vr_status status = vr_arena_create(65536, &bundle->storage->arena);
    if (status == VR_OK) {
        status = read_folder(bundle, folder);
    }
    if (status != VR_OK) {
        vr_bundle_close(bundle);
        return vr_fail_in(status, "bundle %.256s", folder); /* room for the reason */
    }
    *out = bundle;
    return VR_OK;
}

static void destroy_blocks(struct vr_feature_block *block, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        vr_feature_block_destroy(&block[i]);
    }
}

void vr_bundle_close(struct vr_bundle *bundle)
{
    if (bundle == NULL) {
        return;
    }
    destroy_blocks(bundle->user_tower.block, 2);
    destroy_blocks(bundle->item_tower.block, 2);
    destroy_blocks(bundle->ranker.block, VR_ENTITY_COUNT);
    vr_dict_destroy(bundle->video_rows);
    vr_feature_space_destroy(bundle->features);
    for (size_t f = 0; f < VR_FILE_COUNT; f++) {
        vr_safetensors_close(bundle->storage->file[f].tensors);
        vr_mapping_close(&bundle->storage->file[f].mapping);
    }
    vr_arena_destroy(bundle->storage->arena);
    free(bundle->storage);
    free(bundle);
}
