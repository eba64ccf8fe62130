/* The list of inbox.h. Sequentially consistent, because the queue's wake-up compares it with another word. */
#include "inbox.h"

#include <stddef.h>

static struct vr_job closed; /* its address stands for the end of a list that takes no more */

bool vr_inbox_push(struct vr_inbox *inbox, struct vr_job *job)
{
    struct vr_job *newest = __atomic_load_n(&inbox->newest, __ATOMIC_RELAXED);
    do {
        if (newest == &closed) {
            return false;
        }
        job->next = newest;
    } while (!__atomic_compare_exchange_n(&inbox->newest, &newest, job, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return true;
}

static struct vr_job *reversed(struct vr_job *newest)
{
    struct vr_job *oldest = NULL;
    while (newest != NULL) {
        struct vr_job *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

struct vr_job *vr_inbox_drain(struct vr_inbox *inbox)
{
    struct vr_job *newest = __atomic_load_n(&inbox->newest, __ATOMIC_SEQ_CST);
    while (newest != NULL && newest != &closed &&
           !__atomic_compare_exchange_n(&inbox->newest, &newest, NULL, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    return newest != &closed ? reversed(newest) : NULL;
}

struct vr_job *vr_inbox_close(struct vr_inbox *inbox)
{
    struct vr_job *newest = __atomic_exchange_n(&inbox->newest, &closed, __ATOMIC_SEQ_CST);
    return newest != &closed ? reversed(newest) : NULL;
}

bool vr_inbox_is_empty(const struct vr_inbox *inbox)
{
    const struct vr_job *newest = __atomic_load_n(&inbox->newest, __ATOMIC_SEQ_CST);
    return newest == NULL || newest == &closed;
}

bool vr_inbox_is_closed(const struct vr_inbox *inbox)
{
    return __atomic_load_n(&inbox->newest, __ATOMIC_SEQ_CST) == &closed;
}
