/* The functions of vireo/features_python.h. */
#include "vireo/features_python.h"

#include <math.h>
#include <stdlib.h>

#include "features_space.h"

#define JSON_MAX_BYTES (16u << 20)
#define JSON_MAX_DEPTH 16u

struct vr_python_space {
    struct vr_feature_space *space;
    void *bytes; /* a copy of the weights */
    struct vr_safetensors *weights;
};

struct vr_python_block {
    const struct vr_feature_space *space;
    struct vr_feature_block block;
};

/* Copies and reads the weights; malloc's alignment is what the reader needs. */
static enum vr_status read_weights(struct vr_python_space *space, const void *weights, size_t bytes)
{
    space->bytes = malloc(bytes > 0 ? bytes : 1);
    if (space->bytes == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for weights");
    }
    memcpy(space->bytes, weights, bytes);
    return vr_safetensors_parse(space->bytes, bytes, &space->weights);
}

static enum vr_status build_space(struct vr_python_space *space, const char *json, size_t bytes)
{
    struct vr_json *parser;
    struct vr_json_value root;
    enum vr_status status = vr_json_create(JSON_MAX_BYTES, JSON_MAX_DEPTH, &parser);
    if (status != VR_OK) {
        return status;
    }
    status = vr_json_parse(parser, json, bytes, &root);
    if (status == VR_OK && vr_json_type_of(root) != VR_JSON_OBJECT) {
        status = vr_fail(VR_ERR_FORMAT, "the bundle must be an object");
    }
    if (status == VR_OK) {
        status = vr_feature_space_build(root, space->weights, true, &space->space);
    }
    vr_json_destroy(parser);
    return status;
}

enum vr_status vr_python_space_create(const char *json, size_t json_bytes, const void *weights, size_t weight_bytes,
                                      struct vr_python_space **out)
{
    struct vr_python_space *space = calloc(1, sizeof *space);
    if (space == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a feature space");
    }
    enum vr_status status = weights == NULL ? VR_OK : read_weights(space, weights, weight_bytes);
    if (status == VR_OK) {
        status = build_space(space, json, json_bytes);
    }
    if (status != VR_OK) {
        vr_python_space_destroy(space);
        return status;
    }
    *out = space;
    return VR_OK;
}

void vr_python_space_destroy(struct vr_python_space *space)
{
    if (space == NULL) {
        return;
    }
    vr_feature_space_destroy(space->space);
    vr_safetensors_close(space->weights);
    free(space->bytes);
    free(space);
}

uint32_t vr_python_field_count(const struct vr_python_space *space, uint32_t entity)
{
    return entity < VR_ENTITY_COUNT ? vr_feature_field_count(space->space, (enum vr_entity)entity) : 0;
}

const char *vr_python_field_name(const struct vr_python_space *space, uint32_t entity, uint32_t field)
{
    if (field >= vr_python_field_count(space, entity)) {
        return NULL;
    }
    return vr_feature_field(space->space, (enum vr_entity)entity, field).name.data; /* a literal or an arena copy */
}

enum vr_status vr_python_codes(const struct vr_python_space *space, uint32_t entity, uint32_t field, size_t rows,
                               const char *text, const uint64_t *offset, double *code)
{
    if (field >= vr_python_field_count(space, entity)) {
        return vr_fail(VR_ERR_INVALID, "entity %u has no field %u", entity, field);
    }
    enum vr_entity e = (enum vr_entity)entity;
    struct vr_field info = vr_feature_field(space->space, e, field);
    if (info.type != VR_FIELD_STRING) {
        return vr_fail(VR_ERR_INVALID, "field '%s' holds numbers", info.name.data);
    }
    for (size_t i = 0; i < rows; i++) {
        struct vr_str s = {text + offset[i], (size_t)(offset[i + 1] - offset[i])};
        code[i] = vr_feature_code(space->space, e, field, s);
    }
    return VR_OK;
}

