/* The instructions that C++ has no words for, each as one function. On a GPU they are PTX (ISA 7.0, sm_80 and later);
 * in the emulator, what they mean. Fragment layouts are the PTX ISA's: lane l of a warp has group g = l / 4 and place
 * t = l % 4 in it.
 *
 * mma m16n8k16: D[16 x 8] += A[16 x 16] * B[16 x 8], halves in, float32 sums
 *   a[0] = A[g][2t, 2t+1], a[1] = A[g+8][..], a[2] = A[g][2t+8, 2t+9], a[3] = A[g+8][..]
 *   b[0] = B[2t, 2t+1][g], b[1] = B[2t+8, 2t+9][g];  d[0..1] = D[g][2t, 2t+1], d[2..3] = D[g+8][..]
 * mma m16n8k32: the same for int8 with int32 sums, four values a register: a[0] = A[g][4t .. 4t+3], a[2] 16 further. */
#ifndef VIREO_KERNELS_PTX_CUH
#define VIREO_KERNELS_PTX_CUH

#include "kernel.cuh"

#ifdef VIREO_EMULATOR
#include "emulator/ptx.h"
#else

static __device__ __forceinline__ void vr_mma_f16(float *d, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ void vr_mma_s8(int32_t *d, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ uint32_t vr_shared_address(const void *at)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

/* Four 8 x 8 matrices of halves from shared memory: `row` of lane l is row l % 8 of matrix l / 8, 16 bytes. Register m
 * of lane l gets elements 2t, 2t+1 of row g of matrix m. */
static __device__ __forceinline__ void vr_load_matrices(uint32_t *to, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(vr_shared_address(row)));
}

/* 16 bytes to shared memory, past the L1; only the first `bytes` (0..16) are read, the rest become zeros. */
static __device__ __forceinline__ void vr_copy_async(void *to, const void *from, unsigned bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(vr_shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

/* What this thread asked for since the last commit becomes a group. */
static __device__ __forceinline__ void vr_copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait until at most LEFT of this thread's newest groups are under way. */
template <int LEFT> static __device__ __forceinline__ void vr_copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

#endif
#endif
