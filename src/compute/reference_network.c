/* Plain C of the networks' operations: linear, expert_mix, task_heads. See reference.c. */
#include <math.h>
#include <string.h>

#include "linear.h"
#include "mix.h"
#include "vireo/half.h"

static enum vr_status resolve_add(const struct vr_linear *args, struct vr_linear_at *out)
{
    out->add_row = vr_cpu_at(args->add_row, args->rows, 4, "linear: add_row");
    if (out->add_row == NULL) {
        return VR_ERR_INVALID;
    }
    int32_t largest = -1;
    for (uint32_t r = 0; r < args->rows; r++) {
        if (out->add_row[r] < 0) {
            vr_fail(VR_ERR_INVALID, "linear: add_row %u is negative", r);
            return VR_ERR_INVALID;
        }
        largest = out->add_row[r] > largest ? out->add_row[r] : largest;
    }
    const size_t extent = vr_cpu_extent((uint32_t)largest + 1, args->add_stride, args->out);
    out->add = vr_cpu_at(args->add, extent, 4, "linear: add");
    return out->add == NULL ? VR_ERR_INVALID : VR_OK;
}

static enum vr_status resolve_table(const struct vr_linear *args, struct vr_linear_at *out)
{
    const size_t numbers = (size_t)args->table.rows * args->table.width;
    out->table = vr_cpu_at(args->table.data, numbers, sizeof(uint16_t), "linear: table");
    out->table_row =
        vr_cpu_at(args->table_row, vr_cpu_extent(args->rows, args->table_row_stride, 1), 4, "linear: table_row");
    return out->table == NULL || out->table_row == NULL ? VR_ERR_INVALID : VR_OK;
}

static const void *resolve_weight(const struct vr_linear *args)
{
    if (args->weight_packed) {
        const size_t bytes = vr_panel_shape_of(args->weight_element, args->out, args->in).bytes;
        return vr_cpu_at(args->weight, bytes, 1, "linear: weight");
    }
    const size_t count = args->in > 0 ? vr_cpu_extent(args->out, args->weight_stride, args->in) : 0;
    return vr_cpu_at(args->weight, count, vr_element_bytes(args->x_element), "linear: weight");
}

enum vr_status vr_linear_resolve(const struct vr_linear *args, struct vr_linear_at *out)
{
    const enum vr_status status = vr_linear_check(args);
    if (status != VR_OK) {
        return status;
    }
    const size_t size = vr_element_bytes(args->x_element);
    out->x = vr_cpu_at(args->x, vr_cpu_extent(args->rows, args->x_stride, args->in), size, "linear: x");
    out->weight = resolve_weight(args);
    out->y = vr_cpu_at(args->y, vr_cpu_extent(args->rows, args->y_stride, args->out), vr_element_bytes(args->y_element),
                       "linear: y");
    out->bias =
        args->has_bias ? vr_cpu_at(args->bias, args->out, vr_element_bytes(args->bias_element), "linear: bias") : NULL;
    out->add = NULL;
    out->add_row = NULL;
    out->table = NULL;
    out->table_row = NULL;
    if (out->x == NULL || out->weight == NULL || out->y == NULL || (args->has_bias && out->bias == NULL)) {
        return VR_ERR_INVALID;
    }
    const enum vr_status added = args->has_add ? resolve_add(args, out) : VR_OK;
    return added == VR_OK && args->has_table ? resolve_table(args, out) : added;
}

enum vr_status vr_linear_each(struct vr_stream *stream, const struct vr_linear *args,
                              enum vr_status (*run)(struct vr_stream *stream, const struct vr_linear *args))
{
    enum vr_status status = run(stream, args);
    for (uint32_t b = 1; status == VR_OK && b < args->batch; b++) {
        const struct vr_linear product = vr_linear_product(args, b);
        status = run(stream, &product);
    }
    return status;
}

#define PIECE 256u /* elements of a row that are made floats at a time */

/* `count` elements from `first` on as floats: where they lie, or in `scratch`. */
static const float *as_floats(const void *data, enum vr_element element, size_t first, uint32_t count, float *scratch)
{
    if (element == VR_ELEMENT_F32) {
        return (const float *)data + first;
    }
    vr_half_to_floats((const uint16_t *)data + first, count, scratch);
    return scratch;
}

