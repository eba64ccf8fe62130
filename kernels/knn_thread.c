/* The thread of one outside index (knn.h). It does one thing at a time for whoever asks; the others stand in line. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "knn.h"
#include "vireo/clock.h"

#define TEXT_MAX 512u

/* What the thread is asked: nothing, a call, to end. */
enum turn {
    FREE = 0, /* nobody asks */
    ASKED,
    DONE, /* the asker takes the answer and frees the turn */
};

struct vr_knn_thread {
    const struct vr_knn_library *library;
    struct vr_knn_spec spec;
    struct vr_seam_stream *stream;
    struct vr_knn *knn;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* the turn */
    enum turn turn;
    bool ending, stuck;
    struct vr_knn_call call;
    enum vr_status status; /* of what was done, with its text */
    char text[TEXT_MAX];
};

static uint64_t patience_us = 10000000;

void vr_knn_thread_patience(uint64_t us)
{
    patience_us = us;
}

/* ---- the thread itself ---- */

static enum vr_status make(struct vr_knn_thread *own)
{
    const enum vr_status status = vr_seam_stream_create(&own->stream);
    if (status != VR_OK) {
        return status;
    }
    own->spec.stream = vr_seam_launch_on(own->stream);
    return own->library->create(&own->spec, &own->knn);
}

static enum vr_status run(struct vr_knn_thread *own, const struct vr_knn_call *call)
{
    const enum vr_status status = vr_seam_stream_follow(own->stream, call->stream);
    return status == VR_OK ? own->library->search(own->knn, call->queries, call->query, call->k, call->id, call->score)
                           : status;
}

static void note(struct vr_knn_thread *own, enum vr_status status)
{
    own->status = status;
    strncpy(own->text, status == VR_OK ? "" : vr_error_text(), sizeof own->text - 1);
}

/* With the mutex held. The asker's stream follows whatever happened, so that what the library began has ended when
 * that stream is done; an asker who waits no longer may have none. */
static void answer(struct vr_knn_thread *own)
{
    if (own->call.stream != NULL && !own->stuck) {
        const enum vr_status followed = vr_seam_stream_follow(own->call.stream, own->stream);
        if (own->status == VR_OK) {
            note(own, followed);
        }
    }
    own->turn = DONE;
    pthread_cond_broadcast(&own->changed);
}

static void *live(void *pointer)
{
    struct vr_knn_thread *own = pointer;
    note(own, make(own));
    pthread_mutex_lock(&own->mutex);
    answer(own);
    for (;;) {
        while (own->turn != ASKED && !own->ending) {
            pthread_cond_wait(&own->changed, &own->mutex);
        }
        if (own->ending) {
            break;
        }
        pthread_mutex_unlock(&own->mutex);
        note(own, run(own, &own->call));
        pthread_mutex_lock(&own->mutex);
        answer(own);
    }
    pthread_mutex_unlock(&own->mutex);
    if (own->stream != NULL) {
        vr_cuda_drain(own->stream); /* a build that nobody searched may still run */
    }
    if (own->knn != NULL) {
        own->library->destroy(own->knn);
    }
    vr_seam_stream_destroy(own->stream);
    return NULL;
}

/* ---- the others ---- */

/* The answer, and the turn to the next. With the mutex held. */
static enum vr_status take_answer(struct vr_knn_thread *thread)
{
    const enum vr_status status = thread->status;
    thread->turn = FREE;
    pthread_cond_broadcast(&thread->changed);
    return status == VR_OK ? VR_OK : vr_fail(status, "%s", thread->text);
}

static void free_thread(struct vr_knn_thread *thread)
{
    pthread_cond_destroy(&thread->changed);
    pthread_mutex_destroy(&thread->mutex);
    free(thread);
}

/* Turn and condition on the monotonic clock. */
static struct vr_knn_thread *prepare(const struct vr_knn_library *library, const struct vr_knn_spec *spec)
{
    struct vr_knn_thread *thread = calloc(1, sizeof *thread);
    if (thread != NULL) {
        pthread_condattr_t clock;
        thread->library = library;
        thread->spec = *spec;
        thread->turn = ASKED;
        pthread_condattr_init(&clock); /* none of these can fail on Linux */
        pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
        pthread_mutex_init(&thread->mutex, NULL);
        pthread_cond_init(&thread->changed, &clock);
        pthread_condattr_destroy(&clock);
    }
    return thread;
}

enum vr_status vr_knn_thread_start(const struct vr_knn_library *library, const struct vr_knn_spec *spec,
                                   struct vr_knn_thread **out)
{
    struct vr_knn_thread *thread = prepare(library, spec);
    if (thread == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index's thread");
    }
    const int error = pthread_create(&thread->thread, NULL, live, thread);
    if (error != 0) {
        free_thread(thread);
        return vr_fail(VR_ERR_NOMEM, "an index's thread: %s", strerror(error));
    }
    pthread_mutex_lock(&thread->mutex);
    while (thread->turn != DONE) { /* building takes as long as it takes */
        pthread_cond_wait(&thread->changed, &thread->mutex);
    }
    const enum vr_status status = take_answer(thread);
    pthread_mutex_unlock(&thread->mutex);
    if (status != VR_OK) {
        vr_knn_thread_stop(thread);
        return status;
    }
    *out = thread;
    return VR_OK;
}

static struct timespec end_of_patience(void)
{
    const uint64_t end_us = vr_clock_mono_us() + patience_us;
    return (struct timespec){(time_t)(end_us / 1000000), (long)(end_us % 1000000 * 1000)};
}

/* Wait until it is `turn`; false when the library does not come back. With the mutex held. */
static bool await(struct vr_knn_thread *thread, enum turn turn, const struct timespec *end)
{
    while (!thread->stuck && thread->turn != turn) {
        if (pthread_cond_timedwait(&thread->changed, &thread->mutex, end) == ETIMEDOUT && thread->turn != turn) {
            thread->stuck = true;
            pthread_cond_broadcast(&thread->changed);
        }
    }
    return !thread->stuck;
}

enum vr_status vr_knn_thread_search(struct vr_knn_thread *thread, const struct vr_knn_call *call)
{
    const struct timespec end = end_of_patience();
    enum vr_status status = VR_ERR_DEVICE_LOST;
    pthread_mutex_lock(&thread->mutex);
    bool back = await(thread, FREE, &end);
    if (back) {
        thread->call = *call;
        thread->turn = ASKED;
        pthread_cond_broadcast(&thread->changed);
        back = await(thread, DONE, &end);
    }
    if (back) {
        status = take_answer(thread);
    }
    pthread_mutex_unlock(&thread->mutex);
    return back ? status : vr_fail(status, "%s: a search has not come back", thread->library->name);
}

bool vr_knn_thread_stop(struct vr_knn_thread *thread)
{
    if (thread == NULL) {
        return true;
    }
    pthread_mutex_lock(&thread->mutex);
    const bool stuck = thread->stuck;
    thread->ending = true;
    pthread_cond_broadcast(&thread->changed);
    pthread_mutex_unlock(&thread->mutex);
    if (stuck) {
        pthread_detach(thread->thread);
        return false;
    }
    pthread_join(thread->thread, NULL);
    free_thread(thread);
    return true;
}
