/* The board of trending.h. `lock` guards which list is current and is held for a pointer's change alone; `building` is
 * won by one caller at a time, who scans the store without it. */
#include "trending.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "vireo/top.h"

#define CHUNK 256u /* videos read in one piece */
#define MS_PER_HOUR 3600000.0

struct list {
    struct vr_trending view;
    uint32_t references; /* changed through __atomic builtins only, as is `building` */
    int64_t built_ms;
    uint32_t video[VR_TRENDING_MAX];
    float score[VR_TRENDING_MAX];
};

struct vr_trending_board {
    const struct vr_store_ops *ops;
    struct vr_store *store;
    double half_life_ms;
    int64_t refresh_ms;
    bool building;
    pthread_mutex_t lock;
    struct list *current; /* one reference is the board's */
    bool expired;
};

static struct list *list_new(int64_t built_ms)
{
    struct list *list = malloc(sizeof *list);
    if (list != NULL) {
        list->view.count = 0;
        list->view.video = list->video;
        list->view.score = list->score;
        list->references = 1;
        list->built_ms = built_ms;
    }
    return list;
}

static void list_release(struct list *list)
{
    if (__atomic_sub_fetch(&list->references, 1, __ATOMIC_ACQ_REL) == 0) {
        free(list);
    }
}

void vr_trending_release(const struct vr_trending *list)
{
    list_release((struct list *)((char *)(uintptr_t)list - offsetof(struct list, view)));
}

enum vr_status vr_trending_board_create(const struct vr_state_config *config, const struct vr_store_ops *ops,
                                        struct vr_store *store, struct vr_trending_board **out)
{
    struct vr_trending_board *board = calloc(1, sizeof *board);
    struct list *empty = list_new(0);
    if (board == NULL || empty == NULL) {
        free(board);
        free(empty);
        return vr_fail(VR_ERR_NOMEM, "trending: no memory");
    }
    board->ops = ops;
    board->store = store;
    board->half_life_ms = (double)config->trending_half_life_h * MS_PER_HOUR;
    board->refresh_ms = config->trending_refresh_ms;
    pthread_mutex_init(&board->lock, NULL);
    board->current = empty;
    board->expired = true;
    *out = board;
    return VR_OK;
}

void vr_trending_board_destroy(struct vr_trending_board *board)
{
    if (board == NULL) {
        return;
    }
    list_release(board->current);
    pthread_mutex_destroy(&board->lock);
    free(board);
}

/* A reference to the current list, and whether it is fresh at now_ms (a clock that went back makes it old too). */
static struct list *hold_current(struct vr_trending_board *board, int64_t now_ms, bool *fresh)
{
    pthread_mutex_lock(&board->lock);
    struct list *list = board->current;
    __atomic_fetch_add(&list->references, 1, __ATOMIC_RELAXED);
    int64_t age = now_ms - list->built_ms;
    *fresh = !board->expired && age <= board->refresh_ms && age >= -board->refresh_ms;
    pthread_mutex_unlock(&board->lock);
    return list;
}

static void set_current(struct vr_trending_board *board, struct list *list)
{
    __atomic_fetch_add(&list->references, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&board->lock);
    struct list *old = board->current;
    board->current = list;
    pthread_mutex_unlock(&board->lock);
    list_release(old);
}

void vr_trending_board_expire(struct vr_trending_board *board)
{
    pthread_mutex_lock(&board->lock);
    board->expired = true;
    pthread_mutex_unlock(&board->lock);
}

/* An expiry that comes while a list is being built asks for another: the mark is taken before the store is read. */
static void take_expiry(struct vr_trending_board *board)
{
    pthread_mutex_lock(&board->lock);
    board->expired = false;
    pthread_mutex_unlock(&board->lock);
}

/* A decayed weight is never above the stored one, so most videos are turned away without computing it. */
static bool may_enter(const struct vr_top *top, double stored)
{
    return stored > 0 && (top->count < top->capacity || stored >= top->entry[0].key);
}

static void scan(const struct vr_trending_board *board, int64_t now_ms, struct vr_top *top)
{
    struct vr_trend trend[CHUNK];
    uint32_t total = board->ops->id_count(board->store, VR_ID_VIDEO);
    for (uint32_t first = 0; first < total; first += CHUNK) {
        uint32_t count = total - first < CHUNK ? total - first : CHUNK;
        board->ops->video_trends(board->store, first, count, trend);
        for (uint32_t i = 0; i < count; i++) {
            if (!may_enter(top, trend[i].weight)) {
                continue;
            }
            double weight = vr_trend_at(&trend[i], now_ms, board->half_life_ms);
            if ((float)weight > 0) {
                vr_top_push(top, weight, first + i);
            }
        }
    }
    vr_top_finish(top);
}

/* A list with one reference, the caller's; NULL when memory is short. */
static struct list *build(struct vr_trending_board *board, int64_t now_ms)
{
    struct list *list = list_new(now_ms);
    if (list == NULL) {
        return NULL;
    }
    struct vr_top_entry entry[VR_TRENDING_MAX];
    struct vr_top top = {.entry = entry, .capacity = VR_TRENDING_MAX};
    scan(board, now_ms, &top);
    for (uint32_t i = 0; i < top.count; i++) {
        list->video[i] = entry[i].id;
        list->score[i] = (float)entry[i].key;
    }
    list->view.count = top.count;
    return list;
}

const struct vr_trending *vr_trending_board_get(struct vr_trending_board *board, int64_t now_ms)
{
    bool fresh;
    struct list *list = hold_current(board, now_ms, &fresh);
    if (fresh || __atomic_test_and_set(&board->building, __ATOMIC_ACQUIRE)) {
        return &list->view;
    }
    list_release(list);
    list = hold_current(board, now_ms, &fresh); /* another may have built it just before we won */
    if (!fresh) {
        take_expiry(board);
        struct list *next = build(board, now_ms);
        if (next != NULL) {
            set_current(board, next);
            list_release(list);
            list = next;
        }
    }
    __atomic_clear(&board->building, __ATOMIC_RELEASE);
    return &list->view;
}
