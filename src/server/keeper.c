/* The keeper of keeper.h: a timer drives the stages from one to the next. */
#include "keeper.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor.h"
#include "vireo/clock.h"
#include "vireo/log.h"

#define DELAY_MS 1000u /* before the first probe, doubled with each that fails, up to: */
#define DELAY_MAX_MS 60000u
#define PROBE_LIMIT_US 120000000u /* a probe that takes longer hangs */
#define PROBE_LOOK_MS 50u
#define PEACE_US 60000000u /* up for so long, and the delay begins anew */

/* ---- the device at start ---- */

/* A worker that follows another has lost a device that was there. */
static bool must_have(const struct vr_keeper *keeper)
{
    return keeper->setup.config->compute.backend == VR_COMPUTE_CUDA && keeper->setup.role->restarts == 0;
}

enum vr_status vr_keeper_open(struct vr_keeper *keeper, const struct vr_keeper_setup *setup)
{
    *keeper = (struct vr_keeper){.setup = *setup, .built_fd = -1, .delay_ms = DELAY_MS};
    keeper->wanted = vr_device_is_wanted(&setup->config->compute);
    if (setup->config->compute.backend == VR_COMPUTE_CUDA && !keeper->wanted) {
        return vr_fail(VR_ERR_INVALID, "compute.backend: this build has no cuda");
    }
    if (!keeper->wanted || !setup->role->on_device) {
        keeper->load_status = VR_ERR_UNSUPPORTED;
        keeper->delay_ms = keeper->wanted ? setup->role->probe_after_ms : DELAY_MS;
        return VR_OK;
    }
    keeper->load_status = vr_backend_open("cuda", 1, &keeper->device);
    if (keeper->load_status == VR_OK) {
        return VR_OK;
    }
    if (must_have(keeper)) {
        return vr_fail_in(keeper->load_status, "compute.backend: cuda");
    }
    vr_log(VR_LOG_WARN, "device_unavailable", "backend=cpu error=\"%s\"", vr_error_text());
    return VR_OK;
}

/* `base` on the device, ready for the lanes: their slots are taken, and their plans captured, on the caller's thread,
 * for a device that hangs must hang no loop. */
static enum vr_status prepare_on_device(struct vr_keeper *keeper, struct vr_model *base, struct vr_swap **out)
{
    struct vr_model *model = NULL;
    enum vr_status status = vr_model_on_device(base, keeper->device, keeper->setup.config, &model);
    if (status == VR_OK) {
        status = vr_feed_prepare(keeper->setup.feed, model, out);
        vr_model_release(model);
    }
    return status;
}

enum vr_status vr_keeper_load(struct vr_keeper *keeper, struct vr_model *base, struct vr_swap **out)
{
    if (keeper->device != NULL) {
        keeper->load_status = prepare_on_device(keeper, base, out);
        if (keeper->load_status == VR_OK) {
            return VR_OK;
        }
        if (must_have(keeper)) {
            return vr_fail_in(keeper->load_status, "compute.backend: cuda");
        }
        vr_log(VR_LOG_WARN, "device_unavailable", "backend=cpu error=\"%s\"", vr_error_text());
    }
    return vr_feed_prepare(keeper->setup.feed, base, out);
}

/* ---- stages ---- */

static void set_timer(struct vr_keeper *keeper, uint32_t ms)
{
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};
    event_add(&keeper->timer, &wait);
}

static void wait_for_probe(struct vr_keeper *keeper)
{
    keeper->stage = VR_KEEPER_WAITING;
    vr_log(VR_LOG_INFO, "device_probe_planned", "wait_ms=%u", keeper->delay_ms);
    set_timer(keeper, keeper->delay_ms);
    keeper->delay_ms = keeper->delay_ms < DELAY_MAX_MS / 2 ? 2 * keeper->delay_ms : DELAY_MAX_MS;
}

static void take_up(struct vr_keeper *keeper, struct vr_swap *on_device)
{
    keeper->stage = VR_KEEPER_IDLE;
    keeper->up_us = vr_clock_mono_us();
    vr_feed_device_set(keeper->setup.feed, VR_DEVICE_UP, VR_DEVICE_FAILED);
    vr_feed_swap(keeper->setup.feed, on_device);
    vr_log(VR_LOG_INFO, "device_up", "restarts=%u", keeper->setup.role->restarts);
}

/* Beyond use, whatever was tried: lanes need not find out. */
static void is_lost(struct vr_keeper *keeper, enum vr_status status)
{
    vr_feed_device_set(keeper->setup.feed, VR_DEVICE_LOST, vr_device_failure_of(status));
}

static bool is_beyond_use(enum vr_status status)
{
    return status == VR_ERR_DEVICE_LOST || status == VR_ERR_TIMEOUT;
}

