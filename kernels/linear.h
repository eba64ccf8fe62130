/* Which engine runs a `linear`, and the engine that is a library (cuBLASLt, seam_matmul.h). Files: linear.cu (checks,
 * the choice), linear_f32.cu and linear_f16.cu (kernels), linear_library.c. */
#ifndef VIREO_KERNELS_LINEAR_H
#define VIREO_KERNELS_LINEAR_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vr_linear_engine {
    VR_LINEAR_ENGINE_F32 = 0, /* own kernel on the CUDA cores */
    VR_LINEAR_ENGINE_F16,     /* own kernel on the tensor cores */
    VR_LINEAR_ENGINE_LIBRARY, /* cuBLASLt */
};

/* The one place that chooses. */
enum vr_linear_engine vr_linear_engine_of(const struct vr_device *device, const struct vr_linear *args);

/* Before the first launch. */
enum vr_status vr_linear_allow_shared(size_t most);

/* Let the library run what it can (true), or nothing: where a measurement says so, and in tests. Opens the library;
 * before streams work. */
enum vr_status vr_linear_prefer_library(struct vr_backend *backend, bool prefer);

/* The families of shapes that the library has made ready for one device. */
struct vr_linear_library;
enum vr_status vr_linear_library_open(struct vr_linear_library **out);
void vr_linear_library_close(struct vr_linear_library *library); /* NULL is accepted */

/* Addresses of product 0, checked by the caller. A shape family's first call makes its descriptors and chooses its
 * algorithm, and a stream's first takes its workspace; neither while a plan is captured (VR_ERR_INVALID): run it once
 * before. */
enum vr_status vr_linear_library_run(struct vr_stream *stream, const struct vr_linear *args, const void *x,
                                     const void *weight, const void *bias, void *y);

#ifdef __cplusplus
}
#endif
#endif
