/* A thread of the load generator (load_thread.h). Its loop looks at requests when they are due, gives each to an idle
 * connection or keeps it in the backlog, and sleeps until the next one is due or something happens on a socket. */
#include "load_thread.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "vireo/clock.h"

#define EVENTS 256
#define SWEEP_NS 5000000u            /* between two looks for timeouts */
#define OPENING_LIMIT_NS 2000000000u /* for all connections at the start */

static const struct vr_bench_load_setup *setup_of(const struct load_thread *thread)
{
    return thread->trial->setup;
}

/* ---- what is counted ---- */

/* The stretch of time in which a request was to be sent. */
static struct load_interval *interval_of(struct load_thread *thread, const struct load_due *due)
{
    const struct vr_bench_load_setup *setup = setup_of(thread);
    const double since = (double)(due->due_ns - thread->trial->begin_ns) / 1e9 - setup->warm_up_s;
    const double at = since > 0.0 ? since / setup->interval_s : 0.0;
    return &thread->counts.interval[at < thread->counts.intervals ? (uint32_t)at : thread->counts.intervals - 1];
}

void load_thread_answered(struct load_thread *thread, const struct load_connection *connection)
{
    const struct load_due *due = &connection->due;
    const struct load_answer *answer = &connection->answer;
    struct load_counts *counts = &thread->counts;
    const uint64_t now = vr_clock_mono_ns(), age = now - due->due_ns;
    if (!due->counted) {
        return;
    }
    struct load_interval *interval = interval_of(thread, due);
    counts->answered++;
    counts->bytes += answer->len;
    counts->status[answer->status]++;
    if (answer->status >= 300) {
        vr_histogram_fine_record(&counts->rejected, age);
        interval->lost++;
        return;
    }
    counts->ok++;
    counts->last_answer_ns = now;
    vr_histogram_fine_record(&counts->latency, age);
    interval->ok++;
    vr_histogram_record(&interval->us, age / 1000);
    load_degraded_count(&counts->degraded, connection->buffer + answer->head, answer->len - answer->head);
}

void load_thread_lost(struct load_thread *thread, const struct load_due *due, enum load_error error)
{
    if (!due->counted) {
        return;
    }
    struct load_interval *interval = interval_of(thread, due);
    thread->counts.error[error]++;
    interval->lost++;
    if (error == LOAD_ERROR_TIMEOUT) { /* it took this long at least: to leave it out would flatter */
        const uint64_t age = vr_clock_mono_ns() - due->due_ns;
        vr_histogram_fine_record(&thread->counts.latency, age);
        vr_histogram_record(&interval->us, age / 1000);
    }
}

/* ---- what is sent ---- */

void load_thread_idle(struct load_thread *thread, struct load_connection *connection)
{
    if (!connection->queued) {
        thread->idle[(thread->idle_first + thread->idle_count++) % thread->connections] =
            (uint32_t)(connection - thread->connection);
        connection->queued = true;
    }
}

/* The connection that has been idle longest, or NULL. */
static struct load_connection *take_idle(struct load_thread *thread)
{
    while (thread->idle_count > 0) {
        struct load_connection *connection = &thread->connection[thread->idle[thread->idle_first]];
        thread->idle_first = (thread->idle_first + 1) % thread->connections;
        thread->idle_count--;
        connection->queued = false;
        if (connection->state == LOAD_IDLE) {
            return connection;
        }
    }
    return NULL;
}

/* The next request of this thread: every threads-th of the trial's. */
static void plan_next(struct load_thread *thread)
{
    const struct load_trial *trial = thread->trial;
    double at_s = 0.0;
    for (;;) {
        const uint64_t number = thread->arrivals.next;
        if (!load_arrivals_next(&thread->arrivals, &at_s, &thread->next.request)) {
            thread->next.due_ns = UINT64_MAX;
            return;
        }
        if (number % trial->setup->threads == thread->index) {
            break;
        }
    }
    thread->next.due_ns = trial->begin_ns + (uint64_t)llround(at_s * 1e9);
    thread->next.counted = at_s >= trial->setup->warm_up_s;
}

