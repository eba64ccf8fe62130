/* One job on its way through a batch, and what its steps share. All memory is in the job's arena, so that a visit is
 * worked on by one thread at a time and freed with the request. */
#ifndef VIREO_FEED_VISIT_H
#define VIREO_FEED_VISIT_H

#include "candidate.h"

/* Rows of the model's bundle, ascending, none twice. */
struct vr_rows {
    int32_t *row; /* [count] */
    uint32_t count;
};

struct vr_visit {
    struct vr_job *job;
    struct vr_viewer viewer;
    struct vr_recent *recent; /* [recent_count], oldest first, at most VR_RECENT_MAX */
    uint32_t recent_count;
    double *viewer_raw, *context_raw; /* [viewer fields], [context fields] */
    struct vr_rows excluded, seen, served;
    struct vr_rows skip; /* what no source shall return: excluded, and seen and served where those are dropped */
    struct vr_source_result found[VR_SOURCE_COUNT];
    const float *user_tower, *hist_tower, *hist_content; /* of retrieval; NULL where it failed */
    struct vr_candidates candidates;
    double *video_raw, *pair_raw;     /* [candidates, video fields], [candidates, pair fields] */
    bool ranked;                      /* heads are the model's; else the candidates are in retrieval order */
    uint32_t gave_way[VR_RULE_COUNT]; /* positions at which each rule gave way, for the metrics */
};

static inline bool vr_visit_is_open(const struct vr_visit *visit)
{
    return visit->job->reply.status == VR_OK;
}

/* The job failed with the thread's error text as its detail. */
void vr_visit_fail(struct vr_visit *visit, enum vr_status status);

/* Name a way in which the answer is less than it could be; `what` is static text. Past VR_DEGRADED_MAX it is lost. */
void vr_visit_degrade(struct vr_visit *visit, const char *what);
#endif
