/* Rows that one query must not return: its own list, and what was taken out of the index. */
#ifndef VIREO_COMPUTE_EXCLUSION_H
#define VIREO_COMPUTE_EXCLUSION_H

#include <stdbool.h>

#include "cpu.h"

struct vr_exclusion {
    const int32_t *row; /* [count], ascending */
    uint32_t count;
    const struct vr_rowset *removed; /* NULL: none is */
};

static inline struct vr_exclusion vr_exclusion_of(const struct vr_search_at *at, uint32_t query)
{
    struct vr_exclusion list = {NULL, 0, at->removed};
    if (at->exclude_offset != NULL) {
        list.row = at->exclude + at->exclude_offset[query];
        list.count = at->exclude_offset[query + 1] - at->exclude_offset[query];
    }
    return list;
}

static inline bool vr_exclusion_is_empty(struct vr_exclusion list)
{
    return list.count == 0 && list.removed == NULL;
}

static inline bool vr_exclusion_has(struct vr_exclusion list, int32_t row)
{
    uint32_t low = 0, end = list.count;
    if (list.removed != NULL && vr_rowset_has(list.removed, row)) {
        return true;
    }
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
