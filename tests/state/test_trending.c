/* Who builds the trending list, on a driver whose scan stops until the test lets it go: one caller builds, the others
 * get the old list meanwhile. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>

#include "state/trending.h"

#define NOW_MS INT64_C(1700000000000)

/* The driver: one video of weight 3; a scan says that it has begun and waits. */
struct vr_store {
    sem_t begun, go;
    int scans;
};

static uint32_t one_video(struct vr_store *store, enum vr_id_kind kind)
{
    (void)store;
    (void)kind;
    return 1;
}

static void waiting_scan(struct vr_store *store, uint32_t first, uint32_t count, struct vr_trend *out)
{
    cr_assert_eq(first, 0);
    cr_assert_eq(count, 1);
    store->scans++;
    sem_post(&store->begun);
    sem_wait(&store->go);
    out[0] = (struct vr_trend){3, NOW_MS};
}

static const struct vr_store_ops waiting_ops = {.id_count = one_video, .video_trends = waiting_scan};

static void *build_list(void *argument)
{
    struct vr_trending_board *board = argument;
    return (void *)(uintptr_t)vr_trending_board_get(board, NOW_MS);
}

Test(trending, one_caller_builds_and_nobody_waits_for_it)
{
    const struct vr_state_config config = {
        .max_viewers = 1000, .trending_half_life_h = 12, .trending_refresh_ms = 1000};
    struct vr_store store = {.scans = 0};
    struct vr_trending_board *board;
    pthread_t builder;
    void *built;
    sem_init(&store.begun, 0, 0);
    sem_init(&store.go, 0, 0);
    cr_assert_eq(vr_trending_board_create(&config, &waiting_ops, &store, &board), VR_OK);
    cr_assert_eq(pthread_create(&builder, NULL, build_list, board), 0);
    sem_wait(&store.begun);
    const struct vr_trending *meanwhile = vr_trending_board_get(board, NOW_MS); /* would hang if it built or waited */
    cr_assert_eq(meanwhile->count, 0);
    vr_trending_board_expire(board); /* comes during the build, so asks for another one */
    sem_post(&store.go);
    pthread_join(builder, &built);
    cr_assert_eq(((const struct vr_trending *)built)->count, 1);
    cr_assert_eq(store.scans, 1);
    sem_post(&store.go);
    const struct vr_trending *next = vr_trending_board_get(board, NOW_MS);
    cr_assert_eq(store.scans, 2);
    cr_assert_float_eq(next->score[0], 3, 1e-6);
    vr_trending_board_destroy(board);
    vr_trending_release(meanwhile); /* lists outlive the board while they are held */
    vr_trending_release(built);
    vr_trending_release(next);
}
