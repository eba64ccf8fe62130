/* A durable store from many threads at once, for ThreadSanitizer: writers submit overlapping events and wait for them,
 * readers read viewers, trending and sizes, one stops the store while events come. Every event id is told by two
 * writers; each must have counted exactly once, now and after a restart. Exit 0: passed. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/state.h"

#define WRITERS 4
#define EVENTS 800 /* ids; each told by two writers */
#define BATCH 8
#define VIEWERS 13
#define VIDEOS 50
#define ROUNDS 400
#define T0 INT64_C(1700000000000)

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

static struct vr_state *state;
static uint64_t verdicts[3];

struct batch {
    struct vr_event_ticket ticket;
    struct vr_event event[BATCH];
    struct vr_event_result result[BATCH];
    char text[BATCH][4][16];
    pthread_mutex_t lock;
    pthread_cond_t come;
    bool done;
};

static void on_done(struct vr_event_ticket *ticket)
{
    struct batch *batch = (struct batch *)ticket;
    pthread_mutex_lock(&batch->lock);
    batch->done = true;
    pthread_cond_signal(&batch->come);
    pthread_mutex_unlock(&batch->lock);
}

static void fill(struct batch *batch, int first)
{
    for (int k = 0; k < BATCH; k++) {
        int i = first + k;
        snprintf(batch->text[k][0], 16, "e%d", i);
        snprintf(batch->text[k][1], 16, "r%d", i / 50);
        snprintf(batch->text[k][2], 16, "u%d", i % VIEWERS);
        snprintf(batch->text[k][3], 16, "w%d", i * 31 % VIDEOS);
        batch->event[k] = (struct vr_event){.event_id = vr_str_of(batch->text[k][0]),
                                            .request_id = vr_str_of(batch->text[k][1]),
                                            .user_id = vr_str_of(batch->text[k][2]),
                                            .video_id = vr_str_of(batch->text[k][3]),
                                            .type = VR_EVENT_CLICK,
                                            .time_ms = T0 + i,
                                            .duration_s = 30};
    }
    memset(batch->result, 0, sizeof batch->result);
    batch->ticket = (struct vr_event_ticket){
        .event = batch->event, .count = BATCH, .result = batch->result, .received_ms = T0, .done = on_done};
    batch->done = false;
}

static enum vr_status tell(struct batch *batch)
{
    enum vr_status status = vr_state_submit(state, &batch->ticket);
    if (status != VR_OK) {
        return status;
    }
    pthread_mutex_lock(&batch->lock);
    while (!batch->done) {
        pthread_cond_wait(&batch->come, &batch->lock);
    }
    pthread_mutex_unlock(&batch->lock);
    return batch->ticket.status;
}

static void *write_events(void *argument)
{
    int writer = *(const int *)argument;
    struct batch batch = {.lock = PTHREAD_MUTEX_INITIALIZER, .come = PTHREAD_COND_INITIALIZER};
    for (int i = 0; i < EVENTS; i += BATCH) {
        if (i / BATCH % (WRITERS / 2) == writer % (WRITERS / 2)) {
            fill(&batch, i);
            CHECK(tell(&batch) == VR_OK);
            for (int k = 0; k < BATCH; k++) {
                __atomic_fetch_add(&verdicts[batch.result[k].verdict], 1, __ATOMIC_RELAXED);
            }
        }
    }
    return NULL;
}

static void *read_all(void *argument)
{
    struct vr_arena *arena;
    (void)argument;
    CHECK(vr_arena_create(65536, &arena) == VR_OK);
    for (int i = 0; i < ROUNDS; i++) {
        char user[16];
        struct vr_viewer viewer;
        struct vr_state_sizes sizes;
        snprintf(user, sizeof user, "u%d", i % VIEWERS);
        CHECK(vr_state_viewer(state, vr_str_of(user), arena, &viewer) == VR_OK);
        CHECK(viewer.counters.clicks <= viewer.counters.impressions);
        vr_state_trending_release(state, vr_state_trending(state, T0 + i));
        CHECK(vr_state_record_served(state, vr_str_of(user), (const uint32_t[]){(uint32_t)i}, 1, T0) == VR_OK);
        vr_state_measure(state, &sizes);
        CHECK(sizes.events <= EVENTS && sizes.log_failures == 0);
        vr_arena_reset(arena);
    }
    vr_arena_destroy(arena);
    return NULL;
}

/* Tells until the store is stopped; what was taken until then is answered. */
static void *tell_to_the_end(void *argument)
{
    struct batch batch = {.lock = PTHREAD_MUTEX_INITIALIZER, .come = PTHREAD_COND_INITIALIZER};
    enum vr_status status = VR_OK;
    (void)argument;
    while (status == VR_OK) {
        fill(&batch, 0);
        status = tell(&batch);
    }
    CHECK(status == VR_ERR_CLOSED);
    return NULL;
}

static void run_all(void *(*const work[])(void *), int count)
{
    pthread_t thread[8];
    int number[8];
    for (int i = 0; i < count; i++) {
        number[i] = i;
        CHECK(pthread_create(&thread[i], NULL, work[i], &number[i]) == 0);
    }
    for (int i = 0; i < count; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
    }
}

static void stop_while_events_come(void)
{
    pthread_t thread[3];
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&thread[i], NULL, tell_to_the_end, NULL) == 0);
    }
    vr_state_stop(state);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
    }
}

int main(void)
{
    const struct vr_state_config config = {.max_viewers = 1000,
                                           .recent_watches = 50,
                                           .trending_half_life_h = 12,
                                           .trending_refresh_ms = 5,
                                           .social_half_life_h = 72};
    void *(*const work[])(void *) = {write_events, write_events, write_events, write_events, read_all, read_all};
    char folder[] = "/tmp/vireo-thread-XXXXXX";
    char command[64];
    uint64_t replayed;
    CHECK(mkdtemp(folder) != NULL);
    CHECK(vr_state_open(&config, folder, &state) == VR_OK && vr_state_recover(state, &replayed) == VR_OK);
    run_all(work, sizeof work / sizeof *work);
    CHECK(verdicts[VR_EVENT_ACCEPTED] == EVENTS && verdicts[VR_EVENT_DUPLICATE] == EVENTS);
    stop_while_events_come();
    vr_state_destroy(state);
    CHECK(vr_state_open(&config, folder, &state) == VR_OK && vr_state_recover(state, &replayed) == VR_OK);
    CHECK(replayed == EVENTS);
    vr_state_destroy(state);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? 0 : 1;
}
