/* One query's list of rows that it must not return. */
#ifndef VIREO_COMPUTE_EXCLUSION_H
#define VIREO_COMPUTE_EXCLUSION_H

#include <stdbool.h>

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

static inline bool vr_exclusion_has(struct vr_exclusion list, int32_t row)
{
    uint32_t low = 0, end = list.count;
    while (low < end) {
        const uint32_t middle = low + (end - low) / 2;
        if (list.row[middle] == row) {
            return true;
        }
        if (list.row[middle] < row) {
            low = middle + 1;
        } else {
            end = middle;
        }
    }
    return false;
}

#endif
