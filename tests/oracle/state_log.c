/* A durable store behind standard input, so that a Python oracle can tell it events and ask what it knows:
 * `oracle_state_log FOLDER`. A line a command, words apart by one space:
 *
 *   event ID REQUEST USER VIDEO TYPE TIME_MS WATCH_S DURATION_S   keep for the next tell
 *   tell            submit what is kept as one ticket          -> told VERDICT...
 *   restart         close and open the folder                  -> replayed N
 *   viewer USER     -> viewer IMPRESSIONS CLICKS FINISHES LIKES LONG_VIEWS WATCH_S ; VIDEO:TIME:FLAGS:WATCH_S... ;
 * VIDEO... (recent watches, oldest first; videos seen) video VIDEO     -> video IMPRESSIONS ... trending NOW_MS ->
 * trending VIDEO:SCORE...
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/state_internal.h"
#include "vireo/dict.h"

#define KEPT_MAX 1000
#define VIDEOS_MAX 256

static const struct vr_state_config config = {.max_viewers = 1000,
                                              .recent_watches = 10,
                                              .trending_half_life_h = 2,
                                              .trending_refresh_ms = 1,
                                              .social_half_life_h = 72,
                                              .subscription_max_age_h = 336};

static struct vr_state *state;
static const char *folder;
static struct vr_event kept[KEPT_MAX];
static uint32_t kept_count;
static struct vr_arena *words;        /* of all lines */
static const char *video[VIDEOS_MAX]; /* every id that was ever told */
static int video_count;

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s: %s\n", what, vr_error_text());
        exit(1);
    }
}

static uint64_t open_state(void)
{
    uint64_t replayed = 0;
    const struct vr_state_files files = {.folder = folder, .segment_bytes = 4096, .ops = &vr_file_ops_system};
    must(vr_state_open_files(&config, &files, &state) == VR_OK, "open");
    must(vr_state_recover(state, &replayed) == VR_OK, "recover");
    return replayed;
}

/* ---- telling ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t come = PTHREAD_COND_INITIALIZER;
static bool done;

static void on_done(struct vr_event_ticket *ticket)
{
    (void)ticket;
    pthread_mutex_lock(&lock);
    done = true;
    pthread_cond_signal(&come);
    pthread_mutex_unlock(&lock);
}

static void tell(void)
{
    static struct vr_event_result result[KEPT_MAX];
    memset(result, 0, sizeof result);
    struct vr_event_ticket ticket = {.event = kept, .count = kept_count, .result = result, .done = on_done};
    done = false;
    must(vr_state_submit(state, &ticket) == VR_OK, "submit");
    pthread_mutex_lock(&lock);
    while (!done) {
        pthread_cond_wait(&come, &lock);
    }
    pthread_mutex_unlock(&lock);
    must(ticket.status == VR_OK, ticket.error);
    printf("told");
    for (uint32_t i = 0; i < kept_count; i++) {
        printf(" %d", (int)result[i].verdict);
    }
    printf("\n");
    kept_count = 0;
}

static struct vr_str word(void)
{
    const char *text = strtok(NULL, " ");
    must(text != NULL, "a word is missing");
    return vr_arena_copy(words, vr_str_of(text));
}

static void keep(void)
{
    must(kept_count < KEPT_MAX, "too many events");
    struct vr_event *event = &kept[kept_count++];
    memset(event, 0, sizeof *event);
    event->event_id = word();
    event->request_id = word();
    event->user_id = word();
    event->video_id = word();
    event->type = (enum vr_event_type)atoi(word().data);
    event->time_ms = atoll(word().data);
    event->watch_s = strtof(word().data, NULL);
    event->duration_s = strtof(word().data, NULL);
    int i = 0;
    while (i < video_count && strcmp(video[i], event->video_id.data) != 0) {
        i++;
    }
    if (i == video_count) {
        must(video_count < VIDEOS_MAX, "too many videos");
        video[video_count++] = event->video_id.data;
    }
}

/* ---- asking ---- */

static const char *name_of(uint32_t number)
{
    for (int i = 0; i < video_count; i++) {
        if (vr_state_video_number(state, vr_str_of(video[i])) == number) {
            return video[i];
        }
    }
    return "?";
}

static void print_counters(const char *what, const struct vr_counters *c)
{
    printf("%s %g %g %g %g %g %.9g", what, (double)c->impressions, (double)c->clicks, (double)c->finishes,
           (double)c->likes, (double)c->long_views, (double)c->watch_s);
}

static void ask_viewer(struct vr_str id)
{
    struct vr_arena *arena;
    struct vr_viewer viewer;
    must(vr_arena_create(65536, &arena) == VR_OK && vr_state_viewer(state, id, arena, &viewer) == VR_OK, "viewer");
    print_counters("viewer", &viewer.counters);
    printf(" ;");
    for (uint32_t i = 0; i < viewer.recent_count; i++) {
        const struct vr_watch *watch = &viewer.recent[i];
        printf(" %s:%" PRId64 ":%u:%.9g", name_of(watch->video), watch->time_ms, watch->flags, (double)watch->watch_s);
    }
    printf(" ;");
    for (uint32_t i = 0; i < viewer.seen_count; i++) {
        printf(" %s", name_of(viewer.seen[i]));
    }
    printf("\n");
    vr_arena_destroy(arena);
}

static void ask_video(struct vr_str id)
{
    struct vr_counters counters;
    uint32_t number = vr_state_video_number(state, id);
    vr_state_video_counters(state, &number, 1, &counters);
    print_counters("video", &counters);
    printf("\n");
}

static void ask_trending(int64_t now_ms)
{
    const struct vr_trending *list = vr_state_trending(state, now_ms);
    printf("trending");
    for (uint32_t i = 0; i < list->count; i++) {
        printf(" %s:%.9g", name_of(list->video[i]), (double)list->score[i]);
    }
    printf("\n");
    vr_state_trending_release(state, list);
}

static void restart(void)
{
    vr_state_destroy(state);
    printf("replayed %" PRIu64 "\n", open_state());
}

int main(int argc, char **argv)
{
    char line[1024];
    must(argc == 2, "usage: oracle_state_log FOLDER");
    must(vr_arena_create(65536, &words) == VR_OK, "arena");
    folder = argv[1];
    open_state();
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        const char *command = strtok(line, " ");
        if (strcmp(command, "event") == 0) {
            keep();
        } else if (strcmp(command, "tell") == 0) {
            tell();
        } else if (strcmp(command, "restart") == 0) {
            restart();
        } else if (strcmp(command, "viewer") == 0) {
            ask_viewer(word());
        } else if (strcmp(command, "video") == 0) {
            ask_video(word());
        } else if (strcmp(command, "trending") == 0) {
            ask_trending(atoll(word().data));
        }
    }
    vr_state_destroy(state);
    vr_arena_destroy(words);
    return 0;
}
