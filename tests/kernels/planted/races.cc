/* Planted races that no order of whole threads shows: each thread's part between two barriers runs undivided in the
 * emulator. ThreadSanitizer, which takes CUDA threads for threads, sees that nothing orders them. */
#include "rig.h"

namespace
{

constexpr unsigned THREADS = 64;

/* A count that everybody raises. */
template <bool BUG> __global__ void counts(const int *in, int *out)
{
    VR_SHARED(int, count, 1);
    if (threadIdx.x == 0) {
        count[0] = 0;
    }
    __syncthreads();
    if (in[threadIdx.x] % 2 == 0) {
        if (BUG) {
            count[0] = count[0] + 1;
        } else {
            atomicAdd(&count[0], 1);
        }
    }
    __syncthreads();
    out[threadIdx.x] = count[0];
}

int plain_count(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, counts<true>, counts<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned) { return THREADS / 2; });
}

/* The same in global memory. */
template <bool BUG> __global__ void sums(const int *in, int *out)
{
    if (BUG) {
        out[0] = out[0] + in[threadIdx.x];
    } else {
        atomicAdd(&out[0], in[threadIdx.x]);
    }
}

int plain_sum(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, sums<true>, sums<false>, 1, THREADS, 0, rig.in, rig.out), 1,
                       [](unsigned) { return THREADS * (THREADS - 1) / 2; });
}

/* Lanes of one warp, which a GPU may let run apart. */
template <bool BUG> __global__ void largest(const int *in, int *out)
{
    VR_SHARED(int, most, 1);
    if (threadIdx.x == 0) {
        most[0] = -1;
    }
    __syncwarp();
    for (unsigned lane = 0; lane < VR_WARP; lane++) {
        if (threadIdx.x == lane) {
            most[0] = in[threadIdx.x] > most[0] ? in[threadIdx.x] : most[0];
        }
        if (!BUG) {
            __syncwarp();
        }
    }
    __syncwarp();
    out[threadIdx.x] = most[0];
}

int lanes_in_turn(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, largest<true>, largest<false>, 1, VR_WARP, 0, rig.in, rig.out), VR_WARP,
                       [](unsigned) { return VR_WARP - 1; });
}

} // namespace

const struct planted planted_races[] = {
    {"a count raised without an atomic", CATCH_SANITIZER, nullptr, plain_count},
    {"a sum in global memory without an atomic", CATCH_SANITIZER, nullptr, plain_sum},
    {"lanes that take turns without __syncwarp", CATCH_SANITIZER, nullptr, lanes_in_turn},
    {},
};
