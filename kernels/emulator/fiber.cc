/* See fiber.h. On x86-64 the switch is a dozen instructions; elsewhere ucontext does it, with a system call each. */
#include "fiber.h"

#include <cstdlib>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace emu
{
namespace
{

/* The stack that fibers return to, as AddressSanitizer knows it. */
thread_local const void *scheduler_stack = nullptr;
thread_local size_t scheduler_bytes = 0;
thread_local void *scheduler_fake = nullptr;
thread_local void *scheduler_pointer = nullptr;

void tell_leaving(void **fake, const void *stack, size_t bytes)
{
#if WITH_ASAN
    __sanitizer_start_switch_fiber(fake, stack, bytes);
#else
    (void)fake, (void)stack, (void)bytes;
#endif
}

void tell_arrived(void *fake, const void **stack, size_t *bytes)
{
#if WITH_ASAN
    __sanitizer_finish_switch_fiber(fake, stack, bytes);
#else
    (void)fake, (void)stack, (void)bytes;
#endif
}

} // namespace

char *fiber_stack(size_t number)
{
    thread_local std::vector<std::unique_ptr<char[]>> pool;
    while (pool.size() <= number) {
        pool.emplace_back(new char[FIBER_STACK_BYTES]);
    }
    return pool[number].get();
}

#if defined(__x86_64__)

/* Save the callee's registers on the old stack, note its pointer in *save, and go on from the new one. */
extern "C" void vireo_emulator_switch(void **save, void *to);
asm(R"(
.text
.globl vireo_emulator_switch
.type vireo_emulator_switch, @function
vireo_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size vireo_emulator_switch, . - vireo_emulator_switch
)");

void fiber_prepare(fiber *fiber, char *stack, void (*entry)())
{
    constexpr size_t saved_registers = 6;
    void **top = reinterpret_cast<void **>(stack + FIBER_STACK_BYTES - 64);
    *--top = nullptr; /* where entry would return to: it never does, and a call leaves the stack 8 past 16 */
    *--top = reinterpret_cast<void *>(entry);
    for (size_t i = 0; i < saved_registers; i++) {
        *--top = nullptr;
    }
    fiber->stack = stack;
    fiber->stack_pointer = top;
}

static void switch_in(fiber *fiber)
{
    vireo_emulator_switch(&scheduler_pointer, fiber->stack_pointer);
}

static void switch_out(fiber *fiber)
{
    vireo_emulator_switch(&fiber->stack_pointer, scheduler_pointer);
}

#else

struct context_pair {
    ucontext_t own, back;
};

void fiber_prepare(fiber *fiber, char *stack, void (*entry)())
{
    context_pair *pair = reinterpret_cast<context_pair *>(stack); /* at the far end of the stack */
    getcontext(&pair->own);
    pair->own.uc_stack.ss_sp = stack + sizeof *pair;
    pair->own.uc_stack.ss_size = FIBER_STACK_BYTES - sizeof *pair;
    pair->own.uc_link = nullptr;
    makecontext(&pair->own, entry, 0);
    fiber->stack = stack;
    fiber->stack_pointer = pair;
}

static void switch_in(fiber *fiber)
{
    context_pair *pair = static_cast<context_pair *>(fiber->stack_pointer);
    swapcontext(&pair->back, &pair->own);
}

static void switch_out(fiber *fiber)
{
    context_pair *pair = static_cast<context_pair *>(fiber->stack_pointer);
    swapcontext(&pair->own, &pair->back);
}

#endif

void fiber_enter(fiber *fiber)
{
    tell_leaving(&scheduler_fake, fiber->stack, FIBER_STACK_BYTES);
    switch_in(fiber);
    tell_arrived(scheduler_fake, nullptr, nullptr);
}

void fiber_leave(fiber *fiber, bool for_good)
{
    void *fake = nullptr;
    tell_leaving(for_good ? nullptr : &fake, scheduler_stack, scheduler_bytes);
    switch_out(fiber);
    tell_arrived(fake, &scheduler_stack, &scheduler_bytes);
}

void fiber_arrived()
{
    tell_arrived(nullptr, &scheduler_stack, &scheduler_bytes);
}

} // namespace emu
