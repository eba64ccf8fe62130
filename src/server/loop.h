/* The inside of the server room: event loops with their listeners, connections and calls. Each loop has a thread, and
 * all of a loop belongs to it, but for what other threads reach through their own means: the hand-back list (lanes),
 * the orders (the first loop's thread, which starts and stops the server) and the counters (read by whoever is asked).
 * The first loop runs in the thread that made the server and has the admin port. */
#ifndef VIREO_SERVER_LOOP_H
#define VIREO_SERVER_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>

#include "admission.h"
#include "buffers.h"
#include "counter.h"
#include "http_metrics.h"
#include "http_parse.h"
#include "reply_json.h"
#include "request_json.h"
#include "route.h"
#include "slow_log.h"
#include "vireo/config.h"
#include "vireo/feed.h"
#include "vireo/json.h"

enum vr_readiness { VR_READY_LOADING = 0, VR_READY_YES, VR_READY_DRAINING };

struct vr_loop;
struct vr_connection;
struct vr_models; /* models.h */

/* What all loops share. Set up before they run; `readiness` changes through __atomic builtins. */
struct vr_shared {
    const struct vr_config *config;
    struct vr_state *state;
    struct vr_feed *feed;
    struct vr_admission *admission;
    struct vr_models *models; /* the first loop's, but for what vr_models_count reads */
    struct vr_loop **loop;    /* [loop_count] */
    uint32_t loop_count;
    enum vr_readiness readiness;
    int64_t started_ms;
    uint32_t restarts;  /* workers before this one, under the same parent */
    char id_prefix[20]; /* of the request ids made here: 16 random hexadecimal digits */
};

/* A job with the connection that waits for it. From take to submit and from hand-back on it is the loop's; between,
 * only job.cancelled and the loop's own fields may be touched. */
struct vr_call {
    struct vr_job job;
    struct vr_connection *connection; /* NULL once the client has gone */
    enum vr_route route;
    bool close;                            /* the connection, after the answer */
    struct vr_str ignored[VR_CONTEXT_MAX]; /* context values that the bundle does not know */
    uint32_t ignored_count;
    struct vr_event_batch events; /* of an EVENTS call, in the job's arena, and what becomes of them */
    struct vr_event_ticket ticket;
    struct vr_call *next; /* spare list */
};

/* One request on its way to an answer. */
struct vr_exchange {
    struct vr_route_match match;
    enum vr_http_method method;
    struct vr_str timeout, priority;         /* of the request's header fields; data NULL: absent. Borrowed as well */
    struct vr_str content_type, query, body; /* borrowed from the connection's buffer until the handler returns */
    uint64_t received_us;                    /* monotonic, when the request was complete */
    int status;                              /* of the answer */
    uint32_t retry_after_s;                  /* of a 503; 0: a second */
    const char *media_type;                  /* of the answer's body, which lies in the loop's writer */
    bool close;                              /* close after the answer */
};

/* A listening socket. */
struct vr_listener {
    struct vr_loop *loop;
    enum vr_port port;
    int fd; /* -1: closed */
    struct event event, pause;
    char address[80]; /* as bound, "127.0.0.1:8080" */
};

enum vr_phase { VR_PHASE_READING = 0, VR_PHASE_WAITING, VR_PHASE_WRITING, VR_PHASE_LINGERING };
#define VR_PHASE_COUNT 4u

/* What a loop has in hand; counters (counter.h). */
struct vr_loop_counts {
    uint64_t connections[2]; /* open, by enum vr_port, those that are being refused too */
    uint64_t phase[VR_PHASE_COUNT];
    uint64_t calls; /* submitted, not yet back */
};