/* The product's element [r, o]: one chain of additions in the order of the inputs. */
static float product_of(const struct vr_linear *args, const struct vr_linear_at *at, size_t r, size_t o)
{
    float x_piece[PIECE], weight_piece[PIECE], sum = 0.0f;
    for (uint32_t first = 0; first < args->in; first += PIECE) {
        const uint32_t count = args->in - first < PIECE ? args->in - first : PIECE;
        const float *x = as_floats(at->x, args->x_element, r * args->x_stride + first, count, x_piece);
        const float *weight =
            as_floats(at->weight, args->x_element, o * args->weight_stride + first, count, weight_piece);
        for (uint32_t i = 0; i < count; i++) {
            sum += x[i] * weight[i];
        }
    }
    return sum;
}

static enum vr_status linear_product(struct vr_stream *stream, const struct vr_linear *args)
{
    (void)stream;
    struct vr_linear_at at;
    const enum vr_status status = vr_linear_resolve(args, &at);
    if (status != VR_OK) {
        return status;
    }
    for (size_t r = 0; r < args->rows; r++) {
        const uint16_t *table = at.table != NULL ? vr_linear_table_row(args, &at, r) : NULL;
        for (uint32_t o = 0; o < args->out; o++) {
            float value = product_of(args, &at, r, o);
            value += at.bias != NULL ? vr_cpu_get(at.bias, args->bias_element, o) : 0.0f;
            value += at.add != NULL ? at.add[(size_t)at.add_row[r] * args->add_stride + o] : 0.0f;
            value += table != NULL ? vr_half_to_float(table[o]) : 0.0f;
            value = args->activation == VR_LINEAR_RELU && value < 0.0f ? 0.0f : value; /* NaN stays NaN */
            vr_cpu_put(at.y, args->y_element, r * args->y_stride + o, value);
        }
    }
    return VR_OK;
}

enum vr_status vr_reference_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    if (args->weight_packed) {
        return vr_fail(VR_ERR_UNSUPPORTED, "linear: the reference reads rows of weights");
    }
    return vr_linear_each(stream, args, linear_product);
}

/* weight[e] = softmax over the listed experts, 0 for others. */
static void softmax_listed(const float *logit, uint32_t experts, uint64_t listed, float *weight)
{
    float largest = -INFINITY;
    for (uint32_t e = 0; e < experts; e++) {
        weight[e] = 0.0f;
        if ((listed >> e & 1u) != 0 && !(logit[e] <= largest)) { /* a NaN becomes the largest and spreads */
            largest = logit[e];
        }
    }
    float sum = 0.0f;
    for (uint32_t e = 0; e < experts; e++) {
        if ((listed >> e & 1u) != 0) {
            weight[e] = expf(logit[e] - largest);
            sum += weight[e];
        }
    }
    for (uint32_t e = 0; e < experts; e++) {
        weight[e] = (listed >> e & 1u) != 0 ? weight[e] / sum : 0.0f;
    }
}

static void mix_gate(const float *weight, const float *expert, uint32_t experts, uint64_t listed, uint32_t width,
                     float *y)
{
    for (uint32_t c = 0; c < width; c++) {
        y[c] = 0.0f;
    }
    for (uint32_t e = 0; e < experts; e++) {
        if ((listed >> e & 1u) == 0) {
            continue;
        }
        for (uint32_t c = 0; c < width; c++) {
            y[c] += weight[e] * expert[(size_t)e * width + c];
        }
    }
}

/* The same where experts or mix are halves; expert and y begin at their elements `from` and `to`. */
static void mix_gate_halves(const struct vr_expert_mix *args, const float *weight, uint64_t listed, const void *expert,
                            size_t from, void *y, size_t to)
{
    for (uint32_t c = 0; c < args->width; c++) {
        float sum = 0.0f;
        for (uint32_t e = 0; e < args->experts; e++) {
            if ((listed >> e & 1u) != 0) {
                sum += weight[e] * vr_cpu_get(expert, args->expert_element, from + (size_t)e * args->width + c);
            }
        }
        vr_cpu_put(y, args->y_element, to + c, sum);
    }
}

static enum vr_status check_mix(const struct vr_expert_mix *args)
{
    if (args->gates > VR_MIX_GATES_MAX || args->experts == 0 || args->experts > VR_MIX_EXPERTS_MAX) {
        return vr_fail(VR_ERR_INVALID, "expert_mix: %u gates over %u experts", args->gates, args->experts);
    }
    for (uint32_t g = 0; g < args->gates; g++) {
        const uint64_t known = args->experts == 64 ? ~0ull : (1ull << args->experts) - 1;
        if ((args->listed[g] & known) == 0 || (args->listed[g] & ~known) != 0) {
            return vr_fail(VR_ERR_INVALID, "expert_mix: gate %u lists no expert, or one that is not there", g);
        }
    }
    return VR_OK;
}

