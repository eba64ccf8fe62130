/* Hand-back lists (vireo/feed.h): lanes append, one loop drains. The eventfd is written only when the list was empty,
 * so a burst of answers wakes the loop once. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vireo/feed.h"

struct vr_handback {
    pthread_mutex_t mutex;
    struct vr_job *first, *last;
    int fd;
};

enum vr_status vr_handback_create(struct vr_handback **out)
{
    struct vr_handback *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return vr_fail(VR_ERR_NOMEM, "hand-back list: no memory");
    }
    list->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (list->fd < 0) {
        int error = errno;
        free(list);
        return vr_fail(VR_ERR_IO, "eventfd: %s", strerror(error));
    }
    if (pthread_mutex_init(&list->mutex, NULL) != 0) {
        close(list->fd);
        free(list);
        return vr_fail(VR_ERR_IO, "hand-back list: no mutex");
    }
    *out = list;
    return VR_OK;
}

int vr_handback_fd(const struct vr_handback *list)
{
    return list->fd;
}

/* Inside the lock, so that whoever drained the last job may destroy the list. */
static void wake(const struct vr_handback *list)
{
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(list->fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR); /* EAGAIN: the counter is full, so the loop is awake already */
}

void vr_handback_push(struct vr_handback *list, struct vr_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&list->mutex);
    if (list->last != NULL) {
        list->last->next = job;
    } else {
        list->first = job;
        wake(list);
    }
    list->last = job;
    pthread_mutex_unlock(&list->mutex);
}

struct vr_job *vr_handback_drain(struct vr_handback *list)
{
    uint64_t count;
    pthread_mutex_lock(&list->mutex);
    while (read(list->fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    struct vr_job *first = list->first;
    list->first = list->last = NULL;
    pthread_mutex_unlock(&list->mutex);
    return first;
}

void vr_handback_destroy(struct vr_handback *list)
{
    if (list == NULL) {
        return;
    }
    close(list->fd);
    pthread_mutex_destroy(&list->mutex);
    free(list);
}
