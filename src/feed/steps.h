/* The steps of a request in their order, one file a step; batch.c calls them. Those that take a lane and a count work
 * on the whole batch; the others work on one request, and several run at once. A failing step marks its visit
 * (vr_visit_fail) rather than returning: the others of the batch go on. */
#ifndef VIREO_FEED_STEPS_H
#define VIREO_FEED_STEPS_H

#include "lane.h"

/* fields.c: read the viewer and fill the raw viewer and context rows (docs/bundle.md, "Fields"). */
void vr_step_viewer(const struct vr_lane *lane, struct vr_visit *visit);

/* fields.c: the raw video and pair rows of the candidates; duration_s [candidates] for the terms is in video_raw. */
void vr_step_candidate_fields(const struct vr_lane *lane, struct vr_visit *visit);

/* retrieve.c: row sets, then the three sources that are look-ups. */
void vr_step_lookups(const struct vr_lane *lane, struct vr_visit *visit);

/* retrieve.c: two-tower and content retrieval of lane->open[count] in one engine call. */
void vr_step_search(struct vr_lane *lane, uint32_t count);

/* combine.c: merge and dedupe, what may come back as seen where the rule is listed, and heads of zeros. */
void vr_step_merge(const struct vr_lane *lane, struct vr_visit *visit, struct vr_merge_scratch *scratch);

/* named.c: the candidates that the caller of a RANK job named, and at its end the answer. */
void vr_step_named(const struct vr_lane *lane, struct vr_visit *visit);
void vr_step_answer_named(const struct vr_lane *lane, struct vr_visit *visit);

/* rank.c: the ranker over lane->open[count], in one engine call where their rows fit into one. */
void vr_step_rank(struct vr_lane *lane, uint32_t count);

/* rank.c: satisfaction terms over the heads; `terms` are the lane's, or the job's own in a dry run. */
void vr_step_terms(const struct vr_lane *lane, struct vr_visit *visit, struct vr_terms *terms);

/* guard.c: re-ranking under `rules`, then the reply (reply.c) with its traces (explain.c). */
void vr_step_guard(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_rerank_config *rules);

/* similar.c: the whole of GET /v1/similar. */
void vr_step_similar(struct vr_lane *lane, struct vr_visit *visit);
#endif
