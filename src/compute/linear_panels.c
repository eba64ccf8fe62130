/* linear by panels (panels.h). Weights that were packed at load are multiplied as they lie; rows of floats are packed
 * into the stream's scratch first, some outputs at a time. Rows of x go through scratch too: side by side they do not
 * fall on the same sets of the cache, whatever the caller's stride is, and become what the weights are. */
#include <string.h>

#include "cpu.h"
#include "linear.h"
#include "panels.h"

#define ROW_PAD 64u                 /* bytes between rows of x in scratch, so that they begin at different sets */
#define X_BYTES (1024u * 1024u)     /* of the scratch */
#define WEIGHT_BYTES (768u * 1024u) /* so that they stay in the second-level cache */
_Static_assert(X_BYTES + WEIGHT_BYTES <= VR_SCRATCH_BYTES, "rows and weights fit the scratch");

/* ---- what the backend says of packed weights ---- */

static enum vr_status check_element(const struct vr_device *device, enum vr_element element)
{
    if (element == VR_ELEMENT_F16) {
        return vr_fail(VR_ERR_UNSUPPORTED, "the CPU multiplies no halves");
    }
    if (!device->form[element]->quick) {
        return vr_fail(VR_ERR_UNSUPPORTED, "this processor has no instructions for products of %s",
                       element == VR_ELEMENT_I8 ? "int8 (AVX512-VNNI or AMX-INT8)"
                                                : "bfloat16 (AVX512-BF16 or AMX-BF16)");
    }
    return VR_OK;
}

static size_t row_stride(uint32_t groups)
{
    return ((size_t)groups * VR_PANEL_GROUP + ROW_PAD - 1) / ROW_PAD * ROW_PAD + ROW_PAD;
}

enum vr_status vr_panel_weights_bytes(const struct vr_backend *backend, enum vr_element element, uint32_t out,
                                      uint32_t in, size_t *bytes)
{
    const enum vr_status status = check_element(backend->device, element);
    if (status != VR_OK) {
        return status;
    }
    const struct vr_panel_shape shape = vr_panel_shape_of(element, out, in);
    if (in > VR_PANEL_IN_MAX || row_stride(shape.groups) > X_BYTES) {
        return vr_fail(VR_ERR_UNSUPPORTED, "a layer of %u inputs is too wide to be packed", in);
    }
    *bytes = shape.bytes;
    return VR_OK;
}

/* ---- a product ---- */

/* One product's arguments, its weights as panels of `out` outputs from output `first` on. */
struct work {
    const struct vr_linear *args;
    const struct vr_linear_at *at;
    const struct vr_panel_form *form;
    enum vr_element element;
    struct vr_panel_shape shape;
    const char *weight;
    uint32_t first, out;
    bool direct; /* x is read where it lies */
    char *x;     /* scratch */
    size_t x_stride;
};

/* Rows that are what the kernel reads already are read where they lie, unless they are a page apart or a multiple of it
 * and so fall on the same sets of the cache. */
static bool lies_well(const struct vr_linear *args, enum vr_element element)
{
    const size_t stride = args->x_stride * vr_element_bytes(args->x_element);
    const uint32_t whole = element == VR_ELEMENT_F32 ? 1 : VR_PANEL_TILE_GROUPS * VR_PANEL_GROUP / 2;
    return args->x_element == element && args->in % whole == 0 && stride % 4096 != 0;
}

