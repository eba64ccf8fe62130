/* The reply of a request: items in position order, what was left out and why, and on request every item's trace. */
#ifndef VIREO_FEED_REPLY_H
#define VIREO_FEED_REPLY_H

#include "lane.h"
#include "rerank.h"

/* Fill items, filter counts and degraded reasons of visit->job->reply. VR_ERR_NOMEM. */
enum vr_status vr_reply_fill(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_rerank_output *chosen);

/* The same of a RANK job: every candidate in its order, with its terms. VR_ERR_NOMEM. */
enum vr_status vr_reply_fill_all(const struct vr_lane *lane, struct vr_visit *visit);

/* explain.c: the trace of one item, after vr_explain_gates, in arena memory; NULL when memory is short. */
const struct vr_trace *vr_explain_item(const struct vr_visit *visit, const struct vr_rerank_item *item);

/* explain.c: names and counts of the gates, once a reply. */
void vr_explain_gates(const struct vr_bundle *bundle, const struct vr_visit *visit, struct vr_feed_reply *reply);
#endif
