/* Answers as JSON: typed reply structs in, text appended to a writer. docs/openapi.yaml has the shapes. */
#ifndef VIREO_SERVER_REPLY_JSON_H
#define VIREO_SERVER_REPLY_JSON_H

#include "request_json.h"
#include "vireo/feed.h"
#include "vireo/json.h"

/* The answer of an answered RECOMMEND job. `ignored` names context values that the bundle does not know; they are
 * listed in coverage.degraded as "unknown_context:NAME". */
void vr_reply_write_feed(struct vr_json_writer *out, const struct vr_feed_request *request,
                         const struct vr_feed_reply *reply, const struct vr_str *ignored, uint32_t ignored_count);

/* The answer of an answered RANK job; `ignored` likewise, listed in degraded. */
void vr_reply_write_rank(struct vr_json_writer *out, const struct vr_feed_request *request,
                         const struct vr_feed_reply *reply, const struct vr_str *ignored, uint32_t ignored_count);

/* The answer of an answered SIMILAR job. */
void vr_reply_write_similar(struct vr_json_writer *out, const struct vr_feed_request *request,
                            const struct vr_feed_reply *reply);

/* What became of the events of a body. */
void vr_reply_write_events(struct vr_json_writer *out, const struct vr_event_batch *batch,
                           const struct vr_event_result *result, bool durable);
#endif
