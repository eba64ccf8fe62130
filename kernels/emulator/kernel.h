/* kernel.cuh's other half: launches and shared memory in the emulator. */
#ifndef VIREO_KERNELS_EMULATOR_KERNEL_H
#define VIREO_KERNELS_EMULATOR_KERNEL_H

#include <functional>
#include <tuple>

#include "block.h"
#include "seam.h"
#include "types.h"
#include "warp.h"

/* A reference to an array, so that sizeof says what it says in CUDA and UndefinedBehaviorSanitizer knows the bounds. */
#define VR_SHARED(T, name, count)      \
    static const char name##_site = 0; \
    T(&name)[count] = *reinterpret_cast<T(*)[count]>(emu::shared_memory(&name##_site, sizeof(T) * (count), alignof(T)))
#define VR_SHARED_LAUNCH(T, name) T *const name = reinterpret_cast<T *>(emu::dynamic_shared_memory())

namespace emu
{
/* Put a launch on a stream; it runs later, or with each launch of the graph that is being captured. */
enum vr_status enqueue_kernel(struct vr_seam_stream *stream, const char *name, const void *kernel, launch launch);
} // namespace emu

template <typename... Parameters, typename... Arguments>
enum vr_status vr_launch(struct vr_seam_stream *stream, const char *name, void (*kernel)(Parameters...), dim3 grid,
                         dim3 block, size_t shared_bytes, Arguments... arguments)
{
    const std::tuple<Parameters...> copied(static_cast<Parameters>(arguments)...);
    return emu::enqueue_kernel(stream, name, reinterpret_cast<const void *>(kernel),
                               {grid, block, shared_bytes, 0, [=] { std::apply(kernel, copied); }});
}

template <typename... Parameters> enum vr_status vr_allow_shared(void (*kernel)(Parameters...), size_t bytes)
{
    return vr_seam_allow_shared(reinterpret_cast<const void *>(kernel), bytes);
}

#endif