/* What a loop is told to do, as a set of bits; done in this order. Of the public port, but for the last. */
enum vr_order {
    VR_ORDER_ACCEPT = 1,          /* take connections */
    VR_ORDER_HOLD = 2,            /* take no more; they wait for whoever else holds the socket */
    VR_ORDER_FINISH = 4,          /* take those that wait and close the socket */
    VR_ORDER_CLOSE_IDLE = 8,      /* close connections that are between two requests */
    VR_ORDER_CLOSE_ANSWERED = 16, /* and those that have had their last answer */
    VR_ORDER_END = 32             /* leave the loop */
};

/* Cache lines of its own (vr_loop_create), so that loops do not slow each other down by writing. */
struct vr_loop {
    struct vr_shared *shared;
    uint32_t index;
    pthread_t thread;
    bool running; /* in a thread of its own */
    struct event_base *base;
    int order_fd;
    unsigned orders;       /* not yet done; __atomic builtins, as the two that follow */
    uint64_t told, obeyed; /* how many times; equal: all done */
    struct event order_event;
    struct vr_handback *handback;
    struct event handback_event;
    bool events_added;
    struct vr_listener listener[2]; /* by enum vr_port */
    struct vr_connection *connections;
    struct vr_buffers buffers;
    struct vr_loop_counts counts;
    struct vr_call *spare;
    uint32_t spare_count;
    struct vr_json *json;
    struct vr_json_writer writer; /* the body of the answer being composed */
    struct vr_http_metrics metrics;
    struct vr_slow_log slow;
    struct vr_http_metrics http_metrics; /* of all loops: room for /metrics, too large for the stack, as the next */
    struct vr_feed_metrics feed_metrics;
    uint64_t next_id; /* of requests: index, index + loop_count, ... */
    char date[32];    /* of the Date field, refreshed each second */
    int64_t date_s;
};

/* ---- loop.c ---- */
enum vr_status vr_loop_create(struct vr_shared *shared, uint32_t index, struct vr_loop **out);
/* Run it in a thread of its own until it is told to end. VR_ERR_IO. */
enum vr_status vr_loop_start(struct vr_loop *loop);
/* Tell it to end and wait until it has; nothing where it does not run. */
void vr_loop_join(struct vr_loop *loop);
/* From any thread: do what enum vr_order says, soon. */
void vr_loop_tell(struct vr_loop *loop, unsigned orders);
/* All orders are done. */
bool vr_loop_has_obeyed(const struct vr_loop *loop);
/* Close listeners and connections: what the feed still holds of their calls is cancelled. */
void vr_loop_close(struct vr_loop *loop);
/* Closes as well; no call may be with the feed. NULL is accepted. */
void vr_loop_destroy(struct vr_loop *loop);
/* The Date field's value as of now. */
const char *vr_loop_date(struct vr_loop *loop);

/* ---- loops.c: all loops of a server ---- */
/* shared->loop_count of them, none running. On failure vr_loops_destroy ends what was made. */
enum vr_status vr_loops_create(struct vr_shared *shared);
/* All but the first, which the caller runs. */
enum vr_status vr_loops_start(struct vr_shared *shared);
void vr_loops_tell(struct vr_shared *shared, unsigned orders);
/* Orders are done, and on the public port there is neither a connection nor a call left. */
bool vr_loops_are_done(const struct vr_shared *shared);
bool vr_loops_have_obeyed(const struct vr_shared *shared);
struct vr_loops_sum {
    uint64_t connections; /* of the public port */
    uint64_t calls;
};
struct vr_loops_sum vr_loops_sum(const struct vr_shared *shared);
/* For the first loop's thread, once it has left its loop: end the others. From here on all loops are the caller's. */
void vr_loops_join(struct vr_shared *shared);
void vr_loops_close(struct vr_shared *shared);
void vr_loops_destroy(struct vr_shared *shared);

/* ---- call.c ---- */
/* A call with an empty arena, or NULL with the error text set. */
struct vr_call *vr_call_take(struct vr_loop *loop);
/* Give a call back to the spare list; releases what its job holds. */
void vr_call_put(struct vr_loop *loop, struct vr_call *call);
void vr_call_free_spares(struct vr_loop *loop);
/* Answer everything on the hand-back list. */
void vr_call_drain(struct vr_loop *loop);

