/* The emulator's shared memory (block.h), as the scheduler sees it. */
#ifndef VIREO_KERNELS_EMULATOR_SHARED_H
#define VIREO_KERNELS_EMULATOR_SHARED_H

#include "block.h"

namespace emu
{

/* What block::choice is asked about. */
enum { CHOICE_PATIENCE = 0, CHOICE_ALIGNMENT, CHOICE_COPY };

/* The block has ended: its arrays are gone, and an error if something was written beside one. */
void close_shared(block &b);

} // namespace emu
#endif
