/* See meaning.h: fragments by the PTX ISA's own formulas (9.7.15, "Matrix fragments for mma.m16n8k16", "... m16n8k32",
 * ldmatrix), and asynchronous copies. */
#include "meaning.h"
#include "ptx.cuh"
#include "rig.h"
#include "vireo/half.h"

namespace
{

constexpr int M = 16, N = 8;

/* Small numbers, exact in halves and in any sum here. */
int a_at(int row, int k)
{
    return (row * 7 + k * 5) % 13 - 6;
}
int b_at(int k, int column)
{
    return (k * 3 + column * 11) % 9 - 4;
}

uint32_t packed(const int *value, int count)
{
    uint32_t word = 0;
    for (int i = 0; i < count; i++) {
        word |= count == 2 ? static_cast<uint32_t>(vr_half_from_float(static_cast<float>(value[i]))) << 16 * i
                           : static_cast<uint32_t>(static_cast<uint8_t>(value[i])) << 8 * i;
    }
    return word;
}

/* PACK elements a register: 2 halves (k16) or 4 int8 (k32); a_i and b_i are the ISA's names of a lane's elements. */
template <int PACK> void fragments(unsigned lane, uint32_t *a, uint32_t *b)
{
    const int group = static_cast<int>(lane >> 2), thread = static_cast<int>(lane % 4);
    int elements[4 * PACK];
    for (int i = 0; i < 4 * PACK; i++) {
        const bool upper = PACK == 2 ? (0 <= i && i < 2) || (4 <= i && i < 6) : (0 <= i && i < 4) || (8 <= i && i < 12);
        const int row = upper ? group : group + 8;
        const int column = thread * PACK + (i & (PACK - 1)) + (i < 2 * PACK ? 0 : 4 * PACK);
        elements[i] = a_at(row, column);
    }
    for (int r = 0; r < 4; r++) {
        a[r] = packed(elements + r * PACK, PACK);
    }
    for (int i = 0; i < 2 * PACK; i++) {
        const int row = thread * PACK + (i & (PACK - 1)) + (i < PACK ? 0 : 4 * PACK);
        elements[i] = b_at(row, group);
    }
    b[0] = packed(elements, PACK);
    b[1] = packed(elements + PACK, PACK);
}

/* d begins as 1000 and is stored by the ISA's place of c_i. */
template <typename Sum> __device__ void store(const Sum *d, int *out)
{
    for (int i = 0; i < 4; i++) {
        const int group = static_cast<int>(threadIdx.x >> 2), thread = static_cast<int>(threadIdx.x % 4);
        const int row = i < 2 ? group : group + 8, column = thread * 2 + (i & 1);
        out[row * N + column] = static_cast<int>(d[i]);
    }
}

__global__ void mma_f16_kernel(int *out)
{
    uint32_t a[4], b[2];
    float d[4] = {1000, 1000, 1000, 1000};
    fragments<2>(threadIdx.x, a, b);
    vr_mma_f16(d, a, b);
    store(d, out);
}

__global__ void mma_s8_kernel(int *out)
{
    uint32_t a[4], b[2];
    int32_t d[4] = {1000, 1000, 1000, 1000};
    fragments<4>(threadIdx.x, a, b);
    vr_mma_s8(d, a, b);
    store(d, out);
}

int check_product(void (*kernel)(int *), int depth)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "mma", kernel, 1, VR_WARP, 0, rig.out), M * N, [=](unsigned i) {
        int sum = 1000;
        for (int k = 0; k < depth; k++) {
            sum += a_at(static_cast<int>(i) / N, k) * b_at(k, static_cast<int>(i) % N);
        }
        return sum;
    });
}

/* Rows of four matrices lie in turned order; element c of row r of matrix m is 64 m + 8 r + c. */
__global__ void load_kernel(int *out)
{
    struct alignas(16) eight {
        uint16_t value[8];
    };
    VR_SHARED(eight, row, 32);
    for (unsigned c = 0; c < 8; c++) {
        row[31 - threadIdx.x].value[c] = static_cast<uint16_t>(8 * threadIdx.x + c);
    }
    __syncwarp();
    uint32_t to[4];
    vr_load_matrices(to, row[31 - threadIdx.x].value);
    for (unsigned m = 0; m < 4; m++) {
        out[threadIdx.x * 8 + 2 * m] = static_cast<int>(to[m] & 0xffff);
        out[threadIdx.x * 8 + 2 * m + 1] = static_cast<int>(to[m] >> 16);
    }
}

/* Thread n copies n bytes and 16 - n zeros; thread 0's source is the end of its memory, of which it reads nothing. */
__global__ void sizes_kernel(const int *in, int *out)
{
    struct alignas(16) bytes {
        uint8_t value[16];
    };
    VR_SHARED(bytes, to, 32);
    const unsigned n = threadIdx.x % 17;
    vr_copy_async(&to[threadIdx.x], n == 0 ? in + rig::COUNT : in + 64 * 4, n);
    vr_copy_commit();
    vr_copy_wait<0>();
    int there = 0;
    for (unsigned i = 0; i < 16; i++) {
        const int value = to[threadIdx.x].value[i];
        there += value == (i % 4 == 1 && i < n ? 1 : i % 4 == 0 && i < n ? static_cast<int>(i / 4) : 0);
    }
    out[threadIdx.x] = there;
}

/* Of three groups the first two are there after wait<1>, and an empty group counts as one. */
__global__ void groups_kernel(const int *in, int *out)
{
    struct alignas(16) four {
        int value[4];
    };
    VR_SHARED(four, to, 3 * 32);
    four *own = to + 3 * threadIdx.x;
    vr_copy_async(&own[0], in + 4, 16);
    vr_copy_commit();
    vr_copy_async(&own[1], in + 8, 16);
    vr_copy_commit();
    vr_copy_async(&own[2], in + 12, 16);
    vr_copy_commit();
    vr_copy_wait<1>();
    const int first = own[0].value[0] + own[1].value[0];
    vr_copy_commit(); /* empty */
    vr_copy_wait<1>();
    out[threadIdx.x] = first * 100 + own[2].value[0];
    vr_copy_wait<0>();
}

} // namespace

int meaning_mma_f16(void)
{
    return check_product(mma_f16_kernel, 16);
}

int meaning_mma_s8(void)
{
    return check_product(mma_s8_kernel, 32);
}

int meaning_load_matrices(void)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "ldmatrix", load_kernel, 1, VR_WARP, 0, rig.out), 256, [](unsigned i) {
        const unsigned lane = i / 8, m = i % 8 / 2, row = lane / 4, column = 2 * (lane % 4) + i % 2;
        return 64 * m + 8 * row + column;
    });
}

int meaning_copy_sizes(void)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "sizes", sizes_kernel, 1, VR_WARP, 0, rig.in, rig.out), VR_WARP,
                       [](unsigned) { return 16; });
}

int meaning_copy_groups(void)
{
    const rig rig;
    return rig.outcome(vr_launch(rig.stream, "groups", groups_kernel, 1, VR_WARP, 0, rig.in, rig.out), VR_WARP,
                       [](unsigned) { return 1212; });
}
