/* Rows that an index loses, on their way to its kernel: by value, as many as a block has threads, so that nothing has
 * to be copied to the device before (scan_remove.cu, knn_refine.cu). */
#ifndef VIREO_KERNELS_REMOVE_CUH
#define VIREO_KERNELS_REMOVE_CUH

#include "kernel.cuh"

#define VR_REMOVE_THREADS 256u

struct vr_some_rows {
    uint32_t count;
    int32_t row[VR_REMOVE_THREADS]; /* [count] */
};

/* Call `launch`(some rows) for row [count], of the host, a block's rows at a time. */
template <typename Launch>
static inline enum vr_status vr_remove_each(const int32_t *row, uint32_t count, const Launch &launch)
{
    enum vr_status status = VR_OK;
    for (uint32_t first = 0; status == VR_OK && first < count; first += VR_REMOVE_THREADS) {
        const uint32_t left = count - first;
        vr_some_rows some = {left < VR_REMOVE_THREADS ? left : VR_REMOVE_THREADS, {}};
        for (uint32_t i = 0; i < some.count; i++) {
            some.row[i] = row[first + i];
        }
        status = launch(some);
    }
    return status;
}

#endif
