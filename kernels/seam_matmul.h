/* The seam's part for cuBLASLt: products of halves with float32 sums, y[r, o] = relu?(sum_i x[r, i] * weight[o, i] +
 * bias[o]), batched by strides. seam_matmul_cuda.cu on a GPU; emulator/seam_matmul.cc in tests, a plain product with
 * the same roundings. Errors as in seam.h; VR_ERR_UNSUPPORTED when the library has no algorithm for a shape.
 *
 * One family of shapes has one algorithm, chosen once for VR_SEAM_MATMUL_ROWS rows and used for any number of them,
 * with no sums split over blocks (no reduction scheme is allowed). NVIDIA promises the same bits for the same call on
 * the same kind of device; it does not promise that a row's bits are the same in calls of other numbers of rows. With
 * one algorithm (tile, stages, no split) nothing known depends on them, but that is for a test on a device to show. */
#ifndef VIREO_KERNELS_SEAM_MATMUL_H
#define VIREO_KERNELS_SEAM_MATMUL_H

#include "seam.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_SEAM_MATMUL_ROWS 4096u
#define VR_SEAM_MATMUL_WORKSPACE (32u << 20) /* bytes, what cuBLAS' documentation gives compute capability 9.0 */

/* What a family has in common; elements, not bytes. x and weight halves; y and bias of one kind. */
struct vr_seam_matmul_shape {
    uint32_t in, out, batch;
    uint32_t x_stride, weight_stride, y_stride;
    size_t x_step, weight_step, bias_step, y_step; /* 0 in a batch of 1 */
    bool y_half, has_bias, relu;
};

struct vr_seam_library; /* the library's handle; one a device */
struct vr_seam_matmul;  /* a family that is ready to run; read only from then on, so streams may share it */

enum vr_status vr_seam_library_open(struct vr_seam_library **out);
void vr_seam_library_close(struct vr_seam_library *library); /* NULL is accepted */

/* Descriptors, layouts and the algorithm. */
enum vr_status vr_seam_matmul_create(struct vr_seam_library *library, const struct vr_seam_matmul_shape *shape,
                                     struct vr_seam_matmul **out);
void vr_seam_matmul_destroy(struct vr_seam_matmul *matmul); /* NULL is accepted */

/* x, weight, y and bias are multiples of 16 bytes; bias is not read without has_bias; workspace of
 * VR_SEAM_MATMUL_WORKSPACE bytes is the stream's own. */
enum vr_status vr_seam_matmul_run(struct vr_seam_stream *stream, const struct vr_seam_matmul *matmul, uint32_t rows,
                                  const void *x, const void *weight, const void *bias, void *y, void *workspace);

#ifdef __cplusplus
}
#endif
#endif
