/* What the kernels of `linear` share: their arguments on the device, and the end of a product. */
#ifndef VIREO_KERNELS_LINEAR_CUH
#define VIREO_KERNELS_LINEAR_CUH

#include "linear.h"
#include "numbers.cuh"

/* The arguments of a launch. Pointers are product 0's; product b of a batch is b steps (elements) further on. */
struct vr_linear_launch {
    uint32_t rows, in, out, batch;
    uint32_t x_stride, weight_stride, add_stride, y_stride;
    size_t x_step, weight_step, bias_step, add_step, y_step;
    const void *x, *weight;
    const void *bias; /* nullptr: none */
    const float *add; /* nullptr: none */
    const int32_t *add_row;
    uint32_t add_rows; /* rows of add inside its buffer; others add nothing */
    void *y;
    bool x_half, bias_half, y_half, relu;
    bool add_wide, y_wide; /* eight elements at a multiple of 8 columns can be read or written 16 bytes at a time */
};

/* The row of product b's `add` that row `row` takes from column `out` on; nullptr: none. */
static __device__ __forceinline__ const float *vr_linear_add(const vr_linear_launch &args, uint32_t b, uint32_t row,
                                                             uint32_t out)
{
    if (args.add == nullptr) {
        return nullptr;
    }
    const int32_t from = args.add_row[row];
    if (from < 0 || static_cast<uint32_t>(from) >= args.add_rows) {
        return nullptr;
    }
    return args.add + b * args.add_step + static_cast<size_t>(from) * args.add_stride + out;
}

static __device__ __forceinline__ float vr_linear_bias(const vr_linear_launch &args, uint32_t b, uint32_t out)
{
    return args.bias == nullptr ? 0.0f : vr_element_get(args.bias, args.bias_half, b * args.bias_step + out);
}

static __device__ __forceinline__ float vr_linear_activate(const vr_linear_launch &args, float value)
{
    return args.relu && value < 0.0f ? 0.0f : value; /* NaN stays */
}

/* Both check nothing: rows, out and batch are at least 1, views lie inside their buffers. */
enum vr_status vr_linear_f32_launch(struct vr_stream *stream, const vr_linear_launch *args);
enum vr_status vr_linear_f16_launch(struct vr_stream *stream, const vr_linear_launch *args);

#endif
