/* One event loop: base, orders, thread, hand-back, writer, Date (loop.h). */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vireo/clock.h"

#define JSON_DEPTH 8u  /* bodies need 4 */
#define CACHE_LINE 64u /* bytes */

static void on_handback(evutil_socket_t fd, short what, void *argument)
{
    struct vr_loop *loop = argument;
    (void)fd;
    (void)what;
    vr_call_drain(loop);
}

/* ---- orders ---- */

static void obey(struct vr_loop *loop, unsigned orders)
{
    struct vr_listener *listener = &loop->listener[VR_PORT_PUBLIC];
    if (orders & VR_ORDER_ACCEPT) {
        vr_listener_start(listener);
    }
    if (orders & VR_ORDER_HOLD) {
        vr_listener_hold(listener);
    }
    if (orders & VR_ORDER_FINISH) {
        vr_listener_finish(listener);
    }
    if (orders & VR_ORDER_CLOSE_IDLE) {
        vr_connection_close_idle(loop, VR_PORT_PUBLIC, (orders & VR_ORDER_CLOSE_ANSWERED) != 0);
    }
    if (orders & VR_ORDER_END) {
        event_base_loopbreak(loop->base);
    }
}

static void on_order(evutil_socket_t fd, short what, void *argument)
{
    struct vr_loop *loop = argument;
    uint64_t count;
    (void)what;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    uint64_t told = __atomic_load_n(&loop->told, __ATOMIC_ACQUIRE); /* before the orders: these may be more */
    obey(loop, __atomic_exchange_n(&loop->orders, 0, __ATOMIC_ACQ_REL));
    __atomic_store_n(&loop->obeyed, told, __ATOMIC_RELEASE);
}

void vr_loop_tell(struct vr_loop *loop, unsigned orders)
{
    uint64_t one = 1;
    __atomic_fetch_or(&loop->orders, orders, __ATOMIC_RELEASE);
    __atomic_fetch_add(&loop->told, 1, __ATOMIC_RELEASE);
    while (write(loop->order_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

bool vr_loop_has_obeyed(const struct vr_loop *loop)
{
    uint64_t told = __atomic_load_n(&loop->told, __ATOMIC_RELAXED);
    return __atomic_load_n(&loop->obeyed, __ATOMIC_ACQUIRE) == told;
}

/* ---- its thread ---- */

static void *run(void *argument)
{
    struct vr_loop *loop = argument;
    event_base_dispatch(loop->base);
    return NULL;
}

enum vr_status vr_loop_start(struct vr_loop *loop)
{
    int error = pthread_create(&loop->thread, NULL, run, loop);
    loop->running = error == 0;
    return error == 0 ? VR_OK : vr_fail(VR_ERR_IO, "a loop's thread cannot be started: %s", strerror(error));
}

void vr_loop_join(struct vr_loop *loop)
{
    if (loop != NULL && loop->running) {
        vr_loop_tell(loop, VR_ORDER_END);
        pthread_join(loop->thread, NULL);
        loop->running = false;
    }
}

/* ---- made and ended ---- */

static enum vr_status watch(struct vr_loop *loop)
{
    event_assign(&loop->handback_event, loop->base, vr_handback_fd(loop->handback), EV_READ | EV_PERSIST, on_handback,
                 loop);
    event_assign(&loop->order_event, loop->base, loop->order_fd, EV_READ | EV_PERSIST, on_order, loop);
    if (event_add(&loop->handback_event, NULL) != 0 || event_add(&loop->order_event, NULL) != 0) {
        return vr_fail(VR_ERR_IO, "the event loop cannot watch its own descriptors");
    }
    return VR_OK;
}

static enum vr_status build(struct vr_loop *loop)
{
    loop->base = event_base_new();
    if (loop->base == NULL) {
        return vr_fail(VR_ERR_NOMEM, "the event loop cannot be made");
    }
    loop->order_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->order_fd < 0) {
        return vr_fail(VR_ERR_IO, "eventfd: %s", strerror(errno));
    }
    enum vr_status status = vr_json_create(loop->shared->config->server.max_body_bytes, JSON_DEPTH, &loop->json);
    if (status == VR_OK) {
        status = vr_handback_create(&loop->handback);
    }
    if (status != VR_OK) {
        return status;
    }
    loop->events_added = true;
    return watch(loop);
}

enum vr_status vr_loop_create(struct vr_shared *shared, uint32_t index, struct vr_loop **out)
{
    size_t bytes = (sizeof(struct vr_loop) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct vr_loop *loop = aligned_alloc(CACHE_LINE, bytes);
    if (loop == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a loop");
    }
    memset(loop, 0, bytes);
    loop->shared = shared;
    loop->index = index;
    loop->next_id = index;
    vr_slow_log_open(&loop->slow, shared->config->server.slow_request_ms, shared->loop_count);
    loop->order_fd = -1;
    loop->listener[VR_PORT_PUBLIC].fd = -1;
    loop->listener[VR_PORT_ADMIN].fd = -1;
    enum vr_status status = build(loop);
    if (status != VR_OK) {
        vr_loop_destroy(loop);
        return status;
    }
    *out = loop;
    return VR_OK;
}

void vr_loop_close(struct vr_loop *loop)
{
    vr_listener_close(&loop->listener[VR_PORT_PUBLIC]);
    vr_listener_close(&loop->listener[VR_PORT_ADMIN]);
    while (loop->connections != NULL) {
        vr_connection_close(loop->connections);
    }
}

void vr_loop_destroy(struct vr_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    vr_loop_close(loop);
    if (loop->handback != NULL) {
        vr_call_drain(loop);
    }
    vr_call_free_spares(loop);
    if (loop->events_added) {
        event_del(&loop->handback_event);
        event_del(&loop->order_event);
    }
    vr_handback_destroy(loop->handback);
    vr_json_destroy(loop->json);
    vr_json_writer_destroy(&loop->writer);
    vr_buffers_free(&loop->buffers);
    if (loop->order_fd >= 0) {
        close(loop->order_fd);
    }
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    free(loop);
}

const char *vr_loop_date(struct vr_loop *loop)
{
    int64_t now_s = vr_clock_wall_ms() / 1000;
    if (now_s != loop->date_s) {
        time_t seconds = (time_t)now_s;
        struct tm utc;
        gmtime_r(&seconds, &utc);
        strftime(loop->date, sizeof loop->date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        loop->date_s = now_s;
    }
    return loop->date;
}
