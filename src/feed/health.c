/* How the device fares (device.h): counts, and the step from one state to the next. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "device.h"
#include "vireo/log.h"

const char *vr_device_state_name(enum vr_device_state state)
{
    static const char *const names[] = {[VR_DEVICE_NONE] = "none",
                                        [VR_DEVICE_UP] = "up",
                                        [VR_DEVICE_SUSPECT] = "suspect",
                                        [VR_DEVICE_DOWN] = "down",
                                        [VR_DEVICE_LOST] = "lost"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

const char *vr_device_failure_name(enum vr_device_failure failure)
{
    static const char *const names[VR_DEVICE_FAILURES] = {[VR_DEVICE_FAILED] = "error",
                                                          [VR_DEVICE_NO_MEMORY] = "no_memory",
                                                          [VR_DEVICE_BROKE] = "lost",
                                                          [VR_DEVICE_HUNG] = "hang",
                                                          [VR_DEVICE_ABSENT] = "absent"};
    return (unsigned)failure < VR_DEVICE_FAILURES ? names[failure] : "unknown";
}

enum vr_device_failure vr_device_failure_of(enum vr_status status)
{
    switch (status) {
    case VR_ERR_NOMEM: return VR_DEVICE_NO_MEMORY;
    case VR_ERR_DEVICE_LOST: return VR_DEVICE_BROKE;
    case VR_ERR_TIMEOUT: return VR_DEVICE_HUNG;
    case VR_ERR_UNSUPPORTED: return VR_DEVICE_ABSENT;
    default: return VR_DEVICE_FAILED;
    }
}

enum vr_status vr_health_open(struct vr_health *health)
{
    *health = (struct vr_health){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (health->fd < 0) {
        return vr_fail(VR_ERR_IO, "eventfd: %s", strerror(errno));
    }
    pthread_mutex_init(&health->mutex, NULL); /* cannot fail with default attributes on Linux */
    health->opened = true;
    return VR_OK;
}

void vr_health_close(struct vr_health *health)
{
    if (health->opened) {
        close(health->fd);
        pthread_mutex_destroy(&health->mutex);
        health->opened = false;
    }
}

enum vr_device_state vr_health_state(const struct vr_health *health)
{
    return __atomic_load_n(&health->status.state, __ATOMIC_ACQUIRE);
}

static bool is_in_use(enum vr_device_state state)
{
    return state == VR_DEVICE_UP || state == VR_DEVICE_SUSPECT;
}

/* Under the mutex. */
static void move_to(struct vr_health *health, enum vr_device_state state)
{
    enum vr_device_state before = health->status.state;
    if (before == VR_DEVICE_LOST || before == state) {
        return;
    }
    __atomic_store_n(&health->status.state, state, __ATOMIC_RELEASE);
    if (state == VR_DEVICE_LOST || (state == VR_DEVICE_DOWN && is_in_use(before))) {
        uint64_t one = 1;
        while (write(health->fd, &one, sizeof one) < 0 && errno == EINTR) {
        }
    }
}

static void count(struct vr_health *health, enum vr_device_failure failure)
{
    health->status.latest = failure;
    health->status.failures[failure]++;
}

void vr_health_set(struct vr_health *health, enum vr_device_state state, enum vr_device_failure failure)
{
    pthread_mutex_lock(&health->mutex);
    if (state == VR_DEVICE_DOWN || state == VR_DEVICE_LOST) {
        count(health, failure);
    }
    health->in_a_row = 0;
    move_to(health, state);
    pthread_mutex_unlock(&health->mutex);
}

void vr_health_read(struct vr_health *health, struct vr_device_status *out)
{
    pthread_mutex_lock(&health->mutex);
    *out = health->status;
    pthread_mutex_unlock(&health->mutex);
}

void vr_health_failed(struct vr_health *health, enum vr_device_failure failure)
{
    bool beyond_use = failure == VR_DEVICE_BROKE || failure == VR_DEVICE_HUNG;
    pthread_mutex_lock(&health->mutex);
    enum vr_device_state next = health->status.state;
    count(health, failure);
    health->in_a_row++;
    if (beyond_use) {
        next = VR_DEVICE_LOST;
    } else if (is_in_use(next)) {
        next = health->in_a_row < VR_HEALTH_PATIENCE ? VR_DEVICE_SUSPECT : VR_DEVICE_DOWN;
    }
    vr_log(VR_LOG_WARN, "device_failed", "reason=%s state=%s error=\"%s\"", vr_device_failure_name(failure),
           vr_device_state_name(next), vr_error_text()); /* before others learn of it and log in their turn */
    move_to(health, next);
    pthread_mutex_unlock(&health->mutex);
}

void vr_health_worked(struct vr_health *health)
{
    if (vr_health_state(health) != VR_DEVICE_SUSPECT) {
        return;
    }
    pthread_mutex_lock(&health->mutex);
    if (health->status.state == VR_DEVICE_SUSPECT) {
        health->in_a_row = 0;
        move_to(health, VR_DEVICE_UP);
    }
    pthread_mutex_unlock(&health->mutex);
}
