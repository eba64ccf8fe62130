/* Planted bugs in shared and global memory, and launches that no GPU takes. */
#include <cmath>

#include "rig.h"

namespace
{

constexpr unsigned THREADS = 64;

/* The last row is one past the end. */
template <bool BUG> __global__ void ragged(const int *in, int *out, unsigned rows)
{
    const unsigned row = blockIdx.x * THREADS + threadIdx.x;
    if (BUG ? row <= rows : row < rows) {
        out[row] = in[row];
    }
}

int ragged_tail(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, ragged<true>, ragged<false>, rig::COUNT / THREADS + 1, THREADS, 0, rig.in,
                                   rig.out, rig::COUNT),
                       rig::COUNT, [](unsigned i) { return i; });
}

template <bool BUG> __global__ void past_fixed(const int *in, int *out)
{
    VR_SHARED(int, x, THREADS);
    x[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    int *volatile at = x; /* its bound is not seen any more */
    out[threadIdx.x] = at[threadIdx.x + (BUG ? 1 : 0)];
}

int past_shared(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, past_fixed<true>, past_fixed<false>, 1, THREADS, 0, rig.in, rig.out),
                       THREADS, [](unsigned i) { return i; });
}

template <bool BUG> __global__ void past_launched(const int *in, int *out)
{
    VR_SHARED_LAUNCH(int, x);
    x[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = x[threadIdx.x + (BUG ? 1 : 0)];
}

int past_dynamic_shared(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, past_launched<true>, past_launched<false>, 1, THREADS,
                                   THREADS * sizeof(int), rig.in, rig.out),
                       THREADS, [](unsigned i) { return i; });
}

/* As code that no sanitizer watches. */
__attribute__((noinline, no_sanitize("address", "undefined"))) void store(int *at, int value)
{
    *at = value;
}

template <bool BUG> __global__ void beside(const int *in, int *out)
{
    VR_SHARED(int, x, THREADS);
    int *volatile at = x;
    store(at + threadIdx.x + (BUG ? 1 : 0), in[threadIdx.x]);
    __syncthreads();
    out[threadIdx.x] = x[threadIdx.x / 2 + 1] * 0 + 7;
}

int beside_shared(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, beside<true>, beside<false>, 1, THREADS, 0, rig.in, rig.out), THREADS,
                       [](unsigned) { return 7; });
}

/* Sums that nobody has set to 0: shared memory is neither that nor the last block's. */
template <bool BUG> __global__ void unset_sums(const int *in, int *out)
{
    VR_SHARED(int, sum, 1);
    VR_SHARED(float, largest, 1);
    if (!BUG && threadIdx.x == 0) {
        sum[0] = 0;
        largest[0] = 0.0f;
    }
    __syncthreads();
    atomicAdd(&sum[0], in[threadIdx.x]);
    __syncthreads();
    if (threadIdx.x == 0) {
        out[2 * blockIdx.x] = sum[0];
        out[2 * blockIdx.x + 1] = std::isnan(largest[0]) ? -1 : static_cast<int>(largest[0]);
    }
}

int unset_shared(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, unset_sums<true>, unset_sums<false>, 4, THREADS, 0, rig.in, rig.out), 8,
                       [](unsigned i) { return i % 2 == 0 ? THREADS * (THREADS - 1) / 2 : 0; });
}

template <bool WHICH> __global__ void nothing(int *out)
{
    VR_SHARED_LAUNCH(int, x);
    x[0] = WHICH;
    out[threadIdx.x] = 9;
}

int nine(unsigned)
{
    return 9;
}

int too_much_shared(bool bug)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "planted", nothing<false>, 1, 32, (bug ? 49 : 48) * size_t{1024}, rig.out),
                       32, nine);
}

int more_than_allowed(bool bug)
{
    const rig rig;
    rig::must(vr_allow_shared(nothing<true>, 100 * size_t{1024}));
    return rig.outcome(
        vr_launch(rig.stream, "planted", nothing<true>, 1, 32, (bug ? 101 : 100) * size_t{1024}, rig.out), 32, nine);
}

int more_than_any(bool bug)
{
    const rig rig;
    const enum vr_status status = vr_allow_shared(nothing<true>, (bug ? 228 : 227) * size_t{1024});
    return rig.outcome(status == VR_OK ? vr_launch(rig.stream, "planted", nothing<true>, 1, 32, 16, rig.out) : status,
                       32, nine);
}

/* What VR_SHARED and the launch take together. */
template <bool BUG> __global__ void together(int *out)
{
    VR_SHARED_LAUNCH(int, x);
    VR_SHARED(int, y, BUG ? 4097 : 4096);
    x[threadIdx.x] = y[threadIdx.x] = 9;
    out[threadIdx.x] = x[threadIdx.x];
}

int fixed_and_launched(bool bug)
{
    const rig rig;
    return rig.outcome(launch_twin(rig, bug, together<true>, together<false>, 1, 32, 32 * size_t{1024}, rig.out), 32,
                       nine);
}

int impossible_block(bool bug)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "planted", nothing<false>, 1, bug ? 1025 : 1024, 16, rig.out), 32, nine);
}

int impossible_grid(bool bug)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "planted", nothing<false>, dim3(1, bug ? 65536 : 1), 32, 16, rig.out), 32,
                       nine);
}

int empty_grid(bool bug)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "planted", nothing<false>, bug ? 0 : 1, 32, 16, rig.out), 32, nine);
}

} // namespace

const struct planted planted_memory[] = {
    {"a ragged tail, one past the end", CATCH_SANITIZER, nullptr, ragged_tail},
    {"past the end of a VR_SHARED array", CATCH_SANITIZER, nullptr, past_shared},
    {"past the end of VR_SHARED_LAUNCH", CATCH_SANITIZER, nullptr, past_dynamic_shared},
    {"... written where no sanitizer looks", CATCH_TEXT, "written outside its array", beside_shared},
    {"shared memory that nobody has set", CATCH_RESULT, nullptr, unset_shared},
    {"more shared memory without vr_allow_shared", CATCH_TEXT, "than vr_allow_shared gave it", too_much_shared},
    {"more shared memory than was allowed", CATCH_TEXT, "than vr_allow_shared gave it", more_than_allowed},
    {"more shared memory than there is", CATCH_TEXT, "bytes of shared memory, the device has", more_than_any},
    {"VR_SHARED and the launch's are too much", CATCH_TEXT, "of them from VR_SHARED", fixed_and_launched},
    {"a block of 1025 threads", CATCH_TEXT, "that no device takes", impossible_block},
    {"a grid of 65536 rows", CATCH_TEXT, "that no device takes", impossible_grid},
    {"a grid of nothing", CATCH_TEXT, "that no device takes", empty_grid},
    {},
};
