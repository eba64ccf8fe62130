/* The addresses of a linear's arguments, checked once for the reference and the panels. */
#ifndef VIREO_COMPUTE_LINEAR_H
#define VIREO_COMPUTE_LINEAR_H

#include "cpu.h"

struct vr_linear_at {
    const void *x, *weight;
    const void *bias;       /* NULL: none */
    const float *add;       /* NULL: none */
    const int32_t *add_row; /* with add */
    void *y;
};

/* `args` is one product. VR_ERR_INVALID with the text naming the argument. Rows that add_row names are taken as they
 * are: add has to reach as far as the largest of them, which is checked too. */
enum vr_status vr_linear_resolve(const struct vr_linear *args, struct vr_linear_at *out);

/* `run` for each product of the batch, until one fails. */
enum vr_status vr_linear_each(struct vr_stream *stream, const struct vr_linear *args,
                              enum vr_status (*run)(struct vr_stream *stream, const struct vr_linear *args));

#endif
