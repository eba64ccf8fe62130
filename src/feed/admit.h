/* Whether a job is taken in: a pure function of the job and of what the lanes published about the feed. What cannot be
 * answered in time is refused at once, while its client can still ask somebody else, instead of being queued to die.
 *
 * In this order:
 * - nobody waits and a lane is free: taken, whatever the estimates say, or a wrong estimate could never be corrected;
 * - more jobs wait than the queue holds: refused;
 * - the feed holds as many jobs as its class may fill of the limit (high all, normal nine tenths, low half): refused,
 *   unless its class holds less than its own share (high and normal a quarter, low a sixteenth), which no other class
 *   can take from it;
 * - the expected wait and service take more than its class may spend of its time (high all, normal nine tenths, low six
 *   tenths): refused. So low is refused first and high last. */
#ifndef VIREO_FEED_ADMIT_H
#define VIREO_FEED_ADMIT_H

#include "vireo/feed.h"

/* The feed as the lanes last saw it. */
struct vr_admit_view {
    uint32_t limit;                     /* jobs in the feed, waiting and worked on */
    uint32_t working;                   /* jobs being worked on */
    uint32_t in_flight, lanes;          /* batches being worked on, of how many at most */
    uint32_t batch;                     /* the largest at the moment, at least 1 */
    double base_us, each_us, spread_us; /* of a batch (service.h); 0: not known */
};

struct vr_admit_question {
    enum vr_priority priority;
    uint64_t now_us, deadline_us;
    uint32_t waiting[VR_PRIORITIES];
    uint32_t capacity; /* of the queue */
};

struct vr_admit_answer {
    bool taken;
    enum vr_shed reason; /* where it is not */
    bool hopeless;       /* refused for its deadline, which could not be met by an idle feed either */
    uint64_t wait_us, service_us;
    uint32_t retry_after_s; /* where it is not: when what is ahead of it now will be done */
};

struct vr_admit_answer vr_admit(const struct vr_admit_view *view, const struct vr_admit_question *question);
#endif
