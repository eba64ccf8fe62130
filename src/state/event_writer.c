/* The writer of event_writer.h. */
#include "event_writer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_log.h"
#include "state_internal.h"
#include "vireo/log.h"

#define WAITING_MAX_EVENTS 200000u /* more are refused: some 50 MB of requests */
#define GROUP_MAX_EVENTS 20000u    /* tickets that would make a group larger wait for the next */

struct vr_event_writer {
    struct vr_state *state;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t come;
    struct vr_event_ticket *first, **last;
    uint32_t waiting; /* events */
    bool closed;
    bool failing; /* the writer's own: the latest group failed */
};

/* ---- the queue ---- */

enum vr_status vr_event_writer_submit(struct vr_event_writer *writer, struct vr_event_ticket *ticket)
{
    enum vr_status status = VR_OK;
    ticket->next = NULL;
    pthread_mutex_lock(&writer->lock);
    if (writer->closed) {
        status = VR_ERR_CLOSED;
    } else if (writer->waiting + ticket->count > WAITING_MAX_EVENTS) {
        status = VR_ERR_BUSY;
    } else {
        *writer->last = ticket;
        writer->last = &ticket->next;
        writer->waiting += ticket->count;
        pthread_cond_signal(&writer->come);
    }
    pthread_mutex_unlock(&writer->lock);
    return status == VR_OK ? VR_OK : vr_fail(status, "events: %s", status == VR_ERR_BUSY ? "too many wait" : "stopped");
}

/* The tickets of the next group, linked; NULL once it is closed and nothing waits. */
static struct vr_event_ticket *take_group(struct vr_event_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    while (writer->first == NULL && !writer->closed) {
        pthread_cond_wait(&writer->come, &writer->lock);
    }
    struct vr_event_ticket *group = writer->first;
    struct vr_event_ticket **end = &writer->first;
    uint32_t events = 0;
    while (*end != NULL && (events == 0 || events + (*end)->count <= GROUP_MAX_EVENTS)) {
        events += (*end)->count;
        end = &(*end)->next;
    }
    struct vr_event_ticket *rest = *end;
    *end = NULL;
    writer->first = rest;
    writer->last = rest == NULL ? &writer->first : writer->last;
    writer->waiting -= events;
    pthread_mutex_unlock(&writer->lock);
    return group;
}

/* ---- a group ---- */

static const char *refusal_of(enum vr_status status)
{
    return status == VR_ERR_BUSY ? "no room for another viewer" : "no memory";
}

/* Judge an event and, where it is new, put it into the log's group. */
static void judge(struct vr_state *state, const struct vr_event_ticket *ticket, uint32_t i)
{
    const struct vr_event *event = &ticket->event[i];
    struct vr_event_result *result = &ticket->result[i];
    if (result->reason != NULL) {
        result->verdict = VR_EVENT_REJECTED;
        return;
    }
    result->reason = vr_event_fault(event);
    result->verdict = result->reason != NULL ? VR_EVENT_REJECTED : VR_EVENT_DUPLICATE;
    if (result->reason != NULL || !vr_event_window_add(state->window, event->event_id)) {
        return;
    }
    enum vr_status status = vr_state_intern_event(state, event);
    if (status == VR_OK) {
        status = vr_event_log_add(state->log, event, ticket->received_ms);
    }
    if (status == VR_OK) {
        result->verdict = VR_EVENT_ACCEPTED;
        return;
    }
    vr_event_window_forget(state->window, event->event_id);
    result->verdict = VR_EVENT_REJECTED;
    result->reason = refusal_of(status);
}

/* The log holds the group: now it may be seen. */
static void publish(struct vr_state *state, struct vr_event_ticket *ticket)
{
    for (uint32_t i = 0; i < ticket->count; i++) {
        enum vr_event_verdict verdict = ticket->result[i].verdict;
        if (verdict == VR_EVENT_ACCEPTED) {
            vr_state_apply_logged(state, &ticket->event[i]);
        }
        vr_state_count_verdict(state, verdict);
    }
    ticket->status = VR_OK;
}

/* The log does not hold the group: its events may come again. A duplicate may be one of an event of this group. */
static void withdraw(struct vr_state *state, struct vr_event_ticket *ticket, enum vr_status status, const char *why)
{
    bool decided = true;
    for (uint32_t i = 0; i < ticket->count; i++) {
        enum vr_event_verdict verdict = ticket->result[i].verdict;
        if (verdict == VR_EVENT_ACCEPTED) {
            vr_event_window_forget(state->window, ticket->event[i].event_id);
        }
        decided = decided && verdict == VR_EVENT_REJECTED;
    }
    ticket->status = decided ? VR_OK : status;
    snprintf(ticket->error, sizeof ticket->error, "%s", why);
}

/* One line when writing begins to fail, one when it works again. */
static void report(struct vr_event_writer *writer, enum vr_status status)
{
    if (status != VR_OK && !writer->failing) {
        vr_log(VR_LOG_ERROR, "event_log_failing", "error=\"%s\"", vr_error_text());
    } else if (status == VR_OK && writer->failing) {
        vr_log(VR_LOG_INFO, "event_log_works_again", "next=%llu",
               (unsigned long long)vr_event_log_next(writer->state->log));
    }
    writer->failing = status != VR_OK;
}

static void write_group(struct vr_event_writer *writer, struct vr_event_ticket *group)
{
    struct vr_state *state = writer->state;
    for (struct vr_event_ticket *ticket = group; ticket != NULL; ticket = ticket->next) {
        for (uint32_t i = 0; i < ticket->count; i++) {
            judge(state, ticket, i);
        }
    }
    bool empty = vr_event_log_is_empty(state->log);
    enum vr_status status = vr_event_log_commit(state->log);
    if (!empty) {
        report(writer, status);
    }
    while (group != NULL) {
        struct vr_event_ticket *next = group->next; /* once it is done it is its owner's */
        if (status == VR_OK) {
            publish(state, group);
        } else {
            withdraw(state, group, status, vr_error_text());
        }
        group->done(group);
        group = next;
    }
}

/* ---- the thread ---- */

static void *run(void *argument)
{
    struct vr_event_writer *writer = argument;
    for (struct vr_event_ticket *group = take_group(writer); group != NULL; group = take_group(writer)) {
        write_group(writer, group);
    }
    return NULL;
}

enum vr_status vr_event_writer_start(struct vr_state *state, struct vr_event_writer **out)
{
    struct vr_event_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return vr_fail(VR_ERR_NOMEM, "event writer: no memory");
    }
    writer->state = state;
    writer->last = &writer->first;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->come, NULL);
    int error = pthread_create(&writer->thread, NULL, run, writer);
    writer->running = error == 0;
    if (error != 0) {
        vr_event_writer_destroy(writer);
        return vr_fail(VR_ERR_IO, "the event writer's thread cannot be started: %s", strerror(error));
    }
    *out = writer;
    return VR_OK;
}

void vr_event_writer_stop(struct vr_event_writer *writer)
{
    if (!writer->running) {
        return;
    }
    pthread_mutex_lock(&writer->lock);
    writer->closed = true;
    pthread_cond_signal(&writer->come);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    writer->running = false;
}

void vr_event_writer_destroy(struct vr_event_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    vr_event_writer_stop(writer);
    pthread_cond_destroy(&writer->come);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}
