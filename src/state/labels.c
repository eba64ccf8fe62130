/* The label rules of labels.h. All of them rise only: labels do not depend on the order in which events come. */
#include "labels.h"

#include <math.h>

#define TOLERANCE_S 1e-4 /* times are whole milliseconds that float32 rounds */
#define TREND_CLICK 1.0
#define TREND_FINISH 2.0
#define TREND_LIKE 4.0

/* Seconds before the cap: a finish is judged by these, or no video longer than the cap could be finished. */
static double uncapped_watch_s(const struct vr_impression *impression)
{
    bool raised = impression->finished && impression->played_s < (double)impression->duration_s;
    return raised ? (double)impression->duration_s : impression->played_s;
}

double vr_impression_watch_s(const struct vr_impression *impression)
{
    double watch_s = uncapped_watch_s(impression);
    return watch_s > VR_WATCH_CAP_S ? VR_WATCH_CAP_S : watch_s;
}

static uint32_t watch_flags(const struct vr_impression *impression)
{
    double duration = (double)impression->duration_s;
    double watch_s = uncapped_watch_s(impression) + TOLERANCE_S;
    double long_s = duration > 0 && duration < VR_LONG_VIEW_S ? duration : VR_LONG_VIEW_S;
    uint32_t flags = watch_s >= long_s ? (uint32_t)VR_WATCH_LONG_VIEW : 0;
    if (duration > 0 && watch_s >= VR_FINISH_SHARE * duration) {
        flags |= VR_WATCH_FINISH;
    }
    return flags;
}

static void take_event(struct vr_impression *impression, const struct vr_event *event)
{
    if (event->time_ms < impression->time_ms) {
        impression->time_ms = event->time_ms;
    }
    if (impression->duration_s == 0 && isfinite(event->duration_s) && event->duration_s > 0) {
        impression->duration_s = event->duration_s;
    }
    switch (event->type) {
    case VR_EVENT_CLICK: impression->flags |= VR_WATCH_CLICK; break;
    case VR_EVENT_LIKE: impression->flags |= VR_WATCH_LIKE; break;
    case VR_EVENT_PLAY: impression->played_s += (double)event->watch_s; break;
    case VR_EVENT_FINISH: impression->finished = true; break;
    case VR_EVENT_IMPRESSION: /* the impression itself; the other three carry no label of their own */
    case VR_EVENT_SHARE:
    case VR_EVENT_SKIP:
    case VR_EVENT_DISLIKE: break;
    }
    impression->flags |= watch_flags(impression);
}

static double risen(uint32_t flags, enum vr_watch_flag flag)
{
    return (flags & (uint32_t)flag) != 0 ? 1.0 : 0.0;
}

struct vr_label_change vr_impression_apply(struct vr_impression *impression, const struct vr_event *event, bool is_new)
{
    struct vr_impression before = *impression;
    take_event(impression, event);
    uint32_t rose = impression->flags & ~before.flags;
    struct vr_label_change change = {
        .delta =
            {
                .impressions = is_new ? 1.0 : 0.0,
                .clicks = risen(rose, VR_WATCH_CLICK),
                .finishes = risen(rose, VR_WATCH_FINISH),
                .likes = risen(rose, VR_WATCH_LIKE),
                .long_views = risen(rose, VR_WATCH_LONG_VIEW),
                .watch_s = vr_impression_watch_s(impression) - vr_impression_watch_s(&before),
            },
    };
    change.trend =
        TREND_CLICK * change.delta.clicks + TREND_FINISH * change.delta.finishes + TREND_LIKE * change.delta.likes;
    return change;
}

void vr_totals_add(struct vr_totals *totals, const struct vr_totals *delta)
{
    totals->impressions += delta->impressions;
    totals->clicks += delta->clicks;
    totals->finishes += delta->finishes;
    totals->likes += delta->likes;
    totals->long_views += delta->long_views;
    totals->watch_s += delta->watch_s;
}

struct vr_counters vr_totals_counters(const struct vr_totals *totals)
{
    struct vr_counters counters = {
        .impressions = (float)totals->impressions,
        .clicks = (float)totals->clicks,
        .finishes = (float)totals->finishes,
        .likes = (float)totals->likes,
        .long_views = (float)totals->long_views,
        .watch_s = (float)totals->watch_s,
    };
    return counters;
}

struct vr_totals vr_totals_of(const float counters[6])
{
    struct vr_totals totals = {
        .impressions = (double)counters[0],
        .clicks = (double)counters[1],
        .finishes = (double)counters[2],
        .likes = (double)counters[3],
        .long_views = (double)counters[4],
        .watch_s = (double)counters[5],
    };
    return totals;
}

/* 0.5^(span / half life), 1 for a span below 0. */
static double decay(int64_t from_ms, int64_t to_ms, double half_life_ms)
{
    return to_ms > from_ms ? exp2(((double)from_ms - (double)to_ms) / half_life_ms) : 1.0;
}

void vr_trend_add(struct vr_trend *trend, double weight, int64_t time_ms, double half_life_ms)
{
    if (trend->weight <= 0) {
        trend->weight = weight;
        trend->time_ms = time_ms;
    } else if (time_ms >= trend->time_ms) {
        trend->weight = trend->weight * decay(trend->time_ms, time_ms, half_life_ms) + weight;
        trend->time_ms = time_ms;
    } else {
        trend->weight += weight * decay(time_ms, trend->time_ms, half_life_ms);
    }
}

double vr_trend_at(const struct vr_trend *trend, int64_t now_ms, double half_life_ms)
{
    return trend->weight * decay(trend->time_ms, now_ms, half_life_ms);
}
