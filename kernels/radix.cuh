/* Radix select: the rank-th largest of many keys, by digits of 8 bits from the highest on. One block; all its threads
 * count a digit's values, one warp finds the digit in which the wanted key lies. */
#ifndef VIREO_KERNELS_RADIX_CUH
#define VIREO_KERNELS_RADIX_CUH

#include "kernel.cuh"

#define VR_RADIX_DIGITS 256u
#define VR_RADIX_THREADS 256u /* of the block */

enum vr_radix_end {
    VR_RADIX_EXACT = 0, /* the very key */
    VR_RADIX_CUT,       /* ends as soon as a digit's keys are wanted as a whole: a cut between the key and the next
                         * smaller one, whose further digits are 0; for scores mostly after the second or third digit */
};

/* What the threads agree on: `prefix` is the key's digits so far; `rank` keys are wanted of those that begin so, and
 * with 0 no further digit matters. */
template <typename Key> struct vr_radix_state {
    Key prefix;
    uint32_t rank;
};

/* One warp's part: how many keys lie above each run of 8 digits, by a scan over the lanes, the largest digits in lane
 * 0; the lane in whose run the rank is reached goes through its own. count [VR_RADIX_DIGITS]. */
template <enum vr_radix_end END, typename Key>
static __device__ __forceinline__ void vr_radix_choose(const uint32_t *count, unsigned shift,
                                                       vr_radix_state<Key> *state)
{
    constexpr unsigned OWN = VR_RADIX_DIGITS / VR_WARP;
    const unsigned lane = threadIdx.x % VR_WARP, highest = VR_RADIX_DIGITS - 1 - lane * OWN;
    const uint32_t rank = state->rank;
    uint32_t own = 0;
    for (unsigned i = 0; i < OWN; i++) {
        own += count[highest - i];
    }
    uint32_t through = own;
    for (unsigned by = 1; by < VR_WARP; by *= 2) {
        const uint32_t before = __shfl_up_sync(VR_ALL_LANES, through, by);
        through += lane >= by ? before : 0;
    }
    uint32_t above = through - own;
    if (above >= rank || through < rank) {
        return;
    }
    unsigned digit = highest;
    while (above + count[digit] < rank) {
        above += count[digit--];
    }
    state->prefix |= static_cast<Key>(digit) << shift;
    state->rank = END == VR_RADIX_CUT && above + count[digit] == rank ? 0 : rank - above;
}

/* The rank-th largest of key_of(0 .. count - 1), 1 <= rank <= count; with VR_RADIX_CUT the largest key T, but for low
 * digits that are 0, such that at least `rank` of them are >= T, and with keys that all differ exactly `rank`. All
 * threads of the block; it meets before a key is read, and the answer is the block's. */
template <typename Key, enum vr_radix_end END, typename KeyOf>
static __device__ __forceinline__ Key vr_radix_nth(uint32_t count, uint32_t rank, const KeyOf &key_of)
{
    constexpr unsigned BITS = sizeof(Key) * 8;
    VR_SHARED(uint32_t, digits, VR_RADIX_DIGITS);
    VR_SHARED(vr_radix_state<Key>, state, 1);
    if (threadIdx.x == 0) {
        *state = vr_radix_state<Key>{0, rank};
    }
    __syncthreads();
    for (unsigned shift = BITS; shift > 0 && state->rank > 0;) {
        shift -= 8;
        digits[threadIdx.x] = 0;
        __syncthreads();
        const Key prefix = state->prefix;
        for (uint32_t i = threadIdx.x; i < count; i += VR_RADIX_THREADS) {
            const Key key = key_of(i);
            if (shift + 8 == BITS || key >> (shift + 8) == prefix >> (shift + 8)) {
                atomicAdd(&digits[key >> shift & (VR_RADIX_DIGITS - 1)], 1u);
            }
        }
        __syncthreads();
        if (threadIdx.x < VR_WARP) {
            vr_radix_choose<END>(digits, shift, state);
        }
        __syncthreads();
    }
    return state->prefix;
}

#endif
