/* Hand-back lists (vireo/feed.h): lanes push, one loop drains. A stack of jobs that is pushed on with one
 * compare-and-swap and taken whole with one exchange, so nobody waits for anybody and no job is seen twice (the ABA
 * problem needs a pop of single elements). The drain turns it round. The eventfd is written only when the list was
 * empty, so a burst of answers wakes the loop once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vireo/feed.h"

struct vr_handback {
    struct vr_job *latest; /* linked by next, towards older ones; __atomic builtins */
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
    *out = list;
    return VR_OK;
}

int vr_handback_fd(const struct vr_handback *list)
{
    return list->fd;
}

static void wake(int fd)
{
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR); /* EAGAIN: the counter is full, so the loop is awake already */
}

/* A chain from `latest` down to `oldest`. Once it is on the list its jobs are the loop's. */
static void push_chain(struct vr_handback *list, struct vr_job *latest, struct vr_job *oldest)
{
    struct vr_job *before = __atomic_load_n(&list->latest, __ATOMIC_RELAXED);
    do {
        oldest->next = before;
    } while (!__atomic_compare_exchange_n(&list->latest, &before, latest, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (before == NULL) {
        wake(list->fd);
    }
}

void vr_handback_push(struct vr_handback *list, struct vr_job *job)
{
    push_chain(list, job, job);
}

void vr_handback_push_batch(struct vr_job **batch, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct vr_job *oldest = batch[i];
        struct vr_job *latest = oldest;
        for (uint32_t k = i + 1; oldest != NULL && k < count; k++) {
            if (batch[k] != NULL && batch[k]->home == oldest->home) {
                batch[k]->next = latest;
                latest = batch[k];
                batch[k] = NULL;
            }
        }
        if (oldest != NULL) {
            push_chain(oldest->home, latest, oldest);
        }
    }
}

struct vr_job *vr_handback_drain(struct vr_handback *list)
{
    uint64_t count;
    while (read(list->fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    struct vr_job *job = __atomic_exchange_n(&list->latest, NULL, __ATOMIC_ACQUIRE);
    struct vr_job *first = NULL;
    while (job != NULL) {
        struct vr_job *older = job->next;
        job->next = first;
        first = job;
        job = older;
    }
    return first;
}

void vr_handback_destroy(struct vr_handback *list)
{
    if (list == NULL) {
        return;
    }
    close(list->fd);
    free(list);
}
