/* What every file of device code includes, and the one place that knows whether a GPU or the emulator runs it.
 *
 *   VR_SHARED(T, name, count)   T name[count] in the block's shared memory; count is a constant
 *   VR_SHARED_LAUNCH(T, name)   T *name: the shared memory whose bytes the launch asked for
 *   VR_UNROLL                   before a loop whose body must be written out: arrays in registers
 *   vr_launch(...)              a kernel launch on a stream, as a status (seam.h)
 *
 * Shared memory is declared in no other way, PTX stands in ptx.cuh alone, and the CUDA API is called in seam_cuda.cu
 * alone: so the same source runs on both. */
#ifndef VIREO_KERNELS_KERNEL_CUH
#define VIREO_KERNELS_KERNEL_CUH

#include <cstdint>

#include "seam.h"

#ifdef VIREO_EMULATOR
#include "emulator/kernel.h"
#define VR_UNROLL
#else

#include <cuda_runtime.h>

#define VR_UNROLL _Pragma("unroll")
#define VR_SHARED(T, name, count) __shared__ T name[count]
#define VR_SHARED_LAUNCH(T, name)                                      \
    extern __shared__ __align__(128) unsigned char vr_launch_shared[]; \
    T *name = reinterpret_cast<T *>(vr_launch_shared)

/* Start `kernel` with arguments of its own parameters' types, copied. `name` stands in error texts. */
template <typename... Parameters, typename... Arguments>
enum vr_status vr_launch(struct vr_seam_stream *stream, const char *name, void (*kernel)(Parameters...), dim3 grid,
                         dim3 block, size_t shared_bytes, Arguments... arguments)
{
    const enum vr_status status = vr_seam_launch_begin(stream, name);
    if (status != VR_OK) {
        return status;
    }
    kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(vr_seam_launch_on(stream))>>>(
        static_cast<Parameters>(arguments)...);
    return vr_seam_launch_end(stream, name);
}

/* Let `kernel` be launched with up to `bytes` of shared memory; once, before its first launch. */
template <typename... Parameters> enum vr_status vr_allow_shared(void (*kernel)(Parameters...), size_t bytes)
{
    return vr_seam_allow_shared(reinterpret_cast<const void *>(kernel), bytes);
}

#endif

#define VR_WARP 32u
#define VR_ALL_LANES 0xffffffffu

static inline unsigned vr_blocks_for(uint64_t items, unsigned per_block)
{
    return static_cast<unsigned>((items + per_block - 1) / per_block);
}

#endif
