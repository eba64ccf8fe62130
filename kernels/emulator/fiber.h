/* Fibers: stacks of their own on one thread, switched to and from by hand. The emulator runs each CUDA thread on one.
 * AddressSanitizer and ThreadSanitizer are told of every switch. */
#ifndef VIREO_KERNELS_EMULATOR_FIBER_H
#define VIREO_KERNELS_EMULATOR_FIBER_H

#include <cstddef>

namespace emu
{

struct fiber {
    void *stack_pointer;
    char *stack; /* [bytes], its lowest address */
    size_t bytes;
    void *told; /* AddressSanitizer's fake stack, ThreadSanitizer's fiber */
};

constexpr size_t FIBER_STACK_BYTES = 128 * 1024;

/* The `number`-th fiber of this thread, begun on first use; it runs `entry`, the same at every call, which never
 * returns. Kept, wherever it paused, until the thread ends. */
fiber *fiber_take(size_t number, void (*entry)());

/* Begin that fiber anew at its next use: it paused where nobody will go on. */
void fiber_abandon(size_t number);

/* What the calling thread itself runs on. */
void fiber_of_thread(fiber *out);

/* From the running fiber `from` to `to`; returns when somebody switches back. */
void fiber_switch(fiber *from, fiber *to);

/* The first thing that an entry does. */
void fiber_entered();

} // namespace emu
#endif
