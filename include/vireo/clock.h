/* The clocks. `now` of a request is read once at the server and passed down: no feature
 * and no guardrail calls these. */
#ifndef VIREO_CLOCK_H
#define VIREO_CLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Microseconds of a clock that never steps; for deadlines, queue waits and stage times. */
uint64_t vr_clock_mono_us(void);

/* The same clock in nanoseconds, for what is measured (vireo bench). */
uint64_t vr_clock_mono_ns(void);

/* Nanoseconds of CPU that the calling thread has used. A system call of some 0.2 us: once a batch, not once a row. */
uint64_t vr_clock_thread_cpu_ns(void);

/* Milliseconds since 1970-01-01 UTC; for the `now` of a request and time stamps in logs. */
int64_t vr_clock_wall_ms(void);

#ifdef __cplusplus
}
#endif
#endif
