/* Listening sockets: addresses, bind, accept (loop.h). */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"
#include "vireo/log.h"

#define BACKLOG 1024
#define ACCEPTS_A_TURN 64 /* so that a flood of connections leaves time for requests */
#define PAUSE_US 100000   /* without accepting, when descriptors are short */
#define OWN_FILES 64u     /* descriptors of the process itself: log, a loop, eventfds, a bundle being opened */
#define LOOP_FILES 6u     /* of each further loop */

enum vr_status vr_address_split(const char *address, char host[64], char port[8])
{
    const char *colon = strrchr(address, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - address) : 0;
    const char *begin = address;
    if (host_len >= 2 && address[0] == '[' && address[host_len - 1] == ']') {
        begin++;
        host_len -= 2;
    } else if (colon != NULL && memchr(address, ':', host_len) != NULL) {
        host_len = 0; /* an IPv6 address without brackets */
    }
    size_t port_len = colon != NULL ? strlen(colon + 1) : 0;
    if (host_len == 0 || host_len >= 64 || port_len == 0 || port_len > 5 ||
        strspn(colon + 1, "0123456789") != port_len || strtol(colon + 1, NULL, 10) > 65535) {
        return vr_fail(VR_ERR_INVALID, "\"%s\" is not HOST:PORT", address);
    }
    memcpy(host, begin, host_len);
    host[host_len] = '\0';
    memcpy(port, colon + 1, port_len + 1);
    return VR_OK;
}

static enum vr_status resolve(const char *address, struct addrinfo **out)
{
    char host[64], port[8];
    enum vr_status status = vr_address_split(address, host, port);
    if (status != VR_OK) {
        return status;
    }
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int error = getaddrinfo(host, port, &hints, out);
    return error == 0 ? VR_OK : vr_fail(VR_ERR_INVALID, "%s: %s", address, gai_strerror(error));
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

enum vr_status vr_address_is_loopback(const char *address, bool *loopback)
{
    struct addrinfo *list = NULL;
    enum vr_status status = resolve(address, &list);
    if (status != VR_OK) {
        return status;
    }
    *loopback = true;
    for (const struct addrinfo *one = list; one != NULL; one = one->ai_next) {
        *loopback = *loopback && is_loopback(one->ai_addr);
    }
    freeaddrinfo(list);
    return VR_OK;
}

enum vr_status vr_admin_address_check(const struct vr_server_config *config)
{
    bool loopback = false;
    enum vr_status status = vr_address_is_loopback(config->admin, &loopback);
    if (status == VR_OK && !loopback && !config->admin_allow_remote) {
        return vr_fail(VR_ERR_INVALID, "server.admin: %s is not loopback; set server.admin_allow_remote to allow it",
                       config->admin);
    }
    return status;
}

static void close_all(const int *fd, uint32_t count)
{
    int error = errno;
    for (uint32_t i = 0; i < count; i++) {
        close(fd[i]);
    }
    errno = error;
}

/* A listening socket. `first`: the port must be nobody's, and is then shared with this process's own sockets; else it
 * is the first one's. Connections inherit TCP_NODELAY. */
static int bind_one(const struct addrinfo *address, const struct sockaddr *at, socklen_t len, bool first, bool shared)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bool failed = !first && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0;
    failed = failed || bind(fd, at, len) != 0;
    failed = failed || (first && shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0);
    if (failed || listen(fd, BACKLOG) != 0) {
        close_all(&fd, 1);
        return -1;
    }
    return fd;
}

/* `count` sockets at one address; false with errno set. A port of 0 becomes a real one with the first. */
static bool bind_all(const struct addrinfo *address, uint32_t count, int *out)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    out[0] = bind_one(address, address->ai_addr, address->ai_addrlen, true, count > 1);
    if (out[0] < 0) {
        return false;
    }
    if (getsockname(out[0], (struct sockaddr *)&bound, &len) != 0) {
        close_all(out, 1);
        return false;
    }
    for (uint32_t i = 1; i < count; i++) {
        out[i] = bind_one(address, (const struct sockaddr *)&bound, len, false, true);
        if (out[i] < 0) {
            close_all(out, i);
            return false;
        }
    }
    return true;
}

