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