static void look_at_due(struct load_thread *thread, uint64_t now)
{
    while (thread->next.due_ns <= now) {
        struct load_due *due = &thread->next;
        due->seen_ns = now;
        if (due->counted) {
            thread->counts.offered++;
            interval_of(thread, due)->sent++;
            vr_histogram_fine_record(&thread->counts.lag, now - due->due_ns);
        }
        if (thread->backlog_count == LOAD_BACKLOG) {
            load_thread_lost(thread, due, LOAD_ERROR_BACKLOG);
        } else {
            thread->backlog[(thread->backlog_first + thread->backlog_count++) % LOAD_BACKLOG] = *due;
        }
        plan_next(thread);
    }
}

static struct load_due take_backlog(struct load_thread *thread)
{
    const struct load_due due = thread->backlog[thread->backlog_first];
    thread->backlog_first = (thread->backlog_first + 1) % LOAD_BACKLOG;
    thread->backlog_count--;
    return due;
}

static void send_backlog(struct load_thread *thread)
{
    struct load_connection *connection;
    while (thread->backlog_count > 0 && (connection = take_idle(thread)) != NULL) {
        const struct load_due due = take_backlog(thread);
        if (due.counted) {
            vr_histogram_fine_record(&thread->counts.waited, vr_clock_mono_ns() - due.seen_ns);
        }
        load_connection_start(thread, connection, &due);
    }
}

/* Requests that are too old, and connections that are to be opened again. */
static void sweep(struct load_thread *thread, uint64_t now)
{
    const uint64_t limit = (uint64_t)setup_of(thread)->timeout_ms * 1000000u;
    if (now < thread->sweep_ns) {
        return;
    }
    thread->sweep_ns = now + SWEEP_NS;
    while (thread->backlog_count > 0 && thread->backlog[thread->backlog_first].due_ns + limit <= now) {
        const struct load_due due = take_backlog(thread);
        load_thread_lost(thread, &due, LOAD_ERROR_TIMEOUT);
    }
    for (uint32_t i = 0; i < thread->connections; i++) {
        struct load_connection *connection = &thread->connection[i];
        if (connection->state == LOAD_BUSY && connection->due.due_ns + limit <= now) {
            load_thread_lost(thread, &connection->due, LOAD_ERROR_TIMEOUT);
            load_connection_close(thread, connection);
        }
        if (connection->state == LOAD_DOWN && connection->retry_ns <= now) {
            load_connection_open(thread, connection);
        }
    }
}

/* ---- the loop ---- */

/* The timer rings when the next request is due, so that the wait below is never late by its own coarseness. */
static void set_timer(struct load_thread *thread)
{
    const uint64_t at = thread->next.due_ns;
    if (at == thread->timer_ns || at == UINT64_MAX) {
        return;
    }
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)}};
    (void)timerfd_settime(thread->timer, TFD_TIMER_ABSTIME, &when, NULL);
    thread->timer_ns = at;
}

static void wait_for_events(struct load_thread *thread)
{
    struct epoll_event event[EVENTS];
    const int count = epoll_wait(thread->epoll, event, EVENTS, (int)(SWEEP_NS / 1000000u));
    for (int i = 0; i < count; i++) {
        if (event[i].data.ptr != NULL) { /* else the timer */
            load_connection_event(thread, event[i].data.ptr, event[i].events);
        }
    }
}

static bool is_over(const struct load_thread *thread)
{
    return thread->next.due_ns == UINT64_MAX && thread->backlog_count == 0 && thread->busy == 0;
}