static enum vr_status fill_block(struct vr_python_block *block, enum vr_entity entity, const char *names, size_t bytes)
{
    struct vr_json *parser;
    struct vr_json_value root;
    enum vr_status status = vr_json_create(JSON_MAX_BYTES, JSON_MAX_DEPTH, &parser);
    if (status != VR_OK) {
        return status;
    }
    status = vr_json_parse(parser, names, bytes, &root);
    if (status == VR_OK) {
        status = vr_feature_block_create(block->space, root, entity, &block->block);
    }
    vr_json_destroy(parser);
    return status;
}

enum vr_status vr_python_block_create(const struct vr_python_space *space, uint32_t entity, const char *names,
                                      size_t names_bytes, struct vr_python_block **out)
{
    if (entity >= VR_ENTITY_COUNT) {
        return vr_fail(VR_ERR_INVALID, "there is no entity %u", entity);
    }
    struct vr_python_block *block = calloc(1, sizeof *block);
    if (block == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a block");
    }
    block->space = space->space;
    enum vr_status status = fill_block(block, (enum vr_entity)entity, names, names_bytes);
    if (status != VR_OK) {
        free(block);
        return status;
    }
    *out = block;
    return VR_OK;
}

void vr_python_block_destroy(struct vr_python_block *block)
{
    if (block != NULL) {
        vr_feature_block_destroy(&block->block);
        free(block);
    }
}

void vr_python_block_shape(const struct vr_python_block *block, uint32_t shape[4])
{
    shape[0] = block->block.count;
    shape[1] = block->block.dense_count;
    shape[2] = block->block.index_count;
    shape[3] = block->block.width;
}

const char *vr_python_block_column(const struct vr_python_block *block, uint32_t i, uint32_t layout[5])
{
    const struct vr_column *column = &block->block.column[i];
    layout[0] = (uint32_t)column->kind;
    layout[1] = column->offset;
    layout[2] = column->width;
    layout[3] = column->slot;
    layout[4] = (uint32_t)column->vector;
    return block->space->feature[block->block.feature[i]].name.data;
}

void vr_python_transform(const struct vr_python_block *block, size_t rows, const double *raw, float *dense,
                         int32_t *index)
{
    const struct vr_feature_rows out = {dense, block->block.dense_count, index, block->block.index_count};
    vr_feature_transform(block->space, &block->block, rows, raw, out);
}

/* The recent watches of one row without their times; video NULL is unknown. */
static enum vr_status gather(size_t row, const int32_t *video, const uint32_t *flags, const int32_t *count,
                             struct vr_recent recent[VR_RECENT_MAX])
{
    if (count[row] < 0 || count[row] > (int32_t)VR_RECENT_MAX) {
        return vr_fail(VR_ERR_INVALID, "row %zu has %d recent watches, must have 0 to %u", row, count[row],
                       VR_RECENT_MAX);
    }
    for (int32_t i = 0; i < count[row]; i++) {
        size_t at = row * VR_RECENT_MAX + (size_t)i;
        recent[i].video = video == NULL ? -1 : video[at];
        recent[i].age_s = NAN;
        recent[i].watch_s = NAN;
        recent[i].flags = flags[at];
    }
    return VR_OK;
}

enum vr_status vr_python_history_weights(size_t rows, const int32_t *video, const uint32_t *flags, const int32_t *count,
                                         float *weight)
{
    struct vr_recent recent[VR_RECENT_MAX];
    for (size_t r = 0; r < rows; r++) {
        enum vr_status status = gather(r, video, flags, count, recent);
        if (status != VR_OK) {
            return status;
        }
        memset(weight + r * VR_RECENT_MAX, 0, VR_RECENT_MAX * sizeof *weight);
        vr_history_weights(recent, (uint32_t)count[r], weight + r * VR_RECENT_MAX);
    }
    return VR_OK;
}

