/* One event loop: base, hand-back, writer, Date (loop.h). */
#include "loop.h"

#include <stdlib.h>
#include <time.h>

#include "vireo/clock.h"

#define JSON_DEPTH 8u /* bodies need 4 */

static void on_handback(evutil_socket_t fd, short what, void *argument)
{
    struct vr_loop *loop = argument;
    (void)fd;
    (void)what;
    vr_call_drain(loop);
}

static enum vr_status build(struct vr_loop *loop)
{
    loop->base = event_base_new();
    if (loop->base == NULL) {
        return vr_fail(VR_ERR_NOMEM, "the event loop cannot be made");
    }
    enum vr_status status = vr_json_create(loop->shared->config->server.max_body_bytes, JSON_DEPTH, &loop->json);
    if (status == VR_OK) {
        status = vr_handback_create(&loop->handback);
    }
    if (status != VR_OK) {
        return status;
    }
    event_assign(&loop->handback_event, loop->base, vr_handback_fd(loop->handback), EV_READ | EV_PERSIST, on_handback,
                 loop);
    if (event_add(&loop->handback_event, NULL) != 0) {
        return vr_fail(VR_ERR_IO, "the hand-back cannot be watched");
    }
    loop->handback_added = true;
    return VR_OK;
}

enum vr_status vr_loop_create(struct vr_shared *shared, struct vr_loop **out)
{
    struct vr_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a loop");
    }
    loop->shared = shared;
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
    if (loop->handback_added) {
        event_del(&loop->handback_event);
    }
    vr_handback_destroy(loop->handback);
    vr_json_destroy(loop->json);
    vr_json_writer_destroy(&loop->writer);
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
