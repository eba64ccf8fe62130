/* A feed on a device that fails at random, under ThreadSanitizer: batches run again on the stand-by, the device goes
 * down and is brought back while others ask, and is lost in the end. Every accepted job comes back with a feed. The
 * device is the CPU backend once more, with failures in front of two of its operations. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "../feed/support_feed.c"

#define SUBMITTERS 2u
#define EACH 80u
#define FAILS_EACH 23u /* calls of a dense layer */

static struct feed_rig rig;
static struct vr_backend *device;
static struct vr_model *on_device;
static const struct vr_backend_ops *real;
static struct vr_backend_ops faulty;
static atomic_uint calls, ended, downs;
static atomic_bool failing, losing;
static struct vr_job *job[SUBMITTERS * EACH];

static enum vr_status linear(struct vr_stream *stream, const struct vr_linear *args)
{
    if (atomic_load(&losing)) {
        return vr_fail(VR_ERR_DEVICE_LOST, "the test lost the device");
    }
    unsigned call = atomic_fetch_add(&calls, 1);
    if (atomic_load(&failing) && call % FAILS_EACH == 0) {
        return call % 2 == 0 ? vr_fail(VR_ERR_BACKEND, "the test broke a layer") : vr_fail(VR_ERR_NOMEM, "no memory");
    }
    return real->linear(stream, args);
}

static void make_device(void)
{
    must(vr_backend_open("cpu", 1, &device), "device");
    real = device->ops;
    faulty = *real;
    faulty.linear = linear;
    device->ops = &faulty;
    must(vr_model_on_device(rig.model, device, rig.config, &on_device), "model on the device");
}

static void many_lanes(struct vr_feed_config *config)
{
    config->lanes.count = 2;
    config->lanes.max_batch = 4;
    config->lanes.pool_workers = 2;
    config->lanes.queue_capacity = 16;
    config->device_timeout_ms = 60000;
}

static void *submit(void *argument)
{
    struct vr_job **mine = argument;
    for (uint32_t i = 0; i < EACH; i++) {
        char user[16];
        snprintf(user, sizeof user, "%u", 1 + i % 45);
        mine[i] = feed_job(&rig, user);
        while (vr_feed_submit(rig.feed, mine[i]) == VR_ERR_BUSY) {
            poll(NULL, 0, 1);
        }
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

/* As the server's keeper: a device that went down is left, and after a while taken up again. */
static void *keep(void *argument)
{
    (void)argument;
    while (atomic_load(&ended) < SUBMITTERS) {
        struct pollfd notice = {.fd = vr_feed_device_fd(rig.feed), .events = POLLIN};
        struct vr_device_status status;
        uint64_t count;
        if (poll(&notice, 1, 5) > 0 && read(notice.fd, &count, sizeof count) < 0) {
            abort();
        }
        vr_feed_device_read(rig.feed, &status);
        if (status.state == VR_DEVICE_DOWN) {
            atomic_fetch_add(&downs, 1);
            vr_feed_set_model(rig.feed, rig.model);
            poll(NULL, 0, 2);
            vr_feed_set_model(rig.feed, on_device);
            vr_feed_device_set(rig.feed, VR_DEVICE_UP, VR_DEVICE_FAILED);
        }
    }
    return NULL;
}

static uint32_t collect(uint32_t *answered)
{
    uint32_t back = 0;
    for (struct vr_job *j = vr_handback_drain(rig.home); j != NULL; j = j->next) {
        *answered += j->reply.status == VR_OK && j->reply.item_count > 0 ? 1u : 0u;
        back++;
    }
    return back;
}

static void run_threads(void)
{
    pthread_t thread[SUBMITTERS + 1];
    for (uint32_t i = 0; i < SUBMITTERS; i++) {
        pthread_create(&thread[i], NULL, submit, &job[i * EACH]);
    }
    pthread_create(&thread[SUBMITTERS], NULL, keep, NULL);
    while (atomic_load(&calls) < 200 * FAILS_EACH && atomic_load(&ended) < SUBMITTERS) {
        poll(NULL, 0, 1);
    }
    atomic_store(&losing, true);
    for (uint32_t i = 0; i <= SUBMITTERS; i++) {
        pthread_join(thread[i], NULL);
    }
    vr_feed_stop(rig.feed); /* some of the last jobs are still queued */
}

int main(void)
{
    uint32_t answered = 0;
    struct vr_device_status status;
    if (feed_bundle(1) == NULL) {
        printf("skipped: no data (the small bundle is made by the Python environment)\n");
        return 77; /* seen as skipped by CTest and tests/run_all.py */
    }
    feed_rig_open(&rig, many_lanes);
    make_device();
    vr_feed_set_model(rig.feed, on_device);
    vr_feed_device_set(rig.feed, VR_DEVICE_UP, VR_DEVICE_FAILED);
    atomic_store(&failing, true);
    run_threads();
    uint32_t back = collect(&answered);
    vr_feed_device_read(rig.feed, &status);
    printf("%u back, %u answered with a feed; %u failures, %u lacks of memory, down %u times, %s at the end\n", back,
           answered, (unsigned)status.failures[VR_DEVICE_FAILED], (unsigned)status.failures[VR_DEVICE_NO_MEMORY],
           atomic_load(&downs), vr_device_state_name(status.state));
    bool failed = status.failures[VR_DEVICE_FAILED] > 0 && status.failures[VR_DEVICE_NO_MEMORY] > 0 &&
                  status.state == VR_DEVICE_LOST;
    for (uint32_t i = 0; i < SUBMITTERS * EACH; i++) {
        feed_job_free(job[i]);
    }
    vr_feed_destroy(rig.feed);
    rig.feed = NULL;
    vr_model_release(on_device);
    feed_rig_close(&rig);
    device->ops = real;
    vr_backend_destroy(device);
    return back == SUBMITTERS * EACH && answered == back && failed ? 0 : 1;
}
