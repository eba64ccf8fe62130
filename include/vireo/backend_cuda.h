/* The CUDA backend (kernels/), for whoever makes it known with vr_backend_register("cuda", vr_cuda_backend_open). */
#ifndef VIREO_BACKEND_CUDA_H
#define VIREO_BACKEND_CUDA_H

#include "vireo/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Open device 0. VR_ERR_UNSUPPORTED with the reason when there is no driver, no device, or one below compute
 * capability 8.0; VR_ERR_DEVICE_LOST, VR_ERR_BACKEND. */
enum vr_status vr_cuda_backend_open(unsigned threads, struct vr_backend **out);

/* Outside libraries whose indexes this build has, for vr_backend_name_libraries: "", "faiss_gpu", "cuvs" or both. */
const char *vr_cuda_libraries(void);

#ifdef __cplusplus
}
#endif
#endif
