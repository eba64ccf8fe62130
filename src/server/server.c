/* `vireo serve` (server.h): builds the parts in order, loads the bundle beside the running loop, so that /healthz
 * answers and /readyz says "loading" meanwhile, and stops in order.
 *
 * The way down: readiness turns to draining, the public listener closes, each connection closes after its answer; idle
 * ones have DRAIN_GRACE_MS to bring in what was under way. When no public connection and no call is left, or the drain
 * timeout has passed, the loop ends, then the lanes. The admin port answers to the end. A bundle that is being loaded
 * is not waited for. */
#include "server.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"
#include "vireo/clock.h"
#include "vireo/log.h"

#define DRAIN_GRACE_MS 250u
#define DRAIN_STEP_MS 20u

/* The bundle is loaded on a thread of its own, which writes `done_fd` last. */
struct loader {
    pthread_t thread;
    bool started;
    int done_fd;
    struct event event;
    enum vr_status status;
    char error[512];
    struct vr_model *model; /* with one reference, on success */
};

struct server {
    const struct vr_server_setup *setup;
    struct vr_shared shared;
    struct vr_backend *backend;
    struct vr_loop *loop;
    struct loader loader;
    struct event signals[2], drain_timer;
    bool events_added;
    uint64_t drain_began_us;
    enum vr_status failure; /* what ended the loop, VR_OK for a signal */
    enum vr_server_end end;
};

/* ---- the bundle ---- */

