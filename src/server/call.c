/* Calls: jobs of a loop, their arenas kept warm between requests (loop.h). */
#include <stddef.h>
#include <stdlib.h>

#include "loop.h"

#define ARENA_CHUNK_BYTES 65536u
#define ARENA_KEPT_BYTES (1u << 20) /* an arena that grew beyond is not kept */
#define SPARES_MAX 256u

static void call_destroy(struct vr_call *call)
{
    vr_arena_destroy(call->job.arena);
    free(call);
}

struct vr_call *vr_call_take(struct vr_loop *loop)
{
    struct vr_call *call = loop->spare;
    if (call != NULL) {
        loop->spare = call->next;
        loop->spare_count--;
    } else {
        call = calloc(1, sizeof *call);
        if (call == NULL || vr_arena_create(ARENA_CHUNK_BYTES, &call->job.arena) != VR_OK) {
            free(call);
            (void)vr_fail(VR_ERR_NOMEM, "no memory for a request");
            return NULL;
        }
    }
    struct vr_arena *arena = call->job.arena;
    vr_arena_reset(arena);
    *call = (struct vr_call){.job = {.arena = arena, .home = loop->handback}};
    return call;
}

void vr_call_put(struct vr_loop *loop, struct vr_call *call)
{
    vr_job_release(&call->job);
    if (loop->spare_count >= SPARES_MAX || vr_arena_capacity(call->job.arena) > ARENA_KEPT_BYTES) {
        call_destroy(call);
        return;
    }
    call->next = loop->spare;
    loop->spare = call;
    loop->spare_count++;
}

void vr_call_free_spares(struct vr_loop *loop)
{
    while (loop->spare != NULL) {
        struct vr_call *call = loop->spare;
        loop->spare = call->next;
        call_destroy(call);
    }
    loop->spare_count = 0;
}

static void answer(struct vr_loop *loop, struct vr_call *call)
{
    struct vr_exchange exchange = {.received_us = call->job.request.received_us};
    exchange.match.route = call->route;
    vr_handle_reply(loop, call, &exchange);
    if (call->route != VR_ROUTE_EVENTS) {
        vr_http_metrics_reply(&loop->metrics, &call->job.reply);
    }
    vr_slow_log_note(&loop->slow, &call->job, vr_route_name(call->route), exchange.status);
    struct vr_connection *connection = call->connection;
    vr_call_put(loop, call);
    vr_connection_answer(connection, &exchange);
}

void vr_call_drain(struct vr_loop *loop)
{
    struct vr_job *job = vr_handback_drain(loop->handback);
    while (job != NULL) {
        struct vr_job *next = job->next;
        struct vr_call *call = (struct vr_call *)((char *)job - offsetof(struct vr_call, job));
        vr_count(&loop->counts.calls, -1);
        if (call->connection != NULL) {
            answer(loop, call);
        } else {
            vr_call_put(loop, call);
        }
        job = next;
    }
}
