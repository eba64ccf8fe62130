/* Ascending row sets (rows.h). */
#include "rows.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(struct vr_rows *rows)
{
    uint32_t kept = 0;
    if (rows->count > 1) {
        qsort(rows->row, rows->count, sizeof *rows->row, compare);
    }
    for (uint32_t i = 0; i < rows->count; i++) {
        if (kept == 0 || rows->row[kept - 1] != rows->row[i]) {
            rows->row[kept++] = rows->row[i];
        }
    }
    rows->count = kept;
}

static enum vr_status allocate(struct vr_arena *arena, size_t capacity, struct vr_rows *out)
{
    out->count = 0;
    out->row = vr_arena_alloc(arena, capacity * sizeof *out->row);
    return out->row != NULL ? VR_OK : VR_ERR_NOMEM;
}

enum vr_status vr_rows_of_numbers(const struct vr_catalogue *catalogue, const uint32_t *number, uint32_t count,
                                  struct vr_arena *arena, struct vr_rows *out)
{
    enum vr_status status = allocate(arena, count, out);
    for (uint32_t i = 0; status == VR_OK && i < count; i++) {
        int32_t row = vr_catalogue_row(catalogue, number[i]);
        if (row >= 0) {
            out->row[out->count++] = row;
        }
    }
    sort_unique(out);
    return status;
}

enum vr_status vr_rows_of_ids(const struct vr_bundle *bundle, const struct vr_str *id, uint32_t count,
                              struct vr_arena *arena, struct vr_rows *out)
{
    enum vr_status status = allocate(arena, count, out);
    for (uint32_t i = 0; status == VR_OK && i < count; i++) {
        uint32_t row = vr_dict_find(bundle->video_rows, id[i]);
        if (row != VR_DICT_NONE) {
            out->row[out->count++] = (int32_t)row;
        }
    }
    sort_unique(out);
    return status;
}

enum vr_status vr_rows_unite(const struct vr_rows *a, const struct vr_rows *b, struct vr_arena *arena,
                             struct vr_rows *out)
{
    struct vr_rows all;
    enum vr_status status = allocate(arena, (size_t)a->count + b->count, &all);
    uint32_t i = 0;
    uint32_t j = 0;
    while (status == VR_OK && (i < a->count || j < b->count)) {
        bool from_a = j == b->count || (i < a->count && a->row[i] <= b->row[j]);
        int32_t row = from_a ? a->row[i++] : b->row[j++];
        if (all.count == 0 || all.row[all.count - 1] != row) {
            all.row[all.count++] = row;
        }
    }
    *out = all;
    return status;
}

bool vr_rows_hold(const struct vr_rows *rows, int32_t row)
{
    return rows->count > 0 && bsearch(&row, rows->row, rows->count, sizeof row, compare) != NULL;
}
