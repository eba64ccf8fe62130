/* What tests set in the emulated device (seam_emulator.cc). Set it while nothing runs. */
#ifndef VIREO_KERNELS_EMULATOR_EMULATOR_H
#define VIREO_KERNELS_EMULATOR_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The dice: order of blocks, warps and lanes, when copies end, when a stream's work is done. */
void vr_emulator_seed(uint64_t seed);

/* Bytes of device and pinned memory that may be taken in all; default 4 GiB. */
void vr_emulator_memory_limit(size_t bytes);

/* Bytes of shared memory that a block can be given by a device that is opened from now on, and by its launches; default
 * 227 KiB, as compute capability 9.0 has. */
void vr_emulator_shared_limit(size_t bytes);

/* Bytes taken now. */
size_t vr_emulator_memory_used(void);

#ifdef __cplusplus
}
#endif
#endif
