/* Counts the calls of the CUDA API and makes one of them fail when a test asks for it (seam.h). Costs two relaxed
 * atomic operations a call. */
#include <stdatomic.h>

#include "seam.h"

static atomic_uint_fast64_t calls[VR_SEAM_CALLS];
static atomic_int_fast64_t left; /* calls until the failure; 0: none is pending */
static atomic_uint armed_call, armed_failure;
static atomic_bool lost, hangs;

static const char *const call_names[VR_SEAM_CALLS] = {
    [VR_SEAM_OPEN] = "open",     [VR_SEAM_MEMORY] = "memory",   [VR_SEAM_STREAM] = "stream",
    [VR_SEAM_POLL] = "poll",     [VR_SEAM_COPY] = "copy",       [VR_SEAM_FILL] = "fill",
    [VR_SEAM_LAUNCH] = "launch", [VR_SEAM_CAPTURE] = "capture", [VR_SEAM_GRAPH] = "graph",
};

void vr_seam_fail(uint32_t call, uint64_t at, enum vr_seam_failure failure)
{
    atomic_store(&armed_call, call);
    atomic_store(&armed_failure, (unsigned)failure);
    atomic_store(&left, (int_fast64_t)at);
}

void vr_seam_heal(void)
{
    atomic_store(&left, 0);
    atomic_store(&lost, false);
    atomic_store(&hangs, false);
}

uint64_t vr_seam_calls(uint32_t call)
{
    uint64_t sum = 0;
    for (uint32_t c = 0; c < VR_SEAM_CALLS; c++) {
        if (c == call || call >= VR_SEAM_CALLS) {
            sum += atomic_load_explicit(&calls[c], memory_order_relaxed);
        }
    }
    return sum;
}

bool vr_seam_hangs(void)
{
    return atomic_load_explicit(&hangs, memory_order_relaxed);
}

bool vr_seam_is_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

static enum vr_status planned(enum vr_seam_call call, const char *name)
{
    switch ((enum vr_seam_failure)atomic_load(&armed_failure)) {
    case VR_SEAM_FAIL_ONCE: return vr_fail(VR_ERR_BACKEND, "%s %s: a planned failure", call_names[call], name);
    case VR_SEAM_FAIL_NOMEM: return vr_fail(VR_ERR_NOMEM, "%s %s: a planned lack of memory", call_names[call], name);
    case VR_SEAM_FAIL_ABSENT: return vr_fail(VR_ERR_UNSUPPORTED, "%s %s: planned absence", call_names[call], name);
    case VR_SEAM_FAIL_HANG: atomic_store(&hangs, true); return VR_OK;
    case VR_SEAM_FAIL_LOST: break;
    }
    atomic_store(&lost, true);
    return vr_fail(VR_ERR_DEVICE_LOST, "%s %s: a planned loss of the device", call_names[call], name);
}

enum vr_status vr_seam_enter(enum vr_seam_call call, const char *name)
{
    atomic_fetch_add_explicit(&calls[call], 1, memory_order_relaxed);
    if (atomic_load_explicit(&lost, memory_order_relaxed)) {
        return vr_fail(VR_ERR_DEVICE_LOST, "%s %s: the device is lost", call_names[call], name);
    }
    if (atomic_load_explicit(&left, memory_order_relaxed) <= 0) {
        return VR_OK;
    }
    const unsigned wanted = atomic_load(&armed_call);
    if (wanted < VR_SEAM_CALLS && wanted != (unsigned)call) {
        return VR_OK;
    }
    return atomic_fetch_sub(&left, 1) == 1 ? planned(call, name) : VR_OK;
}
