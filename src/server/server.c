/* `vireo serve` (server.h): builds the parts in order, has the first model loaded beside the running loop (models.h),
 * so that /healthz answers and /readyz says "loading" meanwhile, and stops in order.
 *
 * This thread runs the first loop, which has the admin port, the signals and the timer of the drain; the other loops
 * are told by it (enum vr_order).
 *
 * The way down: readiness turns to draining, the public listeners close, each connection closes after its answer; idle
 * ones have DRAIN_GRACE_MS to bring in what was under way. When no public connection and no call is left, or the drain
 * timeout has passed, the loops end, then the lanes. The admin port answers to the end. A bundle that is being loaded
 * is not waited for.
 *
 * A lost device ends a worker the same way, but that both listeners are left to the next worker with the connections
 * that wait there. A worker that follows another accepts public connections only once it can answer them. */
#include "server.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper.h"
#include "loop.h"
#include "models.h"
#include "vireo/clock.h"
#include "vireo/log.h"

#define DRAIN_GRACE_MS 250u
#define DRAIN_STEP_MS 20u

struct server {
    const struct vr_server_setup *setup;
    struct vr_shared shared;
    struct vr_backend *backend;
    struct vr_loop *loop; /* the first */
    struct vr_keeper keeper;
    struct event signals[2], control, drain_timer;
    bool events_added;
    uint64_t drain_began_us;
    bool idle_told;         /* the loops have been told to close idle connections */
    bool drain_is_over;     /* and all that have had their answer: the time has passed */
    bool told_to_stop;      /* or to the parent's end */
    bool handing_over;      /* draining because the device is lost */
    enum vr_status failure; /* what ended the loop, VR_OK for a signal */
    char why[512];          /* its error text */
    enum vr_server_end end;
};

/* ---- the first model ---- */

static void on_first(void *argument, enum vr_status status)
{
    struct server *server = argument;
    struct vr_shared *shared = &server->shared;
    if (status != VR_OK) {
        server->failure = status;
        snprintf(server->why, sizeof server->why, "%s", vr_error_text());
        event_base_loopbreak(server->loop->base);
        return;
    }
    if (server->drain_began_us != 0) { /* told to stop while it was loading */
        return;
    }
    struct vr_model *model = vr_feed_model(shared->feed);
    __atomic_store_n(&shared->readiness, VR_READY_YES, __ATOMIC_RELEASE);
    vr_loops_tell(shared, VR_ORDER_ACCEPT);
    vr_log(VR_LOG_INFO, "ready", "listen=%s admin=%s model_version=%s videos=%u load_ms=%" PRId64,
           server->loop->listener[VR_PORT_PUBLIC].address, server->loop->listener[VR_PORT_ADMIN].address,
           model->bundle->model_version, model->bundle->videos.count, vr_clock_wall_ms() - shared->started_ms);
    vr_model_release(model);
}

/* ---- the way down ---- */

static void cut_drain(struct server *server)
{
    struct vr_loops_sum left = vr_loops_sum(&server->shared);
    server->end = VR_SERVER_END_CUT;
    vr_log(VR_LOG_WARN, "drain_timeout", "connections=%" PRIu64 " calls=%" PRIu64, left.connections, left.calls);
    event_base_loopbreak(server->loop->base);
}

/* What is left is judged once the loops have closed whatever waits for nothing. */
static void on_drain_step(evutil_socket_t fd, short what, void *argument)
{
    struct server *server = argument;
    uint64_t passed_ms = (vr_clock_mono_us() - server->drain_began_us) / 1000;
    (void)fd;
    (void)what;
    if (server->idle_told && vr_loops_are_done(&server->shared)) {
        event_base_loopbreak(server->loop->base);
    } else if (server->drain_is_over && vr_loops_have_obeyed(&server->shared)) {
        cut_drain(server);
    } else if (!server->drain_is_over && passed_ms >= server->setup->config->server.drain_timeout_ms) {
        server->idle_told = server->drain_is_over = true;
        vr_loops_tell(&server->shared, VR_ORDER_CLOSE_IDLE | VR_ORDER_CLOSE_ANSWERED);
    } else if (passed_ms >= DRAIN_GRACE_MS) {
        server->idle_told = true;
        vr_loops_tell(&server->shared, VR_ORDER_CLOSE_IDLE);
    }
}

