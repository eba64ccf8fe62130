/* The CUDA backend's own objects and what its files share. Files: backend.c (the table of operations, buffers, streams,
 * plans), one .cu for each family of operations, seam*.{h,c,cu} (the CUDA API), emulator/ (tests without a GPU). */
#ifndef VIREO_KERNELS_DEVICE_H
#define VIREO_KERNELS_DEVICE_H

#include "seam.h"
#include "vireo/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_buffer {
    char *memory; /* [size], of the device or pinned */
    size_t size;
    bool pinned;
};

struct vr_stream {
    struct vr_seam_stream *seam;
    struct vr_device *device;
    char *scratch; /* [scratch_bytes], of the device; what a search needs, taken by the first one */
    size_t scratch_bytes;
    char **outgrown; /* [outgrown_count] blocks that were scratch before: work in flight and plans may use them */
    unsigned outgrown_count;
    bool capturing;
    bool planned;           /* a plan was captured, so what is outgrown stays as long as the stream */
    char *matmul_workspace; /* of the device; taken by the stream's first linear that the library runs (linear.h) */
};

struct vr_plan {
    struct vr_seam_graph *graph;
};

struct vr_device {
    struct vr_backend_ops ops; /* with the kinds of index that this build has */
    struct vr_seam_device seam;
    bool prefer_library;               /* linear.h */
    struct vr_linear_library *library; /* NULL until it is used */
};

/* The device address of `view` when `count` elements of `size` bytes lie inside its buffer; else NULL with the text
 * set. */
void *vr_cuda_at(struct vr_view view, size_t count, size_t size, const char *what);

/* Elements of a matrix whose rows begin `stride` apart: the last row ends at its width. */
static inline size_t vr_cuda_extent(uint32_t rows, uint32_t stride, uint32_t width)
{
    return rows == 0 ? 0 : (size_t)(rows - 1) * stride + width;
}

/* A table's addresses on the device, checked; passed to kernels by value. */
struct vr_cuda_table {
    const void *data;
    const float *scale; /* VR_TABLE_I8 only */
    uint32_t rows, width;
    enum vr_table_dtype dtype;
};
enum vr_status vr_cuda_table_at(const struct vr_table *table, struct vr_cuda_table *out);

/* Device memory of the stream, at least `bytes`: more is taken when a search is the first to need so much, and never
 * while a plan is captured (VR_ERR_INVALID): search once before. The block that was too small is freed when a poll
 * finds the stream done, or with the stream where a plan was captured, which may use it. */
enum vr_status vr_stream_scratch(struct vr_stream *stream, size_t bytes, char **out);

/* Wait until what was put on a stream has ended, before what it uses is freed: cudaStreamDestroy does not. Two errors
 * running: nothing will end there any more. A device that hangs is given up after a while; what its work still uses is
 * lost with the process. */
void vr_cuda_drain(struct vr_seam_stream *stream);

/* The operations of the contract (vireo/backend.h), each in the file of its name. Values in device memory are not
 * seen by the host, so what the reference refuses because of them (an add_row past its matrix, exclusions past their
 * buffer) is left out or clamped here instead. */
enum vr_status vr_cuda_gather(struct vr_stream *stream, const struct vr_gather *args);
enum vr_status vr_cuda_pool_rows(struct vr_stream *stream, const struct vr_pool_rows *args);
enum vr_status vr_cuda_linear(struct vr_stream *stream, const struct vr_linear *args);
enum vr_status vr_cuda_normalize(struct vr_stream *stream, const struct vr_normalize *args);
enum vr_status vr_cuda_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args);
enum vr_status vr_cuda_task_heads(struct vr_stream *stream, const struct vr_task_heads *args);

#ifdef __cplusplus
}
#endif
#endif
