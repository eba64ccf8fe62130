/* One client connection: bytes in, requests one after the other, answers out (loop.h).
 *
 * A connection works on one request at a time, so pipelined answers keep their order and a reader that does not take
 * its answer is sent no other. It is always in one phase:
 *
 *   READING    wants a request; the limit is the idle time, from a request's first byte on the request deadline
 *   WAITING    a call is with the feed; no limit, for the feed answers by the request's deadline
 *   WRITING    the socket did not take the whole answer; the limit is the write timeout
 *   LINGERING  the last answer has gone; what still comes in is thrown away for a second, so that a reset does not
 *              overtake the answer on its way to the client
 *
 * No limit begins anew because a byte went in or out.
 *
 * After ANSWERS_A_TURN answers to what a client has sent ahead, the other connections have their turn.
 *
 * A client that closes its sending side still gets its answer; one that resets the connection cancels its call.
 *
 * Input lies in a buffer of the loop's, from the first byte of a request until its handler has returned. An answer goes
 * from the loop's writer to the socket; only what the socket does not take is copied. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "answer.h"
#include "loop.h"
#include "problem.h"
#include "vireo/clock.h"

#define READ_BYTES 4096u       /* least room made for one read(2) */
#define PIPELINED_BYTES 65536u /* read ahead while a request is worked on */
#define ANSWERS_A_TURN 16u     /* of pipelined requests, then the other connections have theirs */
#define LINGER_MS 1000u

struct vr_connection {
    struct vr_loop *loop;
    struct vr_connection *previous, *next;
    struct vr_place place;
    int fd;
    enum vr_phase phase;
    bool reading, eof, close_after, in_request;
    struct event read_event, write_event;
    struct event resume; /* goes on with pipelined requests in the loop's next turn */
    struct event timer;
    uint64_t until_us; /* when the phase's limit is reached; 0: it has none */
    uint64_t armed_us; /* when the timer goes off, never later than until_us; 0: it is not set */

    char *in; /* bytes in[in_start .. in_len) are not used up; NULL: there are none */
    size_t in_start, in_len, in_capacity;
    struct vr_http_request request; /* offsets from in + in_start */

    char *out; /* what the socket did not take yet: out[out_sent .. out_len) */
    size_t out_sent, out_len, out_capacity;

    enum vr_http_method method; /* of the request being answered */
    struct vr_call *call;
};

static void set_phase(struct vr_connection *connection, enum vr_phase phase)
{
    struct vr_loop_counts *counts = &connection->loop->counts;
    vr_count(&counts->phase[connection->phase], -1);
    vr_count(&counts->phase[phase], 1);
    connection->phase = phase;
}

/* ---- limits of time ---- */

static void arm(struct vr_connection *connection, uint64_t now_us)
{
    uint64_t wait_us = connection->until_us - now_us;
    struct timeval wait = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
    event_add(&connection->timer, &wait);
    connection->armed_us = connection->until_us;
}

