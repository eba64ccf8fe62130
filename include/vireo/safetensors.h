/* Reader of safetensors files: an 8-byte header length, a JSON header, then raw tensors. It reads the
 * bytes of a whole file, mapped or in memory, and copies no tensor; every offset, shape and type is checked before a
 * tensor can be seen, so a hostile file is an error, not a fault. What a bundle asks beyond the format is in
 * docs/bundle.md. Format: github.com/huggingface/safetensors (the format section of its README). */
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

/* One tensor, row-major; data points into the file's bytes, aligned to the element's size. */
struct vr_tensor {
    struct vr_str name;
    enum vr_dtype dtype;
    uint32_t rank;
    uint64_t dim[VR_TENSOR_MAX_RANK];
    const void *data;
    size_t bytes;
};

struct vr_safetensors;

/* Check the bytes of a file, which stay the caller's, are aligned to 8 bytes (VR_ERR_INVALID) and outlive the object.
 * VR_ERR_FORMAT (what is wrong and where), VR_ERR_NOMEM. */
enum vr_status vr_safetensors_parse(const void *data, size_t bytes, struct vr_safetensors **out);

size_t vr_safetensors_count(const struct vr_safetensors *file);
const struct vr_tensor *vr_safetensors_at(const struct vr_safetensors *file, size_t index);

/* NULL when there is none of that name. */
const struct vr_tensor *vr_safetensors_find(const struct vr_safetensors *file, struct vr_str name);

void vr_safetensors_close(struct vr_safetensors *file); /* NULL is accepted */

#ifdef __cplusplus
}
#endif
#endif
