/* videos.safetensors of a bundle: one row a video. */
#include <math.h>
#include <stdio.h>

#include "bundle_parts.h"
#include "vireo/half.h"

#define DIM_MAX 256u
#define VIDEOS_MIN 10u
#define TITLE_MAX_BYTES 512u
#define TOWER_NORM_TOLERANCE 2e-3   /* half precision of 256 components */
#define CONTENT_NORM_TOLERANCE 2e-2 /* int8 components */

static enum vr_status read_names(struct vr_claims *claims, struct vr_bundle_videos *videos)
{
    const struct vr_string_rules title = {0, TITLE_MAX_BYTES, false};
    enum vr_status status = vr_claim_strings(claims, "id", VR_DIM_ANY, vr_id_rules, &videos->id);
    if (status != VR_OK) {
        return status;
    }
    videos->count = videos->id.count;
    if (videos->count < VIDEOS_MIN) {
        return vr_fail(VR_ERR_FORMAT, "%u videos, at least %u are needed", videos->count, VIDEOS_MIN);
    }
    status = vr_claim_strings(claims, "title", videos->count, title, &videos->title);
    if (status == VR_OK) {
        status = vr_claim_strings(claims, "creator.id", VR_DIM_ANY, vr_id_rules, &videos->creator_id);
    }
    if (status == VR_OK) {
        status = vr_claim_strings(claims, "topic.name", VR_DIM_ANY, vr_id_rules, &videos->topic_name);
    }
    return status;
}

static enum vr_status read_attributes(struct vr_claims *claims, struct vr_bundle_videos *videos)
{
    const struct vr_shape rows = VR_SHAPE_1(videos->count);
    const struct vr_tensor *upload;
    enum vr_status status =
        vr_claim_index(claims, "creator.index", rows, -1, videos->creator_id.count, &videos->creator);
    if (status == VR_OK) {
        status = vr_claim_index(claims, "topic.index", rows, -1, videos->topic_name.count, &videos->topic);
    }
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "duration_s", rows, VR_NOT_NEGATIVE, &videos->duration_s);
    }
    if (status == VR_OK) {
        status = vr_claim_tensor(claims, "upload_ms", VR_DTYPE_I64, rows, &upload);
    }
    if (status == VR_OK) {
        videos->upload_ms = upload->data;
        status = vr_claim_u8(claims, "safety", rows, &videos->safety);
    }
    if (status == VR_OK) {
        status = vr_claim_u8(claims, "min_age", rows, &videos->min_age);
    }
    return status;
}

static enum vr_status read_safety(struct vr_claims *claims, struct vr_bundle_videos *videos)
{
    const struct vr_number_rules probability = {0, 1, true};
    for (uint32_t i = 0; i < videos->count; i++) {
        if (videos->safety[i] > VR_SAFETY_UNSAFE) {
            return vr_fail(VR_ERR_FORMAT, "tensor 'safety': element %u is %u, outside 0 to 2", i, videos->safety[i]);
        }
    }
    return vr_claim_numbers(claims, "unsafe_score", VR_SHAPE_1(videos->count), probability, &videos->unsafe_score);
}

/* `field.NAME` of one declared field. */
static enum vr_status read_field(struct vr_claims *claims, struct vr_field field, uint32_t count,
                                 const struct vr_tensor **out)
{
    char name[96];
    const int32_t *index;
    const float *number;
    snprintf(name, sizeof name, "field.%.*s", (int)field.name.len, field.name.data);
    enum vr_status status =
        field.type == VR_FIELD_STRING
            ? vr_claim_index(claims, name, VR_SHAPE_1(count), 0, (int64_t)field.vocab_size + 1, &index)
            : vr_claim_numbers(claims, name, VR_SHAPE_1(count), VR_ANY_OR_NAN, &number);
    if (status == VR_OK) {
        *out = vr_safetensors_find(claims->file, vr_str_of(name));
    }
    return status;
}

