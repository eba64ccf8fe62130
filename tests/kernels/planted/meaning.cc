/* See meaning.h: collectives, threads, atomics. */
#include "meaning.h"

#include "rig.h"

namespace
{

/* Launch a kernel that writes `count` numbers; how many are not expected(i). -1 ... counts as all. */
template <typename Expected, typename... Parameters>
int differences(void (*kernel)(const int *, int *), dim3 block, unsigned count, Expected expected)
{
    const rig rig;
    const int found = rig.outcome(vr_launch(rig.stream, "meaning", kernel, 1, block, 0, rig.in, rig.out), 0, expected);
    if (found != RIGHT) {
        return static_cast<int>(count);
    }
    int wrong = 0;
    for (unsigned i = 0; i < count; i++) {
        wrong += rig.result[i] != static_cast<int>(expected(i));
    }
    return wrong;
}

/* ---- shuffles: the source lane by the PTX ISA's description of shfl.sync (9.7.8) ---- */

enum { INDEX = 0, XOR, UP, DOWN };
constexpr int WIDTHS[] = {1, 2, 4, 8, 16, 32};

unsigned source_of(int mode, unsigned lane, unsigned b, unsigned width)
{
    const unsigned segment = ~(width - 1) & 31u, clamp = mode == UP ? 0 : 31u;
    const int most = static_cast<int>((lane & segment) | (clamp & ~segment & 31u));
    const int own = static_cast<int>(lane), by = static_cast<int>(b & 31u);
    int j = 0;
    bool inside = false;
    switch (mode) {
    case UP:
        j = own - by;
        inside = j >= most;
        break;
    case DOWN:
        j = own + by;
        inside = j <= most;
        break;
    case XOR:
        j = own ^ by;
        inside = j <= most;
        break;
    default:
        j = static_cast<int>((lane & segment) | (b & ~segment & 31u));
        inside = j <= most;
        break;
    }
    return inside ? static_cast<unsigned>(j) : lane;
}

template <int MODE> __global__ void shuffle_kernel(int width, int b, int *out)
{
    const int own = static_cast<int>(threadIdx.x) + 100;
    int got = 0;
    if (MODE == INDEX) {
        got = __shfl_sync(VR_ALL_LANES, own, b, width);
    } else if (MODE == XOR) {
        got = __shfl_xor_sync(VR_ALL_LANES, own, b, width);
    } else if (MODE == UP) {
        got = __shfl_up_sync(VR_ALL_LANES, own, static_cast<unsigned>(b), width);
    } else {
        got = __shfl_down_sync(VR_ALL_LANES, own, static_cast<unsigned>(b), width);
    }
    out[threadIdx.x] = got;
}

template <int MODE> int check_shuffle()
{
    const rig rig;
    int wrong = 0;
    for (int width : WIDTHS) {
        for (int b = 0; b < 34; b++) {
            const enum vr_status status =
                vr_launch(rig.stream, "shuffle", shuffle_kernel<MODE>, 1, VR_WARP, 0, width, b, rig.out);
            wrong += rig.outcome(status, VR_WARP, [=](unsigned lane) {
                return source_of(MODE, lane, static_cast<unsigned>(b), static_cast<unsigned>(width)) + 100;
            });
        }
    }
    return wrong;
}

/* ---- votes ---- */

__global__ void vote_kernel(const int *in, int *out)
{
    const unsigned lane = threadIdx.x;
    const uint32_t mask = lane % 4 == 3 ? 0x88888888u : 0x77777777u; /* two groups of one warp */
    const uint64_t large = (uint64_t{1} << 40) * (lane % 3) + 7;
    out[lane] = static_cast<int>(__match_any_sync(mask, in[lane] % 5));
    out[32 + lane] = static_cast<int>(__match_any_sync(mask, large));
    out[64 + lane] = static_cast<int>(__ballot_sync(mask, lane % 2 == 0 ? 256 : 0));
    out[96 + lane] = __any_sync(mask, lane == 3 ? 2 : 0) + 2 * __all_sync(mask, lane % 4 == 3 ? -1 : lane % 2 == 0);
}

int expected_vote(unsigned i)
{
    const unsigned lane = i % 32;
    uint32_t with = 0;
    for (unsigned other = 0; other < 32; other++) {
        const bool counts = i < 32 ? other % 5 == lane % 5 : i < 64 ? other % 3 == lane % 3 : other % 2 == 0;
        with |= uint32_t{(other % 4 == 3) == (lane % 4 == 3) && counts} << other;
    }
    return i < 96 ? static_cast<int>(with) : lane % 4 == 3 ? 3 : 0;
}

/* ---- threads ---- */

__global__ void exited_kernel(const int *in, int *out)
{
    VR_SHARED(int, x, 96);
    x[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    if (threadIdx.x % 2 == 1 || threadIdx.x / VR_WARP == 1) { /* half of the lanes, and a whole warp */
        return;
    }
    const int value = x[95 - threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = value;
    __syncthreads();
    const unsigned other = (threadIdx.x + 64) % 128 % 96;
    out[threadIdx.x] = x[other / 2 * 2];
}

__global__ void index_kernel(const int *, int *out)
{
    const unsigned i = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const uint32_t first = __shfl_sync(VR_ALL_LANES, i, 0); /* x runs fastest in a warp, then y, then z */
    out[i] = static_cast<int>(first + gridDim.x + blockIdx.x);
}

/* ---- atomics ---- */

__global__ void atomic_kernel(const int *in, int *out)
{
    VR_SHARED(float, sum, 1);
    VR_SHARED(int, number, 4);
    VR_SHARED(unsigned, bits, 1);
    VR_SHARED(unsigned long long, large, 1);
    const int own = in[threadIdx.x];
    if (threadIdx.x == 0) {
        sum[0] = 0.0f;
        number[0] = INT32_MAX;
        number[1] = number[2] = -1;
        number[3] = 0;
        bits[0] = 0;
        large[0] = 0xffffffffull;
    }
    __syncthreads();
    atomicAdd(&sum[0], 0.5f);
    atomicAdd(&number[0], 1); /* wraps */
    atomicMax(&number[1], own - 40);
    atomicMin(&number[2], own - 40);
    atomicOr(&bits[0], 1u << own % 32);
    atomicAdd(&large[0], 1ull);
    const int before = atomicCAS(&number[3], 0, own + 1);
    atomicAdd(&out[6], before == 0 ? 1 : 0);
    __syncthreads();
    if (threadIdx.x == 0) {
        out[0] = static_cast<int>(sum[0]);
        out[1] = number[0] == INT32_MIN + 63;
        out[2] = number[1];
        out[3] = number[2];
        out[4] = bits[0] == 0xffffffffu;
        out[5] = large[0] == (1ull << 32) + 63;
        out[7] = atomicExch(&number[1], 5);
    }
}

/* ---- after errors ---- */

/* A frame that is abandoned in one launch; in the next one's larger frame lies what was beside it. */
template <unsigned BYTES, bool FAILS> __global__ void frames_kernel(const int *in, int *out)
{
    char frame[BYTES];
    char *volatile at = frame;
    memset(at, in[threadIdx.x], BYTES);
    const int other = __shfl_xor_sync(FAILS ? 0xffffu : VR_ALL_LANES, static_cast<int>(at[BYTES - 1]), 1);
    out[threadIdx.x] = other + at[0] - at[BYTES / 2];
}

__global__ void order_kernel(const int *, int *out)
{
    VR_SHARED(unsigned, next, 1);
    if (threadIdx.x == 0) {
        next[0] = 0;
    }
    __syncthreads();
    out[atomicAdd(&next[0], 1u)] = static_cast<int>(threadIdx.x);
}

} // namespace

int meaning_shuffles(void)
{
    return check_shuffle<INDEX>() + check_shuffle<XOR>() + check_shuffle<UP>() + check_shuffle<DOWN>();
}

int meaning_votes(void)
{
    return differences(vote_kernel, VR_WARP, 128, expected_vote);
}

int meaning_exited_threads(void)
{
    return differences(exited_kernel, 96, 96, [](unsigned i) {
        const unsigned other = (i + 64) % 128 % 96;
        const bool stays = i % 2 == 0 && i / 32 != 1, written = other / 32 != 1;
        return !stays ? 0 : written ? 95 - other : other;
    });
}

int meaning_indices(void)
{
    return differences(index_kernel, dim3(4, 8, 6), 192, [](unsigned i) { return i / 32 * 32 + 1; });
}

int meaning_atomics(void)
{
    static const int expected[] = {32, 1, 23, -40, 1, 1, 1, 23};
    return differences(atomic_kernel, 64, 8, [](unsigned i) { return expected[i]; });
}

int meaning_after_errors(void)
{
    int wrong = 0;
    for (int round = 0; round < 8; round++) {
        wrong += differences(frames_kernel<2000, true>, 64, 64, [](unsigned) { return 0; }) != 64; /* fails */
        wrong += differences(frames_kernel<1000, false>, 64, 64, [](unsigned i) { return i ^ 1; });
        wrong += differences(frames_kernel<5000, false>, 64, 64, [](unsigned i) { return i ^ 1; });
    }
    return wrong;
}

int meaning_order(int *order)
{
    const rig rig;
    const int found = rig.outcome(vr_launch(rig.stream, "order", order_kernel, 1, 64, 0, rig.in, rig.out), 0,
                                  [](unsigned) { return 0; });
    memcpy(order, rig.result, 64 * sizeof *order);
    return found;
}

int meaning_capture_and_run(void)
{
    const rig rig;
    vr_seam_graph *graph = nullptr;
    int wrong = 0;
    rig::must(vr_seam_capture_begin(rig.stream));
    rig::must(vr_launch(rig.stream, "exited", exited_kernel, 4, 96, 0, rig.in, rig.out));
    rig::must(vr_launch(rig.stream, "atomic", atomic_kernel, 1, 64, 0, rig.in, rig.out + 512));
    rig::must(vr_seam_capture_end(rig.stream, &graph));
    for (int round = 0; round < 4; round++) {
        rig::must(vr_seam_fill(rig.stream, rig.out, 0, rig::COUNT * sizeof(int)));
        rig::must(vr_seam_graph_launch(rig.stream, graph));
        wrong += rig.outcome(VR_OK, 1, [](unsigned) { return 31; }) != RIGHT || rig.result[512] != 32;
    }
    vr_seam_graph_destroy(graph);
    return wrong;
}
