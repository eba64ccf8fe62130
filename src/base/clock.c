/* The clocks of vireo/clock.h over clock_gettime, which cannot fail for these clocks on Linux. */
#include "vireo/clock.h"

#include <time.h>

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t vr_clock_mono_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t vr_clock_mono_ns(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

uint64_t vr_clock_thread_cpu_ns(void)
{
    return nanoseconds(CLOCK_THREAD_CPUTIME_ID);
}

int64_t vr_clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
