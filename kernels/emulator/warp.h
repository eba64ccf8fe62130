/* Warp collectives, barriers, atomics and bit tricks, with CUDA's names and meaning. */
#ifndef VIREO_KERNELS_EMULATOR_WARP_H
#define VIREO_KERNELS_EMULATOR_WARP_H

#include <cmath>
#include <cstring>

#include "block.h"

#define threadIdx (emu::running->current->thread)
#define blockIdx (emu::running->index)
#define blockDim (emu::running->size)
#define gridDim (emu::running->grid)

namespace emu
{

/* What one lane brings to a collective and takes away. */
template <typename T> struct offer {
    T value, result;
    int source; /* the lane it reads from, or -1: its own value */
};

template <typename T> void run_shuffle(void *const *argument, uint32_t mask)
{
    for (int n = 0; n < 32; n++) {
        if ((mask >> n & 1) == 0) {
            continue;
        }
        offer<T> *own = static_cast<offer<T> *>(argument[n]);
        if (own->source >= 0 && (mask >> own->source & 1) == 0) {
            running->error = "a shuffle reads from a lane outside its mask";
            return;
        }
        own->result = own->source < 0 ? own->value : static_cast<offer<T> *>(argument[own->source])->value;
    }
}

template <typename T> T shuffle(uint32_t mask, T value, int source)
{
    static const collective at = {"a shuffle", run_shuffle<T>};
    offer<T> own = {value, value, source};
    meet(&at, &own, mask);
    return own.result;
}

/* For each lane, the lanes of the mask whose value `agrees` with its own. */
template <typename T, bool (*agrees)(T own, T other)> void run_vote(void *const *argument, uint32_t mask)
{
    for (int n = 0; n < 32; n++) {
        uint32_t votes = 0;
        for (int other = 0; other < 32 && (mask >> n & 1) != 0; other++) {
            if ((mask >> other & 1) != 0) {
                const T mine = static_cast<offer<T> *>(argument[n])->value;
                votes |= static_cast<uint32_t>(agrees(mine, static_cast<offer<T> *>(argument[other])->value)) << other;
            }
        }
        if ((mask >> n & 1) != 0) {
            static_cast<offer<T> *>(argument[n])->source = static_cast<int>(votes);
        }
    }
}

inline bool is_true(int, int other)
{
    return other != 0;
}
inline bool is_equal(unsigned own, unsigned other)
{
    return own == other;
}
inline bool always(int, int)
{
    return true;
}

template <typename T, bool (*agrees)(T, T)> unsigned vote(uint32_t mask, T value)
{
    static const collective at = {"a vote", run_vote<T, agrees>};
    offer<T> own = {value, value, 0};
    meet(&at, &own, mask);
    return static_cast<unsigned>(own.source);
}

/* The lane of its segment of `width` lanes that a shuffle by `lane` reads. */
inline int in_segment(int lane, int width)
{
    return (static_cast<int>(running->current->number) & ~(width - 1)) | (lane & (width - 1));
}

} // namespace emu

static inline void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    emu::wait_at_barrier(file, line);
}

static inline void __syncwarp(uint32_t mask = ~0u)
{
    emu::vote<int, emu::always>(mask, 0);
}

template <typename T> T __shfl_sync(uint32_t mask, T value, int lane, int width = 32)
{
    return emu::shuffle(mask, value, emu::in_segment(lane, width));
}

template <typename T> T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32)
{
    const int lane = static_cast<int>(emu::running->current->number) ^ bits;
    return emu::shuffle(mask, value,
                        lane / width == static_cast<int>(emu::running->current->number) / width ? lane : -1);
}

template <typename T> T __shfl_up_sync(uint32_t mask, T value, unsigned by, int width = 32)
{
    const int own = static_cast<int>(emu::running->current->number), lane = own - static_cast<int>(by);
    return emu::shuffle(mask, value, lane >= own / width * width ? lane : -1);
}

template <typename T> T __shfl_down_sync(uint32_t mask, T value, unsigned by, int width = 32)
{
    const int own = static_cast<int>(emu::running->current->number), lane = own + static_cast<int>(by);
    return emu::shuffle(mask, value, lane < (own / width + 1) * width ? lane : -1);
}

static inline unsigned __ballot_sync(uint32_t mask, int predicate)
{
    return emu::vote<int, emu::is_true>(mask, predicate);
}

static inline int __any_sync(uint32_t mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

static inline int __all_sync(uint32_t mask, int predicate)
{
    return __ballot_sync(mask, predicate) == mask;
}

static inline unsigned __match_any_sync(uint32_t mask, unsigned value)
{
    return emu::vote<unsigned, emu::is_equal>(mask, value);
}

/* Threads run one at a time, so an atomic is what it says. */
template <typename T> T atomicAdd(T *at, T value)
{
    const T old = *at;
    *at = static_cast<T>(old + value);
    return old;
}
template <typename T> T atomicMax(T *at, T value)
{
    const T old = *at;
    *at = old < value ? value : old;
    return old;
}
template <typename T> T atomicMin(T *at, T value)
{
    const T old = *at;
    *at = value < old ? value : old;
    return old;
}
template <typename T> T atomicOr(T *at, T value)
{
    const T old = *at;
    *at = old | value;
    return old;
}
template <typename T> T atomicExch(T *at, T value)
{
    const T old = *at;
    *at = value;
    return old;
}
template <typename T> T atomicCAS(T *at, T expected, T value)
{
    const T old = *at;
    *at = old == expected ? value : old;
    return old;
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
