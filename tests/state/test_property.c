/* Random streams of events against a plain recomputation from the list of events: no tables, no increments, one loop
 * over everything for each answer. The stream is then told in another order, which must not matter. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "vireo/state.h"

#define T0 INT64_C(1700000000000)
#define VIEWERS 4
#define VIDEOS 9
#define REQUESTS 3
#define EVENTS 600
#define RECENT 20u
#define HALF_LIFE_H 2.0F

struct told { /* one event, ids as small numbers */
    int id, viewer, video, request;
    enum vr_event_type type;
    int64_t time_ms; /* no two alike */
    float watch_s;
    bool counts; /* false: its id came before */
};

/* The labels of one impression, from scratch. */
struct outcome {
    bool there, click, like, finish, long_view;
    double watch_s;
    int64_t time_ms;
};

static const float duration_s[VIDEOS] = {0, 4, 10, 18, 19, 25, 60, 310, 1000};

static unsigned random_below(unsigned n)
{
    return (unsigned)rand() % n;
}

static void make_stream(struct told *told, unsigned seed)
{
    srand(seed);
    for (int i = 0; i < EVENTS; i++) {
        told[i] = (struct told){.id = i,
                                .viewer = (int)random_below(VIEWERS),
                                .video = (int)random_below(VIDEOS),
                                .request = (int)random_below(REQUESTS),
                                .type = (enum vr_event_type)random_below(VR_EVENT_TYPE_COUNT),
                                .time_ms = T0 + (i * 7919 % EVENTS) * INT64_C(20000) + (int64_t)random_below(20000),
                                .counts = true};
        told[i].watch_s = (float)random_below(4000) / (random_below(3) == 0 ? 10.0F : 250.0F);
        if (i > 0 && random_below(10) == 0) { /* a repetition of an earlier event */
            int64_t time_ms = told[i].time_ms;
            told[i] = told[random_below((unsigned)i)];
            told[i].time_ms = time_ms;
            told[i].counts = false;
        }
    }
}

static void tell(struct vr_state *state, const struct told *told)
{
    char id[16], request[16], user[16], video[16];
    snprintf(id, sizeof id, "e%d", told->id);
    snprintf(request, sizeof request, "r%d", told->request);
    snprintf(user, sizeof user, "u%d", told->viewer);
    snprintf(video, sizeof video, "v%d", told->video);
    struct vr_event event = {.event_id = vr_str_of(id),
                             .request_id = vr_str_of(request),
                             .user_id = vr_str_of(user),
                             .video_id = vr_str_of(video),
                             .type = told->type,
                             .time_ms = told->time_ms,
                             .watch_s = told->watch_s,
                             .duration_s = duration_s[told->video]};
    enum vr_event_verdict verdict;
    cr_assert_eq(vr_state_apply(state, &event, &verdict), VR_OK);
    cr_assert_eq(verdict, told->counts ? VR_EVENT_ACCEPTED : VR_EVENT_DUPLICATE);
}

static struct outcome judge(const struct told *told, int viewer, int video, int request)
{
    struct outcome out = {.time_ms = INT64_MAX};
    double played = 0;
    bool finished = false;
    for (int i = 0; i < EVENTS; i++) {
        const struct told *e = &told[i];
        if (!e->counts || e->viewer != viewer || e->video != video || e->request != request) {
            continue;
        }
        out.there = true;
        out.click |= e->type == VR_EVENT_CLICK;
        out.like |= e->type == VR_EVENT_LIKE;
        finished |= e->type == VR_EVENT_FINISH;
        played += e->type == VR_EVENT_PLAY ? (double)e->watch_s : 0;
        out.time_ms = e->time_ms < out.time_ms ? e->time_ms : out.time_ms;
    }
    double duration = (double)duration_s[video];
    double watched = finished ? fmax(played, duration) : played;
    out.finish = duration > 0 && watched >= 0.95 * duration - 1e-4;
    out.long_view = watched >= (duration > 0 ? fmin(duration, 18) : 18) - 1e-4;
    out.watch_s = fmin(watched, 300);
    return out;
}

static void add_outcome(double sum[6], const struct outcome *out)
{
    sum[0] += out->there;
    sum[1] += out->click;
    sum[2] += out->finish;
    sum[3] += out->like;
    sum[4] += out->there && out->long_view;
    sum[5] += out->watch_s;
}

