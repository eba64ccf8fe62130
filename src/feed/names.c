/* The feed's names as they stand in answers and metrics. */
#include "vireo/feed.h"

const char *vr_source_status_name(enum vr_source_status status)
{
    switch (status) {
    case VR_SOURCE_OK: return "ok";
    case VR_SOURCE_LATE: return "late";
    case VR_SOURCE_ERROR: return "error";
    case VR_SOURCE_OFF: return "off";
    }
    return "unknown";
}

const char *vr_filter_name(enum vr_filter filter)
{
    switch (filter) {
    case VR_FILTER_BLOCKED: return "blocked";
    case VR_FILTER_SAFETY: return "safety";
    case VR_FILTER_AGE: return "age";
    case VR_FILTER_EXCLUDED: return "excluded";
    case VR_FILTER_SEEN: return "seen";
    case VR_FILTER_SERVED: return "served";
    case VR_FILTER_SCORE: return "score";
    }
    return "unknown";
}

const char *vr_priority_name(enum vr_priority priority)
{
    static const char *const names[VR_PRIORITIES] = {
        [VR_PRIORITY_NORMAL] = "normal", [VR_PRIORITY_HIGH] = "high", [VR_PRIORITY_LOW] = "low"};
    return (unsigned)priority < VR_PRIORITIES ? names[priority] : "unknown";
}

const char *vr_shed_name(enum vr_shed reason)
{
    static const char *const names[VR_SHEDS] = {
        [VR_SHED_FULL] = "queue_full", [VR_SHED_LIMIT] = "limit", [VR_SHED_DEADLINE] = "deadline"};
    return (unsigned)reason < VR_SHEDS ? names[reason] : "unknown";
}

uint32_t vr_quality_count(uint32_t count, uint32_t level)
{
    return (count * (VR_QUALITY_LEVELS - level) + VR_QUALITY_LEVELS - 1) / VR_QUALITY_LEVELS;
}
