/* A batch on the device, and its way to the stand-by when that fails (device.h). */
#include "device.h"

#include "lane.h"
#include "vireo/clock.h"
#include "vireo/log.h"

static const char *const words[VR_DEVICE_FAILURES] = {[VR_DEVICE_FAILED] = "device_error",
                                                      [VR_DEVICE_NO_MEMORY] = "device_no_memory",
                                                      [VR_DEVICE_BROKE] = "device_lost",
                                                      [VR_DEVICE_HUNG] = "device_hang",
                                                      [VR_DEVICE_ABSENT] = "device_error"};

static bool is_usable(const struct vr_health *health)
{
    enum vr_device_state state = vr_health_state(health);
    return state == VR_DEVICE_UP || state == VR_DEVICE_SUSPECT;
}

void vr_device_begin(struct vr_lane *lane)
{
    struct vr_device_run *run = &lane->run;
    bool wanted = vr_health_state(run->health) != VR_DEVICE_NONE;
    run->step_us = 0;
    run->steps = 0;
    run->replayed = false;
    run->on_device = lane->binding != NULL && lane->binding->device != NULL && is_usable(run->health);
    run->word = wanted && !run->on_device ? "device_down" : NULL;
}

void vr_device_end(struct vr_lane *lane)
{
    if (lane->run.on_device && lane->run.steps > 0) {
        vr_health_worked(lane->run.health);
    }
}

struct vr_engine_slot *vr_device_slot(const struct vr_lane *lane)
{
    return lane->run.on_device ? lane->binding->device : lane->binding->slot;
}

/* When the device counts as hung, given that it has been busy since the step began, or longer. */
static uint64_t hangs_at(const struct vr_device_run *run)
{
    uint64_t since_us = run->since_us != 0 ? run->since_us : run->step_us;
    return run->timeout_us != 0 ? since_us + run->timeout_us : UINT64_MAX;
}

uint64_t vr_device_deadline(struct vr_device_run *run, uint64_t own_us)
{
    if (!run->on_device) {
        return own_us;
    }
    run->step_us = vr_clock_mono_us();
    uint64_t device_us = hangs_at(run);
    return device_us < own_us ? device_us : own_us;
}

/* Whether a step that ended with `status` was the device's failure. A step that was late by its own deadline leaves the
 * device busy: the next one goes on counting from where this one began. */
static bool is_failure(struct vr_device_run *run, enum vr_status status)
{
    switch (status) {
    case VR_ERR_TIMEOUT:
        run->since_us = run->since_us != 0 ? run->since_us : run->step_us;
        return vr_clock_mono_us() >= hangs_at(run);
    case VR_ERR_BACKEND:
    case VR_ERR_NOMEM:
    case VR_ERR_DEVICE_LOST:
    case VR_ERR_UNSUPPORTED: return true;
    default: return false;
    }
}

bool vr_device_gave_up(struct vr_device_run *run, enum vr_status status)
{
    if (!run->on_device || run->step_us == 0) {
        return false;
    }
    bool failed = status != VR_OK && is_failure(run, status);
    if (status == VR_OK) {
        run->steps++;
        run->since_us = 0;
    } else if (failed) {
        enum vr_device_failure failure = vr_device_failure_of(status);
        run->since_us = 0;
        run->on_device = false;
        run->replayed = true;
        run->word = words[failure];
        vr_health_failed(run->health, failure);
    }
    run->step_us = 0;
    return failed;
}

void vr_device_tell(const struct vr_device_run *run, struct vr_visit *visit)
{
    if (run->word != NULL && vr_visit_is_open(visit)) {
        vr_visit_degrade(visit, run->word);
    }
}
