/* One client connection: bytes in, requests one after the other, answers out (loop.h).
 *
 * A connection works on one request at a time, so pipelined answers keep their order and a reader that does not take
 * its answer is sent no other. It is always in one phase:
 *
 *   READING    wants a request; the timer is the idle limit, from a request's first byte on the request deadline
 *   WAITING    a call is with the feed; no timer, for the feed answers by the request's deadline
 *   WRITING    the socket did not take the whole answer; the timer is the write limit
 *   LINGERING  the last answer has gone; what still comes in is thrown away for a second, so that a reset does not
 *              overtake the answer on its way to the client
 *
 * After ANSWERS_A_TURN answers to what a client has sent ahead, the other connections have their turn.
 *
 * A client that closes its sending side still gets its answer; one that resets the connection cancels its call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loop.h"
#include "problem.h"
#include "vireo/clock.h"

#define READ_BYTES 16384u      /* room made for one read(2) */
#define KEPT_BYTES 32768u      /* an input buffer larger than this is freed when empty */
#define PIPELINED_BYTES 65536u /* read ahead while a request is worked on */
#define ANSWERS_A_TURN 16u     /* of pipelined requests, then the other connections have theirs */
#define LINGER_MS 1000u
#define HEAD_BYTES 512u /* of an answer */

enum phase { READING = 0, WAITING, WRITING, LINGERING };

struct vr_connection {
    struct vr_loop *loop;
    struct vr_connection *previous, *next;
    enum vr_port port;
    int fd;
    enum phase phase;
    bool reading, eof, close_after, in_request;
    bool refused; /* one too many: it gets its 503 and counts towards no limit but that of refusals */
    struct event read_event, write_event, timer;
    struct event resume; /* goes on with pipelined requests in the loop's next turn */

    char *in; /* bytes in[in_start .. in_len) are not used up */
    size_t in_start, in_len, in_capacity;
    struct vr_http_request request; /* offsets from in + in_start */

    char *out; /* what the socket did not take yet: out[out_sent .. out_len) */
    size_t out_sent, out_len;

    enum vr_http_method method; /* of the request being answered */
    struct vr_call *call;
};

static void set_timer(struct vr_connection *connection, uint32_t ms)
{
    struct timeval wait = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    event_add(&connection->timer, &wait);
}

static void set_reading(struct vr_connection *connection, bool wanted)
{
    if (wanted && !connection->reading && !connection->eof) {
        event_add(&connection->read_event, NULL);
        connection->reading = true;
    } else if (!wanted && connection->reading) {
        event_del(&connection->read_event);
        connection->reading = false;
    }
}

