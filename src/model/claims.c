/* Taking tensors by name, type and shape; see claims.h. */
#include "claims.h"

#include <stdio.h>

#include "text.h"

const struct vr_string_rules vr_id_rules = {1, VR_ID_MAX_BYTES, true};

enum vr_status vr_claims_begin(struct vr_arena *arena, const struct vr_safetensors *file, struct vr_claims *out)
{
    out->file = file;
    out->taken = vr_arena_calloc(arena, vr_safetensors_count(file), sizeof *out->taken);
    return out->taken == NULL ? VR_ERR_NOMEM : VR_OK;
}

/* "[3, any]" */
static void print_shape(const struct vr_shape *shape, char text[128])
{
    size_t len = 0;
    for (uint32_t i = 0; i < shape->rank && len < 100; i++) {
        const char *open = i == 0 ? "[" : ", ";
        int n = shape->dim[i] == VR_DIM_ANY
                    ? snprintf(text + len, 128 - len, "%sany", open)
                    : snprintf(text + len, 128 - len, "%s%llu", open, (unsigned long long)shape->dim[i]);
        len += (size_t)n;
    }
    snprintf(text + len, 128 - len, "]");
}

static bool shape_fits(const struct vr_tensor *tensor, const struct vr_shape *shape)
{
    bool fits = tensor->rank == shape->rank;
    for (uint32_t i = 0; fits && i < shape->rank; i++) {
        fits = shape->dim[i] == VR_DIM_ANY || shape->dim[i] == tensor->dim[i];
    }
    return fits;
}

bool vr_claims_has(const struct vr_claims *claims, const char *name)
{
    return vr_safetensors_find(claims->file, vr_str_of(name)) != NULL;
}

void vr_claims_mark(struct vr_claims *claims, const struct vr_tensor *tensor)
{
    claims->taken[tensor - vr_safetensors_at(claims->file, 0)] = true;
}

enum vr_status vr_claim_tensor(struct vr_claims *claims, const char *name, enum vr_dtype dtype, struct vr_shape shape,
                               const struct vr_tensor **out)
{
    const struct vr_tensor *tensor = vr_safetensors_find(claims->file, vr_str_of(name));
    if (tensor == NULL) {
        return vr_fail(VR_ERR_FORMAT, "tensor '%s' is missing", vr_show(vr_str_of(name)).text);
    }
    if (tensor->dtype != dtype || !shape_fits(tensor, &shape)) {
        char wanted[128], found[128];
        struct vr_shape actual = {tensor->rank, {tensor->dim[0], tensor->dim[1], tensor->dim[2], tensor->dim[3]}};
        print_shape(&shape, wanted);
        print_shape(&actual, found);
        return vr_fail(VR_ERR_FORMAT, "tensor '%s' is %s %s, must be %s %s", name, vr_dtype_name(tensor->dtype), found,
                       vr_dtype_name(dtype), wanted);
    }
    vr_claims_mark(claims, tensor);
    *out = tensor;
    return VR_OK;
}

enum vr_status vr_claim_f32(struct vr_claims *claims, const char *name, struct vr_shape shape, const float **out)
{
    const struct vr_tensor *tensor = NULL;
    enum vr_status status = vr_claim_tensor(claims, name, VR_DTYPE_F32, shape, &tensor);
    if (tensor != NULL) {
        *out = tensor->data;
    }
    return status;
}

enum vr_status vr_claim_f64(struct vr_claims *claims, const char *name, struct vr_shape shape, const double **out)
{
    const struct vr_tensor *tensor = NULL;
    enum vr_status status = vr_claim_tensor(claims, name, VR_DTYPE_F64, shape, &tensor);
    if (tensor != NULL) {
        *out = tensor->data;
    }
    return status;
}

enum vr_status vr_claim_u8(struct vr_claims *claims, const char *name, struct vr_shape shape, const uint8_t **out)
{
    const struct vr_tensor *tensor = NULL;
    enum vr_status status = vr_claim_tensor(claims, name, VR_DTYPE_U8, shape, &tensor);
    if (tensor != NULL) {
        *out = tensor->data;
    }
    return status;
}

enum vr_status vr_claim_index(struct vr_claims *claims, const char *name, struct vr_shape shape, int64_t low,
                              int64_t high, const int32_t **out)
{
    const struct vr_tensor *tensor = NULL;
    enum vr_status status = vr_claim_tensor(claims, name, VR_DTYPE_I32, shape, &tensor);
    if (tensor == NULL) {
        return status;
    }
    const int32_t *index = tensor->data;
    for (size_t i = 0; i < tensor->bytes / sizeof *index; i++) {
        if (index[i] < low || index[i] >= high) {
            return vr_fail(VR_ERR_FORMAT, "tensor '%s': element %zu is %d, outside %lld to %lld", name, i, index[i],
                           (long long)low, (long long)high - 1);
        }
    }
    *out = index;
    return VR_OK;
}

