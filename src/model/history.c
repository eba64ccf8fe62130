/* Values derived from recent watches and from time, shared by training and serving (docs/bundle.md, "Recent watches"
 * and the built-in fields). */
#include <math.h>

#include "vireo/features.h"

static double positive(uint32_t flags)
{
    if (flags & (VR_WATCH_LONG_VIEW | VR_WATCH_LIKE | VR_WATCH_FINISH)) {
        return 1.0;
    }
    return flags & VR_WATCH_CLICK ? 0.1 : 0.0;
}

static double watch_weight(const struct vr_recent *watch, uint32_t rank)
{
    return watch->video < 0 ? 0.0 : positive(watch->flags) * pow(0.5, rank / 16.0);
}

void vr_history_weights(const struct vr_recent *recent, uint32_t count, float *weight)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += watch_weight(&recent[i], count - 1 - i);
    }
    for (uint32_t i = 0; i < count; i++) {
        weight[i] = sum > 0 ? (float)(watch_weight(&recent[i], count - 1 - i) / sum) : 0.0f;
    }
}

/* What several watches add up to. */
struct window {
    uint32_t count, clicks, likes, long_views, finishes;
    uint32_t known; /* of them with a known watch time */
    double watch_s; /* sum of those */
};

static void add_watch(struct window *window, const struct vr_recent *watch)
{
    window->count++;
    window->clicks += (watch->flags & VR_WATCH_CLICK) != 0;
    window->likes += (watch->flags & VR_WATCH_LIKE) != 0;
    window->long_views += (watch->flags & VR_WATCH_LONG_VIEW) != 0;
    window->finishes += (watch->flags & VR_WATCH_FINISH) != 0;
    if (!isnan(watch->watch_s)) {
        window->known++;
        window->watch_s += watch->watch_s;
    }
}

static double mean_watch(const struct window *window)
{
    return window->known > 0 ? window->watch_s / window->known : NAN;
}

void vr_history_fields(const struct vr_recent *recent, uint32_t count, double *viewer_raw)
{
    struct window all = {0}, last = {0};
    uint32_t in_hour = 0;
    double since_s = NAN;
    for (uint32_t i = 0; i < count; i++) {
        add_watch(&all, &recent[i]);
        if (isnan(recent[i].age_s)) {
            continue; /* of a history without times, which knows no clicks and finishes either */
        }
        if (count - i <= VR_RECENT_LAST) {
            add_watch(&last, &recent[i]);
        }
        in_hour += recent[i].age_s <= 3600.0f;
        since_s = recent[i].age_s;
    }
    viewer_raw[VR_VIEWER_RECENT_N] = all.count;
    viewer_raw[VR_VIEWER_RECENT_LONG] = all.long_views;
    viewer_raw[VR_VIEWER_RECENT_WATCH_S] = mean_watch(&all);
    viewer_raw[VR_VIEWER_RECENT_LIKES] = all.likes;
    viewer_raw[VR_VIEWER_LAST_N] = last.count;
    viewer_raw[VR_VIEWER_LAST_CLICKS] = last.clicks;
    viewer_raw[VR_VIEWER_LAST_LONG] = last.long_views;
    viewer_raw[VR_VIEWER_LAST_FINISHES] = last.finishes;
    viewer_raw[VR_VIEWER_LAST_WATCH_S] = mean_watch(&last);
    viewer_raw[VR_VIEWER_HOUR_N] = in_hour;
    viewer_raw[VR_VIEWER_SINCE_S] = since_s;
}

void vr_history_matches(const struct vr_recent *recent, uint32_t count, const int32_t *topic, const int32_t *creator,
                        int32_t video, double *pair_raw)
{
    uint32_t topic_n = 0, topic_long = 0, creator_n = 0, creator_long = 0, watched_n = 0;
    for (uint32_t i = 0; i < count && video >= 0; i++) {
        int32_t seen = recent[i].video;
        if (seen < 0) {
            continue;
        }
        uint32_t is_long = (recent[i].flags & VR_WATCH_LONG_VIEW) != 0;
        uint32_t same_topic = topic[video] >= 0 && topic[seen] == topic[video];
        uint32_t same_creator = creator[video] >= 0 && creator[seen] == creator[video];
        topic_n += same_topic;
        topic_long += same_topic & is_long;
        creator_n += same_creator;
        creator_long += same_creator & is_long;
        watched_n += seen == video;
    }
    pair_raw[VR_PAIR_TOPIC_N] = topic_n;
    pair_raw[VR_PAIR_TOPIC_LONG] = topic_long;
    pair_raw[VR_PAIR_CREATOR_N] = creator_n;
    pair_raw[VR_PAIR_CREATOR_LONG] = creator_long;
    pair_raw[VR_PAIR_WATCHED_N] = watched_n;
}

/* The remainder of a division that rounds down. */
static int64_t modulo(int64_t a, int64_t b)
{
    int64_t r = a % b;
    return r < 0 ? r + b : r;
}

void vr_time_fields(int64_t now_ms, int32_t utc_offset_min, double *context_raw)
{
    const int64_t hour_ms = 3600000, week_h = 7 * 24, epoch_h = 3 * 24; /* 1970-01-01 was a Thursday */
    int64_t in_week = modulo(now_ms, week_h * hour_ms) + (int64_t)utc_offset_min * 60000;
    int64_t hours = modulo(in_week, week_h * hour_ms) / hour_ms + epoch_h;
    context_raw[VR_CONTEXT_HOUR] = (double)(hours % 24);
    context_raw[VR_CONTEXT_WEEKDAY] = (double)(hours / 24 % 7);
}

double vr_age_hours(int64_t now_ms, int64_t upload_ms)
{
    if (upload_ms == INT64_MIN) {
        return NAN;
    }
    double hours = ((double)now_ms - (double)upload_ms) / 3600000.0;
    return hours > 0 ? hours : 0.0;
}