/* A child with this process's environment, told what it is and which bundle to try. */
static int spawn_probe(struct vr_keeper *keeper)
{
    char role[VR_ROLE_PROBE_BYTES];
    size_t count = 0, kept = 0;
    vr_role_probe(keeper->bundle, role);
    while (environ[count] != NULL) {
        count++;
    }
    char **environment = calloc(count + 2, sizeof(char *));
    if (environment == NULL) {
        return ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (!vr_role_is_variable(environ[i])) {
            environment[kept++] = environ[i];
        }
    }
    environment[kept] = role;
    int error = posix_spawn(&keeper->probe, "/proc/self/exe", NULL, NULL, keeper->setup.argv, environment);
    free(environment);
    return error;
}

static void start_probe(struct vr_keeper *keeper)
{
    int error = spawn_probe(keeper);
    if (error != 0) {
        keeper->probe = 0;
        vr_log(VR_LOG_WARN, "device_probe_not_started", "error=\"%s\"", strerror(error));
        wait_for_probe(keeper);
        return;
    }
    keeper->stage = VR_KEEPER_PROBING;
    keeper->probe_until_us = vr_clock_mono_us() + PROBE_LIMIT_US;
    set_timer(keeper, PROBE_LOOK_MS);
}

static void *build(void *argument)
{
    struct vr_keeper *keeper = argument;
    keeper->build_status = keeper->device != NULL ? VR_OK : vr_backend_open("cuda", 1, &keeper->device);
    if (keeper->build_status == VR_OK) {
        keeper->build_status = prepare_on_device(keeper, keeper->builds, &keeper->swap);
    }
    if (keeper->build_status != VR_OK) {
        vr_log(VR_LOG_WARN, "device_not_back", "error=\"%s\"", vr_error_text());
    }
    uint64_t one = 1;
    while (write(keeper->built_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
    return NULL;
}

static void start_builder(struct vr_keeper *keeper)
{
    keeper->builds = vr_model_retain(keeper->base);
    if (pthread_create(&keeper->builder, NULL, build, keeper) != 0) {
        vr_model_release(keeper->builds);
        keeper->builds = NULL;
        wait_for_probe(keeper);
        return;
    }
    keeper->stage = VR_KEEPER_BUILDING;
}

/* The builder has ended. False: what it made is of a model that serves no longer, and is gone. */
static bool end_builder(struct vr_keeper *keeper)
{
    pthread_join(keeper->builder, NULL);
    keeper->stage = VR_KEEPER_IDLE;
    bool current = keeper->builds == keeper->base;
    vr_model_release(keeper->builds);
    keeper->builds = NULL;
    if (!current && keeper->build_status == VR_OK) {
        vr_swap_destroy(keeper->swap);
        keeper->swap = NULL;
    }
    return current;
}

static void on_built(evutil_socket_t fd, short what, void *argument)
{
    struct vr_keeper *keeper = argument;
    uint64_t count;
    (void)what;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    bool current = end_builder(keeper);
    if (!current && keeper->build_status == VR_OK) {
        start_builder(keeper);
    } else if (keeper->build_status == VR_OK) {
        take_up(keeper, keeper->swap);
        keeper->swap = NULL;
    } else if (is_beyond_use(keeper->build_status)) {
        is_lost(keeper, keeper->build_status);
    } else {
        wait_for_probe(keeper);
    }
}

static void look_at_probe(struct vr_keeper *keeper)
{
    int status = 0;
    pid_t ended = waitpid(keeper->probe, &status, WNOHANG);
    if (ended == 0 && vr_clock_mono_us() < keeper->probe_until_us) {
        set_timer(keeper, PROBE_LOOK_MS);
        return;
    }
    if (ended == 0) {
        kill(keeper->probe, SIGKILL);
        (void)waitpid(keeper->probe, &status, 0);
    }
    keeper->probe = 0;
    if (ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        start_builder(keeper);
    } else {
        wait_for_probe(keeper);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    struct vr_keeper *keeper = argument;
    (void)fd;
    (void)what;
    if (keeper->stage == VR_KEEPER_WAITING) {
        start_probe(keeper);
    } else if (keeper->stage == VR_KEEPER_PROBING) {
        look_at_probe(keeper);
    }
}

/* Out of use but not lost: what the model holds there is given back, so that a probe finds room. */
static void leave_device(struct vr_keeper *keeper)
{
    bool peaceful = vr_clock_mono_us() - keeper->up_us > PEACE_US;
    keeper->delay_ms = peaceful ? DELAY_MS : keeper->delay_ms;
    (void)vr_feed_set_model(keeper->setup.feed, keeper->base);
    wait_for_probe(keeper);
}

static void on_notice(evutil_socket_t fd, short what, void *argument)
{
    struct vr_keeper *keeper = argument;
    struct vr_device_status status;
    uint64_t count;
    (void)what;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    vr_feed_device_read(keeper->setup.feed, &status);
    if (status.state == VR_DEVICE_LOST) {
        keeper->setup.on_lost(keeper->setup.argument);
    } else if (status.state == VR_DEVICE_DOWN && keeper->stage == VR_KEEPER_IDLE) {
        leave_device(keeper);
    }
}

/* ---- begin and end ---- */

/* Not on the device: why, and what follows. */
static void begin_without(struct vr_keeper *keeper)
{
    enum vr_device_failure failure = keeper->setup.role->on_device
                                         ? vr_device_failure_of(keeper->load_status)
                                         : (enum vr_device_failure)keeper->setup.role->failure;
    if (is_beyond_use(keeper->load_status)) {
        is_lost(keeper, keeper->load_status);
        return;
    }
    vr_feed_device_set(keeper->setup.feed, VR_DEVICE_DOWN, failure);
    wait_for_probe(keeper);
}

static void note_base(struct vr_keeper *keeper, struct vr_model *base, const char *bundle)
{
    vr_model_release(keeper->base);
    keeper->base = vr_model_retain(base);
    keeper->bundle = bundle;
}

void vr_keeper_begin(struct vr_keeper *keeper, struct event_base *loop, struct vr_model *base, const char *bundle,
                     struct vr_swap *swap)
{
    if (!keeper->wanted) {
        vr_feed_swap(keeper->setup.feed, swap);
        return;
    }
    note_base(keeper, base, bundle);
    keeper->built_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    event_assign(&keeper->notice, loop, vr_feed_device_fd(keeper->setup.feed), EV_READ | EV_PERSIST, on_notice, keeper);
    event_assign(&keeper->timer, loop, -1, 0, on_timer, keeper);
    event_assign(&keeper->built, loop, keeper->built_fd, EV_READ | EV_PERSIST, on_built, keeper);
    event_add(&keeper->notice, NULL);
    if (keeper->built_fd >= 0) {
        event_add(&keeper->built, NULL);
    }
    keeper->events_added = true;
    if (keeper->load_status == VR_OK) {
        take_up(keeper, swap);
    } else {
        vr_feed_swap(keeper->setup.feed, swap);
        begin_without(keeper);
    }
}

/* ---- another model ---- */

bool vr_keeper_is_up(const struct vr_keeper *keeper)
{
    struct vr_device_status status;
    vr_feed_device_read(keeper->setup.feed, &status);
    bool usable = status.state == VR_DEVICE_UP || status.state == VR_DEVICE_SUSPECT;
    return keeper->wanted && keeper->stage == VR_KEEPER_IDLE && usable;
}

enum vr_status vr_keeper_prepare(struct vr_keeper *keeper, struct vr_model *base, bool on_device, struct vr_swap **out)
{
    return on_device ? prepare_on_device(keeper, base, out) : vr_feed_prepare(keeper->setup.feed, base, out);
}

void vr_keeper_blame(struct vr_keeper *keeper, enum vr_status status)
{
    if (is_beyond_use(status)) {
        is_lost(keeper, status);
    }
}

/* A device that went out of use meanwhile is left with nothing on it; one that came into use gets the model after. */
enum vr_status vr_keeper_replace(struct vr_keeper *keeper, struct vr_model *base, const char *bundle, bool on_device,
                                 struct vr_swap *swap)
{
    bool up = vr_keeper_is_up(keeper);
    if (on_device && !up) {
        vr_swap_destroy(swap);
        enum vr_status status = vr_feed_set_model(keeper->setup.feed, base);
        if (status != VR_OK) {
            return status;
        }
    } else {
        vr_feed_swap(keeper->setup.feed, swap);
    }
    if (keeper->wanted) {
        note_base(keeper, base, bundle);
    }
    if (up && !on_device) {
        start_builder(keeper);
    }
    return VR_OK;
}

bool vr_keeper_stop(struct vr_keeper *keeper)
{
    if (keeper->events_added) {
        event_del(&keeper->notice);
        event_del(&keeper->timer);
        event_del(&keeper->built);
        keeper->events_added = false;
    }
    if (keeper->probe > 0) {
        kill(keeper->probe, SIGKILL);
        (void)waitpid(keeper->probe, NULL, 0);
        keeper->probe = 0;
    }
    return keeper->stage != VR_KEEPER_BUILDING;
}

void vr_keeper_close(struct vr_keeper *keeper)
{
    if (keeper->built_fd >= 0) {
        close(keeper->built_fd);
    }
    vr_swap_destroy(keeper->swap);
    vr_model_release(keeper->builds);
    vr_model_release(keeper->base);
    vr_backend_destroy(keeper->device);
}
