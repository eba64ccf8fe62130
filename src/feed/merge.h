/* Merge and dedupe: five source results -> unique candidates that keep every source, rank and score. */
#ifndef VIREO_FEED_MERGE_H
#define VIREO_FEED_MERGE_H

#include "candidate.h"

/* Scratch of a lane: an open-addressing table stamped per request, so that nothing is cleared or allocated. `max_found`
 * (> 0) is the most rows that all sources may give together. VR_ERR_INVALID, VR_ERR_NOMEM. */
struct vr_merge_scratch;
enum vr_status vr_merge_scratch_create(uint32_t max_found, struct vr_merge_scratch **out);
void vr_merge_scratch_destroy(struct vr_merge_scratch *scratch); /* NULL is accepted */

/* Order of candidates: round-robin over the sources by rank (all firsts, then all seconds, ...), sources in enum order,
 * so that cutting to max_candidates keeps the best of each. A candidate that is kept keeps all its finds, those past
 * the cut as well. heads, gates, term and score are NULL. VR_ERR_NOMEM, VR_ERR_TOO_LARGE (more than max_found rows). */
enum vr_status vr_merge(struct vr_merge_scratch *scratch, const struct vr_source_result result[VR_SOURCE_COUNT],
                        uint32_t max_candidates, struct vr_arena *arena, struct vr_candidates *out);
#endif