/* ---- listener.c ---- */
/* Bind and listen on "HOST:PORT" with `count` sockets, over which the kernel spreads connections; nobody else may have
 * the port. VR_ERR_INVALID, VR_ERR_IO with the address in the text. */
enum vr_status vr_listener_bind(const char *address, uint32_t count, int *out);
/* Take over a listening socket; nothing is accepted before vr_listener_start. */
void vr_listener_adopt(struct vr_loop *loop, enum vr_port port, int fd);
void vr_listener_start(struct vr_listener *listener);
/* Accept nothing more: connections wait in the backlog for whoever else holds the socket. */
void vr_listener_hold(struct vr_listener *listener);
void vr_listener_close(struct vr_listener *listener);
/* Take the connections that wait to be accepted, then close: their requests were sent before anybody said no. */
void vr_listener_finish(struct vr_listener *listener);
/* Raise the process's limit of open files to what `wanted` public connections need beside the admin port's and those of
 * `loops` loops. Returns how many there may be: fewer, and a line in the log, where the hard limit is too low. */
uint32_t vr_connections_reserve(uint32_t wanted, uint32_t loops);
/* Split "HOST:PORT" or "[IPv6]:PORT" into NUL-terminated pieces. VR_ERR_INVALID. */
enum vr_status vr_address_split(const char *address, char host[64], char port[8]);
/* VR_ERR_INVALID when the admin port would be reachable from elsewhere and that is not allowed. */
enum vr_status vr_admin_address_check(const struct vr_server_config *config);
/* True when every address that `address` resolves to is loopback. VR_ERR_INVALID when it does not resolve. */
enum vr_status vr_address_is_loopback(const char *address, bool *loopback);

/* ---- connection.c ---- */
/* Takes `fd` and its place. Where that is none: answer 503 and close. */
void vr_connection_open(struct vr_loop *loop, const struct vr_place *place, int fd);
/* Close at once; a call that it waits for is cancelled. */
void vr_connection_close(struct vr_connection *connection);
/* The call that the connection waits for is back: the loop's writer holds the answer. */
void vr_connection_answer(struct vr_connection *connection, struct vr_exchange *exchange);
/* Close those of a port that are between two requests; `answered_too`: and those that have had their last answer. */
void vr_connection_close_idle(struct vr_loop *loop, enum vr_port port, bool answered_too);

/* ---- handlers.c, observe.c ---- */
enum vr_handled { VR_HANDLED_ANSWERED = 0, VR_HANDLED_PENDING };
/* Answer the exchange, or submit a call that answers later (*call). */
enum vr_handled vr_handle(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call);
/* What the head alone already forbids: 404, 405, 415. 0, or the status with a problem in the loop's writer. */
int vr_handle_head(struct vr_loop *loop, struct vr_exchange *exchange);
/* The answer of a call that is back. */
void vr_handle_reply(struct vr_loop *loop, struct vr_call *call, struct vr_exchange *exchange);
/* Put a problem into the loop's writer. */
void vr_exchange_fail(struct vr_loop *loop, struct vr_exchange *exchange, int status, const char *code,
                      const char *detail, struct vr_str request_id);
/* GET /healthz, /readyz, /metrics, /admin/config (observe.c), /debug (debug.c). */
void vr_handle_health(struct vr_loop *loop, struct vr_exchange *exchange);
void vr_handle_ready(struct vr_loop *loop, struct vr_exchange *exchange);
void vr_handle_metrics(struct vr_loop *loop, struct vr_exchange *exchange);
void vr_handle_config(struct vr_loop *loop, struct vr_exchange *exchange);
void vr_handle_debug(struct vr_loop *loop, struct vr_exchange *exchange);

#endif