static void work_rows(const struct work *work, uint32_t r, uint32_t rows)
{
    const struct vr_linear *args = work->args;
    const bool codes = work->element == VR_ELEMENT_I8;
    float scale[VR_PANEL_ROWS];
    int32_t zero[VR_PANEL_ROWS];
    const float *add[VR_PANEL_ROWS];
    const uint16_t *table[VR_PANEL_ROWS];
    for (uint32_t i = 0; i < rows && args->has_add; i++) {
        add[i] = work->at->add + (size_t)work->at->add_row[r + i] * args->add_stride + work->first;
    }
    for (uint32_t i = 0; i < rows && args->has_table; i++) {
        const uint16_t *from = vr_linear_table_row(args, work->at, r + i);
        table[i] = from != NULL ? from + work->first : NULL;
    }
    const struct vr_panel_rows take = {
        .rows = rows,
        .in = args->in,
        .groups = work->shape.groups,
        .from = (const char *)work->at->x + (size_t)r * args->x_stride * vr_element_bytes(args->x_element),
        .from_stride = args->x_stride,
        .from_element = args->x_element,
        .to = work->x,
        .stride = work->x_stride,
        .scale = scale,
        .zero = zero,
    };
    const struct vr_panel_product product = {
        .rows = rows,
        .groups = work->shape.groups,
        .out = work->out,
        .x = work->direct ? take.from : work->x,
        .stride = work->direct ? args->x_stride * vr_element_bytes(args->x_element) : work->x_stride,
        .x_scale = scale,
        .x_zero = zero,
        .weight = work->weight,
        .w_scale = codes ? (const float *)(const void *)(work->weight + work->shape.scale_at) : NULL,
        .w_sum = codes ? (const int32_t *)(const void *)(work->weight + work->shape.sum_at) : NULL,
        .bias = args->has_bias ? (const float *)work->at->bias + work->first : NULL,
        .add = args->has_add ? add : NULL,
        .table = args->has_table ? table : NULL,
        .relu = args->activation == VR_LINEAR_RELU,
        .y = (char *)work->at->y + ((size_t)r * args->y_stride + work->first) * vr_element_bytes(args->y_element),
        .y_stride = args->y_stride,
        .y_element = args->y_element,
    };
    if (!work->direct) {
        work->form->take(&take);
    }
    work->form->multiply(&product);
}

/* All rows, as many at a time as the scratch holds. */
static void work_all(const struct work *work)
{
    const size_t room = X_BYTES / work->x_stride;
    const uint32_t most = room < VR_PANEL_ROWS ? (uint32_t)room : VR_PANEL_ROWS;
    for (uint32_t r = 0; r < work->args->rows; r += most) {
        work_rows(work, r, work->args->rows - r < most ? work->args->rows - r : most);
    }
}

static struct work work_of(struct vr_stream *stream, const struct vr_linear *args, const struct vr_linear_at *at,
                           enum vr_element element)
{
    struct work work = {
        .args = args,
        .at = at,
        .form = stream->backend->device->form[element],
        .element = element,
        .shape = vr_panel_shape_of(element, args->out, args->in),
        .out = args->out,
        .x = stream->scratch,
    };
    work.x_stride = row_stride(work.shape.groups);
    work.direct = lies_well(args, element);
    return work;
}

static enum vr_status packed_product(struct vr_stream *stream, const struct vr_linear *args)
{
    struct vr_linear_at at;
    const enum vr_status status = vr_linear_resolve(args, &at);
    if (status == VR_OK && args->rows > 0) {
        struct work work = work_of(stream, args, &at, args->weight_element);
        work.weight = at.weight;
        work_all(&work);
    }
    return status;
}

/* Outputs whose panels fit the scratch. */
static uint32_t outputs_that_fit(const struct vr_linear *args)
{
    const size_t panel = (size_t)args->in * VR_PANEL_LANES * VR_PANEL_GROUP;
    const size_t panels = panel == 0 ? args->out : WEIGHT_BYTES / panel;
    return panels > args->out / VR_PANEL_LANES ? args->out : (uint32_t)panels * VR_PANEL_LANES;
}

static enum vr_status float_product(struct vr_stream *stream, const struct vr_linear *args)
{
    struct vr_linear_at at;
    const enum vr_status status = vr_linear_resolve(args, &at);
    if (status != VR_OK || args->rows == 0) {
        return status;
    }
    struct work work = work_of(stream, args, &at, VR_ELEMENT_F32);
    const uint32_t outputs = outputs_that_fit(args);
    char *panels = work.x + X_BYTES;
    work.weight = panels;
    for (work.first = 0; work.first < args->out; work.first += outputs) {
        work.out = args->out - work.first < outputs ? args->out - work.first : outputs;
        vr_panel_pack(VR_ELEMENT_F32, work.out, args->in,
                      (const float *)at.weight + (size_t)work.first * args->weight_stride, args->weight_stride, panels);
        work_all(&work);
    }
    return VR_OK;
}

static bool has_halves(const struct vr_linear *args)
{
    return args->x_element == VR_ELEMENT_F16 || args->y_element == VR_ELEMENT_F16 ||
           (args->has_bias && args->bias_element == VR_ELEMENT_F16);
}

enum vr_status vr_panel_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    if (args->weight_packed) {
        return vr_linear_each(stream, args, packed_product);
    }
    const bool plain = has_halves(args) || outputs_that_fit(args) == 0 || row_stride(args->in) > X_BYTES;
    return plain ? vr_reference_linear(stream, args) : vr_linear_each(stream, args, float_product);
}
