/* linear: arguments checked, an engine chosen, the launch made. */
#include "linear.cuh"

namespace
{

constexpr uint32_t BATCH_MAX = 65535; /* of a grid's z */

/* Addresses of one product. */
struct places {
    const void *x, *weight, *bias;
    const float *add;
    const int32_t *add_row;
    uint32_t add_rows;
    void *y;
};

bool resolve_add(const struct vr_linear *args, places *out)
{
    out->add = static_cast<const float *>(vr_cuda_at(args->add, args->out, 4, "linear: add"));
    out->add_row = static_cast<const int32_t *>(vr_cuda_at(args->add_row, args->rows, 4, "linear: add_row"));
    if (out->add == nullptr || out->add_row == nullptr) {
        return false;
    }
    const size_t floats = args->out == 0 ? 0 : (args->add.buffer->size - args->add.offset) / 4;
    const size_t rows = args->add_stride == 0 || floats < args->out ? 0 : (floats - args->out) / args->add_stride + 1;
    out->add_rows = rows < UINT32_MAX ? static_cast<uint32_t>(rows) : UINT32_MAX;
    return true;
}

bool resolve(const struct vr_linear *args, places *out)
{
    const size_t size = vr_element_bytes(args->x_element);
    const size_t weights = args->in > 0 ? vr_cuda_extent(args->out, args->weight_stride, args->in) : 0;
    *out = {};
    out->x = vr_cuda_at(args->x, vr_cuda_extent(args->rows, args->x_stride, args->in), size, "linear: x");
    out->weight = vr_cuda_at(args->weight, weights, size, "linear: weight");
    out->y = vr_cuda_at(args->y, vr_cuda_extent(args->rows, args->y_stride, args->out),
                        vr_element_bytes(args->y_element), "linear: y");
    if (out->x == nullptr || out->weight == nullptr || out->y == nullptr) {
        return false;
    }
    if (args->has_bias) {
        out->bias = vr_cuda_at(args->bias, args->out, vr_element_bytes(args->bias_element), "linear: bias");
        if (out->bias == nullptr) {
            return false;
        }
    }
    return !args->has_add || resolve_add(args, out);
}

/* Whether every run of 8 elements from a multiple of 8 columns on begins at a multiple of 16 bytes. */
bool is_wide(const void *data, size_t element_bytes, size_t stride, size_t step)
{
    const size_t elements = 16 / element_bytes;
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % elements == 0 && step % elements == 0;
}

/* Everything that a product's place depends on rises with its number, so the first and the last stand for all. */
enum vr_status prepare(const struct vr_linear *args, vr_linear_launch *out)
{
    const uint32_t batch = args->batch > 1 ? args->batch : 1;
    const struct vr_linear last = vr_linear_product(args, batch - 1);
    places at, end;
    if (batch > BATCH_MAX) {
        return vr_fail(VR_ERR_INVALID, "linear: %u products, at most %u", batch, BATCH_MAX);
    }
    if (!resolve(args, &at) || !resolve(&last, &end)) {
        return VR_ERR_INVALID;
    }
    *out = {};
    out->rows = args->rows, out->in = args->in, out->out = args->out, out->batch = batch;
    out->x_stride = args->x_stride, out->x_step = args->x_step;
    out->weight_stride = args->weight_stride, out->weight_step = args->weight_step;
    out->add_stride = args->add_stride, out->add_step = args->add_step;
    out->y_stride = args->y_stride, out->y_step = args->y_step;
    out->bias_step = args->bias_step;
    out->x = at.x, out->weight = at.weight, out->bias = at.bias, out->y = at.y;
    out->add = at.add, out->add_row = at.add_row, out->add_rows = end.add_rows;
    out->x_half = args->x_element == VR_ELEMENT_F16;
    out->bias_half = args->bias_element == VR_ELEMENT_F16;
    out->y_half = args->y_element == VR_ELEMENT_F16;
    out->relu = args->activation == VR_LINEAR_RELU;
    out->add_wide = is_wide(at.add, 4, args->add_stride, batch > 1 ? args->add_step : 0);
    out->y_wide = is_wide(at.y, vr_element_bytes(args->y_element), args->y_stride, batch > 1 ? args->y_step : 0);
    return VR_OK;
}

/* A matrix whose pieces of 16 bytes do not depend on the product. */
bool is_whole(struct vr_view view, enum vr_element element, size_t stride, size_t step)
{
    const size_t elements = 16 / vr_element_bytes(element);
    return view.offset % 16 == 0 && stride % elements == 0 && step % elements == 0;
}

/* What cuBLASLt has no form for: a part that each row picks for itself, a bias that is not stored as y is, float32
 * rows (it would round them to TF32 to be quick); and what its algorithms were not chosen for: a y or bias that does
 * not begin at multiples of 16 bytes. */
bool library_can(const struct vr_linear *args)
{
    const bool many = args->batch > 1;
    const bool bias_fits = !args->has_bias || (args->bias_element == args->y_element &&
                                               is_whole(args->bias, args->bias_element, 0, many ? args->bias_step : 0));
    return args->x_element == VR_ELEMENT_F16 && !args->has_add && args->in > 0 && bias_fits &&
           is_whole(args->y, args->y_element, args->y_stride, many ? args->y_step : 0);
}

} // namespace

/* No device has measured yet which of the two is quicker at a shape; until one has, the own kernel runs them all, for
 * it alone promises a row's bits in any batch. */
enum vr_linear_engine vr_linear_engine_of(const struct vr_device *device, const struct vr_linear *args)
{
    if (args->x_element == VR_ELEMENT_F32) {
        return VR_LINEAR_ENGINE_F32;
    }
    return device->prefer_library && library_can(args) ? VR_LINEAR_ENGINE_LIBRARY : VR_LINEAR_ENGINE_F16;
}

enum vr_status vr_linear_prefer_library(struct vr_backend *backend, bool prefer)
{
    struct vr_device *device = backend->device;
    const enum vr_status status =
        prefer && device->library == nullptr ? vr_linear_library_open(&device->library) : VR_OK;
    device->prefer_library = prefer && status == VR_OK;
    return status;
}

enum vr_status vr_cuda_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    vr_linear_launch launch;
    enum vr_status status = args->weight_packed || args->has_table
                                ? vr_fail(VR_ERR_UNSUPPORTED, "linear: the device reads rows of weights, and no tables")
                                : vr_linear_check(args);
    status = status == VR_OK ? prepare(args, &launch) : status;
    if (status != VR_OK || args->rows == 0 || args->out == 0) {
        return status;
    }
    switch (vr_linear_engine_of(stream->device, args)) {
    case VR_LINEAR_ENGINE_F32: return vr_linear_f32_launch(stream, &launch);
    case VR_LINEAR_ENGINE_F16: return vr_linear_f16_launch(stream, &launch);
    case VR_LINEAR_ENGINE_LIBRARY: break;
    }
    return vr_linear_library_run(stream, args, launch.x, launch.weight, launch.bias, launch.y);
}
