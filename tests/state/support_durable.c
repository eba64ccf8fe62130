/* The store of support_durable.h. */
#include "support_durable.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "support_files.h"
#include "vireo/dict.h"

const struct vr_state_config durable_config = {.max_viewers = 40,
                                               .recent_watches = 10,
                                               .trending_half_life_h = 12,
                                               .trending_refresh_ms = 1,
                                               .social_half_life_h = 72,
                                               .subscription_max_age_h = 336};

struct vr_state *durable_open(const char *folder, uint64_t *replayed)
{
    struct vr_state *state = NULL;
    const struct vr_state_files files = {.folder = folder, .segment_bytes = 4096, .ops = &files_ops};
    uint64_t unused;
    cr_assert_eq(vr_state_open_files(&durable_config, &files, &state), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_state_recover(state, replayed != NULL ? replayed : &unused), VR_OK, "%s", vr_error_text());
    return state;
}

/* ---- telling ---- */

struct wait {
    struct vr_event_ticket ticket;
    pthread_mutex_t lock;
    pthread_cond_t come;
    bool done;
};

static void on_done(struct vr_event_ticket *ticket)
{
    struct wait *wait = (struct wait *)ticket;
    pthread_mutex_lock(&wait->lock);
    wait->done = true;
    pthread_cond_signal(&wait->come);
    pthread_mutex_unlock(&wait->lock);
}

enum vr_status durable_tell(struct vr_state *state, const struct vr_event *event, uint32_t count,
                            struct vr_event_result *result)
{
    struct wait wait = {.ticket = {.event = event,
                                   .count = count,
                                   .result = result,
                                   .received_ms = event->time_ms + 5,
                                   .done = on_done},
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .come = PTHREAD_COND_INITIALIZER};
    enum vr_status status = vr_state_submit(state, &wait.ticket);
    if (status != VR_OK) {
        return status;
    }
    pthread_mutex_lock(&wait.lock);
    while (!wait.done) {
        pthread_cond_wait(&wait.come, &wait.lock);
    }
    pthread_mutex_unlock(&wait.lock);
    return wait.ticket.status == VR_OK ? VR_OK : vr_fail(wait.ticket.status, "%s", wait.ticket.error);
}

static struct vr_str text_of(const char *letter, int number)
{
    static char pool[1 << 20];
    static size_t used;
    cr_assert(used + 16 < sizeof pool);
    char *text = pool + used;
    used += 16;
    snprintf(text, 16, "%s%d", letter, number);
    return vr_str_of(text);
}

struct vr_event durable_event(int id, int user, int video, enum vr_event_type type, int64_t time_ms)
{
    return (struct vr_event){.event_id = text_of("e", id),
                             .request_id = text_of("r", id % 3),
                             .user_id = text_of("u", user),
                             .video_id = text_of("v", video),
                             .type = type,
                             .time_ms = time_ms,
                             .watch_s = type == VR_EVENT_PLAY ? 4.5F : 0,
                             .duration_s = 10};
}

/* ---- comparing ---- */

static void same_counters(const struct vr_counters *a, const struct vr_counters *b)
{
    cr_assert_eq(a->impressions, b->impressions);
    cr_assert_eq(a->clicks, b->clicks);
    cr_assert_eq(a->finishes, b->finishes);
    cr_assert_eq(a->likes, b->likes);
    cr_assert_eq(a->long_views, b->long_views);
    cr_assert_float_eq(a->watch_s, b->watch_s, 1e-3);
}

/* The video of a number by its id: -1 where it has none of v0, v1, ... */
static int video_of(struct vr_state *state, uint32_t number, int videos)
{
    for (int v = 0; v < videos; v++) {
        char id[16];
        snprintf(id, sizeof id, "v%d", v);
        if (vr_state_video_number(state, vr_str_of(id)) == number) {
            return v;
        }
    }
    return -1;
}

static void same_viewer(struct vr_state *a, struct vr_state *b, int user, int videos, struct vr_arena *arena)
{
    struct vr_viewer of_a, of_b;
    char id[16];
    snprintf(id, sizeof id, "u%d", user);
    cr_assert_eq(vr_state_viewer(a, vr_str_of(id), arena, &of_a), VR_OK);
    cr_assert_eq(vr_state_viewer(b, vr_str_of(id), arena, &of_b), VR_OK);
    cr_assert_eq(of_a.known, of_b.known, "%s", id);
    same_counters(&of_a.counters, &of_b.counters);
    cr_assert_eq(of_a.recent_count, of_b.recent_count);
    for (uint32_t i = 0; i < of_a.recent_count; i++) {
        const struct vr_watch *x = &of_a.recent[i];
        const struct vr_watch *y = &of_b.recent[i];
        cr_assert_eq(video_of(a, x->video, videos), video_of(b, y->video, videos));
        cr_assert(x->flags == y->flags && x->time_ms == y->time_ms && x->request == y->request);
        cr_assert_eq(x->watch_s, y->watch_s);
    }
    cr_assert_eq(of_a.seen_count, of_b.seen_count);
    cr_assert(of_a.follow_count == of_b.follow_count && of_a.friend_count == of_b.friend_count);
    cr_assert_eq(of_a.profile_count, of_b.profile_count);
    uint64_t sum[2] = {0};
    for (uint32_t i = 0; i < of_a.seen_count; i++) {
        sum[0] += UINT64_C(1) << (video_of(a, of_a.seen[i], videos) + 1) % 60;
        sum[1] += UINT64_C(1) << (video_of(b, of_b.seen[i], videos) + 1) % 60;
    }
    cr_assert_eq(sum[0], sum[1]);
}

static void same_trending(struct vr_state *a, struct vr_state *b, int videos, int64_t now_ms)
{
    const struct vr_trending *of_a = vr_state_trending(a, now_ms);
    const struct vr_trending *of_b = vr_state_trending(b, now_ms);
    cr_assert_eq(of_a->count, of_b->count);
    for (uint32_t i = 0; i < of_a->count; i++) {
        cr_assert_float_eq(of_a->score[i], of_b->score[i], 1e-4);
        cr_assert(video_of(a, of_a->video[i], videos) >= 0);
    }
    vr_state_trending_release(a, of_a);
    vr_state_trending_release(b, of_b);
}

void durable_expect_same(struct vr_state *a, struct vr_state *b, int viewers, int videos, int64_t now_ms)
{
    struct vr_arena *arena;
    cr_assert_eq(vr_arena_create(65536, &arena), VR_OK);
    for (int user = 0; user < viewers; user++) {
        same_viewer(a, b, user, videos, arena);
        vr_arena_reset(arena);
    }
    for (int v = 0; v < videos; v++) {
        char id[16];
        struct vr_counters of_a, of_b;
        snprintf(id, sizeof id, "v%d", v);
        uint32_t in_a = vr_state_video_number(a, vr_str_of(id));
        uint32_t in_b = vr_state_video_number(b, vr_str_of(id));
        vr_state_video_counters(a, &in_a, 1, &of_a);
        vr_state_video_counters(b, &in_b, 1, &of_b);
        same_counters(&of_a, &of_b);
    }
    same_trending(a, b, videos, now_ms);
    vr_arena_destroy(arena);
}