/* The address as bound: a port of 0 has become a real one. */
static void name_socket(int fd, char *out, size_t size)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char host[64] = "?", port[8] = "?";
    if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0) {
        (void)getnameinfo((struct sockaddr *)&bound, len, host, sizeof host, port, sizeof port,
                          NI_NUMERICHOST | NI_NUMERICSERV);
    }
    snprintf(out, size, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

static void pause_accepting(struct vr_listener *listener)
{
    struct timeval wait = {0, PAUSE_US};
    vr_log(VR_LOG_WARN, "accept_paused", "reason=\"%s\"", strerror(errno));
    event_del(&listener->event);
    event_add(&listener->pause, &wait);
}

static void on_pause_over(evutil_socket_t fd, short what, void *argument)
{
    struct vr_listener *listener = argument;
    (void)fd;
    (void)what;
    event_add(&listener->event, NULL);
}

static void take_connection(struct vr_listener *listener, int fd, const struct sockaddr *peer)
{
    struct vr_loop *loop = listener->loop;
    struct vr_place place = vr_admission_enter(loop->shared->admission, listener->port, peer);
    if (place.verdict != VR_ADMISSION_OPEN) {
        vr_count(&loop->metrics.refused[place.by_address], 1);
    }
    if (place.verdict == VR_ADMISSION_FLOOD) {
        close(fd);
        return;
    }
    vr_connection_open(loop, &place, fd);
}

/* Take the connections that wait, `most` at the most. False when descriptors or memory are short. */
static bool accept_waiting(struct vr_listener *listener, int most)
{
    for (int i = 0; i < most; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        int accepted = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            take_connection(listener, accepted, (const struct sockaddr *)&peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            return false;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return true;
        }
    }
    return true;
}

static void on_acceptable(evutil_socket_t fd, short what, void *argument)
{
    struct vr_listener *listener = argument;
    (void)fd;
    (void)what;
    if (!accept_waiting(listener, ACCEPTS_A_TURN)) {
        pause_accepting(listener);
    }
}

uint32_t vr_connections_reserve(uint32_t wanted, uint32_t loops)
{
    const rlim_t others = VR_ADMIN_CONNECTIONS_MAX + 2 * VR_REFUSALS_MAX + OWN_FILES + (loops - 1) * LOOP_FILES;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted + others) {
        return wanted;
    }
    bool enough = limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= wanted + others;
    limit.rlim_cur = enough ? wanted + others : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && enough) {
        return wanted;
    }
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    uint32_t possible = limit.rlim_cur > others ? (uint32_t)(limit.rlim_cur - others) : 1;
    vr_log(VR_LOG_WARN, "connections_limited", "wanted=%u possible=%u open_files=%llu", wanted, possible,
           (unsigned long long)limit.rlim_cur);
    return possible;
}

enum vr_status vr_listener_bind(const char *address, uint32_t count, int *out)
{
    struct addrinfo *list = NULL;
    enum vr_status status = resolve(address, &list);
    if (status != VR_OK) {
        return status;
    }
    bool bound = false;
    for (const struct addrinfo *one = list; !bound && one != NULL; one = one->ai_next) {
        bound = bind_all(one, count, out);
    }
    int error = errno;
    freeaddrinfo(list);
    return bound ? VR_OK : vr_fail(VR_ERR_IO, "cannot listen on %s: %s", address, strerror(error));
}

void vr_listener_adopt(struct vr_loop *loop, enum vr_port port, int fd)
{
    struct vr_listener *listener = &loop->listener[port];
    listener->loop = loop;
    listener->port = port;
    listener->fd = fd;
    name_socket(fd, listener->address, sizeof listener->address);
    event_assign(&listener->event, loop->base, fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    event_assign(&listener->pause, loop->base, -1, 0, on_pause_over, listener);
}

void vr_listener_start(struct vr_listener *listener)
{
    if (listener->fd >= 0) {
        event_add(&listener->event, NULL);
    }
}

void vr_listener_hold(struct vr_listener *listener)
{
    if (listener->fd >= 0) {
        event_del(&listener->event);
        event_del(&listener->pause);
    }
}

void vr_listener_close(struct vr_listener *listener)
{
    vr_listener_hold(listener);
    if (listener->fd >= 0) {
        close(listener->fd);
        listener->fd = -1;
    }
}

void vr_listener_finish(struct vr_listener *listener)
{
    if (listener->fd >= 0) {
        (void)accept_waiting(listener, BACKLOG + 1);
    }
    vr_listener_close(listener);
}