/* A limit moves with every request, the timer does not: it goes off too early at most, and is then set again. */
static void set_limit(struct vr_connection *connection, uint32_t ms)
{
    uint64_t now_us = vr_clock_mono_us();
    connection->until_us = now_us + (uint64_t)ms * 1000;
    if (connection->armed_us == 0 || connection->armed_us > connection->until_us) {
        arm(connection, now_us);
    }
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

/* ---- input ---- */

static void drop_input(struct vr_connection *connection)
{
    vr_buffer_put(&connection->loop->buffers, connection->in, connection->in_capacity);
    connection->in = NULL;
    connection->in_start = connection->in_len = connection->in_capacity = 0;
}

static void drop_output(struct vr_connection *connection)
{
    vr_buffer_put(&connection->loop->buffers, connection->out, connection->out_capacity);
    connection->out = NULL;
}

void vr_connection_close(struct vr_connection *connection)
{
    struct vr_loop *loop = connection->loop;
    if (connection->call != NULL) {
        __atomic_store_n(&connection->call->job.cancelled, true, __ATOMIC_RELAXED);
        connection->call->connection = NULL;
        vr_count(&loop->metrics.cancelled, 1);
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
    drop_input(connection);
    drop_output(connection);
    vr_admission_leave(loop->shared->admission, &connection->place);
    vr_count(&loop->counts.phase[connection->phase], -1);
    vr_count(&loop->counts.connections[connection->place.port], -1);
    free(connection);
}

/* While a request is worked on, what follows it is read as well: only a read tells that the client has gone. */
static size_t input_limit(const struct vr_connection *connection)
{
    size_t request = VR_HTTP_HEAD_MAX + connection->loop->shared->config->server.max_body_bytes;
    return connection->phase == VR_PHASE_READING ? request + READ_BYTES : PIPELINED_BYTES;
}

/* The next size of a buffer that holds `held` bytes. Once a body's length is known, room for all of it and one read:
 * doubling up to it would copy it several times and let a client hold twice what it sends. */
static size_t grown_capacity(const struct vr_connection *connection, size_t held)
{
    const struct vr_http_request *request = &connection->request;
    if (request->phase == VR_HTTP_PHASE_BODY && request->total > held) {
        return request->total + READ_BYTES;
    }
    size_t doubled = 2 * connection->in_capacity;
    size_t most = PIPELINED_BYTES + READ_BYTES; /* more than a head, and than what is read ahead */
    return doubled < most ? doubled : most;
}

/* Room for one more read behind in_len; used-up bytes are dropped first. False when memory is short. */
static bool make_room(struct vr_connection *connection)
{
    if (connection->in_capacity - connection->in_len >= READ_BYTES) {
        return true;
    }
    size_t held = connection->in_len - connection->in_start;
    if (connection->in_start > 0 && connection->in_capacity - held >= READ_BYTES) {
        memmove(connection->in, connection->in + connection->in_start, held);
        connection->in_start = 0;
        connection->in_len = held;
        return true;
    }
    size_t capacity;
    char *grown = vr_buffer_take(&connection->loop->buffers, grown_capacity(connection, held), &capacity);
    if (grown == NULL) {
        return false;
    }
    if (held > 0) {
        memcpy(grown, connection->in + connection->in_start, held);
    }
    drop_input(connection);
    connection->in = grown;
    connection->in_len = held;
    connection->in_capacity = capacity;
    return true;
}

/* Drop the request, which has been read to its end and handled, from the input. */
static void consume(struct vr_connection *connection)
{
    connection->in_start += connection->request.total;
    connection->request = (struct vr_http_request){0};
    connection->in_request = false;
    if (connection->in_start == connection->in_len) {
        drop_input(connection);
    }
}

/* ---- output ---- */

static void linger(struct vr_connection *connection)
{
    if (connection->eof) {
        vr_connection_close(connection);
        return;
    }
    set_phase(connection, VR_PHASE_LINGERING);
    drop_input(connection);
    shutdown(connection->fd, SHUT_WR);
    set_reading(connection, true);
    set_limit(connection, LINGER_MS);
}

/* The whole answer has gone to the socket. False when the connection takes no further request. */
static bool after_answer(struct vr_connection *connection)
{
    if (connection->close_after) {
        linger(connection);
        return false;
    }
    set_phase(connection, VR_PHASE_READING);
    connection->until_us = 0;
    return true;
}

/* Keep what the socket did not take. False when memory is short. */
static bool keep_rest(struct vr_connection *connection, const struct iovec part[2], size_t sent)
{
    size_t rest = part[0].iov_len + part[1].iov_len - sent;
    connection->out = vr_buffer_take(&connection->loop->buffers, rest, &connection->out_capacity);
    if (connection->out == NULL) {
        return false;
    }
    size_t head_sent = sent < part[0].iov_len ? sent : part[0].iov_len;
    size_t from_head = part[0].iov_len - head_sent;
    memcpy(connection->out, (const char *)part[0].iov_base + head_sent, from_head);
    if (rest > from_head) {
        size_t body_sent = sent - head_sent;
        memcpy(connection->out + from_head, (const char *)part[1].iov_base + body_sent, rest - from_head);
    }
    connection->out_len = rest;
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
    set_phase(connection, VR_PHASE_WRITING);
    event_add(&connection->write_event, NULL);
    set_limit(connection, connection->loop->shared->config->server.write_timeout_ms);
    return false;
}

static size_t write_head(const struct vr_connection *connection, const struct vr_exchange *exchange, char *out)
{
    const uint32_t retry_after_s = exchange->retry_after_s > 0 ? exchange->retry_after_s : 1;
    struct vr_answer_head head = {.status = exchange->status,
                                  .date = vr_loop_date(connection->loop),
                                  .media_type = exchange->media_type,
                                  .body_bytes = connection->loop->writer.len,
                                  .allow = exchange->status == 405 ? exchange->match.allow : NULL,
                                  .retry_after_s = exchange->status == 503 ? retry_after_s : 0,
                                  .close = connection->close_after};
    return vr_answer_write_head(&head, out);
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
    char head[VR_ANSWER_HEAD_BYTES];
    struct iovec part[2] = {{head, write_head(connection, exchange, head)},
                            {loop->writer.data, connection->method == VR_HTTP_HEAD ? 0 : loop->writer.len}};
    struct vr_http_answer answer = {exchange->match.route, exchange->status, took_us, loop->writer.len};
    vr_http_metrics_answer(&loop->metrics, &answer);
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
    vr_route_find(connection->place.port, request->method, vr_http_text(base, request->path), &exchange->match);
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
    connection->until_us = 0;
    vr_histogram_record(&connection->loop->metrics.request_bytes, connection->request.total);
    enum vr_handled handled = vr_handle(connection->loop, &exchange, &connection->call);
    consume(connection);
    if (handled == VR_HANDLED_ANSWERED) {
        return put_answer(connection, &exchange);
    }
    connection->call->connection = connection;
    set_phase(connection, VR_PHASE_WAITING);
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
        set_limit(connection, config->request_deadline_ms); /* once a request: each further byte changes nothing */
    } else if (!begun && connection->until_us == 0) {
        set_limit(connection, config->idle_timeout_ms);
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
    if (connection->phase == VR_PHASE_LINGERING) {
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
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        vr_connection_close(connection);
        return;
    }
    if (got == 0) {
        set_reading(connection, false);
        connection->eof = true;
    }
    connection->in_len += got > 0 ? (size_t)got : 0;
    if (connection->in_len == 0) {
        drop_input(connection);
    }
    if (connection->phase == VR_PHASE_READING) {
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
    drop_output(connection);
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
    uint64_t now_us = vr_clock_mono_us();
    (void)fd;
    (void)what;
    connection->armed_us = 0;
    if (connection->until_us == 0) {
        return;
    }
    if (now_us < connection->until_us) {
        arm(connection, now_us);
    } else if (connection->phase == VR_PHASE_READING && connection->in_request) {
        refuse(connection, 408, "the request did not arrive in time");
    } else {
        vr_connection_close(connection);
    }
}

static void link_connection(struct vr_loop *loop, struct vr_connection *connection)
{
    connection->next = loop->connections;
    if (loop->connections != NULL) {
        loop->connections->previous = connection;
    }
    loop->connections = connection;
    vr_count(&loop->counts.connections[connection->place.port], 1);
    vr_count(&loop->counts.phase[connection->phase], 1);
}

void vr_connection_open(struct vr_loop *loop, const struct vr_place *place, int fd)
{
    struct vr_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        vr_admission_leave(loop->shared->admission, place);
        close(fd);
        return;
    }
    connection->loop = loop;
    connection->place = *place;
    connection->fd = fd;
    event_assign(&connection->read_event, loop->base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    event_assign(&connection->write_event, loop->base, fd, EV_WRITE | EV_PERSIST, on_writable, connection);
    event_assign(&connection->timer, loop->base, -1, 0, on_timer, connection);
    event_assign(&connection->resume, loop->base, -1, 0, on_resume, connection);
    link_connection(loop, connection);
    if (place->verdict == VR_ADMISSION_OPEN) {
        vr_count(&loop->metrics.accepted, 1);
        await_more(connection);
    } else {
        refuse(connection, 503, place->by_address ? "too many connections from this address" : "too many connections");
    }
}

void vr_connection_close_idle(struct vr_loop *loop, enum vr_port port, bool answered_too)
{
    struct vr_connection *connection = loop->connections;
    while (connection != NULL) {
        struct vr_connection *next = connection->next;
        bool idle = connection->phase == VR_PHASE_READING && !connection->in_request &&
                    !event_pending(&connection->resume, EV_TIMEOUT, NULL);
        bool answered = answered_too && connection->phase == VR_PHASE_LINGERING;
        if (connection->place.port == port && (idle || answered)) {
            vr_connection_close(connection);
        }
        connection = next;
    }
}