static void check_counters(const struct vr_counters *counters, const double sum[6])
{
    cr_assert_eq(counters->impressions, sum[0]);
    cr_assert_eq(counters->clicks, sum[1]);
    cr_assert_eq(counters->finishes, sum[2]);
    cr_assert_eq(counters->likes, sum[3]);
    cr_assert_eq(counters->long_views, sum[4]);
    cr_assert_float_eq(counters->watch_s, sum[5], 0.01);
}

static void check_viewer_counters(struct vr_state *state, struct vr_arena *arena, const struct told *told, int viewer)
{
    char user[16];
    double sum[6] = {0};
    struct vr_viewer got;
    snprintf(user, sizeof user, "u%d", viewer);
    cr_assert_eq(vr_state_viewer(state, vr_str_of(user), arena, &got), VR_OK);
    for (int video = 0; video < VIDEOS; video++) {
        for (int request = 0; request < REQUESTS; request++) {
            struct outcome out = judge(told, viewer, video, request);
            add_outcome(sum, &out);
        }
    }
    check_counters(&got.counters, sum);
}

static void check_video_counters(struct vr_state *state, const struct told *told, int video)
{
    char name[16];
    double sum[6] = {0};
    struct vr_counters got;
    snprintf(name, sizeof name, "v%d", video);
    uint32_t number = vr_state_video_number(state, vr_str_of(name));
    vr_state_video_counters(state, &number, 1, &got);
    for (int viewer = 0; viewer < VIEWERS; viewer++) {
        for (int request = 0; request < REQUESTS; request++) {
            struct outcome out = judge(told, viewer, video, request);
            add_outcome(sum, &out);
        }
    }
    check_counters(&got, sum);
}

/* The nth newest impression of a viewer, by searching for the one that n others are newer than. */
static struct outcome nth_newest(const struct told *told, int viewer, unsigned n, int *video)
{
    for (int i = 0; i < VIDEOS * REQUESTS; i++) {
        struct outcome out = judge(told, viewer, i / REQUESTS, i % REQUESTS);
        unsigned newer = 0;
        for (int k = 0; k < VIDEOS * REQUESTS; k++) {
            struct outcome other = judge(told, viewer, k / REQUESTS, k % REQUESTS);
            newer += other.there && other.time_ms > out.time_ms;
        }
        if (out.there && newer == n) {
            *video = i / REQUESTS;
            return out;
        }
    }
    return (struct outcome){.there = false};
}

static void check_recents(struct vr_state *state, struct vr_arena *arena, const struct told *told, int viewer)
{
    char user[16];
    struct vr_viewer got;
    snprintf(user, sizeof user, "u%d", viewer);
    cr_assert_eq(vr_state_viewer(state, vr_str_of(user), arena, &got), VR_OK);
    cr_assert_leq(got.recent_count, RECENT);
    for (unsigned n = 0; n < got.recent_count; n++) {
        char name[16];
        int video = -1;
        const struct vr_watch *watch = &got.recent[got.recent_count - 1 - n];
        struct outcome out = nth_newest(told, viewer, n, &video);
        snprintf(name, sizeof name, "v%d", video);
        cr_assert(out.there);
        cr_assert_eq(watch->time_ms, out.time_ms);
        cr_assert_eq(watch->video, vr_state_video_number(state, vr_str_of(name)));
        cr_assert_float_eq(watch->watch_s, out.watch_s, 1e-3);
        uint32_t flags = (out.click ? 1u : 0) | (out.like ? 2u : 0) | (out.long_view ? 4u : 0) | (out.finish ? 8u : 0);
        cr_assert_eq(watch->flags, flags);
    }
    int unused;
    cr_assert(got.recent_count == RECENT || !nth_newest(told, viewer, got.recent_count, &unused).there);
}

