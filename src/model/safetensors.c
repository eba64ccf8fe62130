/* The reader of vireo/safetensors.h. Tensors must be listed in the order of their data, each beginning where the one
 * before ends; that one rule refuses overlaps, gaps and data that nothing names. */
#include "vireo/safetensors.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "manifest.h"
#include "text.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bundles are little-endian and read in place"
#endif

#define HEADER_MAX_BYTES (16u << 20)
#define HEADER_MAX_DEPTH 4u
#define NAME_MAX_BYTES 128u
#define LENGTH_BYTES 8u

struct vr_safetensors {
    const uint8_t *bytes; /* the caller's */
    size_t size;
    const uint8_t *data; /* behind the header */
    size_t data_size;
    struct vr_arena *arena;
    struct vr_tensor *tensor; /* [count], in the order of their data */
    uint32_t *by_name;        /* [count], sorted */
    uint32_t count;
};

static const struct dtype {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [VR_DTYPE_F32] = {"F32", 4}, [VR_DTYPE_F16] = {"F16", 2}, [VR_DTYPE_F64] = {"F64", 8}, [VR_DTYPE_I8] = {"I8", 1},
    [VR_DTYPE_U8] = {"U8", 1},   [VR_DTYPE_I32] = {"I32", 4}, [VR_DTYPE_U32] = {"U32", 4}, [VR_DTYPE_I64] = {"I64", 8},
};
#define DTYPE_WORDS "F32 F16 F64 I8 U8 I32 U32 I64" /* in the order of enum vr_dtype */

