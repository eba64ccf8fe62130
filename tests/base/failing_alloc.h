/* Failure injection for the C tests: the program's malloc, calloc, realloc, aligned_alloc and operator new stand in
 * front of the sanitizer's (or libc's), so that leaks are still seen, and the n-th call of the armed thread fails.
 * Include it in one file of a test and write:
 *
 *     for (long n = 0; fail_from(n), work(), fail_stop(); n++)   // ends when work() needed fewer than n calls
 *
 * All threads' allocations are counted, armed or not: alloc_total().
 */
#ifndef VIREO_TESTS_FAILING_ALLOC_H
#define VIREO_TESTS_FAILING_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *block, size_t size) __attribute__((weak));
void *__interceptor_aligned_alloc(size_t alignment, size_t size) __attribute__((weak));
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static _Thread_local bool armed;
static _Thread_local long calls_left; /* that succeed; the next one fails, and all after it */
static _Thread_local long calls_made;
static _Thread_local bool failed_once;
static long all_calls; /* __atomic builtins */

/* From now on this thread's allocation number `n` (from 0) and all later ones fail. */
static inline void fail_from(long n)
{
    calls_left = n;
    calls_made = 0;
    failed_once = false;
    armed = true;
}

/* Ends it; true when an allocation was refused meanwhile. */
static inline bool fail_stop(void)
{
    armed = false;
    return failed_once;
}

/* Allocations of this thread since fail_from. */
static inline long fail_calls(void)
{
    return calls_made;
}

/* Allocations of the whole process so far. */
static inline long alloc_total(void)
{
    return __atomic_load_n(&all_calls, __ATOMIC_RELAXED);
}

static bool refused(void)
{
    __atomic_fetch_add(&all_calls, 1, __ATOMIC_RELAXED);
    if (!armed) {
        return false;
    }
    calls_made++;
    if (calls_left > 0) {
        calls_left--;
        return false;
    }
    failed_once = true;
    return true;
}

void *malloc(size_t size)
{
    if (refused()) {
        return NULL;
    }
    return __interceptor_malloc != NULL ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (refused()) {
        return NULL;
    }
    return __interceptor_calloc != NULL ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    if (refused()) {
        return NULL;
    }
    return __interceptor_realloc != NULL ? __interceptor_realloc(block, size) : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (refused()) {
        return NULL;
    }
    return __interceptor_aligned_alloc != NULL ? __interceptor_aligned_alloc(alignment, size)
                                               : __libc_memalign(alignment, size);
}

/* operator new and new[] of C++, throwing nothing: the code under test uses the nothrow forms alone. */
void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
void *_ZnamRKSt9nothrow_t(size_t size, const void *tag);

void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag)
{
    (void)tag;
    return malloc(size);
}

void *_ZnamRKSt9nothrow_t(size_t size, const void *tag)
{
    (void)tag;
    return malloc(size);
}

/* The blocks of these two are freed by the sanitizer's operator delete, which would call that a mismatch. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "alloc_dealloc_mismatch=0";
}

#endif
