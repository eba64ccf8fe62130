/* What passes between the steps of a request inside the feed room: a candidate list in the request's arena. */
#ifndef VIREO_FEED_CANDIDATE_H
#define VIREO_FEED_CANDIDATE_H

#include "vireo/feed.h"

/* What one source returned: rows of the model's bundle, best first, no row twice. In the job's arena. */
struct vr_source_result {
    const int32_t *row; /* [count] */
    const float *score; /* [count], the source's own scale */
    uint32_t count;
};

/* The merged candidates: unique rows, each with every place it was found. Arrays are [count]. */
struct vr_candidates {
    uint32_t count;
    int32_t *row;
    uint32_t *found_offset;    /* [count + 1] into found */
    struct vr_found_at *found; /* ordered by source */
    float *heads;              /* [count, VR_HEAD_COUNT], zeros until ranked */
    float *gates;              /* [count, gates, experts] with explain, else NULL */
    float *term;               /* [count, terms] */
    float *score;              /* [count], NaN: dropped */
};
#endif
