/* Plain C of the networks' operations: linear, expert_mix, task_heads. See reference.c. */
#include <math.h>
#include <string.h>

#include "linear.h"

#define EXPERTS_MAX 64u
#define GATES_MAX 16u
#define TASKS_MAX 8u

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

enum vr_status vr_linear_resolve(const struct vr_linear *args, struct vr_linear_at *out)
{
    if (args->x_stride < args->in || args->weight_stride < args->in || args->y_stride < args->out ||
        (args->has_add && args->add_stride < args->out)) {
        vr_fail(VR_ERR_INVALID, "linear: a stride is shorter than its row");
        return VR_ERR_INVALID;
    }
    const size_t rows_of_weight = vr_cpu_extent(args->out, args->weight_stride, args->in);
    out->x = vr_cpu_at(args->x, vr_cpu_extent(args->rows, args->x_stride, args->in), 4, "linear: x");
    out->weight = vr_cpu_at(args->weight, args->in > 0 ? rows_of_weight : 0, 4, "linear: weight");
    out->y = vr_cpu_at(args->y, vr_cpu_extent(args->rows, args->y_stride, args->out), 4, "linear: y");
    out->bias = args->has_bias ? vr_cpu_at(args->bias, args->out, 4, "linear: bias") : NULL;
    out->add = NULL;
    out->add_row = NULL;
    if (out->x == NULL || out->weight == NULL || out->y == NULL || (args->has_bias && out->bias == NULL)) {
        return VR_ERR_INVALID;
    }
    return args->has_add ? resolve_add(args, out) : VR_OK;
}

/* y = x + y, which the compiler turns into wide additions. */
static void add_to(float *restrict y, const float *restrict x, uint32_t count)
{
    for (uint32_t o = 0; o < count; o++) {
        y[o] += x[o];
    }
}

void vr_linear_finish(const struct vr_linear *args, const struct vr_linear_at *at, size_t r, uint32_t first,
                      uint32_t count, const float *product)
{
    float *y = at->y + r * args->y_stride + first;
    memcpy(y, product, count * sizeof *y);
    if (at->bias != NULL) {
        add_to(y, at->bias + first, count);
    }
    if (at->add != NULL) {
        add_to(y, at->add + (size_t)at->add_row[r] * args->add_stride + first, count);
    }
    const bool relu = args->activation == VR_LINEAR_RELU;
    for (uint32_t o = 0; relu && o < count; o++) {
        y[o] = y[o] < 0.0f ? 0.0f : y[o]; /* NaN stays NaN */
    }
}

enum vr_status vr_reference_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    (void)stream;
    struct vr_linear_at at;
    const enum vr_status status = vr_linear_resolve(args, &at);
    if (status != VR_OK) {
        return status;
    }
    for (size_t r = 0; r < args->rows; r++) {
        for (uint32_t o = 0; o < args->out; o++) {
            float product = 0.0f;
            for (uint32_t i = 0; i < args->in; i++) {
                product += at.x[r * args->x_stride + i] * at.weight[(size_t)o * args->weight_stride + i];
            }
            vr_linear_finish(args, &at, r, o, 1, &product);
        }
    }
    return VR_OK;
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

static enum vr_status check_mix(const struct vr_expert_mix *args)
{
    if (args->gates > GATES_MAX || args->experts == 0 || args->experts > EXPERTS_MAX) {
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

enum vr_status vr_reference_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args)
{
    (void)stream;
    const enum vr_status status = check_mix(args);
    if (status != VR_OK) {
        return status;
    }
    const size_t logits = (size_t)args->gates * args->experts;
    const float *logit = vr_cpu_at(args->logit, args->rows * logits, 4, "expert_mix: logit");
    const float *expert =
        vr_cpu_at(args->expert, (size_t)args->rows * args->experts * args->width, 4, "expert_mix: expert");
    float *y = vr_cpu_at(args->y, (size_t)args->rows * args->gates * args->width, 4, "expert_mix: y");
    float *weights =
        args->want_weights ? vr_cpu_at(args->weights, args->rows * logits, 4, "expert_mix: weights") : NULL;
    if (logit == NULL || expert == NULL || y == NULL || (args->want_weights && weights == NULL)) {
        return VR_ERR_INVALID;
    }
    for (size_t r = 0; r < args->rows; r++) {
        for (uint32_t g = 0; g < args->gates; g++) {
            float scratch[EXPERTS_MAX];
            float *weight = weights == NULL ? scratch : weights + r * logits + (size_t)g * args->experts;
            softmax_listed(logit + r * logits + (size_t)g * args->experts, args->experts, args->listed[g], weight);
            mix_gate(weight, expert + r * args->experts * args->width, args->experts, args->listed[g], args->width,
                     y + (r * args->gates + g) * args->width);
        }
    }
    return VR_OK;
}

static float head_of(const float *z, const float *widths, uint32_t outputs)
{
    float sum = 0.0f;
    for (uint32_t k = 0; k < outputs; k++) {
        sum += widths[k] / (1.0f + expf(-z[k]));
    }
    return sum;
}

enum vr_status vr_reference_task_heads(struct vr_stream *stream, const struct vr_task_heads *args)
{
    (void)stream;
    if (args->tasks > TASKS_MAX) {
        return vr_fail(VR_ERR_INVALID, "task_heads: %u tasks, at most %u", args->tasks, TASKS_MAX);
    }
    size_t columns = 0;
    for (uint32_t t = 0; t < args->tasks; t++) {
        columns += args->outputs[t];
    }
    const float *z = vr_cpu_at(args->z, args->rows * columns, 4, "task_heads: z");
    const float *widths = vr_cpu_at(args->widths, columns, 4, "task_heads: widths");
    float *head = vr_cpu_at(args->head, (size_t)args->rows * args->tasks, 4, "task_heads: head");
    if (z == NULL || widths == NULL || head == NULL) {
        return VR_ERR_INVALID;
    }
    for (size_t r = 0; r < args->rows; r++) {
        size_t first = 0;
        for (uint32_t t = 0; t < args->tasks; t++) {
            head[r * args->tasks + t] = head_of(z + r * columns + first, widths + first, args->outputs[t]);
            first += args->outputs[t];
        }
    }
    return VR_OK;
}
