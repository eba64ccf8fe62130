/* Counters with one writing thread and any number of reading ones: plain additions whose reads and writes do not tear.
 * A reader that sees a change sees all that its writer changed before. */
#ifndef VIREO_SERVER_COUNTER_H
#define VIREO_SERVER_COUNTER_H

#include <stdint.h>

/* For the writer; the count may not fall below 0. */
static inline void vr_count(uint64_t *counter, int64_t by)
{
    uint64_t now = __atomic_load_n(counter, __ATOMIC_RELAXED);
    __atomic_store_n(counter, now + (uint64_t)by, __ATOMIC_RELEASE);
}

static inline uint64_t vr_counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

#endif
