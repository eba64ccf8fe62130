/* How long a batch takes: base_us + each_us * requests, learnt from the batches that ran. One estimate a backend and
 * quality level; pure functions of what was observed, without a clock.
 *
 * Recursive least squares with forgetting (Ljung, System Identification). What recent batches say nothing about stays
 * where it was: hours of full batches do not forget what a batch of one costs. Errors are clipped at a few usual
 * deviations (Huber 1964), so that one batch that was descheduled moves the line little, while a lasting change raises
 * the deviation (kept as TCP keeps that of its round trips: Jacobson 1988) and is followed within a few dozen. */
#ifndef VIREO_FEED_SERVICE_H
#define VIREO_FEED_SERVICE_H

#include <stdint.h>

struct vr_service {
    double base_us, each_us; /* the line; both 0: nothing is known */
    double usual;            /* requests of a batch, moving mean */
    double spread_us;        /* usual deviation of a batch from it */
    double p00, p01, p11;    /* covariance of base and each, in units of a batch's variance */
    uint32_t seen;           /* batches, saturating; 0: the line is a guess, or nothing */
};

/* A first guess of the line: the first batch only says how long or short it is altogether. Nothing once a batch has
 * been seen. */
void vr_service_guess(struct vr_service *service, double base_us, double each_us);

/* A batch of `requests` (at least 1) took `us`. */
void vr_service_learn(struct vr_service *service, uint32_t requests, double us);

/* The same backend at another quality spends base_us on a batch by itself: take it over, and let a batch of the usual
 * size cost what it did. Nothing where no batch was seen. */
void vr_service_take_base(struct vr_service *service, double base_us);

/* What a batch of `requests` is expected to take; 0: nothing is known. */
double vr_service_us(const struct vr_service *service, uint32_t requests);

/* The largest batch that is done within target_us, 1..most. At least as many as share the fixed part evenly (a batch
 * never spends more than half of its time on it, whatever the target), and at least 2, since from batches of one
 * nobody learns what the second request adds. `most` where nothing is known. */
uint32_t vr_service_batch(const struct vr_service *service, double target_us, uint32_t most);
#endif
