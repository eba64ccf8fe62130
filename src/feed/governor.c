/* The steps of governor.h. */
#include "governor.h"

#include <math.h>

#include "vireo/feed.h"

#define LEAST_GRADIENT 0.5    /* the limit is halved in an interval at most */
#define REFUSED_SHARE 50u     /* pressed where more than one arrival in so many is refused */
#define CALM_WHERE_IT_FITS 3u /* intervals before a level comes back */
#define CALM_TO_TRY_ANYWAY 50u

static double between(double value, double low, double high)
{
    return fmax(low, fmin(high, value));
}

static void restrain(struct vr_governor *governor, const struct vr_interval *interval)
{
    double limit = fmin(governor->limit, fmax(interval->inside, interval->least_limit));
    double gradient = 1.0;
    if (interval->wait_us > interval->target_us) {
        gradient = fmax(LEAST_GRADIENT, (double)interval->target_us / (double)interval->wait_us);
    }
    governor->limit = between(limit * gradient + sqrt(limit), interval->least_limit, interval->most_limit);
}

static void relax(struct vr_governor *governor, const struct vr_interval *interval)
{
    uint32_t needed = interval->better_fits ? CALM_WHERE_IT_FITS : CALM_TO_TRY_ANYWAY;
    governor->limit = between(2.0 * governor->limit, interval->least_limit, interval->most_limit);
    governor->calm++;
    if (governor->level > 0 && governor->calm >= needed) {
        governor->level--;
        governor->calm = 0;
    }
}

void vr_governor_step(struct vr_governor *governor, const struct vr_interval *interval)
{
    bool waits = interval->wait_us > interval->target_us;
    bool refuses = interval->refused > interval->arrived / REFUSED_SHARE;
    if (!waits && !refuses) {
        relax(governor, interval);
        return;
    }
    governor->calm = 0;
    if (governor->level + 1 < VR_QUALITY_LEVELS) {
        governor->level++;
    } else {
        restrain(governor, interval);
    }
}