void vr_connection_close(struct vr_connection *connection)
{
    struct vr_loop *loop = connection->loop;
    if (connection->call != NULL) {
        __atomic_store_n(&connection->call->job.cancelled, true, __ATOMIC_RELAXED);
        connection->call->connection = NULL;
        loop->metrics.cancelled++;
    }
    event_del(&connection->read_event);
    event_del(&connection->write_event);
    event_del(&connection->timer);
    event_del(&connection->resume);
    close(connection->fd);
    if (connection->previous != NULL) {
        connection->previous->next = connection->next;
    } else {
        loop->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    loop->connection_count[connection->port]--;
    loop->refused_count[connection->port] -= connection->refused;
    free(connection->in);
    free(connection->out);
    free(connection);
}

/* ---- input ---- */

/* While a request is worked on, what follows it is read as well: only a read tells that the client has gone. */
static size_t input_limit(const struct vr_connection *connection)
{
    size_t request = VR_HTTP_HEAD_MAX + connection->loop->shared->config->server.max_body_bytes;
    return connection->phase == READING ? request + READ_BYTES : connection->request.total + PIPELINED_BYTES;
}

/* The next size of the input buffer. Once a body's length is known, room for all of it and one read: doubling up to it
 * would copy it several times and let a client hold twice what it sends. Behind a whole request no more room than what
 * is read ahead needs. */
static size_t grown_capacity(const struct vr_connection *connection, size_t held)
{
    const struct vr_http_request *request = &connection->request;
    if (request->phase == VR_HTTP_PHASE_BODY && request->total > held) {
        return request->total + READ_BYTES;
    }
    size_t capacity = connection->in_capacity == 0 ? READ_BYTES : connection->in_capacity * 2;
    while (capacity - held < READ_BYTES) {
        capacity *= 2;
    }
    size_t ahead = request->total + PIPELINED_BYTES + READ_BYTES;
    return request->phase == VR_HTTP_PHASE_BODY && capacity > ahead ? ahead : capacity;
}

/* Room for one more read behind in_len; used-up bytes are dropped first. False when memory is short. */
static bool make_room(struct vr_connection *connection)
{
    if (connection->in_capacity - connection->in_len >= READ_BYTES) {
        return true;
    }
    size_t held = connection->in_len - connection->in_start;
    if (connection->in_start > 0) {
        memmove(connection->in, connection->in + connection->in_start, held);
        connection->in_start = 0;
        connection->in_len = held;
    }
    if (connection->in_capacity - held >= READ_BYTES) {
        return true;
    }
    size_t capacity = grown_capacity(connection, held);
    char *grown = realloc(connection->in, capacity);
    if (grown == NULL) {
        return false;
    }
    connection->in = grown;
    connection->in_capacity = capacity;
    return true;
}

/* Drop the answered request from the input. */
static void consume(struct vr_connection *connection, size_t bytes)
{
    connection->in_start += bytes;
    connection->request = (struct vr_http_request){0};
    connection->in_request = false;
    if (connection->in_start == connection->in_len) {
        connection->in_start = connection->in_len = 0;
        if (connection->in_capacity > KEPT_BYTES) {
            free(connection->in);
            connection->in = NULL;
            connection->in_capacity = 0;
        }
    }
}

/* ---- output ---- */

static void linger(struct vr_connection *connection)
{
    if (connection->eof) {
        vr_connection_close(connection);
        return;
    }
    connection->phase = LINGERING;
    shutdown(connection->fd, SHUT_WR);
    set_reading(connection, true);
    set_timer(connection, LINGER_MS);
}

/* The whole answer has gone to the socket. False when the connection takes no further request. */
static bool after_answer(struct vr_connection *connection)
{
    if (connection->close_after) {
        linger(connection);
        return false;
    }
    consume(connection, connection->request.total);
    connection->phase = READING;
    event_del(&connection->timer);
    return true;
}

/* Keep what the socket did not take. False when memory is short. */
static bool keep_rest(struct vr_connection *connection, const struct iovec part[2], size_t sent)
{
    size_t total = part[0].iov_len + part[1].iov_len;
    char *rest = malloc(total - sent);
    if (rest == NULL) {
        return false;
    }
    size_t from_head = sent < part[0].iov_len ? part[0].iov_len - sent : 0;
    size_t body_sent = sent > part[0].iov_len ? sent - part[0].iov_len : 0;
    memcpy(rest, (const char *)part[0].iov_base + part[0].iov_len - from_head, from_head);
    if (part[1].iov_len > body_sent) {
        memcpy(rest + from_head, (const char *)part[1].iov_base + body_sent, part[1].iov_len - body_sent);
    }
    connection->out = rest;
    connection->out_len = total - sent;
    connection->out_sent = 0;
    return true;
}

/* Send head and body. True when all went out; else the connection writes on by itself or has been closed. */
static bool send_parts(struct vr_connection *connection, const struct iovec part[2])
{
    size_t total = part[0].iov_len + part[1].iov_len;
    struct msghdr message = {.msg_iov = (struct iovec *)part, .msg_iovlen = 2};
    ssize_t sent;
    do {
        sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)total) {
        return true;
    }
    if ((sent < 0 && errno != EAGAIN) || !keep_rest(connection, part, sent > 0 ? (size_t)sent : 0)) {
        vr_connection_close(connection);
        return false;
    }
    connection->phase = WRITING;
    event_add(&connection->write_event, NULL);
    set_timer(connection, connection->loop->shared->config->server.write_timeout_ms);
    return false;
}

static size_t compose_head(struct vr_connection *connection, const struct vr_exchange *exchange, size_t body_len,
                           char head[HEAD_BYTES])
{
    char retry[32] = "";
    if (exchange->status == 503) {
        snprintf(retry, sizeof retry, "Retry-After: %u\r\n", exchange->retry_after_s > 0 ? exchange->retry_after_s : 1);
    }
    int len = snprintf(head, HEAD_BYTES,
                       "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                       "Cache-Control: no-store\r\n%s%s%s%s%s\r\n",
                       exchange->status, vr_problem_phrase(exchange->status), vr_loop_date(connection->loop),
                       exchange->media_type, body_len, exchange->status == 405 ? "Allow: " : "",
                       exchange->status == 405 ? exchange->match.allow : "", exchange->status == 405 ? "\r\n" : "",
                       retry, connection->close_after ? "Connection: close\r\n" : "");
    return len > 0 && (size_t)len < HEAD_BYTES ? (size_t)len : 0;
}

