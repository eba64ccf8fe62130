/* The take rule: what a lane that asks for work shall do now. One pure function of state and time, so that it is read
 * and tested without threads or a clock.
 *
 * When no batch is in flight the device is idle and a lane takes what is there, up to max_batch, at once. While another
 * batch is in flight waiting costs nothing that the device could use: a lane waits for more, at most max_delay_us from
 * the arrival of the oldest job, and never past the moment at which the nearest deadline could still be met. */
#ifndef VIREO_FEED_TAKE_H
#define VIREO_FEED_TAKE_H

#include <stdbool.h>
#include <stdint.h>

struct vr_take_state {
    uint32_t queued;              /* jobs waiting */
    uint32_t max_batch;           /* most that one batch takes, at least 1 */
    uint32_t in_flight;           /* batches that other lanes are working on */
    uint32_t hold;                /* tests: take nothing until so many are queued; 0: no hold */
    bool stopping;                /* nothing more will come */
    uint64_t now_us;              /* all times on the monotonic clock */
    uint64_t oldest_us;           /* arrival of the oldest job; read only where queued > 0 */
    uint64_t nearest_deadline_us; /* of the jobs that would be taken; UINT64_MAX: none */
    uint64_t service_us;          /* how long a batch is expected to take */
    uint64_t max_delay_us;
    uint64_t hold_until_us; /* the hold ends here in any case */
};

enum vr_take_kind { VR_TAKE_SLEEP = 0, VR_TAKE_WAIT, VR_TAKE_BATCH };

struct vr_take {
    enum vr_take_kind kind;
    uint32_t count;    /* BATCH: jobs to take */
    uint64_t until_us; /* WAIT: ask again then, or when one of the next two comes true */
    uint32_t full;     /* WAIT: so many jobs are queued */
    uint64_t due_us;   /* WAIT: a job comes whose deadline is before this */
};

/* SLEEP: ask again when there is a job. A batch in flight that ends is for its lane to ask about. */
struct vr_take vr_take_decide(const struct vr_take_state *state);
#endif
