/* The bounded queue between the server's loops and the lanes: one mutex, one condition. Lanes pull by the take rule
 * (take.h); there is no batcher thread. The queue also knows how many batches are in flight and how long one takes. */
#ifndef VIREO_FEED_QUEUE_H
#define VIREO_FEED_QUEUE_H

#include "vireo/feed.h"

struct vr_queue;

/* The limits of the configuration; the caller frees with vr_queue_destroy. VR_ERR_NOMEM, VR_ERR_IO. */
enum vr_status vr_queue_create(const struct vr_lane_config *config, struct vr_queue **out);
void vr_queue_destroy(struct vr_queue *queue); /* empty, and no thread inside; NULL is accepted */

/* Append. VR_ERR_BUSY when full, VR_ERR_CLOSED after vr_queue_close: the job stays the caller's. */
enum vr_status vr_queue_push(struct vr_queue *queue, struct vr_job *job);

/* Wait by the take rule and take a batch, oldest first, into batch[max_batch]; it counts as in flight until
 * vr_queue_done. *nudges (the lane's own, 0 at first) remembers which nudges the lane has heard: an idle lane that has
 * not heard the last returns at once with *count 0. False when the queue is closed and empty: the lane ends. */
bool vr_queue_take(struct vr_queue *queue, uint32_t *nudges, struct vr_job **batch, uint32_t *count);

/* Let idle lanes return from vr_queue_take once, to look after themselves between two batches. */
void vr_queue_nudge(struct vr_queue *queue);

/* The batch that this lane took is answered after service_us. */
void vr_queue_done(struct vr_queue *queue, uint64_t service_us);

/* Take nothing until n are queued or 5 s have passed; 0 releases. */
void vr_queue_hold(struct vr_queue *queue, uint32_t n);

/* Refuse new jobs and let the lanes take what is left. */
void vr_queue_close(struct vr_queue *queue);

uint32_t vr_queue_length(struct vr_queue *queue);
#endif
