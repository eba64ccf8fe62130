/* The feed: queue, pool and lanes around one model (vireo/feed.h). */
#include "vireo/feed.h"

#include <pthread.h>
#include <stdlib.h>

#include "lane.h"

struct vr_feed {
    struct vr_feed_config config;
    struct vr_pool *pool;
    struct vr_queue *queue;
    struct vr_lane **lane;    /* [lane_count] */
    uint32_t lane_count;      /* made */
    uint32_t running;         /* threads started and not yet joined */
    pthread_mutex_t mutex;    /* of model, and of what lanes are to follow */
    struct vr_model *model;   /* submit only asks whether it is there, without the mutex */
    struct vr_health health;  /* of the device */
    pthread_mutex_t stopping; /* held while the lanes are joined: the second to stop waits for the first */
};

/* Configured terms are compiled here once, so that a bad one is refused at start and not by a lane. */
static enum vr_status check_terms(const struct vr_feed_config *config)
{
    struct vr_terms *terms;
    if (config->satisfaction.count == 0) {
        return VR_OK;
    }
    enum vr_status status = vr_binding_terms(&config->satisfaction, NULL, &terms);
    if (status == VR_OK) {
        vr_terms_destroy(terms);
    }
    return status;
}

static enum vr_status make_lanes(struct vr_feed *feed, struct vr_state *state)
{
    const uint32_t count = feed->config.lanes.count;
    feed->lane = calloc(count, sizeof(struct vr_lane *));
    if (feed->lane == NULL) {
        return vr_fail(VR_ERR_NOMEM, "feed: no memory");
    }
    for (; feed->lane_count < count; feed->lane_count++) {
        enum vr_status status = vr_lane_create(feed, &feed->config, state, feed->pool, feed->queue, &feed->health,
                                               &feed->lane[feed->lane_count]);
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

static enum vr_status start_lanes(struct vr_feed *feed)
{
    for (; feed->running < feed->lane_count; feed->running++) {
        enum vr_status status = vr_lane_start(feed->lane[feed->running]);
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

/* Until batches have told what a request costs. */
static void guess_cost(struct vr_feed *feed, const struct vr_model *model)
{
    if (model != NULL && model->device == NULL && model->row_us > 0.0) {
        vr_queue_guess(feed->queue, model->row_us * vr_binding_max_candidates(&feed->config));
    }
}

static enum vr_status build(struct vr_feed *feed, struct vr_state *state, struct vr_model *model)
{
    enum vr_status status = vr_health_open(&feed->health);
    if (status == VR_OK) {
        status = check_terms(&feed->config);
    }
    if (status == VR_OK) {
        status = vr_pool_create(feed->config.lanes.pool_workers, &feed->pool);
    }
    if (status == VR_OK) {
        status = vr_queue_create(&feed->config.lanes, &feed->queue);
    }
    if (status == VR_OK) {
        status = make_lanes(feed, state);
    }
    if (status == VR_OK && model != NULL) {
        status = vr_feed_set_model(feed, model);
    }
    return status == VR_OK ? start_lanes(feed) : status;
}

/* The backend is the engine's, which came with the model; the feed itself asks nothing of it. */
enum vr_status vr_feed_create(const struct vr_feed_config *config, struct vr_backend *backend, struct vr_state *state,
                              struct vr_model *model, struct vr_feed **out)
{
    (void)backend;
    struct vr_feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL) {
        return vr_fail(VR_ERR_NOMEM, "feed: no memory");
    }
    feed->config = *config;
    pthread_mutex_init(&feed->mutex, NULL); /* cannot fail with default attributes on Linux */
    pthread_mutex_init(&feed->stopping, NULL);
    enum vr_status status = build(feed, state, model);
    if (status != VR_OK) {
        vr_feed_destroy(feed);
        return status;
    }
    *out = feed;
    return VR_OK;
}

struct vr_model *vr_feed_model(struct vr_feed *feed)
{
    pthread_mutex_lock(&feed->mutex);
    struct vr_model *model = feed->model != NULL ? vr_model_retain(feed->model) : NULL;
    pthread_mutex_unlock(&feed->mutex);
    return model;
}

/* ---- swapping the model ---- */

struct vr_swap {
    struct vr_model *model; /* counted */
    uint32_t count;
    struct vr_binding *binding[]; /* [count], one a lane */
};

void vr_swap_destroy(struct vr_swap *swap)
{
    if (swap == NULL) {
        return;
    }
    for (uint32_t i = 0; i < swap->count; i++) {
        vr_binding_destroy(swap->binding[i]);
    }
    vr_model_release(swap->model);
    free(swap);
}

enum vr_status vr_feed_prepare(struct vr_feed *feed, struct vr_model *model, struct vr_swap **out)
{
    struct vr_swap *swap = calloc(1, sizeof *swap + feed->lane_count * sizeof(struct vr_binding *));
    if (swap == NULL) {
        return vr_fail(VR_ERR_NOMEM, "feed: no memory");
    }
    swap->model = vr_model_retain(model);
    for (; swap->count < feed->lane_count; swap->count++) {
        enum vr_status status = vr_binding_create(&feed->config, model, &swap->binding[swap->count]);
        if (status != VR_OK) {
            vr_swap_destroy(swap);
            return status;
        }
    }
    *out = swap;
    return VR_OK;
}

/* The model before; the mutex is held. */
static struct vr_model *put_in_service(struct vr_feed *feed, struct vr_model *model)
{
    struct vr_model *old = feed->model;
    __atomic_store_n(&feed->model, model, __ATOMIC_RELAXED);
    return old;
}

/* Under the mutex, so that of two swaps all lanes follow the same one in the end. What no longer serves is given back
 * behind it. */
void vr_feed_swap(struct vr_feed *feed, struct vr_swap *swap)
{
    pthread_mutex_lock(&feed->mutex);
    for (uint32_t i = 0; i < swap->count; i++) {
        swap->binding[i] = vr_lane_follow(feed->lane[i], swap->binding[i]);
    }
    guess_cost(feed, swap->model);
    swap->model = put_in_service(feed, swap->model);
    pthread_mutex_unlock(&feed->mutex);
    vr_queue_nudge(feed->queue); /* idle lanes follow now, the others after their batch */
    vr_swap_destroy(swap);
}

enum vr_status vr_feed_set_model(struct vr_feed *feed, struct vr_model *model)
{
    struct vr_swap *swap = NULL;
    if (model == NULL) {
        pthread_mutex_lock(&feed->mutex);
        struct vr_model *old = put_in_service(feed, NULL);
        pthread_mutex_unlock(&feed->mutex);
        vr_model_release(old);
        return VR_OK;
    }
    enum vr_status status = vr_feed_prepare(feed, model, &swap);
    if (status == VR_OK) {
        vr_feed_swap(feed, swap);
    }
    return status;
}

enum vr_status vr_feed_submit(struct vr_feed *feed, struct vr_job *job)
{
    bool has_model = __atomic_load_n(&feed->model, __ATOMIC_RELAXED) != NULL;
    return has_model ? vr_queue_push(feed->queue, job) : vr_fail(VR_ERR_CLOSED, "no model is in service");
}

void vr_feed_hold(struct vr_feed *feed, uint32_t n)
{
    vr_queue_hold(feed->queue, n);
}

void vr_feed_stop(struct vr_feed *feed)
{
    pthread_mutex_lock(&feed->stopping);
    if (feed->queue != NULL) {
        vr_queue_close(feed->queue);
    }
    for (; feed->running > 0; feed->running--) {
        vr_lane_join(feed->lane[feed->running - 1]);
    }
    pthread_mutex_unlock(&feed->stopping);
}

void vr_feed_destroy(struct vr_feed *feed)
{
    if (feed == NULL) {
        return;
    }
    vr_feed_stop(feed);
    for (uint32_t i = 0; i < feed->lane_count; i++) {
        vr_lane_destroy(feed->lane[i]);
    }
    free(feed->lane);
    vr_queue_destroy(feed->queue);
    vr_pool_destroy(feed->pool);
    vr_model_release(feed->model);
    vr_health_close(&feed->health);
    pthread_mutex_destroy(&feed->mutex);
    pthread_mutex_destroy(&feed->stopping);
    free(feed);
}

void vr_feed_device_set(struct vr_feed *feed, enum vr_device_state state, enum vr_device_failure failure)
{
    vr_health_set(&feed->health, state, failure);
}

void vr_feed_device_read(struct vr_feed *feed, struct vr_device_status *out)
{
    vr_health_read(&feed->health, out);
}

int vr_feed_device_fd(const struct vr_feed *feed)
{
    return feed->health.fd;
}

bool vr_feed_lane_read(struct vr_feed *feed, uint32_t index, struct vr_lane_status *out)
{
    if (index >= feed->lane_count) {
        return false;
    }
    vr_metrics_read_lane(feed->lane[index], out);
    return true;
}

void vr_feed_metrics_read(struct vr_feed *feed, struct vr_feed_metrics *out)
{
    *out = (struct vr_feed_metrics){0};
    vr_queue_load(feed->queue, &out->load);
    for (uint32_t i = 0; i < feed->lane_count; i++) {
        vr_metrics_add(out, &feed->lane[i]->metrics);
    }
}
