/* The shared pool under several lanes at once: every index of every call runs exactly once, and a call returns only
 * when all of its bodies have. Under ThreadSanitizer the plain stores below also show that the return is ordered after
 * the bodies. */
#include "vireo/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 4, LARGEST = 300 };

struct lane {
    struct vr_pool *pool;
    int rounds;
    int runs[LARGEST]; /* plain on purpose: written by whoever ran the index, read after vr_pool_for */
    int faults;
};

static void run_index(size_t index, void *argument)
{
    struct lane *lane = argument;
    lane->runs[index]++;
}

static void *drive(void *argument)
{
    struct lane *lane = argument;
    for (int round = 0; round < lane->rounds; round++) {
        size_t count = (size_t)(round * 7) % LARGEST;
        memset(lane->runs, 0, sizeof lane->runs);
        vr_pool_for(lane->pool, count, run_index, lane);
        for (size_t i = 0; i < LARGEST; i++) {
            lane->faults += lane->runs[i] != (i < count);
        }
    }
    return NULL;
}

/* Faults of LANES threads that share a pool of `workers`. */
static int check_lanes(unsigned workers, int rounds)
{
    struct vr_pool *pool = NULL;
    static struct lane lane[LANES];
    pthread_t thread[LANES];
    int faults = 0;
    if (vr_pool_create(workers, &pool) != VR_OK) {
        return 1;
    }
    for (int i = 0; i < LANES; i++) {
        lane[i] = (struct lane){.pool = pool, .rounds = rounds};
        if (pthread_create(&thread[i], NULL, drive, &lane[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < LANES; i++) {
        pthread_join(thread[i], NULL);
        faults += lane[i].faults;
    }
    vr_pool_destroy(pool);
    return faults;
}

struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t all_there;
    int arrived;
};

/* Both indices must run at the same time for either to return. */
static void meet(size_t index, void *argument)
{
    struct meeting *meeting = argument;
    (void)index;
    pthread_mutex_lock(&meeting->lock);
    meeting->arrived++;
    pthread_cond_broadcast(&meeting->all_there);
    while (meeting->arrived < 2) {
        pthread_cond_wait(&meeting->all_there, &meeting->lock);
    }
    pthread_mutex_unlock(&meeting->lock);
}

/* Fails by hanging (the runner's limit ends it) when the workers take no part. */
static int check_workers_take_part(void)
{
    struct vr_pool *pool = NULL;
    struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    if (vr_pool_create(1, &pool) != VR_OK) {
        return 1;
    }
    vr_pool_for(pool, 2, meet, &meeting);
    vr_pool_destroy(pool);
    return meeting.arrived != 2;
}

/* Stacks that fit nowhere make the thread creation fail: what was started must be ended again. */
static int check_failed_create(void)
{
    struct vr_pool *pool = NULL;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)1 << 46);
    int set = pthread_setattr_default_np(&attributes);
    enum vr_status status = vr_pool_create(3, &pool);
    pthread_attr_setstacksize(&attributes, (size_t)8 << 20);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
    return set != 0 || status != VR_ERR_IO || pool != NULL;
}

static int report(const char *what, int faults)
{
    printf("%s: %s\n", what, faults == 0 ? "passed" : "FAILED");
    return faults;
}

int main(void)
{
    int rounds = getenv("VIREO_LONG") != NULL ? 20000 : 1000;
    int faults = 0;
    faults += report("no workers", check_lanes(0, rounds));
    faults += report("one worker", check_lanes(1, rounds));
    faults += report("three workers", check_lanes(3, rounds));
    faults += report("workers take part", check_workers_take_part());
    faults += report("thread creation fails", check_failed_create());
    for (int i = 0; i < 200; i++) { /* starting and ending at once */
        faults += check_lanes(2, 1);
    }
    return report("all", faults) != 0;
}
