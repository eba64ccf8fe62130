/* Warp collectives, barriers, atomics and bit tricks, with CUDA's names and meaning. */
#ifndef VIREO_KERNELS_EMULATOR_WARP_H
#define VIREO_KERNELS_EMULATOR_WARP_H

#include <cmath>
#include <cstring>
#include <type_traits>

#include "block.h"

#define threadIdx (emu::running->current->thread)
#define blockIdx (emu::running->index)
#define blockDim (emu::running->of->size)
#define gridDim (emu::running->of->grid)

namespace emu
{

inline int lane_number()
{
    return static_cast<int>(running->current->number);
}

/* Each instruction with its qualifiers is a collective of its own, known by one of these. */
enum instruction { SHUFFLE_INDEX = 0, SHUFFLE_XOR, SHUFFLE_UP, SHUFFLE_DOWN, BALLOT, ANY, ALL, MATCH, SYNC };
constexpr const char *const instruction_names[] = {"__shfl_sync",      "__shfl_xor_sync",  "__shfl_up_sync",
                                                   "__shfl_down_sync", "__ballot_sync",    "__any_sync",
                                                   "__all_sync",       "__match_any_sync", "__syncwarp"};

/* What one lane brings to a collective and takes away. */
template <typename T> struct shuffle_offer {
    T value, result;
    int source; /* the lane it reads from */
};

template <typename T> void run_shuffle(void *const *argument, uint32_t mask)
{
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        shuffle_offer<T> *own = static_cast<shuffle_offer<T> *>(argument[__builtin_ctz(left)]);
        if ((mask >> own->source & 1) == 0) {
            fail("a shuffle reads from lane %d, which is outside its mask", own->source);
            return;
        }
        own->result = static_cast<shuffle_offer<T> *>(argument[own->source])->value;
    }
}

/* The lanes of a segment of `width` lanes: shuffles stay in it, or at least below its end (PTX ISA: shfl). */
inline int segment_begin(int width)
{
    if (width <= 0 || width > 32 || (width & (width - 1)) != 0) {
        stop("a shuffle's width is %d, not a power of two up to 32", width);
    }
    return lane_number() & ~(width - 1);
}

template <instruction WHICH, typename T> T shuffle(uint32_t mask, T value, int source)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles 4 or 8 bytes");
    static const collective at = {instruction_names[WHICH], run_shuffle<T>};
    shuffle_offer<T> own = {value, value, source};
    meet(&at, &own, mask);
    return own.result;
}

struct vote_offer {
    uint64_t value;
    uint32_t result; /* the lanes of the mask that it asks for */
};

template <instruction WHICH> void run_vote(void *const *argument, uint32_t mask)
{
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        vote_offer *own = static_cast<vote_offer *>(argument[__builtin_ctz(left)]);
        for (uint32_t others = mask; others != 0; others &= others - 1) {
            const int n = __builtin_ctz(others);
            const uint64_t value = static_cast<vote_offer *>(argument[n])->value;
            own->result |= static_cast<uint32_t>(WHICH == MATCH ? value == own->value : value != 0) << n;
        }
    }
}

template <instruction WHICH> uint32_t vote(uint32_t mask, uint64_t value)
{
    static const collective at = {instruction_names[WHICH], run_vote<WHICH>};
    vote_offer own = {value, 0};
    meet(&at, &own, mask);
    return own.result;
}

} // namespace emu

static inline void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    emu::wait_at_barrier(file, line);
}

static inline void __syncwarp(uint32_t mask = ~0u)
{
    emu::vote<emu::SYNC>(mask, 0);
}

template <typename T> T __shfl_sync(uint32_t mask, T value, int lane, int width = 32)
{
    return emu::shuffle<emu::SHUFFLE_INDEX>(mask, value, emu::segment_begin(width) | (lane & (width - 1)));
}

/* A lane below the segment is read all the same, one above it is not: the lane keeps its own value. */
template <typename T> T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32)
{
    const int own = emu::lane_number(), lane = own ^ (bits & 31);
    return emu::shuffle<emu::SHUFFLE_XOR>(mask, value, lane < emu::segment_begin(width) + width ? lane : own);
}

template <typename T> T __shfl_up_sync(uint32_t mask, T value, unsigned by, int width = 32)
{
    const int own = emu::lane_number(), lane = own - static_cast<int>(by & 31u);
    return emu::shuffle<emu::SHUFFLE_UP>(mask, value, lane >= emu::segment_begin(width) ? lane : own);
}

template <typename T> T __shfl_down_sync(uint32_t mask, T value, unsigned by, int width = 32)
{
    const int own = emu::lane_number(), lane = own + static_cast<int>(by & 31u);
    return emu::shuffle<emu::SHUFFLE_DOWN>(mask, value, lane < emu::segment_begin(width) + width ? lane : own);
}

static inline unsigned __ballot_sync(uint32_t mask, int predicate)
{
    return emu::vote<emu::BALLOT>(mask, predicate != 0);
}

static inline int __any_sync(uint32_t mask, int predicate)
{
    return emu::vote<emu::ANY>(mask, predicate != 0) != 0;
}

static inline int __all_sync(uint32_t mask, int predicate)
{
    return emu::vote<emu::ALL>(mask, predicate != 0) == mask;
}

template <typename T> unsigned __match_any_sync(uint32_t mask, T value)
{
    static_assert(std::is_integral<T>::value && sizeof(T) >= 4, "of CUDA's types, those that kernels use");
    return emu::vote<emu::MATCH>(mask, static_cast<uint64_t>(value));
}

/* Threads run one at a time, so an atomic is what it says; ThreadSanitizer is told that it is one. Sums of integers
 * wrap, as on a GPU. */
template <typename T, typename Change> T emu_atomic(T *at, Change change)
{
    T old;
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    T changed = change(old);
    __atomic_store(at, &changed, __ATOMIC_RELAXED);
    return old;
}

static inline float atomicAdd(float *at, float value)
{
    return emu_atomic(at, [=](float old) { return old + value; });
}
static inline int32_t atomicAdd(int32_t *at, int32_t value)
{
    return emu_atomic(at, [=](int32_t old) {
        return static_cast<int32_t>(static_cast<uint32_t>(old) + static_cast<uint32_t>(value));
    });
}
static inline unsigned atomicAdd(unsigned *at, unsigned value)
{
    return emu_atomic(at, [=](unsigned old) { return old + value; });
}
static inline unsigned long long atomicAdd(unsigned long long *at, unsigned long long value)
{
    return emu_atomic(at, [=](unsigned long long old) { return old + value; });
}
template <typename T> T atomicMax(T *at, T value)
{
    return emu_atomic(at, [=](T old) { return old < value ? value : old; });
}
template <typename T> T atomicMin(T *at, T value)
{
    return emu_atomic(at, [=](T old) { return value < old ? value : old; });
}
template <typename T> T atomicOr(T *at, T value)
{
    return emu_atomic(at, [=](T old) { return old | value; });
}
template <typename T> T atomicExch(T *at, T value)
{
    return emu_atomic(at, [=](T) { return value; });
}
template <typename T> T atomicCAS(T *at, T expected, T value)
{
    return emu_atomic(at, [=](T old) { return old == expected ? value : old; });
}

static inline void __threadfence()
{
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __clz(int x)
{
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

template <typename To, typename From> To emu_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float x)
{
    return emu_bits<unsigned>(x);
}
static inline float __uint_as_float(unsigned x)
{
    return emu_bits<float>(x);
}
static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
template <typename T> T __ldg(const T *at)
{
    return *at;
}

#endif
