/* The allocator of support_alloc.h. */
#include "support_alloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

static _Thread_local long left = -1;
static _Thread_local bool has_failed;

void alloc_fail_after(long count)
{
    left = count;
    has_failed = false;
}

bool alloc_has_failed(void)
{
    return has_failed;
}

/* True when this allocation is the one to fail. */
static bool must_fail(void)
{
    if (left < 0) {
        return false;
    }
    if (left-- > 0) {
        return false;
    }
    has_failed = true;
    errno = ENOMEM;
    return true;
}

/* POSIX lets a function's address stand in an object pointer; ISO C does not, hence the copy through a union. */
union symbol {
    void *address;
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
};

static union symbol next(const char *name)
{
    union symbol symbol = {.address = dlsym(RTLD_NEXT, name)};
    return symbol;
}

void *malloc(size_t bytes)
{
    return must_fail() ? NULL : next("malloc").malloc(bytes);
}

void *calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : next("calloc").calloc(count, size);
}

void *realloc(void *old, size_t bytes)
{
    return must_fail() ? NULL : next("realloc").realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return must_fail() ? NULL : next("aligned_alloc").aligned_alloc(alignment, bytes);
}
