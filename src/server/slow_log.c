/* The lines of slow_log.h. */
#include "slow_log.h"

#include <inttypes.h>

#include "vireo/clock.h"
#include "vireo/log.h"

void vr_slow_log_open(struct vr_slow_log *log, uint32_t slow_request_ms, uint32_t loops)
{
    uint32_t share = VR_SLOW_LINES / loops;
    *log = (struct vr_slow_log){.limit_us = (uint64_t)slow_request_ms * 1000, .lines = share > 0 ? share : 1};
}

bool vr_slow_log_admits(struct vr_slow_log *log, uint64_t now_us, uint64_t took_us, uint32_t *skipped)
{
    if (log->limit_us == 0 || took_us < log->limit_us) {
        return false;
    }
    if (now_us / 1000000 != log->second) {
        log->second = now_us / 1000000;
        log->written = 0;
    }
    if (log->written >= log->lines) {
        log->skipped++;
        return false;
    }
    log->written++;
    *skipped = log->skipped;
    log->skipped = 0;
    return true;
}

/* A client's request id as it may stand between quotes. */
static void show_id(struct vr_str id, char out[VR_ID_MAX_BYTES + 1])
{
    size_t len = id.len < VR_ID_MAX_BYTES ? id.len : VR_ID_MAX_BYTES;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)id.data[i];
        out[i] = byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\' ? '?' : (char)byte;
    }
    out[len] = '\0';
}

void vr_slow_log_note(struct vr_slow_log *log, const struct vr_job *job, const char *route, int status)
{
    const struct vr_feed_reply *reply = &job->reply;
    uint64_t now_us = vr_clock_mono_us();
    uint64_t took_us = now_us - job->request.received_us;
    uint32_t skipped;
    if (!vr_slow_log_admits(log, now_us, took_us, &skipped)) {
        return;
    }
    char id[VR_ID_MAX_BYTES + 1];
    show_id(job->request.request_id, id);
    vr_log(VR_LOG_WARN, "slow_request",
           "request_id=\"%s\" route=%s status=%d took_us=%" PRIu64
           " queue_us=%u retrieve_us=%u merge_us=%u rank_us=%u rerank_us=%u batch=%u candidates=%u degraded=%u "
           "model_version=%s skipped=%u",
           id, route, status, took_us, reply->queue_us, reply->retrieve_us, reply->merge_us, reply->rank_us,
           reply->rerank_us, reply->batch, reply->candidates, reply->degraded_count,
           reply->model_version != NULL ? reply->model_version : "-", skipped);
}