enum vr_status vr_python_history_fields(size_t rows, const float *age_s, const float *watch_s, const uint32_t *flags,
                                        const int32_t *count, double *out)
{
    struct vr_recent recent[VR_RECENT_MAX];
    double raw[VR_VIEWER_FIELDS];
    for (size_t r = 0; r < rows; r++) {
        enum vr_status status = gather(r, NULL, flags, count, recent);
        if (status != VR_OK) {
            return status;
        }
        for (int32_t i = 0; i < count[r]; i++) {
            recent[i].age_s = age_s[r * VR_RECENT_MAX + (size_t)i];
            recent[i].watch_s = watch_s[r * VR_RECENT_MAX + (size_t)i];
        }
        vr_history_fields(recent, (uint32_t)count[r], raw);
        memcpy(out + r * VR_RECENT_FIELDS, raw + VR_VIEWER_RECENT_N, VR_RECENT_FIELDS * sizeof *raw);
    }
    return VR_OK;
}

static enum vr_status check_videos(size_t row, const struct vr_recent *recent, int32_t count, int32_t candidate,
                                   size_t videos)
{
    bool fits = candidate < 0 || (size_t)candidate < videos;
    for (int32_t i = 0; i < count; i++) {
        fits = fits && (recent[i].video < 0 || (size_t)recent[i].video < videos);
    }
    return fits ? VR_OK : vr_fail(VR_ERR_INVALID, "row %zu names a video past the %zu there are", row, videos);
}

enum vr_status vr_python_history_matches(size_t rows, const int32_t *video, const uint32_t *flags, const int32_t *count,
                                         size_t videos, const int32_t *topic, const int32_t *creator,
                                         const int32_t *candidate, double *out)
{
    struct vr_recent recent[VR_RECENT_MAX] = {{-1, 0, 0, 0}};
    double raw[VR_PAIR_FIELDS];
    for (size_t r = 0; r < rows; r++) {
        enum vr_status status = gather(r, video, flags, count, recent);
        if (status == VR_OK) {
            status = check_videos(r, recent, count[r], candidate[r], videos);
        }
        if (status != VR_OK) {
            return status;
        }
        vr_history_matches(recent, (uint32_t)count[r], topic, creator, candidate[r], raw);
        memcpy(out + r * 5, raw + VR_PAIR_TOPIC_N, 5 * sizeof *raw);
    }
    return VR_OK;
}

void vr_python_time_fields(size_t rows, const int64_t *now_ms, int32_t utc_offset_min, double *out)
{
    for (size_t r = 0; r < rows; r++) {
        vr_time_fields(now_ms[r], utc_offset_min, out + r * VR_CONTEXT_FIELDS);
    }
}

void vr_python_age_hours(size_t rows, const int64_t *now_ms, const int64_t *upload_ms, double *out)
{
    for (size_t r = 0; r < rows; r++) {
        out[r] = vr_age_hours(now_ms[r], upload_ms[r]);
    }
}

enum vr_status vr_python_bundle_check(const char *folder)
{
    struct vr_bundle *bundle = NULL;
    enum vr_status status = vr_bundle_open(folder, &bundle);
    vr_bundle_close(bundle);
    return status;
}

enum vr_status vr_python_terms(uint32_t count, const char *const *name, const char *const *expression, size_t rows,
                               const float *heads, const float *duration_s, float *value, float *score, int *linear)
{
    struct vr_term_spec spec[VR_TERM_COUNT_MAX];
    struct vr_terms *terms = NULL;
    for (uint32_t i = 0; i < count && i < VR_TERM_COUNT_MAX; i++) {
        spec[i].name = vr_str_of(name[i]);
        spec[i].expression = vr_str_of(expression[i]);
    }
    enum vr_status status = vr_terms_create(spec, count, &terms);
    if (status == VR_OK) {
        *linear = vr_terms_are_linear(terms);
        status = vr_terms_evaluate(terms, rows, heads, duration_s, value, score);
    }
    vr_terms_destroy(terms);
    return status;
}
