/* A stream with an input and an output of numbers, for planted kernels. */
#ifndef VIREO_TESTS_KERNELS_PLANTED_RIG_H
#define VIREO_TESTS_KERNELS_PLANTED_RIG_H

#include <cstdlib>
#include <cstring>

#include "kernel.cuh"
#include "planted.h"

enum { RIGHT = 0, WRONG = 1, FAILED = 2 };

struct rig {
    static constexpr unsigned COUNT = 1024;

    vr_seam_stream *stream = nullptr;
    int *in = nullptr, *out = nullptr;           /* [COUNT], device; in[i] is i */
    int *staged_in = nullptr, *result = nullptr; /* [COUNT], pinned */

    rig()
    {
        must(vr_seam_stream_create(&stream));
        in = take(false);
        out = take(false);
        staged_in = take(true);
        result = take(true);
        for (unsigned i = 0; i < COUNT; i++) {
            staged_in[i] = static_cast<int>(i);
        }
        must(vr_seam_copy(stream, in, staged_in, COUNT * sizeof(int)));
        must(wait());
    }
    ~rig()
    {
        (void)wait();
        vr_seam_stream_destroy(stream);
        vr_seam_memory_destroy(false, in);
        vr_seam_memory_destroy(false, out);
        vr_seam_memory_destroy(true, staged_in);
        vr_seam_memory_destroy(true, result);
    }
    rig(const rig &) = delete;
    rig &operator=(const rig &) = delete;

    static void must(enum vr_status status)
    {
        if (status != VR_OK) {
            abort();
        }
    }
    static int *take(bool pinned)
    {
        void *memory = nullptr;
        must(vr_seam_memory_create(pinned, COUNT * sizeof(int), &memory));
        return static_cast<int *>(memory);
    }
    enum vr_status wait() const
    {
        bool done = false;
        enum vr_status status = VR_OK;
        while (status == VR_OK && !done) {
            status = vr_seam_stream_poll(stream, &done);
        }
        return status;
    }

    /* What became of a launch: FAILED, or whether out[i] is expected(i) for i < count. */
    template <typename Expected> int outcome(enum vr_status launched, unsigned count, Expected expected) const
    {
        if (launched != VR_OK || vr_seam_copy(stream, result, out, COUNT * sizeof(int)) != VR_OK || wait() != VR_OK) {
            return FAILED;
        }
        return compare(count, expected);
    }
    template <typename Expected> int compare(unsigned count, Expected expected) const
    {
        for (unsigned i = 0; i < count; i++) {
            if (result[i] != static_cast<int>(expected(i))) {
                return WRONG;
            }
        }
        return RIGHT;
    }
};

/* Launch one of a kernel's twins. */
template <typename... Parameters, typename... Arguments>
enum vr_status launch_twin(const rig &rig, bool bug, void (*with)(Parameters...), void (*without)(Parameters...),
                           dim3 grid, dim3 block, size_t shared_bytes, Arguments... arguments)
{
    return vr_launch(rig.stream, "planted", bug ? with : without, grid, block, shared_bytes, arguments...);
}

#endif