static void begin_drain(struct server *server)
{
    __atomic_store_n(&server->shared.readiness, VR_READY_DRAINING, __ATOMIC_RELEASE);
    server->drain_began_us = vr_clock_mono_us();
    (void)vr_models_stop(server->shared.models);
    (void)vr_keeper_stop(&server->keeper);
    struct timeval step = {0, DRAIN_STEP_MS * 1000};
    event_add(&server->drain_timer, &step);
}

/* The first word to stop lets everything in hand be answered, the second does not. */
static void stop(struct server *server, int number)
{
    if (server->told_to_stop) {
        vr_log(VR_LOG_WARN, "stop_forced", "signal=%d", number);
        server->end = VR_SERVER_END_FORCED;
        event_base_loopbreak(server->loop->base);
        return;
    }
    server->told_to_stop = true;
    server->handing_over = false; /* nobody follows: what waits in the backlog is answered here */
    struct vr_loops_sum in_hand = vr_loops_sum(&server->shared);
    vr_log(VR_LOG_INFO, "draining", "signal=%d calls=%" PRIu64 " connections=%" PRIu64, number, in_hand.calls,
           in_hand.connections);
    begin_drain(server);
    vr_loops_tell(&server->shared, VR_ORDER_FINISH);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    (void)what;
    stop(argument, (int)number);
}

/* The parent speaks, or has ended. */
static void on_control(evutil_socket_t fd, short what, void *argument)
{
    struct server *server = argument;
    char word;
    (void)what;
    ssize_t got = read(fd, &word, 1);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (got <= 0) {
        event_del(&server->control);
        vr_log(VR_LOG_WARN, "parent_gone", "stopping=%s", server->told_to_stop ? "already" : "now");
    }
    if (got > 0 || !server->told_to_stop) {
        stop(server, SIGTERM);
    }
}

static void on_device_lost(void *argument)
{
    struct server *server = argument;
    if (server->drain_began_us != 0) {
        return;
    }
    struct vr_loops_sum in_hand = vr_loops_sum(&server->shared);
    vr_log(VR_LOG_WARN, "handing_over", "calls=%" PRIu64 " connections=%" PRIu64, in_hand.calls, in_hand.connections);
    server->handing_over = true;
    begin_drain(server);
    vr_loops_tell(&server->shared, VR_ORDER_HOLD);
    vr_listener_hold(&server->loop->listener[VR_PORT_ADMIN]);
}

/* ---- the way up ---- */

/* Lanes and workers leave the signals to the thread of the loop. */
static void block_signals(bool block)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static enum vr_status make_id_prefix(char out[20])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        return vr_fail(VR_ERR_IO, "getrandom: %s", strerror(errno));
    }
    snprintf(out, 20, "%016" PRIx64, random);
    return VR_OK;
}

/* Like mkdir -p. */
static enum vr_status make_folder(const char *path)
{
    char part[1024];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        return vr_fail(VR_ERR_INVALID, "--data: an empty or too long path");
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0750) != 0 && errno != EEXIST) {
            return vr_fail(VR_ERR_IO, "%s: %s", part, strerror(errno));
        }
    }
    struct stat found;
    if (stat(path, &found) != 0 || !S_ISDIR(found.st_mode)) {
        return vr_fail(VR_ERR_IO, "%s: not a folder", path);
    }
    return VR_OK;
}

static enum vr_status prepare_data(const char *folder)
{
    enum vr_status status = folder != NULL ? make_folder(folder) : VR_OK;
    if (status == VR_OK && folder == NULL) {
        vr_log(VR_LOG_INFO, "state_in_memory", "durable=false");
    }
    return status;
}

static enum vr_status build_feed(struct server *server)
{
    const struct vr_config *config = server->setup->config;
    const struct vr_feed_config feed = vr_feed_config_of(config);
    enum vr_status status = vr_backend_open("cpu", 1, &server->backend);
    if (status == VR_OK) {
        const char *folder = server->setup->data_dir;
        status = folder != NULL ? vr_state_open(&config->state, folder, &server->shared.state)
                                : vr_state_create(&config->state, &server->shared.state);
    }
    if (status == VR_OK) {
        status = vr_feed_create(&feed, server->backend, server->shared.state, NULL, &server->shared.feed);
    }
    return status == VR_ERR_FORMAT ? VR_ERR_INVALID : status; /* a term of the configuration that does not compile */
}

