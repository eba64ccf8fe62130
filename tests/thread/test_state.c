/* The state from many threads at once, for ThreadSanitizer: writers tell overlapping streams of events, readers read
 * viewers, recents, counters and trending, others serve, import and join catalogues meanwhile. Every event id is told
 * by two writers; at the end each must have counted exactly once. Exit 0: passed. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/hand_bundle.h"
#include "vireo/state.h"

#define T0 HAND_AS_OF_MS
#define WRITERS 4
#define EVENTS 6000 /* ids; each told by two writers */
#define VIEWERS 37
#define VIDEOS 500
#define ROUNDS 1500 /* of a reader */

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

static struct vr_state *state;
static struct hand_bundle hand;
static uint64_t accepted, duplicates;

/* Event number i: the same for every writer that tells it. */
static enum vr_event_verdict tell(int i)
{
    char id[16], request[16], user[16], video[16];
    snprintf(id, sizeof id, "e%d", i);
    snprintf(request, sizeof request, "r%d", i / 50);
    snprintf(user, sizeof user, "u%d", i % VIEWERS);
    snprintf(video, sizeof video, "w%d", i * 31 % VIDEOS);
    struct vr_event event = {.event_id = vr_str_of(id),
                             .request_id = vr_str_of(request),
                             .user_id = vr_str_of(user),
                             .video_id = vr_str_of(video),
                             .type = i % 3 == 0 ? VR_EVENT_PLAY : VR_EVENT_CLICK,
                             .time_ms = T0 + i,
                             .watch_s = 2,
                             .duration_s = 30};
    enum vr_event_verdict verdict;
    CHECK(vr_state_apply(state, &event, &verdict) == VR_OK);
    return verdict;
}

static void *write_events(void *argument)
{
    int writer = *(const int *)argument;
    uint64_t seen[3] = {0};
    for (int i = 0; i < EVENTS; i++) {
        if (i % (WRITERS / 2) == writer % (WRITERS / 2)) {
            seen[tell(i)]++;
        }
    }
    __atomic_fetch_add(&accepted, seen[VR_EVENT_ACCEPTED], __ATOMIC_RELAXED);
    __atomic_fetch_add(&duplicates, seen[VR_EVENT_DUPLICATE], __ATOMIC_RELAXED);
    CHECK(seen[VR_EVENT_REJECTED] == 0);
    return NULL;
}

static void check_viewer(const struct vr_viewer *viewer)
{
    CHECK(viewer->recent_count <= 50);
    for (uint32_t i = 1; i < viewer->recent_count; i++) {
        CHECK(viewer->recent[i - 1].time_ms <= viewer->recent[i].time_ms);
    }
    for (uint32_t i = 1; i < viewer->seen_count; i++) {
        CHECK(viewer->seen[i - 1] < viewer->seen[i]);
    }
    for (uint32_t i = 1; i < viewer->served_count; i++) {
        CHECK(viewer->served[i - 1] < viewer->served[i]);
    }
}

static void *read_viewers(void *argument)
{
    struct vr_arena *arena;
    (void)argument;
    CHECK(vr_arena_create(65536, &arena) == VR_OK);
    for (int i = 0; i < ROUNDS; i++) {
        char user[16];
        struct vr_viewer viewer;
        struct vr_watch watch[20];
        struct vr_counters counters[3];
        snprintf(user, sizeof user, "u%d", i % VIEWERS);
        CHECK(vr_state_viewer(state, vr_str_of(user), arena, &viewer) == VR_OK);
        check_viewer(&viewer);
        CHECK(vr_state_recent_of(state, (uint32_t)(i % VIEWERS), watch, 20) <= 20);
        vr_state_video_counters(state, (uint32_t[]){0, (uint32_t)i % VIDEOS, 100000}, 3, counters);
        CHECK(counters[1].clicks <= counters[1].impressions && counters[2].clicks == 0);
        vr_arena_reset(arena);
    }
    vr_arena_destroy(arena);
    return NULL;
}

static void *read_trending(void *argument)
{
    int offset = *(const int *)argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct vr_state_sizes sizes;
        const struct vr_trending *list = vr_state_trending(state, T0 + EVENTS + i * 7 + offset);
        CHECK(list->count <= VR_TRENDING_MAX);
        for (uint32_t k = 1; k < list->count; k++) {
            CHECK(list->score[k - 1] >= list->score[k]);
        }
        vr_state_trending_release(state, list);
        vr_state_measure(state, &sizes);
    }
    return NULL;
}

static void *serve(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        char user[16];
        const uint32_t video[3] = {i, i + 1, i * 7};
        snprintf(user, sizeof user, "u%u", i % VIEWERS);
        CHECK(vr_state_record_served(state, vr_str_of(user), video, 3, T0) == VR_OK);
    }
    return NULL;
}

static void *load_models(void *argument)
{
    (void)argument;
    for (int i = 0; i < 60; i++) {
        struct vr_catalogue *catalogue;
        uint32_t imported;
        CHECK(vr_state_import(state, &hand.bundle, T0, &imported) == VR_OK);
        CHECK(vr_catalogue_create(state, &hand.bundle, T0, &catalogue) == VR_OK);
        CHECK(vr_catalogue_row(catalogue, catalogue->number[5]) == 5);
        vr_catalogue_destroy(catalogue);
    }
    return NULL;
}

/* Sums over the end state: each id has counted once. */
static void check_end(void)
{
    struct vr_state_sizes sizes;
    double impressions = 0, clicks = 0, expected_clicks = 0;
    vr_state_measure(state, &sizes);
    CHECK(accepted == EVENTS && sizes.events == EVENTS);
    CHECK(duplicates == EVENTS && sizes.duplicates == EVENTS);
    for (uint32_t number = 0; number < sizes.videos; number++) {
        struct vr_counters counters;
        vr_state_video_counters(state, &number, 1, &counters);
        impressions += (double)counters.impressions;
        clicks += (double)counters.clicks;
    }
    for (int i = 0; i < EVENTS; i++) { /* no two events here share viewer, request and video */
        expected_clicks += i % 3 != 0;
    }
    /* The seeds' own counters, if the import came before the first event. */
    struct vr_viewer seeded;
    struct vr_arena *arena;
    CHECK(vr_arena_create(4096, &arena) == VR_OK);
    CHECK(vr_state_viewer(state, vr_str_of("1"), arena, &seeded) == VR_OK);
    CHECK(impressions == EVENTS + (seeded.known ? 100 : 0));
    CHECK(clicks == expected_clicks + (seeded.known ? 40 : 0));
    vr_arena_destroy(arena);
}

int main(void)
{
    const struct vr_state_config config = {.max_viewers = 1000,
                                           .recent_watches = 50,
                                           .trending_half_life_h = 12,
                                           .trending_refresh_ms = 5,
                                           .social_half_life_h = 72};
    void *(*const work[])(void *) = {write_events, write_events,  write_events,  write_events, read_viewers,
                                     read_viewers, read_trending, read_trending, serve,        load_models};
    enum { THREADS = sizeof work / sizeof *work };
    pthread_t thread[THREADS];
    int number[THREADS];
    hand_bundle_make(&hand);
    CHECK(vr_state_create(&config, &state) == VR_OK);
    for (int i = 0; i < THREADS; i++) {
        number[i] = i;
        CHECK(pthread_create(&thread[i], NULL, work[i], &number[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
    }
    check_end();
    vr_state_destroy(state);
    return 0;
}
