/* linear by OpenBLAS: products of fixed panels of 64 rows, the last one padded with zeros, on one thread. A row then
 * meets the same kernel and the same order of additions whatever rows stand beside it and however many they are
 * (tests/compute/test_linear_bits.c holds this for every core type that the processor can run). */
#include <cblas.h>
#include <string.h>

#include "linear.h"

/* The rows of one panel as a dense [64, in] matrix: in place where all 64 are there, else a padded copy. */
static const float *panel_rows(const struct vr_linear *args, const struct vr_linear_at *at, size_t first, uint32_t rows,
                               float *padded, uint32_t *stride)
{
    if (rows == VR_PANEL_ROWS) {
        *stride = args->x_stride;
        return at->x + first * args->x_stride;
    }
    for (uint32_t r = 0; r < rows; r++) {
        memcpy(padded + (size_t)r * args->in, at->x + (first + r) * args->x_stride, args->in * sizeof(float));
    }
    memset(padded + (size_t)rows * args->in, 0, (size_t)(VR_PANEL_ROWS - rows) * args->in * sizeof(float));
    *stride = args->in;
    return padded;
}

static void panel(const struct vr_linear *args, const struct vr_linear_at *at, size_t first, uint32_t rows,
                  float *scratch)
{
    float *product = scratch + (size_t)VR_PANEL_ROWS * VR_PANEL_IN_MAX;
    uint32_t stride;
    const float *x = panel_rows(args, at, first, rows, scratch, &stride);
    for (uint32_t o = 0; o < args->out; o += VR_PANEL_OUT) {
        const uint32_t columns = args->out - o < VR_PANEL_OUT ? args->out - o : VR_PANEL_OUT;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, VR_PANEL_ROWS, (blasint)columns, (blasint)args->in, 1.0f,
                    x, (blasint)stride, at->weight + (size_t)o * args->weight_stride, (blasint)args->weight_stride,
                    0.0f, product, (blasint)columns);
        for (uint32_t r = 0; r < rows; r++) {
            vr_linear_finish(args, at, first + r, o, columns, product + (size_t)r * columns);
        }
    }
}

enum vr_status vr_openblas_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    if (args->in == 0 || args->in > VR_PANEL_IN_MAX) {
        return vr_reference_linear(stream, args);
    }
    struct vr_linear_at at;
    const enum vr_status status = vr_linear_resolve(args, &at);
    if (status != VR_OK) {
        return status;
    }
    for (size_t first = 0; first < args->rows; first += VR_PANEL_ROWS) {
        const size_t left = args->rows - first;
        panel(args, &at, first, left < VR_PANEL_ROWS ? (uint32_t)left : VR_PANEL_ROWS, stream->panel);
    }
    return VR_OK;
}
