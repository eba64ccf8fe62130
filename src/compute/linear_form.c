/* What every backend asks of a linear's arguments (vireo/backend.h), one product of a batch, and weights as halves. */
#include <math.h>

#include "vireo/backend.h"
#include "vireo/half.h"

/* A matrix of halves that is read 16 bytes at a time. */
static bool is_aligned(struct vr_view view, uint32_t stride, size_t step)
{
    return view.offset % (VR_HALF_ALIGNMENT * 2) == 0 && stride % VR_HALF_ALIGNMENT == 0 &&
           step % VR_HALF_ALIGNMENT == 0;
}

static bool is_wide(enum vr_element element)
{
    return element == VR_ELEMENT_F32 || element == VR_ELEMENT_BF16;
}

static enum vr_status check_packed(const struct vr_linear *args)
{
    if (args->weight_element == VR_ELEMENT_F16 || !is_wide(args->x_element) || !is_wide(args->y_element) ||
        (args->has_bias && args->bias_element != VR_ELEMENT_F32)) {
        return vr_fail(VR_ERR_INVALID, "linear: with packed weights x and y are float32 or bfloat16, the bias float32");
    }
    if (args->weight.offset % VR_PACKED_ALIGNMENT != 0 ||
        (args->batch > 1 && args->weight_step % VR_PACKED_ALIGNMENT != 0)) {
        return vr_fail(VR_ERR_INVALID, "linear: packed weights do not begin at multiples of %u bytes",
                       VR_PACKED_ALIGNMENT);
    }
    return VR_OK;
}

static enum vr_status check_rows(const struct vr_linear *args)
{
    if (args->x_element == VR_ELEMENT_BF16 || args->x_element == VR_ELEMENT_I8) {
        return vr_fail(VR_ERR_INVALID, "linear: weights of bfloat16 and int8 are packed");
    }
    const bool many = args->batch > 1;
    if (args->x_element == VR_ELEMENT_F16 &&
        (!is_aligned(args->x, args->x_stride, many ? args->x_step : 0) ||
         !is_aligned(args->weight, args->weight_stride, many ? args->weight_step : 0))) {
        return vr_fail(VR_ERR_INVALID, "linear: halves of x or weight do not begin at multiples of 16 bytes");
    }
    return VR_OK;
}

static bool reaches_table(const struct vr_linear *args)
{
    const uint64_t last = args->batch > 1 ? (uint64_t)(args->batch - 1) * args->table_step : 0;
    return args->table.dtype == VR_TABLE_F16 && args->table_row_stride > 0 &&
           args->table_at + last + args->out <= args->table.width;
}

enum vr_status vr_linear_check(const struct vr_linear *args)
{
    if (args->x_stride < args->in || (!args->weight_packed && args->weight_stride < args->in) ||
        args->y_stride < args->out || (args->has_add && args->add_stride < args->out)) {
        return vr_fail(VR_ERR_INVALID, "linear: a stride is shorter than its row");
    }
    if (args->has_table && !reaches_table(args)) {
        return vr_fail(VR_ERR_INVALID, "linear: the table holds no halves, or too few columns");
    }
    return args->weight_packed ? check_packed(args) : check_rows(args);
}

static void step(struct vr_view *view, size_t elements, enum vr_element element)
{
    view->offset += elements * vr_element_bytes(element);
}

struct vr_linear vr_linear_product(const struct vr_linear *args, uint32_t b)
{
    struct vr_linear one = *args;
    step(&one.x, b * args->x_step, args->x_element);
    if (args->weight_packed) {
        one.weight.offset += b * args->weight_step;
    } else {
        step(&one.weight, b * args->weight_step, args->x_element);
    }
    step(&one.bias, b * args->bias_step, args->bias_element);
    step(&one.add, b * args->add_step, VR_ELEMENT_F32);
    step(&one.y, b * args->y_step, args->y_element);
    one.table_at += b * args->table_step;
    one.batch = 1;
    return one;
}

enum vr_status vr_weights_pack_f16(const float *from, uint32_t rows, uint32_t width, size_t from_stride, uint16_t *to,
                                   uint32_t to_stride)
{
    if (from_stride < width || to_stride < vr_half_stride(width) || to_stride % VR_HALF_ALIGNMENT != 0) {
        return vr_fail(VR_ERR_INVALID, "weights: %u columns in strides of %zu and %u", width, from_stride, to_stride);
    }
    for (size_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < to_stride; c++) {
            const float value = c < width ? from[r * from_stride + c] : 0.0f;
            const uint16_t half = vr_half_from_float(value);
            if (isfinite(value) && (half & 0x7c00u) == 0x7c00u) {
                return vr_fail(VR_ERR_UNSUPPORTED, "the weight %g is out of the range of halves", (double)value);
            }
            to[r * to_stride + c] = half;
        }
    }
    return VR_OK;
}
