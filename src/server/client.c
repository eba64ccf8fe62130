/* The client of client.h. */
#include "client.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "loop.h"
#include "vireo/clock.h"

#define ANSWER_BYTES_MAX (8u << 20)
#define TIMEOUT_MS 10000 /* for connecting, for sending, and then for the whole answer */

static int limit_time(int fd, int option, uint64_t ms)
{
    struct timeval limit = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};
    return setsockopt(fd, SOL_SOCKET, option, &limit, sizeof limit);
}

/* A connected socket with time limits, or -1 with errno set. */
static int connect_one(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    if (limit_time(fd, SO_SNDTIMEO, TIMEOUT_MS) != 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static enum vr_status connect_to(const char *server, int *out)
{
    char host[64], port[8];
    enum vr_status status = vr_address_split(server, host, port);
    if (status != VR_OK) {
        return status;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(host, port, &hints, &list);
    if (error != 0) {
        return vr_fail(VR_ERR_INVALID, "%s: %s", server, gai_strerror(error));
    }
    int fd = -1;
    for (const struct addrinfo *one = list; fd < 0 && one != NULL; one = one->ai_next) {
        fd = connect_one(one); /* "localhost" is ::1 as well, where a server on 127.0.0.1 does not listen */
    }
    error = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        return vr_fail(VR_ERR_IO, "%s: %s", server, strerror(error));
    }
    *out = fd;
    return VR_OK;
}

static enum vr_status send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return vr_fail(VR_ERR_IO, "sending: %s", strerror(errno));
        }
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        }
    }
    return VR_OK;
}

/* One read, within what is left until `deadline_ms` of the monotonic clock: a server that trickles gains nothing. */
static ssize_t receive(int fd, char *data, size_t len, uint64_t deadline_ms)
{
    uint64_t now_ms = vr_clock_mono_us() / 1000;
    if (now_ms >= deadline_ms) {
        errno = EAGAIN; /* what SO_RCVTIMEO ends with */
        return -1;
    }
    return limit_time(fd, SO_RCVTIMEO, deadline_ms - now_ms) == 0 ? recv(fd, data, len, 0) : -1;
}

/* Read until the server closes; the caller frees *data, which ends with a NUL that *len does not count. */
static enum vr_status receive_all(int fd, char **data, size_t *len)
{
    uint64_t deadline_ms = vr_clock_mono_us() / 1000 + TIMEOUT_MS;
    size_t capacity = 65536;
    *len = 0;
    *data = malloc(capacity);
    while (*data != NULL) {
        ssize_t got = receive(fd, *data + *len, capacity - *len - 1, deadline_ms);
        if (got < 0 && errno != EINTR) {
            bool late = errno == EAGAIN;
            return vr_fail(VR_ERR_IO, "receiving: %s", late ? "no answer in time" : strerror(errno));
        }
        if (got == 0) {
            (*data)[*len] = '\0';
            return VR_OK;
        }
        *len += got > 0 ? (size_t)got : 0;
        if (capacity - *len > 1) {
            continue;
        }
        capacity *= 2;
        if (capacity > ANSWER_BYTES_MAX) {
            return vr_fail(VR_ERR_TOO_LARGE, "the answer is too large");
        }
        char *grown = realloc(*data, capacity);
        if (grown == NULL) {
            break;
        }
        *data = grown;
    }
    return vr_fail(VR_ERR_NOMEM, "no memory for the answer");
}

static enum vr_status split_answer(struct vr_client_answer *out, size_t len)
{
    const char *end = strstr(out->data, "\r\n\r\n");
    if (end == NULL || strncmp(out->data, "HTTP/1.1 ", 9) != 0) {
        return vr_fail(VR_ERR_FORMAT, "this is no HTTP answer");
    }
    out->status = (int)strtol(out->data + 9, NULL, 10);
    out->body = end + 4;
    out->body_len = len - (size_t)(out->body - out->data);
    return VR_OK;
}

static enum vr_status exchange(int fd, const char *server, const char *path, const char *body, size_t body_len,
                               struct vr_client_answer *out)
{
    char head[512];
    int head_len = snprintf(head, sizeof head,
                            "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                            "Connection: close\r\n\r\n",
                            path, server, body_len);
    if (head_len < 0 || (size_t)head_len >= sizeof head) {
        return vr_fail(VR_ERR_INVALID, "%s: too long", server);
    }
    size_t len = 0;
    enum vr_status status = send_all(fd, head, (size_t)head_len);
    if (status == VR_OK) {
        status = send_all(fd, body, body_len);
    }
    if (status == VR_OK) {
        status = receive_all(fd, &out->data, &len);
    }
    return status == VR_OK ? split_answer(out, len) : status;
}

enum vr_status vr_client_post(const char *server, const char *path, const char *body, size_t body_len,
                              struct vr_client_answer *out)
{
    int fd = -1;
    *out = (struct vr_client_answer){0};
    enum vr_status status = connect_to(server, &fd);
    if (status != VR_OK) {
        return status;
    }
    status = exchange(fd, server, path, body, body_len, out);
    close(fd);
    if (status != VR_OK) {
        free(out->data);
        *out = (struct vr_client_answer){0};
    }
    return status;
}
