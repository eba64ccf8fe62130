/* A connection of the load generator (load_thread.h): keep-alive, one request at a time. Edge-triggered: a socket is
 * registered once, and read or written until it would block. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load_thread.h"
#include "vireo/clock.h"

#define BUFFER_FIRST 16384u
#define BUFFER_MAX (64u << 20)
#define RETRY_NS 50000000u

void load_connection_close(struct load_thread *thread, struct load_connection *connection)
{
    if (connection->fd >= 0) {
        close(connection->fd);
        connection->fd = -1;
    }
    thread->busy -= connection->state == LOAD_BUSY;
    thread->open -= connection->state == LOAD_BUSY || connection->state == LOAD_IDLE;
    connection->state = LOAD_DOWN;
    connection->retry_ns = 0;
}

static void fail_to_open(struct load_thread *thread, struct load_connection *connection)
{
    load_connection_close(thread, connection);
    connection->retry_ns = vr_clock_mono_ns() + RETRY_NS;
    thread->counts.error[LOAD_ERROR_CONNECT]++;
}

static void opened(struct load_thread *thread, struct load_connection *connection)
{
    connection->state = LOAD_IDLE;
    thread->open++;
    load_thread_idle(thread, connection);
}

void load_connection_open(struct load_thread *thread, struct load_connection *connection)
{
    const struct load_target *target = thread->trial->target;
    const int on = 1;
    connection->fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (connection->fd < 0 || setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        epoll_ctl(thread->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        fail_to_open(thread, connection);
        return;
    }
    connection->state = LOAD_CONNECTING;
    if (connect(connection->fd, (const struct sockaddr *)&target->address, target->address_len) == 0) {
        opened(thread, connection);
    } else if (errno != EINPROGRESS) {
        fail_to_open(thread, connection);
    }
}

/* The request under way is lost with its connection. */
static void lose(struct load_thread *thread, struct load_connection *connection, enum load_error error)
{
    load_thread_lost(thread, &connection->due, error);
    load_connection_close(thread, connection);
    load_connection_open(thread, connection);
}

static void write_more(struct load_thread *thread, struct load_connection *connection)
{
    const struct vr_str request = thread->trial->requests->request[connection->due.request];
    while (connection->sent < request.len) {
        const ssize_t sent =
            send(connection->fd, request.data + connection->sent, request.len - connection->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            if (errno != EAGAIN) {
                lose(thread, connection, LOAD_ERROR_CLOSED);
            }
            return;
        }
        connection->sent += (size_t)sent;
    }
}

void load_connection_start(struct load_thread *thread, struct load_connection *connection, const struct load_due *due)
{
    connection->state = LOAD_BUSY;
    connection->due = *due;
    connection->sent = connection->len = 0;
    connection->answer = (struct load_answer){0};
    thread->busy++;
    write_more(thread, connection);
}

static bool make_room(struct load_connection *connection)
{
    if (connection->len < connection->capacity) {
        return true;
    }
    const size_t capacity = connection->capacity > 0 ? 2 * connection->capacity : BUFFER_FIRST;
    char *buffer = capacity <= BUFFER_MAX ? realloc(connection->buffer, capacity) : NULL;
    if (buffer == NULL) {
        return false;
    }
    connection->buffer = buffer;
    connection->capacity = capacity;
    return true;
}

static void complete(struct load_thread *thread, struct load_connection *connection, bool closes)
{
    load_thread_answered(thread, connection);
    if (closes || connection->answer.close) {
        load_connection_close(thread, connection);
        load_connection_open(thread, connection);
        return;
    }
    connection->state = LOAD_IDLE;
    thread->busy--;
    load_thread_idle(thread, connection);
}

/* Read what has come. `closes`: the server has closed behind it. */
static void read_more(struct load_thread *thread, struct load_connection *connection, bool closes)
{
    while (connection->state == LOAD_BUSY) {
        if (!make_room(connection)) {
            lose(thread, connection, LOAD_ERROR_PROTOCOL);
            return;
        }
        const ssize_t got =
            recv(connection->fd, connection->buffer + connection->len, connection->capacity - connection->len, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got <= 0) {
            lose(thread, connection, LOAD_ERROR_CLOSED);
            return;
        }
        connection->len += (size_t)got;
        const enum load_outcome outcome = load_answer_read(connection->buffer, connection->len, &connection->answer);
        if (outcome == LOAD_COMPLETE) {
            complete(thread, connection, closes);
        } else if (outcome == LOAD_BAD) {
            lose(thread, connection, LOAD_ERROR_PROTOCOL);
            return;
        }
    }
}

static void finish_connecting(struct load_thread *thread, struct load_connection *connection)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        fail_to_open(thread, connection);
    } else {
        opened(thread, connection);
    }
}

void load_connection_event(struct load_thread *thread, struct load_connection *connection, uint32_t events)
{
    const bool closes = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    switch (connection->state) {
    case LOAD_CONNECTING: finish_connecting(thread, connection); break;
    case LOAD_IDLE:
        if (closes) { /* an idle connection that the server has closed */
            load_connection_close(thread, connection);
            load_connection_open(thread, connection);
        }
        break;
    case LOAD_BUSY: {
        if ((events & EPOLLOUT) != 0) {
            write_more(thread, connection);
        }
        if ((events & EPOLLIN) != 0 || closes) {
            read_more(thread, connection, closes);
        }
        break;
    }
    case LOAD_DOWN: break;
    }
}
