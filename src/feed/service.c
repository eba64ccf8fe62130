/* The estimate of service.h. */
#include "service.h"

#include <math.h>

#define FORGETTING 0.95    /* weight of all that was learnt, beside the next batch: some 20 batches count */
#define MOST_COVARIANCE 10 /* its trace: what no batch says anything about does not become ever less certain */
#define SPREAD_WEIGHT 0.125
#define USUAL_WEIGHT 0.125
#define CLIP_SPREADS 3.0
#define LEAST_SPREAD 0.02 /* of the expected time, or a line that fitted well for long could not move any more */

static double clip(double value, double limit)
{
    return fmax(-limit, fmin(limit, value));
}

void vr_service_guess(struct vr_service *service, double base_us, double each_us)
{
    if (service->seen == 0) {
        service->base_us = base_us;
        service->each_us = each_us;
    }
}

static void learn_first(struct vr_service *service, uint32_t requests, double us)
{
    double guess_us = vr_service_us(service, requests);
    service->each_us = guess_us > 0.0 ? service->each_us * us / guess_us : us / requests;
    service->base_us = us - service->each_us * requests;
    service->usual = requests;
    service->spread_us = us / 2.0;
    service->p00 = service->p11 = 1.0;
    service->p01 = 0.0;
    service->seen = 1;
}

/* Move the line by `error` of a batch of x requests, in the direction in which that batch tells most. */
static void move(struct vr_service *service, double x, double error)
{
    double g0 = service->p00 + service->p01 * x;
    double g1 = service->p01 + service->p11 * x;
    double k0 = g0 / (FORGETTING + g0 + g1 * x);
    double k1 = g1 / (FORGETTING + g0 + g1 * x);
    service->base_us += k0 * error;
    service->each_us += k1 * error;
    double p00 = service->p00 - k0 * g0, p01 = service->p01 - k0 * g1, p11 = service->p11 - k1 * g1;
    double scale = fmin(1.0 / FORGETTING, MOST_COVARIANCE / (p00 + p11));
    service->p00 = p00 * scale;
    service->p01 = p01 * scale;
    service->p11 = p11 * scale;
}

/* Neither part costs less than nothing. A part that would is set to nothing and the other moved along with it, as the
 * covariance says: to cut off the one alone would leave a line that fits no batch, and the next errors would drive the
 * other away. */
static void keep_sane(struct vr_service *service)
{
    if (service->base_us < 0.0) {
        service->each_us -= service->base_us * service->p01 / service->p00;
        service->base_us = 0.0;
    } else if (service->each_us < 0.0) {
        service->base_us -= service->each_us * service->p01 / service->p11;
        service->each_us = 0.0;
    }
    service->base_us = fmax(service->base_us, 0.0);
    service->each_us = fmax(service->each_us, 0.0);
}

void vr_service_learn(struct vr_service *service, uint32_t requests, double us)
{
    if (service->seen == 0) {
        learn_first(service, requests, us);
        return;
    }
    double expected = vr_service_us(service, requests);
    double error = clip(us - expected, CLIP_SPREADS * service->spread_us);
    move(service, requests, error);
    keep_sane(service);
    service->usual += USUAL_WEIGHT * (requests - service->usual);
    service->spread_us += SPREAD_WEIGHT * (fabs(error) - service->spread_us);
    service->spread_us = fmax(service->spread_us, LEAST_SPREAD * expected + 1.0);
    service->seen += service->seen < UINT32_MAX ? 1 : 0;
}

void vr_service_take_base(struct vr_service *service, double base_us)
{
    if (service->seen > 0) {
        double us = service->base_us + service->each_us * service->usual;
        service->base_us = fmin(base_us, us);
        service->each_us = (us - service->base_us) / service->usual;
    }
}

double vr_service_us(const struct vr_service *service, uint32_t requests)
{
    return service->base_us + service->each_us * requests;
}

uint32_t vr_service_batch(const struct vr_service *service, double target_us, uint32_t most)
{
    if (service->each_us <= 0.0) {
        return most;
    }
    double in_time = (target_us - service->base_us) / service->each_us;
    double shares_base = ceil(service->base_us / service->each_us);
    double batch = fmax(2.0, fmax(in_time, shares_base));
    return batch < (double)most ? (uint32_t)batch : most;
}
