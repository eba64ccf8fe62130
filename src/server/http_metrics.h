/* What a loop counts of its HTTP traffic, for /metrics. One writer, the loop (counter.h). */
#ifndef VIREO_SERVER_HTTP_METRICS_H
#define VIREO_SERVER_HTTP_METRICS_H

#include <stdint.h>

#include "counter.h"
#include "exposition.h"
#include "route.h"
#include "tally.h"
#include "vireo/feed.h"

#define VR_HTTP_STATUSES 20u /* those that this server sends, and one for any other */

struct vr_http_metrics {
    uint64_t answers[VR_ROUTE_COUNT][VR_HTTP_STATUSES];
    struct vr_histogram seconds[VR_ROUTE_COUNT];     /* microseconds from the complete request to its answer */
    struct vr_histogram request_bytes, answer_bytes; /* whole requests; bodies of answers */
    uint64_t accepted, cancelled;
    uint64_t refused[2];    /* connections, for the count of all and for that of their address */
    uint64_t events[3];     /* by enum vr_event_verdict */
    struct vr_tally models; /* answers by the model's version */
};

struct vr_http_answer {
    enum vr_route route;
    int status;
    uint64_t took_us;
    size_t bytes; /* of the body */
};

/* Add what a loop has counted, whose thread may go on counting. */
void vr_http_metrics_add(struct vr_http_metrics *into, const struct vr_http_metrics *loop);

/* Count an answer. */
void vr_http_metrics_answer(struct vr_http_metrics *metrics, const struct vr_http_answer *answer);

/* Count what a lane's reply says. */
void vr_http_metrics_reply(struct vr_http_metrics *metrics, const struct vr_feed_reply *reply);

/* Write the families of this struct. */
void vr_http_metrics_write(const struct vr_http_metrics *metrics, struct vr_exposition *out);
#endif
