/* What a visit tells its reply (visit.h). */
#include "visit.h"

#include <stdio.h>

void vr_visit_fail(struct vr_visit *visit, enum vr_status status)
{
    struct vr_feed_reply *reply = &visit->job->reply;
    reply->status = status;
    reply->item_count = 0;
    snprintf(reply->error, sizeof reply->error, "%s", vr_error_text());
}

void vr_visit_degrade(struct vr_visit *visit, const char *what)
{
    struct vr_feed_reply *reply = &visit->job->reply;
    if (reply->degraded_count < VR_DEGRADED_MAX) {
        reply->degraded[reply->degraded_count++] = what;
    }
}
