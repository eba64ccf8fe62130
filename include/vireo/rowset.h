/* A set of rows that only grows, as one bit a row: rows that were taken out of an index or a model. Any thread may add
 * to it beside any that ask, and none waits for another. Who begins after an add has returned sees it. */
#ifndef VIREO_ROWSET_H
#define VIREO_ROWSET_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_rowset {
    uint64_t *word; /* [rows / 64 + 1]; changed and read through __atomic builtins, as are the next two */
    uint32_t count; /* rows in it */
    bool used;      /* somebody has added, or is about to */
    uint32_t rows;
};

/* Empty, for rows 0 .. rows - 1. VR_ERR_NOMEM. One that is zeroed or was closed may be closed. */
enum vr_status vr_rowset_open(uint32_t rows, struct vr_rowset *out);
void vr_rowset_close(struct vr_rowset *set);

/* Bytes that it takes. */
static inline uint64_t vr_rowset_bytes(uint32_t rows)
{
    return ((uint64_t)rows / 64 + 1) * sizeof(uint64_t);
}

/* `row` is one of the set's. True: it is new in it. */
static inline bool vr_rowset_add(struct vr_rowset *set, int32_t row)
{
    const uint64_t bit = (uint64_t)1 << ((uint32_t)row % 64);
    __atomic_store_n(&set->used, true, __ATOMIC_RELEASE);
    const bool is_new = (__atomic_fetch_or(&set->word[(uint32_t)row / 64], bit, __ATOMIC_RELAXED) & bit) == 0;
    if (is_new) {
        __atomic_fetch_add(&set->count, 1, __ATOMIC_RELAXED);
    }
    return is_new;
}

static inline bool vr_rowset_has(const struct vr_rowset *set, int32_t row)
{
    return (__atomic_load_n(&set->word[(uint32_t)row / 64], __ATOMIC_RELAXED) >> ((uint32_t)row % 64) & 1) != 0;
}

static inline uint32_t vr_rowset_count(const struct vr_rowset *set)
{
    return __atomic_load_n(&set->count, __ATOMIC_RELAXED);
}

/* False: it is empty, and need not be asked. */
static inline bool vr_rowset_is_used(const struct vr_rowset *set)
{
    return __atomic_load_n(&set->used, __ATOMIC_ACQUIRE);
}

#ifdef __cplusplus
}
#endif
#endif
