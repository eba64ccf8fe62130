/* The bounded queue between the server's loops and the lanes. A push takes no lock: admission (admit.h) reads what the
 * lanes published, and the job goes into an inbox (inbox.h) that the next lane swaps whole. Lanes pull by what they
 * decide together under one mutex (dispatch.h); there is no batcher thread. A push wakes a lane only where one sleeps
 * and would now do something else than sleep on. */
#ifndef VIREO_FEED_QUEUE_H
#define VIREO_FEED_QUEUE_H

#include "dispatch.h"

struct vr_queue;

/* The limits of the configuration; the caller frees with vr_queue_destroy. VR_ERR_NOMEM, VR_ERR_IO. */
enum vr_status vr_queue_create(const struct vr_lane_config *config, struct vr_queue **out);
void vr_queue_destroy(struct vr_queue *queue); /* empty, and no thread inside; NULL is accepted */

/* Put a job in line. VR_ERR_BUSY when it is not admitted (job->reply.retry_after_s says when to come again),
 * VR_ERR_CLOSED after vr_queue_close: the job stays the caller's. */
enum vr_status vr_queue_push(struct vr_queue *queue, struct vr_job *job);

/* Wait by the take rule and take a batch into out->batch[max_batch], and what died waiting into out->dead; a batch
 * counts as in flight until vr_queue_done. *nudges (the lane's own, 0 at first) remembers which nudges the lane has
 * heard: an idle lane that has not heard the last returns at once with nothing. False when the queue is closed and
 * empty: the lane ends. */
bool vr_queue_take(struct vr_queue *queue, uint32_t *nudges, struct vr_taken *out);

/* Let idle lanes return from vr_queue_take once, to look after themselves between two batches. */
void vr_queue_nudge(struct vr_queue *queue);

/* The batch that this lane took is answered; the lane asks for the next one at once. */
void vr_queue_done(struct vr_queue *queue, const struct vr_batch_done *done);

/* What a request may cost, until batches have told: for the size of the first ones, not for refusals. */
void vr_queue_guess(struct vr_queue *queue, double request_us);

/* Take nothing until n are queued or 5 s have passed, then up to max_batch at once; 0 releases. */
void vr_queue_hold(struct vr_queue *queue, uint32_t n);

/* Refuse new jobs and let the lanes take what is left. */
void vr_queue_close(struct vr_queue *queue);

uint32_t vr_queue_length(const struct vr_queue *queue);
void vr_queue_load(struct vr_queue *queue, struct vr_feed_load *out);
#endif
