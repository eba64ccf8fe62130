/* The log of slow requests: one line an answer that took longer than server.slow_request_ms, with the time of each
 * stage. A loop has its own, with its share of the lines that a second may have. */
#ifndef VIREO_SERVER_SLOW_LOG_H
#define VIREO_SERVER_SLOW_LOG_H

#include "vireo/feed.h"

#define VR_SLOW_LINES 10u /* a second, over all loops; each loop has one at least */

struct vr_slow_log {
    uint64_t limit_us; /* 0: no log */
    uint32_t lines;    /* a second */
    uint64_t second;   /* the current one, monotonic */
    uint32_t written, skipped;
};

void vr_slow_log_open(struct vr_slow_log *log, uint32_t slow_request_ms, uint32_t loops);

/* True when a line may be written for an answer that took `took_us`; *skipped is then how many were not since the last
 * line. */
bool vr_slow_log_admits(struct vr_slow_log *log, uint64_t now_us, uint64_t took_us, uint32_t *skipped);

/* The answered job, whose request came in at job->request.received_us. `route`: its name. */
void vr_slow_log_note(struct vr_slow_log *log, const struct vr_job *job, const char *route, int status);

#endif
