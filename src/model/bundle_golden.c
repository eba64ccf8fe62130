/* golden.safetensors of a bundle: inputs and outputs that an engine checks itself against. */
#include <math.h>

#include "bundle_parts.h"

#define CASES_MAX 4096u
#define TOPK_CASES_MAX 64u
#define TOPK 10u

static enum vr_status claim_doubles(struct vr_claims *claims, const char *name, struct vr_shape shape,
                                    struct vr_number_rules rules, const double **out)
{
    enum vr_status status = vr_claim_f64(claims, name, shape, out);
    return status == VR_OK ? vr_check_doubles(name, *out, shape.dim[0] * shape.dim[1], rules) : status;
}

/* The cases are counted by `video.row`. */
static enum vr_status read_rows(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_golden *golden = &bundle->golden;
    enum vr_status status =
        vr_claim_index(claims, "video.row", VR_SHAPE_1(VR_DIM_ANY), 0, bundle->videos.count, &golden->video_row);
    if (status != VR_OK) {
        return status;
    }
    uint64_t count = vr_safetensors_find(claims->file, vr_str_of("video.row"))->dim[0];
    if (count == 0 || count > CASES_MAX) {
        return vr_fail(VR_ERR_FORMAT, "%llu cases, must be 1 to %u", (unsigned long long)count, CASES_MAX);
    }
    golden->count = (uint32_t)count;
    golden->topk_count = golden->count < TOPK_CASES_MAX ? golden->count : TOPK_CASES_MAX;
    return VR_OK;
}

static enum vr_status read_inputs(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_golden *golden = &bundle->golden;
    const struct {
        const char *name;
        enum vr_entity entity;
        const double **out;
    } raw[] = {{"viewer.raw", VR_ENTITY_VIEWER, &golden->viewer_raw},
               {"context.raw", VR_ENTITY_CONTEXT, &golden->context_raw},
               {"video.raw", VR_ENTITY_VIDEO, &golden->video_raw},
               {"pair.raw", VR_ENTITY_PAIR, &golden->pair_raw}};
    const uint64_t n = golden->count;
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof raw / sizeof *raw; i++) {
        uint32_t fields = vr_feature_field_count(bundle->features, raw[i].entity);
        status = claim_doubles(claims, raw[i].name, VR_SHAPE_2(n, fields), VR_ANY_OR_NAN, raw[i].out);
    }
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "viewer.hist_tower", VR_SHAPE_2(n, bundle->tower_dim), VR_ANY_FINITE,
                                  &golden->hist_tower);
    }
    if (status == VR_OK) {
        status = vr_claim_numbers(claims, "viewer.hist_content", VR_SHAPE_2(n, bundle->content_dim), VR_ANY_FINITE,
                                  &golden->hist_content);
    }
    return status;
}

static enum vr_status check_video_rows(const struct vr_bundle *bundle)
{
    const uint32_t fields = vr_feature_field_count(bundle->features, VR_ENTITY_VIDEO);
    for (uint32_t i = 0; i < bundle->golden.count; i++) {
        double row = bundle->golden.video_raw[(size_t)i * fields + VR_VIDEO_ROW];
        if (row != bundle->golden.video_row[i] + 1.0) {
            return vr_fail(VR_ERR_FORMAT, "tensor 'video.raw': the field row of case %u is %g, 'video.row' says %d", i,
                           row, bundle->golden.video_row[i]);
        }
    }
    return VR_OK;
}

static enum vr_status check_topk(const struct vr_golden *golden)
{
    for (uint32_t i = 0; i < golden->topk_count; i++) {
        const int32_t *row = golden->topk + (size_t)i * TOPK;
        for (uint32_t a = 1; a < TOPK; a++) {
            for (uint32_t b = 0; b < a; b++) {
                if (row[a] == row[b]) {
                    return vr_fail(VR_ERR_FORMAT, "tensor 'out.topk': case %u lists row %d twice", i, row[a]);
                }
            }
        }
    }
    return VR_OK;
}

static enum vr_status read_outputs(struct vr_bundle *bundle, struct vr_claims *claims)
{
    struct vr_golden *golden = &bundle->golden;
    const uint64_t n = golden->count;
    enum vr_status status =
        claim_doubles(claims, "out.user_tower", VR_SHAPE_2(n, bundle->tower_dim), VR_ANY_FINITE, &golden->user_tower);
    if (status == VR_OK) {
        status = claim_doubles(claims, "out.heads", VR_SHAPE_2(n, VR_HEAD_COUNT), VR_NOT_NEGATIVE, &golden->heads);
    }
    if (status == VR_OK) {
        status = vr_claim_index(claims, "out.topk", VR_SHAPE_2(golden->topk_count, TOPK), 0, bundle->videos.count,
                                &golden->topk);
    }
    return status == VR_OK ? check_topk(golden) : status;
}

enum vr_status vr_bundle_read_golden(struct vr_bundle *bundle)
{
    struct vr_claims *claims = &bundle->storage->file[VR_FILE_GOLDEN].claims;
    enum vr_status status = read_rows(bundle, claims);
    if (status == VR_OK) {
        status = read_inputs(bundle, claims);
    }
    if (status == VR_OK) {
        status = check_video_rows(bundle);
    }
    if (status == VR_OK) {
        status = read_outputs(bundle, claims);
    }
    if (status == VR_OK) {
        status = vr_claims_end(claims);
    }
    return vr_in_file(status, VR_FILE_GOLDEN);
}
