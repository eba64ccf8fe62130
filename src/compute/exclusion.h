/* One query's list of rows that it must not return. */
#ifndef VIREO_COMPUTE_EXCLUSION_H
#define VIREO_COMPUTE_EXCLUSION_H

#include "vireo/backend.h"

struct vr_exclusion {
    const int32_t *row; /* [count], ascending */
    uint32_t count;
};

static inline struct vr_exclusion vr_exclusion_of(const struct vr_index_search *args, uint32_t query)
{
    struct vr_exclusion none = {NULL, 0};
    if (args->exclude_offset == NULL) {
        return none;
    }
    const uint32_t first = args->exclude_offset[query];
    struct vr_exclusion list = {args->exclude + first, args->exclude_offset[query + 1] - first};
    return list;
}

#endif