void load_thread_run(struct load_thread *thread)
{
    const uint64_t cpu = vr_clock_thread_cpu_ns();
    thread->counts.error[LOAD_ERROR_CONNECT] = 0; /* those of the start are told when none could be opened */
    plan_next(thread);
    while (!is_over(thread)) {
        set_timer(thread);
        wait_for_events(thread);
        const uint64_t now = vr_clock_mono_ns();
        look_at_due(thread, now);
        sweep(thread, now);
        send_backlog(thread);
    }
    thread->counts.cpu_ns = vr_clock_thread_cpu_ns() - cpu;
    thread->counts.wall_ns = vr_clock_mono_ns() - thread->trial->begin_ns;
}

const struct load_counts *load_thread_counts(const struct load_thread *thread)
{
    return &thread->counts;
}

/* ---- making ---- */

static bool take_memory(struct load_thread *thread)
{
    thread->connection = calloc(thread->connections, sizeof *thread->connection);
    thread->idle = calloc(thread->connections, sizeof *thread->idle);
    thread->backlog = calloc(LOAD_BACKLOG, sizeof *thread->backlog);
    thread->counts.interval = calloc(thread->trial->intervals, sizeof *thread->counts.interval);
    thread->counts.intervals = thread->trial->intervals;
    for (uint32_t i = 0; thread->connection != NULL && i < thread->connections; i++) {
        thread->connection[i].fd = -1;
    }
    return thread->connection != NULL && thread->idle != NULL && thread->backlog != NULL &&
           thread->counts.interval != NULL;
}

static enum vr_status open_polls(struct load_thread *thread)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    thread->epoll = epoll_create1(EPOLL_CLOEXEC);
    thread->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (thread->epoll < 0 || thread->timer < 0 || epoll_ctl(thread->epoll, EPOLL_CTL_ADD, thread->timer, &event) != 0) {
        return vr_fail(VR_ERR_IO, "epoll: %s", strerror(errno));
    }
    return VR_OK;
}

/* All at once; then until each is open, or has failed and will be tried again. */
static enum vr_status open_connections(struct load_thread *thread)
{
    const uint64_t limit = vr_clock_mono_ns() + OPENING_LIMIT_NS;
    for (uint32_t i = 0; i < thread->connections; i++) {
        load_connection_open(thread, &thread->connection[i]);
    }
    while (thread->open + thread->counts.error[LOAD_ERROR_CONNECT] < thread->connections &&
           vr_clock_mono_ns() < limit) {
        wait_for_events(thread);
    }
    return thread->open > 0 ? VR_OK : vr_fail(VR_ERR_IO, "--url: nothing answers at %s", thread->trial->target->host);
}

enum vr_status load_thread_create(const struct load_trial *trial, uint32_t index, uint32_t connections,
                                  struct load_thread **out)
{
    struct load_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a thread of load");
    }
    thread->trial = trial;
    thread->index = index;
    thread->connections = connections;
    thread->arrivals = trial->arrivals;
    thread->epoll = thread->timer = -1;
    enum vr_status status =
        take_memory(thread) ? VR_OK : vr_fail(VR_ERR_NOMEM, "no memory for %u connections", connections);
    if (status == VR_OK) {
        status = open_polls(thread);
    }
    if (status == VR_OK) {
        status = open_connections(thread);
    }
    if (status != VR_OK) {
        load_thread_destroy(thread);
        return status;
    }
    *out = thread;
    return VR_OK;
}

void load_thread_destroy(struct load_thread *thread)
{
    if (thread == NULL) {
        return;
    }
    for (uint32_t i = 0; thread->connection != NULL && i < thread->connections; i++) {
        if (thread->connection[i].fd >= 0) {
            close(thread->connection[i].fd);
        }
        free(thread->connection[i].buffer);
    }
    if (thread->epoll >= 0) {
        close(thread->epoll);
    }
    if (thread->timer >= 0) {
        close(thread->timer);
    }
    free(thread->connection);
    free(thread->idle);
    free(thread->backlog);
    free(thread->counts.interval);
    free(thread);
}