static enum vr_status open_device(struct server *server)
{
    struct vr_keeper_setup setup = {.config = server->setup->config,
                                    .role = server->setup->role,
                                    .feed = server->shared.feed,
                                    .argv = server->setup->argv,
                                    .on_lost = on_device_lost,
                                    .argument = server};
    return vr_keeper_open(&server->keeper, &setup);
}

static enum vr_status make_models(struct server *server)
{
    struct vr_models_setup setup = {.config = server->setup->config,
                                    .role = server->setup->role,
                                    .bundle = server->setup->bundle,
                                    .backend = server->backend,
                                    .shared = &server->shared,
                                    .keeper = &server->keeper,
                                    .on_first = on_first,
                                    .argument = server};
    return vr_models_create(&setup, &server->shared.models);
}

/* A socket for each loop; a worker gets them from its parent. */
static enum vr_status listen_public(struct server *server)
{
    int fd[VR_LOOPS_MAX];
    struct vr_shared *shared = &server->shared;
    memcpy(fd, server->setup->role->listen_fd, sizeof fd);
    if (server->setup->role->listen_count == 0) {
        enum vr_status status = vr_listener_bind(shared->config->server.listen, shared->loop_count, fd);
        if (status != VR_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < shared->loop_count; i++) {
        vr_listener_adopt(shared->loop[i], VR_PORT_PUBLIC, fd[i]);
        if (shared->restarts == 0) {
            vr_listener_start(&shared->loop[i]->listener[VR_PORT_PUBLIC]);
        }
    }
    return VR_OK;
}

static enum vr_status listen_admin(struct server *server)
{
    int fd = server->setup->role->admin_fd;
    enum vr_status status = fd < 0 ? vr_listener_bind(server->shared.config->server.admin, 1, &fd) : VR_OK;
    if (status == VR_OK) {
        vr_listener_adopt(server->loop, VR_PORT_ADMIN, fd);
        vr_listener_start(&server->loop->listener[VR_PORT_ADMIN]);
    }
    return status;
}

static enum vr_status build_loops(struct server *server)
{
    const struct vr_server_config *config = &server->setup->config->server;
    const struct vr_role *role = server->setup->role;
    struct vr_shared *shared = &server->shared;
    shared->loop_count = role->listen_count > 0 ? role->listen_count : config->loops;
    uint32_t most = vr_connections_reserve(config->max_connections, shared->loop_count);
    enum vr_status status = vr_admission_create(most, config->max_connections_per_address, &shared->admission);
    if (status == VR_OK) {
        status = vr_loops_create(shared);
    }
    server->loop = status == VR_OK ? shared->loop[0] : NULL;
    return status;
}

static void add_events(struct server *server)
{
    struct event_base *base = server->loop->base;
    event_assign(&server->signals[0], base, SIGTERM, EV_SIGNAL | EV_PERSIST, on_signal, server);
    event_assign(&server->signals[1], base, SIGINT, EV_SIGNAL | EV_PERSIST, on_signal, server);
    event_assign(&server->control, base, server->setup->role->control_fd, EV_READ | EV_PERSIST, on_control, server);
    event_assign(&server->drain_timer, base, -1, EV_PERSIST, on_drain_step, server);
    if (server->setup->role->control_fd >= 0) {
        event_add(&server->control, NULL);
    } else {
        event_add(&server->signals[0], NULL);
        event_add(&server->signals[1], NULL);
    }
    server->events_added = true;
}

static enum vr_status build(struct server *server)
{
    const struct vr_server_config *config = &server->setup->config->server;
    enum vr_status status = vr_admin_address_check(config);
    if (status == VR_OK) {
        status = make_id_prefix(server->shared.id_prefix);
    }
    if (status == VR_OK) {
        status = prepare_data(server->setup->data_dir);
    }
    if (status == VR_OK) {
        status = build_feed(server);
    }
    if (status == VR_OK) {
        status = open_device(server);
    }
    if (status == VR_OK) {
        status = make_models(server);
    }
    if (status == VR_OK) {
        status = build_loops(server);
    }
    if (status == VR_OK) {
        add_events(server);
        status = listen_public(server);
    }
    if (status == VR_OK) {
        status = listen_admin(server);
    }
    if (status == VR_OK) {
        status = vr_loops_start(&server->shared);
    }
    return status == VR_OK ? vr_models_start(server->shared.models) : status;
}

static void remove_events(struct server *server)
{
    if (server->events_added) {
        event_del(&server->signals[0]); /* what it did before: from here on a signal ends the process */
        event_del(&server->signals[1]);
        event_del(&server->control);
        event_del(&server->drain_timer);
    }
}

/* Connections first, so that lanes drop the work of those that a drain cut short; then the lanes, so that every call is
 * back before its loop goes. */
static void tear_down(struct server *server)
{
    vr_loops_join(&server->shared);
    if (server->loop != NULL) {
        remove_events(server);
    }
    vr_loops_close(&server->shared);
    if (server->shared.feed != NULL) {
        vr_feed_stop(server->shared.feed);
    }
    if (server->shared.state != NULL) {
        vr_state_stop(server->shared.state);
    }
    if (server->shared.models != NULL) {
        vr_models_leave_loop(server->shared.models);
    }
    vr_loops_destroy(&server->shared);
    vr_admission_destroy(server->shared.admission);
    vr_models_destroy(server->shared.models);
    vr_feed_destroy(server->shared.feed);
    vr_keeper_close(&server->keeper);
    vr_state_destroy(server->shared.state);
    vr_backend_destroy(server->backend);
}

/* With a lost device: its calls may hang, so that what it holds is left to the end of the process. So is the state
 * where a model is still being made ready, which joins it. */
static void leave(struct server *server)
{
    vr_loops_close(&server->shared);
    vr_feed_stop(server->shared.feed);
    if (vr_models_stop(server->shared.models)) {
        vr_state_destroy(server->shared.state);
    }
}

static bool device_is_lost(struct server *server)
{
    struct vr_device_status device;
    vr_feed_device_read(server->shared.feed, &device);
    return device.state == VR_DEVICE_LOST;
}

/* How a run that came to its end ends, given all that may still be at work. */
static enum vr_server_end end_of(struct server *server)
{
    bool making = !vr_models_stop(server->shared.models);
    bool building = !vr_keeper_stop(&server->keeper);
    bool clean = server->end == VR_SERVER_END_CLEAN;
    if (server->end == VR_SERVER_END_FORCED) {
        return VR_SERVER_END_FORCED;
    }
    if (server->handing_over) {
        return VR_SERVER_END_DEVICE;
    }
    if (making || building) {
        return clean ? VR_SERVER_END_LOADING : VR_SERVER_END_FORCED;
    }
    bool lost = server->failure == VR_OK && device_is_lost(server);
    return !lost ? server->end : clean ? VR_SERVER_END_UNTIDY : VR_SERVER_END_FORCED;
}

static void log_stopped(const struct server *server)
{
    bool clean = server->end != VR_SERVER_END_CUT && server->end != VR_SERVER_END_FORCED;
    vr_log(VR_LOG_INFO, "stopped", "clean=%s", clean ? "true" : "false");
}

enum vr_status vr_server_run(const struct vr_server_setup *setup, enum vr_server_end *end)
{
    struct server server = {.setup = setup, .keeper = {.built_fd = -1}};
    server.shared.config = setup->config;
    server.shared.started_ms = vr_clock_wall_ms();
    server.shared.restarts = setup->role->restarts;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of the write */
    block_signals(true);
    enum vr_status status = build(&server);
    block_signals(false);
    if (status == VR_OK) {
        vr_log(VR_LOG_INFO, "listening", "listen=%s admin=%s", server.loop->listener[VR_PORT_PUBLIC].address,
               server.loop->listener[VR_PORT_ADMIN].address);
        event_base_dispatch(server.loop->base);
        vr_loops_join(&server.shared);
        status = server.failure;
        server.end = end_of(&server);
    }
    *end = server.end;
    if (server.end == VR_SERVER_END_DEVICE || server.end == VR_SERVER_END_UNTIDY) {
        leave(&server);
    }
    if (server.end > VR_SERVER_END_CUT) {
        log_stopped(&server);
        return VR_OK;
    }
    if (server.failure == VR_OK) { /* building failed, or nothing did */
        snprintf(server.why, sizeof server.why, "%s", vr_error_text());
    }
    tear_down(&server);
    if (status != VR_OK) {
        return vr_fail(status, "%s", server.why); /* tearing down may have left another text */
    }
    log_stopped(&server);
    return VR_OK;
}
