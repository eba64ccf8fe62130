/* What the lanes decide together, without threads and without a clock: which jobs wait in which order, when the next
 * batch is taken and how large it is, at which quality, and what loops may be told about it all. The queue (queue.h)
 * calls it under its mutex, the simulation of the tests on a clock of its own. */
#ifndef VIREO_FEED_DISPATCH_H
#define VIREO_FEED_DISPATCH_H

#include "admit.h"
#include "governor.h"
#include "lineup.h"
#include "service.h"
#include "take.h"

struct vr_dispatch {
    struct vr_lane_config limits;
    struct vr_lineup lineup;
    struct vr_service service[2][VR_QUALITY_LEVELS]; /* [on the device][level] */
    bool on_device;                                  /* the latest batch was */
    struct vr_governor governor;
    uint32_t in_flight, working; /* batches and jobs that lanes are at */
    uint32_t full_batches;       /* taken in a row, as large as they might be */
    uint32_t hold;               /* tests: take nothing until so many wait */
    uint64_t hold_until_us;
    bool closed;
    uint64_t interval_ends_us;
    uint64_t least_wait_us; /* of the interval's batches; UINT64_MAX: there was none */
    uint32_t arrived;       /* in the interval */
    double rate;            /* jobs a microsecond that wanted in, moving mean over intervals */
};

/* A batch that a lane takes. */
struct vr_taken {
    struct vr_job **batch; /* [max_batch], the lane's */
    uint32_t count;
    uint32_t level;      /* of quality */
    struct vr_job *dead; /* linked by next: the client has gone, or the deadline passed or will have; no work */
};

/* A batch that a lane is done with. */
struct vr_batch_done {
    uint32_t jobs;     /* as taken */
    uint32_t requests; /* of those, worked on; 0: nothing is learnt from it */
    uint32_t level;
    bool on_device;
    uint64_t us;
};

/* VR_ERR_NOMEM. */
enum vr_status vr_dispatch_create(struct vr_dispatch *dispatch, const struct vr_lane_config *limits, uint64_t now_us);
void vr_dispatch_destroy(struct vr_dispatch *dispatch); /* one of zeros is accepted */

/* A job that was admitted waits from now on. */
void vr_dispatch_add(struct vr_dispatch *dispatch, struct vr_job *job);

/* What a lane that asks for work shall do now. */
struct vr_take vr_dispatch_decide(const struct vr_dispatch *dispatch, uint64_t now_us);

/* Take `count` jobs into out->batch; dead ones on the way to them go into out->dead and count for nothing. It is in
 * flight until vr_dispatch_done, unless no job was alive. */
void vr_dispatch_take(struct vr_dispatch *dispatch, uint64_t now_us, uint32_t count, struct vr_taken *out);
void vr_dispatch_done(struct vr_dispatch *dispatch, const struct vr_batch_done *done);

/* Whether an interval of the governor has ended; then vr_dispatch_tick, with the jobs refused since the last one. */
bool vr_dispatch_is_due(const struct vr_dispatch *dispatch, uint64_t now_us);
void vr_dispatch_tick(struct vr_dispatch *dispatch, uint64_t now_us, uint32_t refused);

/* What admission goes by. */
struct vr_admit_view vr_dispatch_view(const struct vr_dispatch *dispatch);
#endif
