/* The inside of the server room: one event loop with its listeners, connections and calls. A server has one loop today;
 * nothing here is global, so that it can have several. All of a loop belongs to the thread that runs it, but for the
 * hand-back list and the readiness, which lanes, the loader and other loops reach through their own means. */
#ifndef VIREO_SERVER_LOOP_H
#define VIREO_SERVER_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "http_metrics.h"
#include "http_parse.h"
#include "reply_json.h"
#include "request_json.h"
#include "route.h"
#include "vireo/config.h"
#include "vireo/feed.h"
#include "vireo/json.h"

enum vr_readiness { VR_READY_LOADING = 0, VR_READY_YES, VR_READY_DRAINING };

/* What all loops share. Set up before they run; `readiness` changes through __atomic builtins. */
struct vr_shared {
    const struct vr_config *config;
    struct vr_state *state;
    struct vr_feed *feed;
    enum vr_readiness readiness;
    uint32_t max_connections; /* of the public port: server.max_connections, less where open files are few */
    int64_t started_ms;
    uint32_t restarts;  /* workers before this one, under the same parent */
    char id_prefix[20]; /* of the request ids made here: 16 random hexadecimal digits */
};

struct vr_loop;
struct vr_connection;

/* A job with the connection that waits for it. From take to submit and from hand-back on it is the loop's; between,
 * only job.cancelled and the loop's own fields may be touched. */
struct vr_call {
    struct vr_job job;
    struct vr_connection *connection; /* NULL once the client has gone */
    enum vr_route route;
    bool close;                            /* the connection, after the answer */
    struct vr_str ignored[VR_CONTEXT_MAX]; /* context values that the bundle does not know */
    uint32_t ignored_count;
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

struct vr_loop {
    struct vr_shared *shared;
    struct event_base *base;
    struct vr_handback *handback;
    struct event handback_event;
    bool handback_added;
    struct vr_listener listener[2]; /* by enum vr_port */
    struct vr_connection *connections;
    uint32_t connection_count[2]; /* by enum vr_port */
    uint32_t refused_count[2];    /* of those: beyond the limit, told so and about to close */
    uint32_t calls;               /* submitted, not yet back */
    struct vr_call *spare;
    uint32_t spare_count;
    struct vr_json *json;
    struct vr_json_writer writer; /* the body of the answer being composed */
    struct vr_http_metrics metrics;
    struct vr_feed_metrics feed_metrics; /* room for /metrics, too large for the stack */
    uint64_t next_id;
    char date[32]; /* of the Date field, refreshed each second */
    int64_t date_s;
};

/* ---- loop.c ---- */
enum vr_status vr_loop_create(struct vr_shared *shared, struct vr_loop **out);
/* Close listeners and connections: what the feed still holds of their calls is cancelled. */
void vr_loop_close(struct vr_loop *loop);
/* Closes as well; no call may be with the feed. NULL is accepted. */
void vr_loop_destroy(struct vr_loop *loop);
/* The Date field's value as of now. */
const char *vr_loop_date(struct vr_loop *loop);

/* ---- call.c ---- */
/* A call with an empty arena, or NULL with the error text set. */
struct vr_call *vr_call_take(struct vr_loop *loop);
/* Give a call back to the spare list; releases what its job holds. */
void vr_call_put(struct vr_loop *loop, struct vr_call *call);
void vr_call_free_spares(struct vr_loop *loop);
/* Answer everything on the hand-back list. */
void vr_call_drain(struct vr_loop *loop);

/* ---- listener.c ---- */
/* Bind and listen on "HOST:PORT"; VR_ERR_INVALID, VR_ERR_IO with the address in the text. */
enum vr_status vr_listener_bind(const char *address, int *out);
/* Take over a listening socket; nothing is accepted before vr_listener_start. */
void vr_listener_adopt(struct vr_loop *loop, enum vr_port port, int fd);
void vr_listener_start(struct vr_listener *listener);
/* Accept nothing more: connections wait in the backlog for whoever else holds the socket. */
void vr_listener_hold(struct vr_listener *listener);
void vr_listener_close(struct vr_listener *listener);
/* Take the connections that wait to be accepted, then close: their requests were sent before anybody said no. */
void vr_listener_finish(struct vr_listener *listener);
/* Raise the process's limit of open files to what `wanted` public connections need beside the admin port's. Returns how
 * many there may be: fewer, and a line in the log, where the hard limit is too low. */
uint32_t vr_connections_reserve(uint32_t wanted);
/* Split "HOST:PORT" or "[IPv6]:PORT" into NUL-terminated pieces. VR_ERR_INVALID. */
enum vr_status vr_address_split(const char *address, char host[64], char port[8]);
/* VR_ERR_INVALID when the admin port would be reachable from elsewhere and that is not allowed. */
enum vr_status vr_admin_address_check(const struct vr_server_config *config);
/* True when every address that `address` resolves to is loopback. VR_ERR_INVALID when it does not resolve. */
enum vr_status vr_address_is_loopback(const char *address, bool *loopback);

/* ---- connection.c ---- */
/* Takes `fd`. `refuse`: answer 503 and close. */
void vr_connection_open(struct vr_loop *loop, enum vr_port port, int fd, bool refuse);
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
/* GET /healthz, /readyz, /metrics, /admin/config (observe.c). */
void vr_handle_health(struct vr_loop *loop, struct vr_exchange *exchange);
void vr_handle_ready(struct vr_loop *loop, struct vr_exchange *exchange);
void vr_handle_metrics(struct vr_loop *loop, struct vr_exchange *exchange);
void vr_handle_config(struct vr_loop *loop, struct vr_exchange *exchange);

#endif
