/* Where loops put jobs and lanes take them all at once: a lock-free list that is pushed one by one and swapped whole,
 * so that there is no ABA problem and a push is one compare-and-swap. Any thread may call any of these. */
#ifndef VIREO_FEED_INBOX_H
#define VIREO_FEED_INBOX_H

#include "vireo/feed.h"

struct vr_inbox {
    struct vr_job *newest; /* linked by next; __atomic builtins only */
};

/* False: the inbox is closed, and the job stays the caller's. */
bool vr_inbox_push(struct vr_inbox *inbox, struct vr_job *job);

/* All jobs in it, oldest first, linked by next; NULL: none. */
struct vr_job *vr_inbox_drain(struct vr_inbox *inbox);

/* The same, and no push after it succeeds. */
struct vr_job *vr_inbox_close(struct vr_inbox *inbox);

bool vr_inbox_is_empty(const struct vr_inbox *inbox);
bool vr_inbox_is_closed(const struct vr_inbox *inbox);
#endif
