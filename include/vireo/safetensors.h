/* Reader of safetensors files: an 8-byte header length, a JSON header, then raw tensors. The file is mapped, never
 * copied; every offset, shape and type is checked before a tensor can be seen, so a hostile file is an error, not a
 * fault. Format: github.com/huggingface/safetensors (the format section of its README). */
#ifndef VIREO_SAFETENSORS_H
#define VIREO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "vireo/arena.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vr_dtype {
    VR_DTYPE_F32 = 0,
    VR_DTYPE_F16,
    VR_DTYPE_F64,
    VR_DTYPE_I8,
    VR_DTYPE_U8,
    VR_DTYPE_I32,
    VR_DTYPE_U32,
    VR_DTYPE_I64
};

size_t vr_dtype_bytes(enum vr_dtype dtype);
const char *vr_dtype_name(enum vr_dtype dtype); /* "F32", ... as in the file */

#define VR_TENSOR_MAX_RANK 4u

/* One tensor, row-major; data points into the mapping, aligned to the element's size. */
struct vr_tensor {
    struct vr_str name;
    enum vr_dtype dtype;
    uint32_t rank;
    uint64_t dim[VR_TENSOR_MAX_RANK];
    const void *data;
    size_t bytes;
};

struct vr_safetensors;

/* Map and check a file. VR_ERR_IO, VR_ERR_NOT_FOUND, VR_ERR_FORMAT (what is wrong and where), VR_ERR_NOMEM. */
enum vr_status vr_safetensors_open(const char *path, struct vr_safetensors **out);

/* Check the same bytes in memory, which must be 8-byte aligned and outlive the object. For tests and fuzzing. */
enum vr_status vr_safetensors_parse(const void *data, size_t bytes, struct vr_safetensors **out);

size_t vr_safetensors_count(const struct vr_safetensors *file);
const struct vr_tensor *vr_safetensors_at(const struct vr_safetensors *file, size_t index);

/* NULL when there is none of that name. */
const struct vr_tensor *vr_safetensors_find(const struct vr_safetensors *file, struct vr_str name);

/* The whole file, for checksums. */
const void *vr_safetensors_bytes(const struct vr_safetensors *file, size_t *bytes);

void vr_safetensors_close(struct vr_safetensors *file); /* NULL is accepted */

#ifdef __cplusplus
}
#endif
#endif
