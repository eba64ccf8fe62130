/* Sets of bundle rows as ascending arrays: made from video numbers or ids, united, looked up. Arena memory. */
#ifndef VIREO_FEED_ROWS_H
#define VIREO_FEED_ROWS_H

#include "visit.h"

/* Rows of the numbers that the catalogue knows; the others are passed over. VR_ERR_NOMEM. */
enum vr_status vr_rows_of_numbers(const struct vr_catalogue *catalogue, const uint32_t *number, uint32_t count,
                                  struct vr_arena *arena, struct vr_rows *out);

/* Rows of the ids that the bundle knows; the others are passed over. VR_ERR_NOMEM. */
enum vr_status vr_rows_of_ids(const struct vr_bundle *bundle, const struct vr_str *id, uint32_t count,
                              struct vr_arena *arena, struct vr_rows *out);

/* VR_ERR_NOMEM. */
enum vr_status vr_rows_unite(const struct vr_rows *a, const struct vr_rows *b, struct vr_arena *arena,
                             struct vr_rows *out);

bool vr_rows_hold(const struct vr_rows *rows, int32_t row);
#endif
