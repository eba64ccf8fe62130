/* Radix select: a key between the rank-th largest and the next smaller one, by digits of 8 bits from the highest on. It
 * ends as soon as a digit's keys are wanted as a whole, which for scores is mostly the second or third. */
#ifndef VIREO_KERNELS_IVF_RADIX_CUH
#define VIREO_KERNELS_IVF_RADIX_CUH

#include "kernel.cuh"

#define VR_RADIX_DIGITS 256u
#define VR_RADIX_THREADS 256u /* of the block */

/* What the threads agree on: `prefix` is the key's digits so far; `rank` keys are wanted of those that begin so, and
 * with 0 no further digit matters. */
struct vr_radix_state {
    uint64_t prefix;
    uint32_t rank;
};

/* One thread's part: suffix sums of the counts to the digit in which the wanted key lies. */
static __device__ __forceinline__ void vr_radix_choose(const uint32_t *count, unsigned shift, vr_radix_state *state)
{
    uint32_t above = 0;
    for (unsigned digit = VR_RADIX_DIGITS; digit-- > 0;) {
        if (above + count[digit] >= state->rank) {
            state->prefix |= static_cast<uint64_t>(digit) << shift;
            state->rank = above + count[digit] == state->rank ? 0 : state->rank - above;
            return;
        }
        above += count[digit];
    }
}

/* The largest key T, but for low digits that are 0, such that at least `rank` of key_of(0 .. count - 1) are >= T; with
 * keys that all differ exactly `rank` are. 1 <= rank <= count. All threads of the block; the answer is the block's. */
template <unsigned BITS, typename KeyOf>
static __device__ __forceinline__ uint64_t vr_radix_nth(uint32_t count, uint32_t rank, const KeyOf &key_of)
{
    VR_SHARED(uint32_t, digits, VR_RADIX_DIGITS);
    VR_SHARED(vr_radix_state, state, 1);
    if (threadIdx.x == 0) {
        *state = vr_radix_state{0, rank};
    }
    __syncthreads();
    for (unsigned shift = BITS; shift > 0 && state->rank > 0;) {
        shift -= 8;
        digits[threadIdx.x] = 0;
        __syncthreads();
        const uint64_t prefix = state->prefix;
        for (uint32_t i = threadIdx.x; i < count; i += VR_RADIX_THREADS) {
            const uint64_t key = key_of(i);
            if (shift + 8 == BITS || key >> (shift + 8) == prefix >> (shift + 8)) {
                atomicAdd(&digits[key >> shift & (VR_RADIX_DIGITS - 1)], 1u);
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            vr_radix_choose(digits, shift, state);
        }
        __syncthreads();
    }
    return state->prefix;
}

#endif
