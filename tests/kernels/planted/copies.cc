/* Planted bugs around asynchronous copies to shared memory. */
#include "ptx.cuh"
#include "rig.h"

namespace
{

constexpr unsigned THREADS = 64, STEPS = 4;
constexpr unsigned STEP = THREADS * 4; /* numbers of a step: 16 bytes a thread */

struct alignas(16) four {
    int value[4];
};

__device__ void load(four *stage, const int *in, unsigned step)
{
    vr_copy_async(&stage[threadIdx.x], in + (step * STEP + threadIdx.x * 4), 16);
    vr_copy_commit();
}

/* The last word of the neighbour's 16 bytes. */
__device__ int neighbour(const four *stage)
{
    return stage[(threadIdx.x + VR_WARP) % THREADS].value[3];
}

template <bool BUG> __global__ void one_copy(const int *in, int *out)
{
    VR_SHARED(four, stage, THREADS);
    load(stage, in, 0);
    if (!BUG) {
        vr_copy_wait<0>();
    }
    __syncthreads();
    out[threadIdx.x] = neighbour(stage);
    vr_copy_wait<0>();
}

int expected_of_one(unsigned i)
{
    return static_cast<int>((i + VR_WARP) % THREADS * 4 + 3);
}

int missing_wait(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, one_copy<true>, one_copy<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       expected_of_one);
}

/* The whole block waits for a copy that one thread alone has asked for. */
template <bool BUG> __global__ void single_copy(const int *in, int *out)
{
    VR_SHARED(four, stage, 1);
    if (threadIdx.x == 0) {
        load(stage, in, 0);
        if (!BUG) {
            vr_copy_wait<0>();
        }
    }
    __syncthreads();
    out[threadIdx.x] = stage[0].value[3];
    vr_copy_wait<0>();
}

int missing_wait_of_one_thread(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, single_copy<true>, single_copy<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned) { return 3; });
}

/* A pipeline of three stages, the third asked for one step late: WAIT groups may be under way when a step begins. */
template <bool BUG> __global__ void pipeline(const int *in, int *out)
{
    VR_SHARED(four, stages, 2 * THREADS);
    int sum = 0;
    load(stages, in, 0);
    for (unsigned step = 0; step < STEPS; step++) {
        if (step + 1 < STEPS) {
            load(stages + (step + 1) % 2 * THREADS, in, step + 1);
        }
        if (step + 1 < STEPS || BUG) {
            vr_copy_wait<1>(); /* in the last step the newest group is the one that is needed */
        } else {
            vr_copy_wait<0>();
        }
        __syncthreads();
        sum += neighbour(stages + step % 2 * THREADS);
        __syncthreads();
    }
    vr_copy_wait<0>();
    out[threadIdx.x] = sum;
}

int one_group_too_many(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, pipeline<true>, pipeline<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned i) {
                           return STEPS * (i + VR_WARP) % THREADS * 0 + STEPS * ((i + VR_WARP) % THREADS * 4 + 3) +
                                  6 * STEP;
                       });
}

/* The next step's copy is asked for while the block still reads the stage that it goes to. */
template <bool BUG> __global__ void early_copy(const int *in, int *out)
{
    VR_SHARED(four, stage, THREADS);
    load(stage, in, 0);
    vr_copy_wait<0>();
    __syncthreads();
    const int first = neighbour(stage);
    if (!BUG) {
        __syncthreads();
    }
    load(stage, in, 1);
    vr_copy_wait<0>();
    __syncthreads();
    out[threadIdx.x] = first + neighbour(stage);
}

int copied_over(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, early_copy<true>, early_copy<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return 2 * ((i + VR_WARP) % THREADS * 4 + 3) + STEP; });
}

/* The wait, but no barrier: others' copies are not there yet. */
template <bool BUG> __global__ void own_wait(const int *in, int *out)
{
    VR_SHARED(four, stage, THREADS);
    load(stage, in, 0);
    vr_copy_wait<0>();
    if (!BUG) {
        __syncthreads();
    }
    out[threadIdx.x] = neighbour(stage);
}

int no_barrier_after_wait(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, own_wait<true>, own_wait<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       expected_of_one);
}

/* A copy that is asked for after the last commit belongs to no group that a wait covers. */
template <bool BUG> __global__ void uncommitted(const int *in, int *out)
{
    VR_SHARED(four, stage, THREADS);
    vr_copy_async(&stage[threadIdx.x], in + threadIdx.x * 4, 16);
    if (!BUG) {
        vr_copy_commit();
    }
    vr_copy_wait<0>();
    __syncthreads();
    out[threadIdx.x] = neighbour(stage);
    vr_copy_commit();
    vr_copy_wait<0>();
}

int no_commit(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, uncommitted<true>, uncommitted<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, expected_of_one);
}

template <bool BUG> __global__ void abandoned(const int *in, int *out)
{
    VR_SHARED(four, stage, THREADS);
    load(stage, in, 0);
    out[threadIdx.x] = 5;
    if (!BUG) {
        vr_copy_wait<0>();
    }
}

int exits_before_wait(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, abandoned<true>, abandoned<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned) { return 5; });
}

template <bool BUG> __global__ void shifted(const int *in, int *out)
{
    VR_SHARED(four, stage, THREADS + 1);
    vr_copy_async(reinterpret_cast<int *>(stage) + threadIdx.x * 4 + (BUG ? 1 : 0), in + threadIdx.x * 4, 16);
    vr_copy_commit();
    vr_copy_wait<0>();
    out[threadIdx.x] = stage[threadIdx.x].value[3];
}

int misaligned(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, shifted<true>, shifted<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned i) { return i * 4 + 3; });
}

/* An array of ints is aligned to 4 bytes; that one lies at 16 is luck. */
template <bool BUG> __global__ void lucky(const int *in, int *out)
{
    VR_SHARED(int, loose, STEP);
    VR_SHARED(four, aligned, THREADS);
    int *const stage = BUG ? loose : reinterpret_cast<int *>(aligned);
    vr_copy_async(stage + threadIdx.x * 4, in + threadIdx.x * 4, 16);
    vr_copy_commit();
    vr_copy_wait<0>();
    out[threadIdx.x] = stage[threadIdx.x * 4 + 3] + 0 * loose[0];
}

int aligned_by_luck(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, lucky<true>, lucky<false>, 4, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned i) { return i * 4 + 3; });
}

} // namespace

const struct planted planted_copies[] = {
    {"no wait for a copy", CATCH_RESULT, nullptr, missing_wait},
    {"... asked for by one thread", CATCH_RESULT, nullptr, missing_wait_of_one_thread},
    {"wait<1> where wait<0> is needed", CATCH_RESULT, nullptr, one_group_too_many},
    {"a copy over a stage that is still read", CATCH_RESULT, nullptr, copied_over},
    {"a wait without a barrier behind it", CATCH_RESULT, nullptr, no_barrier_after_wait},
    {"a copy that was never committed", CATCH_RESULT, nullptr, no_commit},
    {"a thread exits before its copies end", CATCH_TEXT, "before its asynchronous copies", exits_before_wait},
    {"a copy to where 16 does not divide", CATCH_TEXT, "not aligned to 16", misaligned},
    {"a copy to an array that is aligned by luck", CATCH_TEXT, "not aligned to 16", aligned_by_luck},
    {},
};