/* Send the answer that lies in the loop's writer. True when all of it went out and the next request may be read. */
static bool put_answer(struct vr_connection *connection, struct vr_exchange *exchange)
{
    struct vr_loop *loop = connection->loop;
    uint64_t took_us = vr_clock_mono_us() - exchange->received_us;
    if (loop->writer.failed) {
        vr_connection_close(connection);
        return false;
    }
    connection->close_after = connection->close_after || exchange->close ||
                              __atomic_load_n(&loop->shared->readiness, __ATOMIC_ACQUIRE) == VR_READY_DRAINING;
    char head[HEAD_BYTES];
    size_t head_len = compose_head(connection, exchange, loop->writer.len, head);
    struct iovec part[2] = {{head, head_len},
                            {loop->writer.data, connection->method == VR_HTTP_HEAD ? 0 : loop->writer.len}};
    vr_http_metrics_answer(&loop->metrics, exchange->match.route, exchange->status, took_us);
    return send_parts(connection, part) && after_answer(connection);
}

/* Refuse what cannot be understood, or came too late, and close. */
static void refuse(struct vr_connection *connection, int status, const char *why)
{
    struct vr_exchange exchange = {.received_us = vr_clock_mono_us(), .close = true};
    struct vr_str none = {NULL, 0};
    connection->method = connection->request.method;
    vr_exchange_fail(connection->loop, &exchange, status, vr_problem_code(status), why, none);
    (void)put_answer(connection, &exchange);
}

/* ---- requests ---- */

/* A header field's value, or a text without data where it was not sent. */
static struct vr_str given(const char *base, struct vr_http_slice slice)
{
    struct vr_str absent = {NULL, 0};
    return slice.offset != 0 ? vr_http_text(base, slice) : absent;
}

static void fill_exchange(const struct vr_connection *connection, struct vr_exchange *exchange)
{
    const struct vr_http_request *request = &connection->request;
    const char *base = connection->in + connection->in_start;
    *exchange = (struct vr_exchange){.method = request->method, .received_us = vr_clock_mono_us()};
    exchange->close = request->close;
    exchange->content_type = vr_http_text(base, request->content_type);
    exchange->timeout = given(base, request->timeout);
    exchange->priority = given(base, request->priority);
    exchange->query = vr_http_text(base, request->query);
    exchange->body.data = base + request->body;
    exchange->body.len = (size_t)request->content_length;
    vr_route_find(connection->port, request->method, vr_http_text(base, request->path), &exchange->match);
}

/* A client that waits for leave to send its body is told at once when the head alone forbids it. False when the
 * connection reads no further. */
