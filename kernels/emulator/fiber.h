/* Fibers: stacks of their own on one thread, switched to and from by hand. The emulator runs each CUDA thread on one.
 * AddressSanitizer is told of every switch. */
#ifndef VIREO_KERNELS_EMULATOR_FIBER_H
#define VIREO_KERNELS_EMULATOR_FIBER_H

#include <cstddef>

namespace emu
{

struct fiber {
    void *stack_pointer;
    char *stack; /* [FIBER_STACK_BYTES], of the thread's pool */
};

constexpr size_t FIBER_STACK_BYTES = 128 * 1024;

/* The `number`-th stack of this thread's pool; stacks are made on first use and kept until the thread ends. */
char *fiber_stack(size_t number);

/* Make `fiber` run `entry` on `stack` when it is entered; `entry` never returns but leaves for good. */
void fiber_prepare(fiber *fiber, char *stack, void (*entry)());

/* From the scheduler into a fiber; returns when it leaves. */
void fiber_enter(fiber *fiber);

/* From the running fiber back to who entered it. `for_good`: it will not be entered again. */
void fiber_leave(fiber *fiber, bool for_good);

/* The first thing a fiber's entry does. */
void fiber_arrived();

} // namespace emu
#endif
