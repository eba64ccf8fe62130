/* The device under the lanes: how it fares (struct vr_health, one a feed, shared) and what a batch does when it fails
 * (struct vr_device_run, one a lane). A dense step that fails on the device runs again at once on the stand-by, and the
 * rest of its batch with it; the next batch tries the device again. After VR_HEALTH_PATIENCE failures in a row, or one
 * that the process cannot get over (lost, hung), no batch does. */
#ifndef VIREO_FEED_DEVICE_H
#define VIREO_FEED_DEVICE_H

#include <pthread.h>

#include "visit.h"

#define VR_HEALTH_PATIENCE 3u /* failures in a row */

/* ---- health.c ---- */

struct vr_health {
    pthread_mutex_t mutex;          /* of changes */
    struct vr_device_status status; /* changed under the mutex; `state` is read through __atomic builtins without */
    uint32_t in_a_row;
    int fd; /* eventfd: written when the device goes out of use */
    bool opened;
};

enum vr_status vr_health_open(struct vr_health *health);
void vr_health_close(struct vr_health *health); /* one that was not opened is accepted */
void vr_health_set(struct vr_health *health, enum vr_device_state state, enum vr_device_failure failure);
void vr_health_read(struct vr_health *health, struct vr_device_status *out);
enum vr_device_state vr_health_state(const struct vr_health *health);
void vr_health_failed(struct vr_health *health, enum vr_device_failure failure);
void vr_health_worked(struct vr_health *health);

/* ---- device.c ---- */

struct vr_lane;

struct vr_device_run {
    struct vr_health *health;
    uint64_t timeout_us; /* 0: none */
    uint64_t since_us;   /* the device has not been done since; 0: it was when last seen */
    uint64_t step_us;    /* start of the step on the device; 0: none is under way */
    uint32_t steps;      /* of this batch that the device did */
    bool on_device;      /* the next dense step of this batch is for the device */
    bool replayed;       /* this batch failed there */
    const char *word;    /* why this batch stands on the stand-by, for `degraded`; NULL: it does not */
};

/* Around a batch. */
void vr_device_begin(struct vr_lane *lane);
void vr_device_end(struct vr_lane *lane);

/* The slot of the next dense step. */
struct vr_engine_slot *vr_device_slot(const struct vr_lane *lane);

/* A dense step begins: how long it may take, its own deadline or the device's, whichever is nearer. */
uint64_t vr_device_deadline(struct vr_device_run *run, uint64_t own_us);

/* A dense step ended with `status`. True: the device failed, and vr_device_slot is the stand-by's: do it again. Late by
 * its own deadline is no failure of the device, until the device's time has passed as well. */
bool vr_device_gave_up(struct vr_device_run *run, enum vr_status status);

/* Name what happened in a visit's reply. */
void vr_device_tell(const struct vr_device_run *run, struct vr_visit *visit);
#endif
