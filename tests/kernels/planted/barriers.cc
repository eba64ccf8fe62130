/* Planted bugs around __syncthreads. */
#include "rig.h"

namespace
{

constexpr unsigned THREADS = 128;

/* Neighbours across warps exchange through shared memory: out[i] = in[i + 1 of the block]. */
template <bool BUG> __global__ void exchange(const int *in, int *out)
{
    VR_SHARED(int, x, THREADS);
    x[threadIdx.x] = in[threadIdx.x];
    if (!BUG) {
        __syncthreads();
    }
    out[threadIdx.x] = x[(threadIdx.x + VR_WARP) % THREADS];
}

int missing_first(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, exchange<true>, exchange<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned i) { return (i + VR_WARP) % THREADS; });
}

/* Two rounds through one buffer: the second write must wait until the first round was read by all. */
template <bool BUG> __global__ void two_rounds(const int *in, int *out)
{
    VR_SHARED(int, x, THREADS);
    int sum = 0;
    for (unsigned round = 0; round < 2; round++) {
        x[threadIdx.x] = in[round * THREADS + threadIdx.x];
        __syncthreads();
        sum += x[(threadIdx.x + VR_WARP) % THREADS];
        if (!BUG) {
            __syncthreads();
        }
    }
    out[threadIdx.x] = sum;
}

int missing_second(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, two_rounds<true>, two_rounds<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return 2 * ((i + VR_WARP) % THREADS) + THREADS; });
}

/* The same with warps that meet at many shuffles between the read and the next write, so that they keep in step unless
 * one is let run ahead on purpose. */
template <bool BUG> __global__ void busy_rounds(const int *in, int *out)
{
    VR_SHARED(int, x, THREADS);
    int sum = 0;
    for (unsigned round = 0; round < 2; round++) {
        x[threadIdx.x] = in[round * THREADS + threadIdx.x];
        __syncthreads();
        sum += x[(threadIdx.x + VR_WARP) % THREADS];
        for (int i = 0; i < 32; i++) {
            sum = __shfl_xor_sync(VR_ALL_LANES, sum, 1);
        }
        if (!BUG) {
            __syncthreads();
        }
    }
    out[threadIdx.x] = sum;
}

int missing_second_between_shuffles(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, busy_rounds<true>, busy_rounds<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return 2 * ((i + VR_WARP) % THREADS) + THREADS; });
}

/* A pipeline of two stages: the stage that is written next is the one that was read last. */
template <bool BUG> __global__ void two_stages(const int *in, int *out)
{
    VR_SHARED(int, x, 2 * THREADS);
    int sum = 0;
    x[threadIdx.x] = in[threadIdx.x];
    for (unsigned step = 0; step < 4; step++) {
        if (!BUG || step % 2 == 0) {
            __syncthreads(); /* the step's stage is there, and the other one is no longer read */
        }
        x[(step + 1) % 2 * THREADS + threadIdx.x] = in[(step + 1) * THREADS + threadIdx.x];
        sum += x[step % 2 * THREADS + (threadIdx.x + VR_WARP) % THREADS];
    }
    out[threadIdx.x] = sum;
}

int missing_in_pipeline(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, two_stages<true>, two_stages<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return 4 * ((i + VR_WARP) % THREADS) + 6 * THREADS; });
}

/* One barrier in each branch; the correct twin's branch is the same for the whole block. */
template <bool BUG> __global__ void branches(const int *in, int *out)
{
    VR_SHARED(int, x, THREADS);
    x[threadIdx.x] = in[threadIdx.x];
    if ((BUG ? threadIdx.x / VR_WARP : blockIdx.x) % 2 == 0) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    out[threadIdx.x] = x[(threadIdx.x + VR_WARP) % THREADS];
}

int divergent(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, branches<true>, branches<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned i) { return (i + VR_WARP) % THREADS; });
}

/* Half of a warp waits at a barrier, the other half at a collective of the whole warp. */
template <bool BUG> __global__ void half_waits(const int *in, int *out)
{
    int value = in[threadIdx.x];
    if (BUG && threadIdx.x % VR_WARP < 16) {
        __syncthreads();
    }
    value = __shfl_xor_sync(VR_ALL_LANES, value, 1);
    __syncthreads();
    out[threadIdx.x] = value;
}

int deadlock(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, half_waits<true>, half_waits<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return i ^ 1; });
}

} // namespace

const struct planted planted_barriers[] = {
    {"no barrier between write and read", CATCH_RESULT, nullptr, missing_first},
    {"no barrier before the next write", CATCH_RESULT, nullptr, missing_second},
    {"... with many shuffles between", CATCH_RESULT, nullptr, missing_second_between_shuffles},
    {"one barrier for two stages of a pipeline", CATCH_RESULT, nullptr, missing_in_pipeline},
    {"threads at different barriers", CATCH_TEXT, "barrier, others at line", divergent},
    {"half a warp at a barrier, half at a shuffle", CATCH_TEXT, "deadlock: waits at __shfl_xor_sync", deadlock},
    {},
};
