/* The keeper of a worker's device: opens it, puts the model on it, and when it has gone out of use tries it again in a
 * child process (a probe) until one succeeds, then brings the model back onto it beside the one that serves. A device
 * that is lost ends the worker instead (server.c), for its process cannot open it again. All calls are the loop
 * thread's but vr_keeper_load. */
#ifndef VIREO_SERVER_KEEPER_H
#define VIREO_SERVER_KEEPER_H

#include <pthread.h>
#include <sys/types.h>

#include "loop.h"
#include "role.h"

enum vr_keeper_stage {
    VR_KEEPER_IDLE = 0, /* the device is up, or none is wanted */
    VR_KEEPER_WAITING,  /* for the time of the next probe */
    VR_KEEPER_PROBING,
    VR_KEEPER_BUILDING, /* the probe succeeded: the model is being made on the device */
};

struct vr_keeper_setup {
    const struct vr_config *config; /* outlives the keeper, as all that follows */
    const struct vr_role *role;
    struct vr_feed *feed;
    char *const *argv;               /* of this process: a probe gets the same */
    void (*on_lost)(void *argument); /* the device is lost */
    void *argument;
};

struct vr_keeper {
    struct vr_keeper_setup setup;
    bool wanted;                /* a device is configured and built in */
    struct vr_backend *device;  /* NULL: not open */
    struct vr_model *base;      /* the model that serves, without the device; one reference */
    const char *bundle;         /* its folder, for probes; outlives the keeper's use of it */
    enum vr_status load_status; /* of vr_keeper_load's device */
    enum vr_keeper_stage stage;
    struct event notice, timer, built;
    bool events_added;
    uint32_t delay_ms; /* before the next probe */
    uint64_t up_us;    /* when it came up */
    pid_t probe;       /* 0: none */
    uint64_t probe_until_us;
    pthread_t builder;
    struct vr_model *builds; /* what the builder puts on the device; one reference */
    int built_fd;
    enum vr_status build_status;
    struct vr_swap *swap; /* the builder's, on success */
};

/* Open the device where the role begins on it. Fails only where the configuration asks for the device and it is the
 * first worker: the device's own error, VR_ERR_INVALID when there is none in this build. */
enum vr_status vr_keeper_open(struct vr_keeper *keeper, const struct vr_keeper_setup *setup);

/* On the loading thread: `base` on the device made ready for the lanes, or `base` itself where there is none or that
 * fails (then vr_keeper_begin says so). Fails as vr_keeper_open does, and with the lanes' own errors. */
enum vr_status vr_keeper_load(struct vr_keeper *keeper, struct vr_model *base, struct vr_swap **out);

/* Put what vr_keeper_load made into service, and watch. */
void vr_keeper_begin(struct vr_keeper *keeper, struct event_base *loop, struct vr_model *base, const char *bundle,
                     struct vr_swap *swap);

/* Whether another model is to be made on the device, which is in use and will be left alone meanwhile. */
bool vr_keeper_is_up(const struct vr_keeper *keeper);

/* On a loading thread: another model made ready for the lanes, on the device or not. The device's own error,
 * VR_ERR_NOMEM where it has no room for both; the one that serves is as it was. */
enum vr_status vr_keeper_prepare(struct vr_keeper *keeper, struct vr_model *base, bool on_device, struct vr_swap **out);

/* The device failed a vr_keeper_prepare: it may be beyond use. */
void vr_keeper_blame(struct vr_keeper *keeper, enum vr_status status);

/* Put what vr_keeper_prepare made into service in place of what serves, wherever the device is by now. Takes the swap,
 * on failure too, which leaves everything as it was. */
enum vr_status vr_keeper_replace(struct vr_keeper *keeper, struct vr_model *base, const char *bundle, bool on_device,
                                 struct vr_swap *swap);

/* No more probes. False: the builder is at work, which cannot be broken off. */
bool vr_keeper_stop(struct vr_keeper *keeper);

/* After the feed and its models; the device must not be lost. */
void vr_keeper_close(struct vr_keeper *keeper);

#endif