enum vr_status vr_mix_resolve(const struct vr_expert_mix *args, struct vr_mix_at *out)
{
    const size_t rows = args->rows, logits = rows * args->gates * args->experts;
    const enum vr_status status = check_mix(args);
    if (status != VR_OK) {
        return status;
    }
    out->logit = vr_cpu_at(args->logit, logits, 4, "expert_mix: logit");
    out->expert = vr_cpu_at(args->expert, rows * args->experts * args->width, vr_element_bytes(args->expert_element),
                            "expert_mix: expert");
    out->y = vr_cpu_at(args->y, rows * args->gates * args->width, vr_element_bytes(args->y_element), "expert_mix: y");
    out->weights = args->want_weights ? vr_cpu_at(args->weights, logits, 4, "expert_mix: weights") : NULL;
    const bool inside = out->logit != NULL && out->expert != NULL && out->y != NULL;
    return inside && (!args->want_weights || out->weights != NULL) ? VR_OK : VR_ERR_INVALID;
}

enum vr_status vr_reference_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args)
{
    (void)stream;
    struct vr_mix_at at;
    const enum vr_status status = vr_mix_resolve(args, &at);
    if (status != VR_OK) {
        return status;
    }
    const bool floats = args->expert_element == VR_ELEMENT_F32 && args->y_element == VR_ELEMENT_F32;
    const size_t logits = (size_t)args->gates * args->experts;
    for (size_t r = 0; r < args->rows; r++) {
        for (uint32_t g = 0; g < args->gates; g++) {
            float scratch[VR_MIX_EXPERTS_MAX];
            const size_t logit = r * logits + (size_t)g * args->experts;
            const size_t from = r * args->experts * args->width, to = (r * args->gates + g) * args->width;
            float *weight = at.weights == NULL ? scratch : at.weights + logit;
            softmax_listed(at.logit + logit, args->experts, args->listed[g], weight);
            if (floats) {
                mix_gate(weight, (const float *)at.expert + from, args->experts, args->listed[g], args->width,
                         (float *)at.y + to);
            } else {
                mix_gate_halves(args, weight, args->listed[g], at.expert, from, at.y, to);
            }
        }
    }
    return VR_OK;
}

/* z from element `first` on. */
static float head_of(const void *z, enum vr_element element, size_t first, const float *widths, uint32_t outputs)
{
    float sum = 0.0f;
    for (uint32_t k = 0; k < outputs; k++) {
        sum += widths[k] / (1.0f + expf(-vr_cpu_get(z, element, first + k)));
    }
    return sum;
}

enum vr_status vr_heads_resolve(const struct vr_task_heads *args, struct vr_heads_at *out)
{
    if (args->tasks > VR_HEADS_TASKS_MAX) {
        vr_fail(VR_ERR_INVALID, "task_heads: %u tasks, at most %u", args->tasks, VR_HEADS_TASKS_MAX);
        return VR_ERR_INVALID;
    }
    out->columns = 0;
    for (uint32_t t = 0; t < args->tasks; t++) {
        out->columns += args->outputs[t];
    }
    out->z = vr_cpu_at(args->z, args->rows * out->columns, vr_element_bytes(args->z_element), "task_heads: z");
    out->widths = vr_cpu_at(args->widths, out->columns, 4, "task_heads: widths");
    out->head = vr_cpu_at(args->head, (size_t)args->rows * args->tasks, 4, "task_heads: head");
    return out->z != NULL && out->widths != NULL && out->head != NULL ? VR_OK : VR_ERR_INVALID;
}

enum vr_status vr_reference_task_heads(struct vr_stream *stream, const struct vr_task_heads *args)
{
    (void)stream;
    struct vr_heads_at at;
    const enum vr_status status = vr_heads_resolve(args, &at);
    if (status != VR_OK) {
        return status;
    }
    for (size_t r = 0; r < args->rows; r++) {
        size_t first = 0;
        for (uint32_t t = 0; t < args->tasks; t++) {
            at.head[r * args->tasks + t] =
                head_of(at.z, args->z_element, r * at.columns + first, at.widths + first, args->outputs[t]);
            first += args->outputs[t];
        }
    }
    return VR_OK;
}
