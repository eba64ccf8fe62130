/* The meaning of ptx.cuh's functions. Products of halves are exact in float32; the sums are added in order with one
 * rounding each, where the hardware adds in an order of its own. */
#ifndef VIREO_KERNELS_EMULATOR_PTX_H
#define VIREO_KERNELS_EMULATOR_PTX_H

#include "vireo/half.h"
#include "warp.h"

namespace emu
{

/* Element i of a register that holds several. */
inline float half_at(uint32_t word, int i)
{
    return vr_half_to_float(static_cast<uint16_t>(word >> 16 * i));
}
inline int32_t byte_at(uint32_t word, int i)
{
    return static_cast<int8_t>(word >> 8 * i);
}

template <typename Sum> struct mma_offer {
    Sum *d;
    const uint32_t *a, *b;
};

/* The warp's product from its fragments; PACK values a register, 4 * PACK of them along k in each half. */
template <typename Sum, int PACK, Sum (*at)(uint32_t word, int i)> void run_mma(void *const *argument, uint32_t)
{
    constexpr int DEPTH = 8 * PACK;
    Sum a[16][DEPTH], b[DEPTH][8];
    for (int l = 0; l < 32; l++) {
        const mma_offer<Sum> *own = static_cast<mma_offer<Sum> *>(argument[l]);
        const int g = l / 4, k = l % 4 * PACK;
        for (int i = 0; i < PACK; i++) {
            for (int high = 0; high < 2; high++) {
                const int depth = k + i + high * 4 * PACK;
                a[g][depth] = at(own->a[2 * high], i);
                a[g + 8][depth] = at(own->a[2 * high + 1], i);
                b[depth][g] = at(own->b[high], i);
            }
        }
    }
    for (int l = 0; l < 32; l++) {
        const mma_offer<Sum> *own = static_cast<mma_offer<Sum> *>(argument[l]);
        for (int e = 0; e < 4; e++) {
            const int row = l / 4 + e / 2 * 8, column = l % 4 * 2 + e % 2;
            Sum sum = 0;
            for (int k = 0; k < DEPTH; k++) {
                sum += a[row][k] * b[k][column];
            }
            own->d[e] += sum;
        }
    }
}

struct matrices_offer {
    uint32_t *to;
    const void *row;
};

inline void run_load_matrices(void *const *argument, uint32_t)
{
    for (int m = 0; m < 4; m++) {
        for (int l = 0; l < 32; l++) {
            const matrices_offer *source = static_cast<matrices_offer *>(argument[m * 8 + l / 4]);
            memcpy(&static_cast<matrices_offer *>(argument[l])->to[m],
                   static_cast<const char *>(source->row) + l % 4 * 4, 4);
        }
    }
}

} // namespace emu

/* These three are .aligned: all lanes of a warp must run the same instruction, so its line is part of what they meet
 * at. */
static inline void vr_mma_f16(float *d, const uint32_t *a, const uint32_t *b, int line = __builtin_LINE())
{
    static const emu::collective at = {"mma f16", emu::run_mma<float, 2, emu::half_at>};
    emu::mma_offer<float> own = {d, a, b};
    emu::meet(&at, &own, ~0u, line);
}

static inline void vr_mma_s8(int32_t *d, const uint32_t *a, const uint32_t *b, int line = __builtin_LINE())
{
    static const emu::collective at = {"mma s8", emu::run_mma<int32_t, 4, emu::byte_at>};
    emu::mma_offer<int32_t> own = {d, a, b};
    emu::meet(&at, &own, ~0u, line);
}

static inline void vr_load_matrices(uint32_t *to, const void *row, int line = __builtin_LINE())
{
    static const emu::collective at = {"ldmatrix", emu::run_load_matrices};
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0 || !emu::is_shared(row, 16)) {
        emu::stop("ldmatrix: a row is not 16 bytes of shared memory, or not aligned to 16");
    }
    emu::matrices_offer own = {to, row};
    emu::meet(&at, &own, ~0u, line);
}

static inline void vr_copy_async(void *to, const void *from, unsigned bytes)
{
    emu::copy_async(to, from, bytes);
}

static inline void vr_copy_commit()
{
    emu::copy_commit();
}

template <int LEFT> static inline void vr_copy_wait()
{
    emu::copy_wait(LEFT);
}

#endif
