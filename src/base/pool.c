/* The shared pool of vireo/pool.h. A vr_pool_for lives on its caller's stack as a job in the pool's list; workers and
 * the caller take its indices one by one under the pool's lock, run the body outside of it, and the caller sleeps
 * until the last running body has returned. Jobs of several lanes are served in the order they came. */
#include "vireo/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct job {
    struct job *next;
    vr_pool_body *body;
    void *argument;
    size_t count;
    size_t taken; /* indices handed out; a job whose indices are all taken leaves the list */
    size_t done;  /* indices whose body has returned */
    pthread_cond_t finished;
};

struct vr_pool {
    pthread_mutex_t lock; /* guards everything here and the jobs' counters */
    pthread_cond_t work;  /* a job came, or the end */
    struct job *first;    /* jobs with indices left, oldest first */
    struct job *last;
    bool closing;
    unsigned workers; /* threads that run */
    pthread_t thread[];
};

static void append(struct vr_pool *pool, struct job *job)
{
    if (pool->first == NULL) {
        pool->first = job;
    } else {
        pool->last->next = job;
    }
    pool->last = job;
}

static void unlink_job(struct vr_pool *pool, struct job *job)
{
    struct job *before = NULL;
    for (struct job *at = pool->first; at != job; at = at->next) {
        before = at;
    }
    if (before == NULL) {
        pool->first = job->next;
    } else {
        before->next = job->next;
    }
    if (pool->last == job) {
        pool->last = before;
    }
}

/* Take and run one index of `job`, which is in the list. Called and returns with the lock held; afterwards only the
 * job's own caller may still touch it. */
static void run_one(struct vr_pool *pool, struct job *job)
{
    size_t index = job->taken++;
    if (job->taken == job->count) {
        unlink_job(pool, job);
    }
    pthread_mutex_unlock(&pool->lock);
    job->body(index, job->argument);
    pthread_mutex_lock(&pool->lock);
    job->done++;
    if (job->done == job->count) {
        pthread_cond_signal(&job->finished);
    }
}

static void *work(void *argument)
{
    struct vr_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    while (!pool->closing) {
        if (pool->first != NULL) {
            run_one(pool, pool->first);
        } else {
            pthread_cond_wait(&pool->work, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum vr_status vr_pool_create(unsigned workers, struct vr_pool **out)
{
    struct vr_pool *pool = calloc(1, sizeof *pool + workers * sizeof pool->thread[0]);
    if (pool == NULL) {
        return vr_fail(VR_ERR_NOMEM, "pool: no memory");
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    for (unsigned i = 0; i < workers; i++) {
        int error = pthread_create(&pool->thread[i], NULL, work, pool);
        if (error != 0) {
            vr_pool_destroy(pool);
            return vr_fail(VR_ERR_IO, "pool: thread %u of %u: %s", i + 1, workers, strerror(error));
        }
        pool->workers++;
    }
    *out = pool;
    return VR_OK;
}

void vr_pool_for(struct vr_pool *pool, size_t count, vr_pool_body *body, void *argument)
{
    if (pool->workers == 0 || count <= 1) {
        for (size_t i = 0; i < count; i++) {
            body(i, argument);
        }
        return;
    }
    struct job job = {.body = body, .argument = argument, .count = count};
    pthread_cond_init(&job.finished, NULL);
    pthread_mutex_lock(&pool->lock);
    append(pool, &job);
    pthread_cond_broadcast(&pool->work);
    while (job.taken < count) {
        run_one(pool, &job);
    }
    while (job.done < count) {
        pthread_cond_wait(&job.finished, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&job.finished);
}

void vr_pool_destroy(struct vr_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->workers; i++) {
        pthread_join(pool->thread[i], NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
