/* The library of products in the emulator (seam_matmul.h): plain loops, float32 sums, one rounding where y is halves.
 * It is put on the stream like a kernel. */
#include <new>

#include "kernel.h"
#include "seam_matmul.h"
#include "vireo/half.h"

struct vr_seam_library {
    unsigned families;
};

struct vr_seam_matmul {
    vr_seam_matmul_shape shape;
};

namespace
{

float stored(const void *data, bool half, size_t i)
{
    return half ? vr_half_to_float(static_cast<const uint16_t *>(data)[i]) : static_cast<const float *>(data)[i];
}

struct call {
    vr_seam_matmul_shape shape;
    uint32_t rows;
    const uint16_t *x, *weight;
    const void *bias;
    void *y;
};

float value_of(const call &c, size_t b, size_t r, size_t o)
{
    const vr_seam_matmul_shape &s = c.shape;
    float sum = 0.0f;
    for (size_t i = 0; i < s.in; i++) {
        sum += vr_half_to_float(c.x[b * s.x_step + r * s.x_stride + i]) *
               vr_half_to_float(c.weight[b * s.weight_step + o * s.weight_stride + i]);
    }
    sum += s.has_bias ? stored(c.bias, s.y_half, b * s.bias_step + o) : 0.0f;
    return s.relu && sum < 0.0f ? 0.0f : sum;
}

void multiply(const call &c)
{
    for (size_t b = 0; b < c.shape.batch; b++) {
        for (size_t r = 0; r < c.rows; r++) {
            for (size_t o = 0; o < c.shape.out; o++) {
                const size_t at = b * c.shape.y_step + r * c.shape.y_stride + o;
                const float value = value_of(c, b, r, o);
                if (c.shape.y_half) {
                    static_cast<uint16_t *>(c.y)[at] = vr_half_from_float(value);
                } else {
                    static_cast<float *>(c.y)[at] = value;
                }
            }
        }
    }
}

bool is_aligned(const void *at)
{
    return reinterpret_cast<uintptr_t>(at) % 16 == 0;
}

} // namespace

enum vr_status vr_seam_library_open(struct vr_seam_library **out)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_OPEN, "library");
    if (status == VR_OK) {
        *out = new vr_seam_library{0};
    }
    return status;
}

void vr_seam_library_close(struct vr_seam_library *library)
{
    delete library;
}

enum vr_status vr_seam_matmul_create(struct vr_seam_library *library, const struct vr_seam_matmul_shape *shape,
                                     struct vr_seam_matmul **out)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_OPEN, "matmul");
    if (status == VR_OK) {
        library->families++;
        *out = new vr_seam_matmul{*shape};
    }
    return status;
}

void vr_seam_matmul_destroy(struct vr_seam_matmul *matmul)
{
    delete matmul;
}

enum vr_status vr_seam_matmul_run(struct vr_seam_stream *stream, const struct vr_seam_matmul *matmul, uint32_t rows,
                                  const void *x, const void *weight, const void *bias, void *y, void *workspace)
{
    if (!is_aligned(x) || !is_aligned(weight) || !is_aligned(y) || (matmul->shape.has_bias && !is_aligned(bias)) ||
        workspace == nullptr) {
        return vr_fail(VR_ERR_BACKEND, "matmul: a matrix is not aligned, or there is no workspace");
    }
    const call c = {matmul->shape, rows, static_cast<const uint16_t *>(x), static_cast<const uint16_t *>(weight),
                    bias,          y};
    return emu::enqueue_kernel(stream, "matmul", nullptr, {dim3(1), dim3(1), 0, 0, [c] { multiply(c); }});
}
