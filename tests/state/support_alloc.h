/* Failing allocations: the program's malloc, calloc, realloc and aligned_alloc, which fail on command and go to the
 * next library's otherwise (libc, or a sanitizer's). */
#ifndef VIREO_TESTS_SUPPORT_ALLOC_H
#define VIREO_TESTS_SUPPORT_ALLOC_H

#include <stdbool.h>

/* Let `count` more allocations of this thread succeed and the next one fail, once. A negative count lets all succeed.
 */
void alloc_fail_after(long count);

/* True when the allocation that was to fail has been asked for. */
bool alloc_has_failed(void);

#endif