static void check_seen(struct vr_state *state, struct vr_arena *arena, const struct told *told, int viewer)
{
    char user[16], name[16];
    uint32_t expected = 0;
    struct vr_viewer got;
    snprintf(user, sizeof user, "u%d", viewer);
    cr_assert_eq(vr_state_viewer(state, vr_str_of(user), arena, &got), VR_OK);
    for (int video = 0; video < VIDEOS; video++) {
        bool met = false, listed = false;
        snprintf(name, sizeof name, "v%d", video);
        uint32_t number = vr_state_video_number(state, vr_str_of(name));
        for (int request = 0; request < REQUESTS; request++) {
            met |= judge(told, viewer, video, request).there;
        }
        for (uint32_t i = 0; i < got.seen_count; i++) {
            listed |= got.seen[i] == number;
            cr_assert(i == 0 || got.seen[i - 1] < got.seen[i]);
        }
        cr_assert_eq(met, listed);
        expected += met;
    }
    cr_assert_eq(got.seen_count, expected);
}

/* Trending depends on which event brought a label, hence on the order of telling: follow the stream. */
static double trend_of(const struct told *told, int video, int64_t now_ms)
{
    double weight = 0;
    static struct told prefix[EVENTS];
    memcpy(prefix, told, sizeof prefix);
    for (int i = 0; i < EVENTS; i++) {
        prefix[i].counts = false;
    }
    for (int i = 0; i < EVENTS; i++) {
        if (!told[i].counts || told[i].video != video) {
            continue;
        }
        struct outcome before = judge(prefix, told[i].viewer, video, told[i].request);
        prefix[i].counts = true;
        struct outcome after = judge(prefix, told[i].viewer, video, told[i].request);
        double gain = (after.click && !before.click ? 1 : 0) + (after.like && !before.like ? 4 : 0) +
                      (after.finish && !(before.there && before.finish) ? 2 : 0);
        weight += gain * pow(0.5, (double)(now_ms - told[i].time_ms) / 3600000.0 / (double)HALF_LIFE_H);
    }
    return weight;
}

static void check_trending(struct vr_state *state, const struct told *told)
{
    const int64_t now_ms = T0 + EVENTS * INT64_C(20000);
    const struct vr_trending *list = vr_state_trending(state, now_ms);
    for (int video = 0; video < VIDEOS; video++) {
        char name[16];
        double listed = 0;
        snprintf(name, sizeof name, "v%d", video);
        uint32_t number = vr_state_video_number(state, vr_str_of(name));
        for (uint32_t i = 0; i < list->count; i++) {
            listed = list->video[i] == number ? (double)list->score[i] : listed;
            cr_assert(i == 0 || list->score[i - 1] >= list->score[i]);
        }
        double expected = trend_of(told, video, now_ms);
        cr_assert_float_eq(listed, expected, 1e-5 * (1 + expected), "video %d: %g, not %g", video, listed, expected);
    }
    vr_state_trending_release(state, list);
}

static void check_all(const struct told *told)
{
    const struct vr_state_config config = {.max_viewers = 1000,
                                           .recent_watches = RECENT,
                                           .trending_half_life_h = HALF_LIFE_H,
                                           .trending_refresh_ms = 1000};
    struct vr_state *state;
    struct vr_arena *arena;
    cr_assert_eq(vr_state_create(&config, &state), VR_OK);
    cr_assert_eq(vr_arena_create(4096, &arena), VR_OK);
    for (int i = 0; i < EVENTS; i++) {
        tell(state, &told[i]);
    }
    for (int viewer = 0; viewer < VIEWERS; viewer++) {
        check_viewer_counters(state, arena, told, viewer);
        check_recents(state, arena, told, viewer);
        check_seen(state, arena, told, viewer);
    }
    for (int video = 0; video < VIDEOS; video++) {
        check_video_counters(state, told, video);
    }
    check_trending(state, told);
    vr_arena_destroy(arena);
    vr_state_destroy(state);
}

/* The events that count, in a random order. The repetitions go: which of two alike comes first would matter. */
static void shuffle(struct told *told)
{
    for (int i = EVENTS - 1; i > 0; i--) {
        int k = (int)random_below((unsigned)i + 1);
        struct told keep = told[i];
        told[i] = told[k];
        told[k] = keep;
    }
    for (int i = 0; i < EVENTS; i++) {
        if (!told[i].counts) {
            told[i].id = EVENTS + i;
            told[i].counts = true;
        }
    }
}

Test(property, random_streams_equal_a_plain_recomputation)
{
    static struct told told[EVENTS];
    for (unsigned seed = 1; seed <= 10; seed++) {
        make_stream(told, seed);
        check_all(told);
        shuffle(told);
        check_all(told);
    }
}
