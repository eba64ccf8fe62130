/* The order in which waiting jobs are served: a binary heap, on one thread at a time.
 *
 * Each job has a time by which it should start: its arrival plus a share of its own time, none for high priority, a
 * quarter for normal, half for low. The earliest goes first, equals in the order in which they came. So whoever is in a
 * hurry goes before who is not, priority is a head start and not a wall, and nobody starves: nothing that arrives once
 * that share of a job's time has passed goes before it. */
#ifndef VIREO_FEED_LINEUP_H
#define VIREO_FEED_LINEUP_H

#include "vireo/feed.h"

struct vr_waiting {
    uint64_t start_by_us, ticket;
    struct vr_job *job;
};

struct vr_lineup {
    struct vr_waiting *waiting; /* [capacity], a heap in its first `length` */
    uint32_t length, capacity;
    uint64_t next_ticket;
};

/* Room for `capacity` jobs, all there will ever be. VR_ERR_NOMEM. */
enum vr_status vr_lineup_create(struct vr_lineup *lineup, uint32_t capacity);
void vr_lineup_destroy(struct vr_lineup *lineup); /* one of zeros is accepted */

void vr_lineup_push(struct vr_lineup *lineup, struct vr_job *job); /* length < capacity */
struct vr_job *vr_lineup_pop(struct vr_lineup *lineup);            /* length > 0 */

/* When a job should start. */
uint64_t vr_start_by_us(const struct vr_feed_request *request);
#endif
