/* The addresses of a linear's arguments, checked once for the reference and the panels. */
#ifndef VIREO_COMPUTE_LINEAR_H
#define VIREO_COMPUTE_LINEAR_H

#include "cpu.h"

struct vr_linear_at {
    const void *x, *weight;
    const void *bias;       /* NULL: none */
    const float *add;       /* NULL: none */
    const int32_t *add_row; /* with add */
    const uint16_t *table;  /* NULL: none; from its first row and column on */
    const int32_t *table_row;
    void *y;
};

/* `args` is one product. VR_ERR_INVALID with the text naming the argument. Rows that add_row names are taken as they
 * are: add has to reach as far as the largest of them, which is checked too. */
enum vr_status vr_linear_resolve(const struct vr_linear *args, struct vr_linear_at *out);

/* The table's halves for row r's outputs; NULL where it adds nothing. */
static inline const uint16_t *vr_linear_table_row(const struct vr_linear *args, const struct vr_linear_at *at, size_t r)
{
    const int32_t row = at->table_row[r * args->table_row_stride];
    const bool there = row >= 0 && (uint32_t)row < args->table.rows;
    return there ? at->table + (size_t)row * args->table.width + args->table_at : NULL;
}

/* `run` for each product of the batch, until one fails. */
enum vr_status vr_linear_each(struct vr_stream *stream, const struct vr_linear *args,
                              enum vr_status (*run)(struct vr_stream *stream, const struct vr_linear *args));

#endif