static void *load_bundle(void *argument)
{
    struct server *server = argument;
    struct loader *loader = &server->loader;
    loader->status = vr_model_load(server->setup->bundle, server->backend, &server->setup->config->retrieval,
                                   server->shared.state, server->shared.started_ms, &loader->model);
    if (loader->status != VR_OK) {
        snprintf(loader->error, sizeof loader->error, "%s", vr_error_text());
    }
    uint64_t one = 1;
    while (write(loader->done_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
    return NULL;
}

static void join_loader(struct loader *loader)
{
    if (loader->started) {
        pthread_join(loader->thread, NULL);
        loader->started = false;
    }
}

static void put_in_service(struct server *server)
{
    struct loader *loader = &server->loader;
    (void)vr_feed_set_model(server->shared.feed, loader->model);
    const struct vr_bundle *bundle = loader->model->bundle;
    if (server->drain_began_us != 0) {
        return; /* told to stop while it was loading */
    }
    __atomic_store_n(&server->shared.readiness, VR_READY_YES, __ATOMIC_RELEASE);
    vr_log(VR_LOG_INFO, "ready", "listen=%s admin=%s model_version=%s videos=%u load_ms=%" PRId64,
           server->loop->listener[VR_PORT_PUBLIC].address, server->loop->listener[VR_PORT_ADMIN].address,
           bundle->model_version, bundle->videos.count, vr_clock_wall_ms() - server->shared.started_ms);
}

static void on_loaded(evutil_socket_t fd, short what, void *argument)
{
    struct server *server = argument;
    (void)fd;
    (void)what;
    event_del(&server->loader.event);
    join_loader(&server->loader);
    if (server->loader.status == VR_OK) {
        put_in_service(server);
        return;
    }
    server->failure = vr_fail(server->loader.status, "%s: %s", server->setup->bundle, server->loader.error);
    event_base_loopbreak(server->loop->base);
}

static enum vr_status start_loader(struct server *server)
{
    struct loader *loader = &server->loader;
    loader->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loader->done_fd < 0) {
        return vr_fail(VR_ERR_IO, "eventfd: %s", strerror(errno));
    }
    event_assign(&loader->event, server->loop->base, loader->done_fd, EV_READ | EV_PERSIST, on_loaded, server);
    event_add(&loader->event, NULL);
    int error = pthread_create(&loader->thread, NULL, load_bundle, server);
    if (error != 0) {
        return vr_fail(VR_ERR_IO, "the loading thread cannot be started: %s", strerror(error));
    }
    loader->started = true;
    return VR_OK;
}

/* ---- the way down ---- */

static void on_drain_step(evutil_socket_t fd, short what, void *argument)
{
    struct server *server = argument;
    struct vr_loop *loop = server->loop;
    uint64_t passed_ms = (vr_clock_mono_us() - server->drain_began_us) / 1000;
    (void)fd;
    (void)what;
    bool over = passed_ms >= server->setup->config->server.drain_timeout_ms;
    if (over || passed_ms >= DRAIN_GRACE_MS) {
        vr_connection_close_idle(loop, VR_PORT_PUBLIC, over);
        if (loop->connection_count[VR_PORT_PUBLIC] == 0 && loop->calls == 0) {
            event_base_loopbreak(loop->base);
            return;
        }
    }
    if (over) {
        server->end = VR_SERVER_END_CUT;
        vr_log(VR_LOG_WARN, "drain_timeout", "connections=%u calls=%u", loop->connection_count[VR_PORT_PUBLIC],
               loop->calls);
        event_base_loopbreak(loop->base);
    }
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    struct server *server = argument;
    (void)what;
    if (server->drain_began_us != 0) {
        vr_log(VR_LOG_WARN, "stop_forced", "signal=%d", (int)number);
        server->end = VR_SERVER_END_FORCED;
        event_base_loopbreak(server->loop->base);
        return;
    }
    vr_log(VR_LOG_INFO, "draining", "signal=%d calls=%u connections=%u", (int)number, server->loop->calls,
           server->loop->connection_count[VR_PORT_PUBLIC]);
    __atomic_store_n(&server->shared.readiness, VR_READY_DRAINING, __ATOMIC_RELEASE);
    server->drain_began_us = vr_clock_mono_us();
    vr_listener_finish(&server->loop->listener[VR_PORT_PUBLIC]);
    struct timeval step = {0, DRAIN_STEP_MS * 1000};
    event_add(&server->drain_timer, &step);
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
    if (status == VR_OK) {
        vr_log(VR_LOG_INFO, "state_in_memory", "durable=false data=%s", folder != NULL ? folder : "-");
    }
    return status;
}

static enum vr_status check_admin_address(const struct vr_server_config *config)
{
    bool loopback = false;
    enum vr_status status = vr_address_is_loopback(config->admin, &loopback);
    if (status == VR_OK && !loopback && !config->admin_allow_remote) {
        return vr_fail(VR_ERR_INVALID, "server.admin: %s is not loopback; set server.admin_allow_remote to allow it",
                       config->admin);
    }
    return status;
}

static enum vr_status build_feed(struct server *server)
{
    const struct vr_config *config = server->setup->config;
    struct vr_feed_config feed = {
        .lanes = config->lanes, .satisfaction = config->satisfaction, .rerank = config->rerank, .state = config->state};
    memcpy(feed.source, config->source, sizeof feed.source);
    enum vr_status status = vr_backend_open("cpu", 1, &server->backend);
    if (status == VR_OK) {
        status = vr_state_create(&config->state, &server->shared.state);
    }
    if (status == VR_OK) {
        status = vr_feed_create(&feed, server->backend, server->shared.state, NULL, &server->shared.feed);
    }
    return status == VR_ERR_FORMAT ? VR_ERR_INVALID : status; /* a term of the configuration that does not compile */
}

static void add_events(struct server *server)
{
    struct event_base *base = server->loop->base;
    event_assign(&server->signals[0], base, SIGTERM, EV_SIGNAL | EV_PERSIST, on_signal, server);
    event_assign(&server->signals[1], base, SIGINT, EV_SIGNAL | EV_PERSIST, on_signal, server);
    event_assign(&server->drain_timer, base, -1, EV_PERSIST, on_drain_step, server);
    event_add(&server->signals[0], NULL);
    event_add(&server->signals[1], NULL);
    server->events_added = true;
}

static enum vr_status build(struct server *server)
{
    const struct vr_server_config *config = &server->setup->config->server;
    enum vr_status status = check_admin_address(config);
    if (status == VR_OK) {
        server->shared.max_connections = vr_connections_reserve(config->max_connections);
        status = make_id_prefix(server->shared.id_prefix);
    }
    if (status == VR_OK) {
        status = prepare_data(server->setup->data_dir);
    }
    if (status == VR_OK) {
        status = build_feed(server);
    }
    if (status == VR_OK) {
        status = vr_loop_create(&server->shared, &server->loop);
    }
    if (status == VR_OK) {
        add_events(server);
        status = vr_listener_open(server->loop, VR_PORT_PUBLIC, config->listen);
    }
    if (status == VR_OK) {
        status = vr_listener_open(server->loop, VR_PORT_ADMIN, config->admin);
    }
    return status == VR_OK ? start_loader(server) : status;
}

static void remove_events(struct server *server)
{
    if (server->events_added) {
        event_del(&server->signals[0]); /* what it did before: from here on a signal ends the process */
        event_del(&server->signals[1]);
        event_del(&server->drain_timer);
    }
    if (server->loader.done_fd >= 0) {
        event_del(&server->loader.event);
        close(server->loader.done_fd);
    }
}

/* Connections first, so that lanes drop the work of those that a drain cut short; then the lanes, so that every call is
 * back before its loop goes. */
static void tear_down(struct server *server)
{
    join_loader(&server->loader);
    if (server->loop != NULL) {
        remove_events(server);
        vr_loop_close(server->loop);
    }
    if (server->shared.feed != NULL) {
        vr_feed_stop(server->shared.feed);
    }
    vr_loop_destroy(server->loop);
    vr_model_release(server->loader.model);
    vr_feed_destroy(server->shared.feed);
    vr_state_destroy(server->shared.state);
    vr_backend_destroy(server->backend);
}

static void log_stopped(const struct server *server)
{
    bool clean = server->end == VR_SERVER_END_CLEAN || server->end == VR_SERVER_END_LOADING;
    vr_log(VR_LOG_INFO, "stopped", "clean=%s", clean ? "true" : "false");
}

enum vr_status vr_server_run(const struct vr_server_setup *setup, enum vr_server_end *end)
{
    struct server server = {.setup = setup, .loader = {.done_fd = -1}};
    server.shared.config = setup->config;
    server.shared.started_ms = vr_clock_wall_ms();
    signal(SIGPIPE, SIG_IGN);
    block_signals(true);
    enum vr_status status = build(&server);
    block_signals(false);
    if (status == VR_OK) {
        vr_log(VR_LOG_INFO, "listening", "listen=%s admin=%s", server.loop->listener[VR_PORT_PUBLIC].address,
               server.loop->listener[VR_PORT_ADMIN].address);
        event_base_dispatch(server.loop->base);
        status = server.failure;
        if (server.loader.started) {
            server.end = server.end == VR_SERVER_END_CLEAN ? VR_SERVER_END_LOADING : VR_SERVER_END_FORCED;
        }
    }
    *end = server.end;
    if (server.end == VR_SERVER_END_FORCED || server.end == VR_SERVER_END_LOADING) {
        log_stopped(&server);
        return VR_OK;
    }
    char why[512];
    snprintf(why, sizeof why, "%s", vr_error_text());
    tear_down(&server);
    if (status != VR_OK) {
        return vr_fail(status, "%s", why); /* tearing down may have left another text */
    }
    log_stopped(&server);
    return VR_OK;
}