enum vr_status vr_claim_offsets(struct vr_claims *claims, const char *name, uint64_t count, uint64_t total,
                                const uint32_t **out)
{
    const struct vr_tensor *tensor = NULL;
    uint64_t length = count == VR_DIM_ANY ? VR_DIM_ANY : count + 1;
    enum vr_status status = vr_claim_tensor(claims, name, VR_DTYPE_U32, VR_SHAPE_1(length), &tensor);
    if (tensor == NULL) {
        return status;
    }
    const uint32_t *offset = tensor->data;
    if (tensor->dim[0] == 0 || tensor->dim[0] > INT32_MAX) {
        return vr_fail(VR_ERR_FORMAT, "tensor '%s' must have 1 to %d elements", name, INT32_MAX);
    }
    if (offset[0] != 0) {
        return vr_fail(VR_ERR_FORMAT, "tensor '%s' begins with %u, must begin with 0", name, offset[0]);
    }
    for (uint64_t i = 1; i < tensor->dim[0]; i++) {
        if (offset[i] < offset[i - 1]) {
            return vr_fail(VR_ERR_FORMAT, "tensor '%s': element %llu falls", name, (unsigned long long)i);
        }
    }
    if (offset[tensor->dim[0] - 1] != total) {
        return vr_fail(VR_ERR_FORMAT, "tensor '%s' ends with %u, but there are %llu elements", name,
                       offset[tensor->dim[0] - 1], (unsigned long long)total);
    }
    *out = offset;
    return VR_OK;
}

static enum vr_status check_unique(const char *name, const struct vr_string_list *list)
{
    struct vr_dict *seen;
    enum vr_status status = vr_dict_create(list->count, &seen);
    if (status != VR_OK) {
        return status;
    }
    for (uint32_t i = 0; status == VR_OK && i < list->count; i++) {
        uint32_t number = i;
        status = vr_dict_intern(seen, vr_string_at(list, i), &number);
        if (status == VR_OK && number != i) {
            status = vr_fail(VR_ERR_FORMAT, "string list '%s': '%s' is there twice (%u and %u)", name,
                             vr_show(vr_string_at(list, i)).text, number, i);
        }
    }
    vr_dict_destroy(seen);
    return status;
}

static enum vr_status check_strings(const char *name, const struct vr_string_list *list, struct vr_string_rules rules)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct vr_str s = vr_string_at(list, i);
        if (s.len < rules.min_bytes || s.len > rules.max_bytes) {
            return vr_fail(VR_ERR_FORMAT, "string list '%s': entry %u has %zu bytes, must have %u to %u", name, i,
                           s.len, rules.min_bytes, rules.max_bytes);
        }
        if (!vr_text_is_utf8(s.data, s.len)) {
            return vr_fail(VR_ERR_FORMAT, "string list '%s': entry %u is not UTF-8", name, i);
        }
    }
    return rules.unique ? check_unique(name, list) : VR_OK;
}

enum vr_status vr_claim_strings(struct vr_claims *claims, const char *name, uint64_t count,
                                struct vr_string_rules rules, struct vr_string_list *out)
{
    char bytes_name[160], offsets_name[160];
    snprintf(bytes_name, sizeof bytes_name, "%s.bytes", name);
    snprintf(offsets_name, sizeof offsets_name, "%s.offsets", name);
    const struct vr_tensor *bytes = NULL;
    struct vr_string_list list = {NULL, NULL, 0};
    enum vr_status status = vr_claim_tensor(claims, bytes_name, VR_DTYPE_U8, VR_SHAPE_1(VR_DIM_ANY), &bytes);
    if (bytes != NULL) {
        status = vr_claim_offsets(claims, offsets_name, count, bytes->bytes, &list.offset);
    }
    if (bytes == NULL || list.offset == NULL) {
        return status;
    }
    list.bytes = bytes->data;
    list.count = (uint32_t)(vr_safetensors_find(claims->file, vr_str_of(offsets_name))->dim[0] - 1);
    status = check_strings(name, &list, rules);
    if (status == VR_OK) {
        *out = list;
    }
    return status;
}

enum vr_status vr_claims_end(const struct vr_claims *claims)
{
    for (size_t i = 0; i < vr_safetensors_count(claims->file); i++) {
        if (!claims->taken[i]) {
            return vr_fail(VR_ERR_FORMAT, "tensor '%s' is not part of the format",
                           vr_show(vr_safetensors_at(claims->file, i)->name).text);
        }
    }
    return VR_OK;
}
