/* See fiber.h. On x86-64 the switch is a dozen instructions; elsewhere ucontext does it, with a system call each. */
#include "fiber.h"

#include <pthread.h>

#include <memory>
#include <vector>

#include "watch.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#ifdef EMU_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef EMU_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace emu
{
namespace
{

struct pooled {
    fiber own;
    std::unique_ptr<char[]> stack;
    bool begun;

    ~pooled()
    {
        end();
    }
    void end()
    {
#ifdef EMU_THREAD_SANITIZER
        if (begun) {
            __tsan_destroy_fiber(own.told);
        }
#endif
        begun = false;
    }
};

thread_local std::vector<std::unique_ptr<pooled>> pool;

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

void begin(fiber *fiber, void (*entry)())
{
    constexpr size_t saved_registers = 6;
    void **top = reinterpret_cast<void **>(fiber->stack + fiber->bytes - 64);
    *--top = nullptr; /* where entry would return to: it never does, and a call leaves the stack 8 past 16 */
    *--top = reinterpret_cast<void *>(entry);
    for (size_t i = 0; i < saved_registers; i++) {
        *--top = nullptr;
    }
    fiber->stack_pointer = top;
}

void jump(fiber *from, fiber *to)
{
    vireo_emulator_switch(&from->stack_pointer, to->stack_pointer);
}

#else

void begin(fiber *fiber, void (*entry)())
{
    ucontext_t *context = reinterpret_cast<ucontext_t *>(fiber->stack); /* at the far end of the stack */
    getcontext(context);
    context->uc_stack.ss_sp = fiber->stack + sizeof *context;
    context->uc_stack.ss_size = fiber->bytes - sizeof *context;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    fiber->stack_pointer = context;
}

void jump(fiber *from, fiber *to)
{
    static thread_local ucontext_t of_thread;
    if (from->stack_pointer == nullptr) {
        from->stack_pointer = &of_thread;
    }
    swapcontext(static_cast<ucontext_t *>(from->stack_pointer), static_cast<ucontext_t *>(to->stack_pointer));
}

#endif

} // namespace

fiber *fiber_take(size_t number, void (*entry)())
{
    while (pool.size() <= number) {
        pool.emplace_back(new pooled{{}, std::unique_ptr<char[]>(new char[FIBER_STACK_BYTES]), false});
    }
    pooled &at = *pool[number];
    if (!at.begun) {
        at.own = fiber{nullptr, at.stack.get(), FIBER_STACK_BYTES, nullptr};
#ifdef EMU_THREAD_SANITIZER
        at.own.told = __tsan_create_fiber(0);
#endif
        begin(&at.own, entry);
        at.begun = true;
    }
    return &at.own;
}

void fiber_abandon(size_t number)
{
    EMU_OPEN(pool[number]->stack.get(), FIBER_STACK_BYTES); /* the red zones of frames that never return */
    pool[number]->end();
}

void fiber_of_thread(fiber *out)
{
    pthread_attr_t attributes;
    void *stack = nullptr;
    *out = fiber{};
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &stack, &out->bytes);
        pthread_attr_destroy(&attributes);
    }
    out->stack = static_cast<char *>(stack);
#ifdef EMU_THREAD_SANITIZER
    out->told = __tsan_get_current_fiber();
#endif
}

void fiber_switch(fiber *from, fiber *to)
{
#ifdef EMU_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(&from->told, to->stack, to->bytes);
#endif
#ifdef EMU_THREAD_SANITIZER
    __tsan_switch_to_fiber(to->told, __tsan_switch_to_fiber_no_sync);
#endif
    jump(from, to);
#ifdef EMU_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(from->told, nullptr, nullptr);
#endif
}

void fiber_entered()
{
#ifdef EMU_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

} // namespace emu
