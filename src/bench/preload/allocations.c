/* Counts the calls of malloc and its kin in a program that is started with this library before all others:
 *
 *   LD_PRELOAD=build/release/libvireo_allocations.so vireo bench feed ...
 *
 * `vireo bench feed` finds the counter by its name and prints allocations a request; without the library it says that
 * they were not counted. The work is glibc's own. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void *real_malloc(size_t size) __asm__("__libc_malloc");
void *real_calloc(size_t count, size_t size) __asm__("__libc_calloc");
void *real_realloc(void *block, size_t size) __asm__("__libc_realloc");
void *real_memalign(size_t alignment, size_t size) __asm__("__libc_memalign");
uint64_t vr_allocations_counted(void);

static uint64_t calls;

static void count(void)
{
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}

uint64_t vr_allocations_counted(void)
{
    return __atomic_load_n(&calls, __ATOMIC_RELAXED);
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's own names are reserved */

void *malloc(size_t size)
{
    count();
    return real_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    count();
    return real_calloc(number, size);
}

void *realloc(void *block, size_t size)
{
    count();
    return real_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return real_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count();
    void *block = real_memalign(alignment, size);
    if (block == NULL) {
        return ENOMEM;
    }
    *out = block;
    return 0;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
