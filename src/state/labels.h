/* Labels of one impression (docs: definitions in include/vireo/state.h, "events"): pure functions that turn events into
 * labels, the change of a counter, and what an impression adds to trending. No lock, no memory, no clock. */
#ifndef VIREO_STATE_LABELS_H
#define VIREO_STATE_LABELS_H

#include "vireo/state.h"

#define VR_WATCH_CAP_S 300.0
#define VR_FINISH_SHARE 0.95
#define VR_LONG_VIEW_S 18.0

/* Sums over impressions; double, so that adding 1 to a large count is never lost. */
struct vr_totals {
    double impressions, clicks, finishes, likes, long_views;
    double watch_s; /* seconds */
};

struct vr_impression {
    uint64_t request; /* hash of the request id; 0: imported, no event joins it */
    int64_t time_ms;  /* of its earliest event; INT64_MIN unknown (imported) */
    double played_s;  /* plays added up, not capped; NaN unknown (imported) */
    float duration_s; /* 0 unknown */
    uint32_t video;   /* number */
    uint32_t flags;   /* enum vr_watch_flag */
    bool finished;    /* a finish event came */
};

/* What one event changed. */
struct vr_label_change {
    struct vr_totals delta;
    double trend; /* weight for the trending list, 0 for none */
};

/* The seconds watched: plays added up, at least the duration after a finish event, at most VR_WATCH_CAP_S. NaN where
 * unknown. */
double vr_impression_watch_s(const struct vr_impression *impression);

/* Apply an event that belongs to this impression. A new impression is all zero but for request, video and time_ms, and
 * `is_new` counts it. */
struct vr_label_change vr_impression_apply(struct vr_impression *impression, const struct vr_event *event, bool is_new);

void vr_totals_add(struct vr_totals *totals, const struct vr_totals *delta);
struct vr_counters vr_totals_counters(const struct vr_totals *totals);
struct vr_totals vr_totals_of(const float counters[6]); /* in the order of struct vr_counters */

/* An exponentially decayed sum, held as its value at `time_ms`, so that nothing has to be decayed in passing. */
struct vr_trend {
    double weight;
    int64_t time_ms;
};

/* Add `weight` at `time_ms`; exact whatever the order of times. */
void vr_trend_add(struct vr_trend *trend, double weight, int64_t time_ms, double half_life_ms);

/* The value at now_ms; weights from after now_ms are not grown. */
double vr_trend_at(const struct vr_trend *trend, int64_t now_ms, double half_life_ms);

#endif
