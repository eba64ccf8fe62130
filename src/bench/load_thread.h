/* One thread of the load generator: its connections, its backlog and what it counts. load_thread.c decides what is
 * sent when; load_connection.c moves the bytes. */
#ifndef VIREO_BENCH_LOAD_THREAD_H
#define VIREO_BENCH_LOAD_THREAD_H

#include "load_parts.h"

enum load_state {
    LOAD_DOWN = 0,   /* no socket; opened again at retry_ns */
    LOAD_CONNECTING, /* not yet open */
    LOAD_IDLE,
    LOAD_BUSY /* one request is under way */
};

/* A request whose time has come. */
struct load_due {
    uint64_t due_ns, seen_ns; /* intended; when the thread looked at it */
    uint32_t request;
    bool counted; /* not of the warm-up */
};

struct load_connection {
    int fd; /* -1: none */
    enum load_state state;
    bool queued;         /* in the ring of idle ones */
    struct load_due due; /* of the request under way */
    size_t sent;
    char *buffer; /* what has come of the answer */
    size_t len, capacity;
    struct load_answer answer;
    uint64_t retry_ns;
};

struct load_thread {
    const struct load_trial *trial;
    uint32_t index;
    struct load_arrivals arrivals;
    struct load_due next; /* the next of this thread; due_ns UINT64_MAX: none is left */
    int epoll, timer;
    uint64_t timer_ns;                  /* what the timer is set to */
    struct load_connection *connection; /* [connections] */
    uint32_t connections, busy, open;
    uint32_t *idle; /* ring [connections] of connections; some may have gone since */
    uint32_t idle_first, idle_count;
    struct load_due *backlog; /* ring [LOAD_BACKLOG] */
    uint32_t backlog_first, backlog_count;
    uint64_t sweep_ns; /* when timeouts and lost connections are looked for next */
    struct load_counts counts;
};
#define LOAD_BACKLOG 65536u

/* ---- load_connection.c ---- */

/* Begin to connect; what fails is counted and tried again. */
void load_connection_open(struct load_thread *thread, struct load_connection *connection);
void load_connection_close(struct load_thread *thread, struct load_connection *connection);
/* Send a request on an idle connection. */
void load_connection_start(struct load_thread *thread, struct load_connection *connection, const struct load_due *due);
void load_connection_event(struct load_thread *thread, struct load_connection *connection, uint32_t events);

/* ---- load_thread.c ---- */

/* The connection may take a request. */
void load_thread_idle(struct load_thread *thread, struct load_connection *connection);
/* A request has its whole answer, or none. */
void load_thread_answered(struct load_thread *thread, const struct load_connection *connection);
void load_thread_lost(struct load_thread *thread, const struct load_due *due, enum load_error error);

#endif