static bool give_leave(struct vr_connection *connection)
{
    static const char leave[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct vr_exchange exchange;
    fill_exchange(connection, &exchange);
    connection->method = exchange.method;
    if (vr_handle_head(connection->loop, &exchange) != 0) {
        exchange.close = true;
        (void)put_answer(connection, &exchange);
        return false;
    }
    if (send(connection->fd, leave, sizeof leave - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof leave - 1)) {
        vr_connection_close(connection); /* a socket that cannot take 25 bytes between two answers is gone */
        return false;
    }
    return true;
}

/* Work on a complete request. True when it was answered and the next may be read. */
static bool take_request(struct vr_connection *connection)
{
    struct vr_exchange exchange;
    fill_exchange(connection, &exchange);
    connection->method = exchange.method;
    connection->close_after = exchange.close;
    event_del(&connection->timer);
    if (vr_handle(connection->loop, &exchange, &connection->call) == VR_HANDLED_ANSWERED) {
        return put_answer(connection, &exchange);
    }
    connection->call->connection = connection;
    connection->phase = WAITING;
    set_reading(connection, true); /* a turn's end may have stopped it */
    return false;
}

/* There is no complete request: watch for more, within the limits. */
static void await_more(struct vr_connection *connection)
{
    const struct vr_server_config *config = &connection->loop->shared->config->server;
    const struct vr_http_request *request = &connection->request;
    size_t skipped = request->phase == VR_HTTP_PHASE_LINE ? request->line : 0; /* an empty line is no beginning */
    bool begun = connection->in_len - connection->in_start > skipped;
    if (connection->eof) {
        vr_connection_close(connection);
        return;
    }
    if (begun && !connection->in_request) {
        connection->in_request = true;
        set_timer(connection, config->request_deadline_ms); /* once a request: each further byte changes nothing */
    } else if (!begun && !event_pending(&connection->timer, EV_TIMEOUT, NULL)) {
        set_timer(connection, config->idle_timeout_ms);
    }
    set_reading(connection, true);
}

/* Go on when the loop has looked after the others. A timer does it: an event made active here would run before the loop
 * polls again. */
static void yield_turn(struct vr_connection *connection)
{
    struct timeval at_once = {0, 0};
    set_reading(connection, false);
    event_add(&connection->resume, &at_once);
}

/* Answer what has arrived, as far as it goes or a turn lasts. The connection may be closed on return. */
static void run(struct vr_connection *connection)
{
    uint64_t max_body = connection->loop->shared->config->server.max_body_bytes;
    for (uint32_t answered = 0;; answered++) {
        size_t held = connection->in_len - connection->in_start;
        if (held > 0 && answered == ANSWERS_A_TURN) {
            yield_turn(connection);
            return;
        }
        enum vr_http_outcome outcome = VR_HTTP_MORE;
        if (held > 0) {
            outcome = vr_http_parse(&connection->request, connection->in + connection->in_start, held, max_body);
        }
        if (outcome == VR_HTTP_HEAD_COMPLETE && connection->request.expect && !give_leave(connection)) {
            return;
        }
        if (outcome == VR_HTTP_MORE || outcome == VR_HTTP_HEAD_COMPLETE) {
            await_more(connection);
            return;
        }
        if (outcome == VR_HTTP_BAD) {
            refuse(connection, connection->request.error_status, connection->request.error);
            return;
        }
        if (!take_request(connection)) {
            return;
        }
    }
}

void vr_connection_answer(struct vr_connection *connection, struct vr_exchange *exchange)
{
    connection->call = NULL;
    if (put_answer(connection, exchange)) {
        run(connection);
    }
}

/* ---- events ---- */

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    struct vr_connection *connection = argument;
    (void)what;
    if (connection->phase == LINGERING) {
        char waste[4096];
        ssize_t got = read(fd, waste, sizeof waste);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            vr_connection_close(connection);
        }
        return;
    }
    if (connection->in_len - connection->in_start >= input_limit(connection)) {
        set_reading(connection, false); /* resumed when the request in hand has been answered */
        return;
    }
    if (!make_room(connection)) {
        vr_connection_close(connection);
        return;
    }
    ssize_t got = read(fd, connection->in + connection->in_len, connection->in_capacity - connection->in_len);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            vr_connection_close(connection);
        }
        return;
    }
    if (got == 0) {
        set_reading(connection, false);
        connection->eof = true;
    }
    connection->in_len += (size_t)got;
    if (connection->phase == READING) {
        run(connection);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *argument)
{
    struct vr_connection *connection = argument;
    (void)what;
    ssize_t sent =
        send(fd, connection->out + connection->out_sent, connection->out_len - connection->out_sent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            vr_connection_close(connection);
        }
        return;
    }
    connection->out_sent += (size_t)sent;
    if (connection->out_sent < connection->out_len) {
        return;
    }
    event_del(&connection->write_event);
    free(connection->out);
    connection->out = NULL;
    if (after_answer(connection)) {
        run(connection);
    }
}

static void on_resume(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    run(argument);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    struct vr_connection *connection = argument;
    (void)fd;
    (void)what;
    if (connection->phase == READING && connection->in_request) {
        refuse(connection, 408, "the request did not arrive in time");
    } else {
        vr_connection_close(connection);
    }
}

void vr_connection_open(struct vr_loop *loop, enum vr_port port, int fd, bool refused)
{
    struct vr_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->loop = loop;
    connection->port = port;
    connection->fd = fd;
    event_assign(&connection->read_event, loop->base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    event_assign(&connection->write_event, loop->base, fd, EV_WRITE | EV_PERSIST, on_writable, connection);
    event_assign(&connection->timer, loop->base, -1, 0, on_timer, connection);
    event_assign(&connection->resume, loop->base, -1, 0, on_resume, connection);
    connection->next = loop->connections;
    if (loop->connections != NULL) {
        loop->connections->previous = connection;
    }
    loop->connections = connection;
    loop->connection_count[port]++;
    if (refused) {
        connection->refused = true;
        loop->refused_count[port]++;
        loop->metrics.refused++;
        refuse(connection, 503, "too many connections");
        return;
    }
    loop->metrics.accepted++;
    await_more(connection);
}

void vr_connection_close_idle(struct vr_loop *loop, enum vr_port port, bool answered_too)
{
    struct vr_connection *connection = loop->connections;
    while (connection != NULL) {
        struct vr_connection *next = connection->next;
        bool idle = connection->phase == READING && !connection->in_request &&
                    !event_pending(&connection->resume, EV_TIMEOUT, NULL);
        bool answered = answered_too && connection->phase == LINGERING;
        if (connection->port == port && (idle || answered)) {
            vr_connection_close(connection);
        }
        connection = next;
    }
}