static enum vr_status read_fields(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_bundle_videos *videos = &bundle->videos;
    uint32_t fields = vr_feature_field_count(bundle->features, VR_ENTITY_VIDEO);
    videos->field = vr_arena_calloc(bundle->storage->arena, fields - VR_VIDEO_FIELDS, sizeof(struct vr_tensor *));
    enum vr_status status = videos->field == NULL ? VR_ERR_NOMEM : VR_OK;
    for (uint32_t i = VR_VIDEO_FIELDS; status == VR_OK && i < fields; i++) {
        struct vr_field field = vr_feature_field(bundle->features, VR_ENTITY_VIDEO, i);
        status = read_field(claims, field, videos->count, &videos->field[i - VR_VIDEO_FIELDS]);
    }
    return status;
}

static enum vr_status read_tower(struct vr_bundle *bundle, struct vr_claims *claims)
{
    const uint32_t dim = bundle->tower_dim, count = bundle->videos.count;
    const struct vr_tensor *tensor;
    enum vr_status status = vr_claim_tensor(claims, "tower", VR_DTYPE_F16, VR_SHAPE_2(count, dim), &tensor);
    if (status != VR_OK) {
        return status;
    }
    bundle->videos.tower = tensor->data;
    const uint16_t *row = tensor->data;
    for (uint32_t i = 0; i < count; i++, row += dim) {
        float value[DIM_MAX];
        double square = 0;
        vr_half_to_floats(row, dim, value);
        for (uint32_t k = 0; k < dim; k++) {
            square += (double)value[k] * value[k];
        }
        if (!(fabs(sqrt(square) - 1) <= TOWER_NORM_TOLERANCE)) {
            return vr_fail(VR_ERR_FORMAT, "tensor 'tower': row %u has the norm %g, must have 1", i, sqrt(square));
        }
    }
    return VR_OK;
}

static enum vr_status read_content(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_bundle_videos *videos = &bundle->videos;
    const uint32_t dim = bundle->content_dim, count = videos->count;
    const struct vr_tensor *tensor;
    enum vr_status status = vr_claim_tensor(claims, "content", VR_DTYPE_I8, VR_SHAPE_2(count, dim), &tensor);
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "content.scale", VR_SHAPE_1(count), VR_NOT_NEGATIVE, &videos->content_scale);
    }
    if (status != VR_OK) {
        return status;
    }
    videos->content = tensor->data;
    const int8_t *row = tensor->data;
    for (uint32_t i = 0; i < count; i++, row += dim) {
        int64_t square = 0;
        for (uint32_t k = 0; k < dim; k++) {
            square += row[k] * row[k];
        }
        double norm = sqrt((double)square) / 127 * videos->content_scale[i];
        if (videos->content_scale[i] != 0 && !(fabs(norm - 1) <= CONTENT_NORM_TOLERANCE)) {
            return vr_fail(VR_ERR_FORMAT, "tensor 'content': row %u has the norm %g, must have 1", i, norm);
        }
    }
    return VR_OK;
}

/* Ids are unique, so row numbers come out as they are. */
static enum vr_status index_rows(struct vr_bundle *bundle)
{
    const struct vr_string_list *id = &bundle->videos.id;
    enum vr_status status = vr_dict_create(id->count, &bundle->video_rows);
    for (uint32_t i = 0; status == VR_OK && i < id->count; i++) {
        uint32_t row;
        status = vr_dict_intern(bundle->video_rows, vr_string_at(id, i), &row);
    }
    return status;
}

enum vr_status vr_bundle_read_videos(struct vr_bundle *bundle)
{
    struct vr_claims *claims = &bundle->storage->file[VR_FILE_VIDEOS].claims;
    enum vr_status status = read_names(claims, &bundle->videos);
    if (status == VR_OK) {
        status = read_attributes(claims, &bundle->videos);
    }
    if (status == VR_OK) {
        status = read_safety(claims, &bundle->videos);
    }
    if (status == VR_OK) {
        status = read_fields(bundle, claims);
    }
    if (status == VR_OK) {
        status = read_tower(bundle, claims);
    }
    if (status == VR_OK) {
        status = read_content(bundle, claims);
    }
    if (status == VR_OK) {
        status = vr_claims_end(claims);
    }
    if (status == VR_OK) {
        status = index_rows(bundle);
    }
    return vr_in_file(status, VR_FILE_VIDEOS);
}