size_t vr_dtype_bytes(enum vr_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *vr_dtype_name(enum vr_dtype dtype)
{
    return dtypes[dtype].name;
}

/* shape -> rank, dim and *elements. */
static enum vr_status read_shape(struct vr_json_value entry, const char *where, struct vr_tensor *tensor,
                                 uint64_t *elements)
{
    struct vr_json_value shape, dim;
    enum vr_status status = vr_manifest_array(entry, where, "shape", 1, VR_TENSOR_MAX_RANK, &shape);
    if (status != VR_OK) {
        return status;
    }
    *elements = 1;
    for (struct vr_json_iter it = vr_json_begin(shape); vr_json_next(&it, NULL, &dim);) {
        int64_t size;
        if (vr_json_as_int(dim, &size) != VR_OK || size < 0) {
            return vr_fail(VR_ERR_FORMAT, "%s: a dimension is not a whole number of at least 0", where);
        }
        tensor->dim[tensor->rank++] = (uint64_t)size;
        if (__builtin_mul_overflow(*elements, (uint64_t)size, elements)) {
            return vr_fail(VR_ERR_FORMAT, "%s: the product of the dimensions overflows", where);
        }
    }
    return VR_OK;
}

/* data_offsets -> data and bytes; `end` is where the tensor before ends, and moves on. */
static enum vr_status read_offsets(struct vr_safetensors *file, struct vr_json_value entry, const char *where,
                                   uint64_t bytes, struct vr_tensor *tensor, size_t *end)
{
    struct vr_json_value offsets, value;
    enum vr_status status = vr_manifest_array(entry, where, "data_offsets", 2, 2, &offsets);
    if (status != VR_OK) {
        return status;
    }
    int64_t range[2] = {0, 0};
    size_t n = 0;
    for (struct vr_json_iter it = vr_json_begin(offsets); vr_json_next(&it, NULL, &value); n++) {
        if (vr_json_as_int(value, &range[n]) != VR_OK || range[n] < 0) {
            return vr_fail(VR_ERR_FORMAT, "%s: a data offset is not a whole number of at least 0", where);
        }
    }
    if ((uint64_t)range[0] != *end) {
        return vr_fail(VR_ERR_FORMAT, "%s begins at byte %lld of the data, but the tensor before it ends at %zu", where,
                       (long long)range[0], *end);
    }
    if (range[1] < range[0] || (uint64_t)range[1] > file->data_size) {
        return vr_fail(VR_ERR_FORMAT, "%s ends at byte %lld, but begins at %lld and the file holds %zu bytes of data",
                       where, (long long)range[1], (long long)range[0], file->data_size);
    }
    if ((uint64_t)(range[1] - range[0]) != bytes) {
        return vr_fail(VR_ERR_FORMAT, "%s: its shape takes %llu bytes, its data offsets %lld", where,
                       (unsigned long long)bytes, (long long)(range[1] - range[0]));
    }
    if ((uint64_t)range[0] % vr_dtype_bytes(tensor->dtype) != 0) {
        return vr_fail(VR_ERR_FORMAT, "%s: its data at byte %lld is not aligned for %s", where, (long long)range[0],
                       vr_dtype_name(tensor->dtype));
    }
    tensor->data = file->data + range[0];
    tensor->bytes = (size_t)bytes;
    *end = (size_t)range[1];
    return VR_OK;
}

static enum vr_status read_tensor(struct vr_safetensors *file, struct vr_str name, struct vr_json_value entry,
                                  size_t *end)
{
    if (name.len > NAME_MAX_BYTES || !vr_text_is_printable(name)) {
        return vr_fail(VR_ERR_FORMAT, "tensor name '%s' is not 1 to %u printable ASCII characters", vr_show(name).text,
                       NAME_MAX_BYTES);
    }
    char where[VR_SHOWN_BYTES + 16];
    snprintf(where, sizeof where, "tensor '%s'", vr_show(name).text);
    struct vr_tensor *tensor = &file->tensor[file->count];
    uint32_t dtype;
    uint64_t elements, bytes;
    enum vr_status status = vr_manifest_keys(entry, where, "dtype shape data_offsets");
    if (status == VR_OK) {
        status = vr_manifest_word(entry, where, "dtype", DTYPE_WORDS, &dtype);
    }
    if (status == VR_OK) {
        tensor->dtype = (enum vr_dtype)dtype;
        status = read_shape(entry, where, tensor, &elements);
    }
    if (status != VR_OK) {
        return status;
    }
    if (__builtin_mul_overflow(elements, (uint64_t)vr_dtype_bytes(tensor->dtype), &bytes)) {
        return vr_fail(VR_ERR_FORMAT, "%s: the product of the dimensions overflows", where);
    }
    tensor->name = vr_arena_copy(file->arena, name);
    if (tensor->name.data == NULL) {
        return VR_ERR_NOMEM;
    }
    status = read_offsets(file, entry, where, bytes, tensor, end);
    file->count += status == VR_OK;
    return status;
}

static enum vr_status check_metadata(struct vr_json_value metadata)
{
    struct vr_json_value value;
    if (vr_json_type_of(metadata) != VR_JSON_OBJECT) {
        return vr_fail(VR_ERR_FORMAT, "__metadata__ must be an object");
    }
    for (struct vr_json_iter it = vr_json_begin(metadata); vr_json_next(&it, NULL, &value);) {
        if (vr_json_type_of(value) != VR_JSON_STRING) {
            return vr_fail(VR_ERR_FORMAT, "__metadata__ may hold strings only");
        }
    }
    return VR_OK;
}

static int compare_names(struct vr_str a, struct vr_str b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_index(const void *a, const void *b, void *tensor)
{
    const struct vr_tensor *t = tensor;
    return compare_names(t[*(const uint32_t *)a].name, t[*(const uint32_t *)b].name);
}

/* No name is there twice: the JSON parser refuses repeated keys. */
static void sort_names(struct vr_safetensors *file)
{
    for (uint32_t i = 0; i < file->count; i++) {
        file->by_name[i] = i;
    }
    qsort_r(file->by_name, file->count, sizeof *file->by_name, compare_index, file->tensor);
}

static enum vr_status read_entries(struct vr_safetensors *file, struct vr_json_value root)
{
    if (vr_json_type_of(root) != VR_JSON_OBJECT) {
        return vr_fail(VR_ERR_FORMAT, "the header must be an object");
    }
    size_t entries = vr_json_count(root), end = 0;
    file->tensor = vr_arena_calloc(file->arena, entries, sizeof *file->tensor);
    file->by_name = vr_arena_calloc(file->arena, entries, sizeof *file->by_name);
    if (file->tensor == NULL || file->by_name == NULL) {
        return VR_ERR_NOMEM;
    }
    struct vr_str name;
    struct vr_json_value entry;
    for (struct vr_json_iter it = vr_json_begin(root); vr_json_next(&it, &name, &entry);) {
        bool is_metadata = vr_str_equal(name, vr_str_of("__metadata__"));
        enum vr_status status = is_metadata ? check_metadata(entry) : read_tensor(file, name, entry, &end);
        if (status != VR_OK) {
            return status;
        }
    }
    if (end != file->data_size) {
        return vr_fail(VR_ERR_FORMAT, "the tensors end at byte %zu, but the file holds %zu bytes of data", end,
                       file->data_size);
    }
    sort_names(file);
    return VR_OK;
}

/* Where the header and the data are. */
static enum vr_status split(struct vr_safetensors *file, struct vr_str *header)
{
    uint64_t length;
    if (file->size < LENGTH_BYTES) {
        return vr_fail(VR_ERR_FORMAT, "truncated: %zu bytes are too few for a safetensors file", file->size);
    }
    memcpy(&length, file->bytes, LENGTH_BYTES);
    if (length > HEADER_MAX_BYTES) {
        return vr_fail(VR_ERR_FORMAT, "a header of %llu bytes, at most %u are allowed", (unsigned long long)length,
                       HEADER_MAX_BYTES);
    }
    if (length > file->size - LENGTH_BYTES) {
        return vr_fail(VR_ERR_FORMAT, "truncated: the header takes %llu bytes, but %zu follow",
                       (unsigned long long)length, file->size - LENGTH_BYTES);
    }
    if (length % 8 != 0) {
        return vr_fail(VR_ERR_FORMAT,
                       "the data is not aligned to 8 bytes (a header of %llu): pad the header with spaces",
                       (unsigned long long)length);
    }
    header->data = (const char *)file->bytes + LENGTH_BYTES;
    header->len = (size_t)length;
    file->data = file->bytes + LENGTH_BYTES + length;
    file->data_size = file->size - LENGTH_BYTES - (size_t)length;
    if (length == 0 || header->data[0] != '{') {
        return vr_fail(VR_ERR_FORMAT, "the header does not begin with '{'");
    }
    return VR_OK;
}

static enum vr_status read_header(struct vr_safetensors *file)
{
    struct vr_str header = {NULL, 0};
    struct vr_json *json = NULL;
    struct vr_json_value root;
    enum vr_status status = split(file, &header);
    if (status != VR_OK) {
        return status;
    }
    status = vr_json_create(HEADER_MAX_BYTES, HEADER_MAX_DEPTH, &json);
    if (status == VR_OK) {
        status = vr_json_parse(json, header.data, header.len, &root);
        if (status == VR_ERR_TOO_LARGE) {
            status = VR_ERR_FORMAT; /* too deep: no tensor header is */
        }
        status = status == VR_OK ? read_entries(file, root) : vr_fail_in(status, "header");
    }
    vr_json_destroy(json);
    return status;
}

enum vr_status vr_safetensors_parse(const void *data, size_t bytes, struct vr_safetensors **out)
{
    if ((uintptr_t)data % 8 != 0) {
        return vr_fail(VR_ERR_INVALID, "safetensors in memory must be aligned to 8 bytes");
    }
    struct vr_safetensors *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a safetensors file");
    }
    file->bytes = data;
    file->size = bytes;
    enum vr_status status = vr_arena_create(16384, &file->arena);
    if (status == VR_OK) {
        status = read_header(file);
    }
    if (status != VR_OK) {
        vr_safetensors_close(file);
        return status;
    }
    *out = file;
    return VR_OK;
}

size_t vr_safetensors_count(const struct vr_safetensors *file)
{
    return file->count;
}

const struct vr_tensor *vr_safetensors_at(const struct vr_safetensors *file, size_t index)
{
    return &file->tensor[index];
}

const struct vr_tensor *vr_safetensors_find(const struct vr_safetensors *file, struct vr_str name)
{
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct vr_tensor *tensor = &file->tensor[file->by_name[middle]];
        int order = compare_names(name, tensor->name);
        if (order == 0) {
            return tensor;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

void vr_safetensors_close(struct vr_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    vr_arena_destroy(file->arena);
    free(file);
}
