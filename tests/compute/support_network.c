/* See support_network.h. */
#include "support_network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/half.h"

/* A run in the making. */
struct run {
    struct rig *rig;
    const struct network *n;
    enum vr_element element;
    struct dice dice;
};

static void must(enum vr_status status, const char *what)
{
    if (status != VR_OK) {
        fprintf(stderr, "%s: %s\n", what, vr_error_text());
        abort();
    }
}

static float *numbers(struct run *run, size_t count, float scale)
{
    float *data = malloc(count * sizeof *data + 1);
    if (data == NULL) {
        abort();
    }
    dice_floats(&run->dice, data, count);
    for (size_t i = 0; i < count; i++) {
        data[i] *= scale;
    }
    return data;
}

/* A bias, stored as the y that it goes to: so that any engine can take it. */
static struct vr_view put_bias(struct run *run, size_t count, enum vr_element element)
{
    float *data = numbers(run, count, 0.1f);
    uint16_t *half = malloc(count * sizeof *half + 1);
    if (half == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        half[i] = vr_half_from_float(data[i]);
    }
    const bool halves = element == VR_ELEMENT_F16;
    const struct vr_view view =
        rig_put(run->rig, halves ? (const void *)half : (const void *)data, count * vr_element_bytes(element));
    free(half);
    free(data);
    return view;
}

static struct vr_view put_floats(struct run *run, size_t count, float scale)
{
    float *data = numbers(run, count, scale);
    const struct vr_view view = rig_put(run->rig, data, count * sizeof *data);
    free(data);
    return view;
}

/* Room for [rows, width] of the run's element, or of floats. */
static struct vr_view room(struct run *run, size_t elements, enum vr_element element)
{
    const size_t bytes = elements * vr_element_bytes(element);
    void *zeros = calloc(1, bytes + 1);
    if (zeros == NULL) {
        abort();
    }
    const struct vr_view view = rig_put(run->rig, zeros, bytes);
    free(zeros);
    return view;
}

/* Weights [out, in], the columns from `first` on of rows `all` wide: in halves each range is a matrix of its own. */
struct weights {
    struct vr_view view;
    uint32_t stride;
};

static struct weights put_weights(struct run *run, const float *data, uint32_t out, uint32_t in, uint32_t first,
                                  uint32_t all)
{
    if (run->element == VR_ELEMENT_F32) {
        struct weights whole = {rig_put(run->rig, data, (size_t)out * all * sizeof *data), all};
        whole.view.offset += first * sizeof *data;
        return whole;
    }
    const uint32_t stride = vr_half_stride(in);
    uint16_t *half = malloc((size_t)out * stride * sizeof *half + 1);
    if (half == NULL) {
        abort();
    }
    must(vr_weights_pack_f16(data + first, out, in, all, half, stride), "vr_weights_pack_f16");
    const struct weights packed = {rig_put(run->rig, half, (size_t)out * stride * sizeof *half), stride};
    free(half);
    return packed;
}

static struct weights new_weights(struct run *run, uint32_t out, uint32_t in, float gain)
{
    float *data = numbers(run, (size_t)out * in, sqrtf(gain / (float)in));
    const struct weights weights = put_weights(run, data, out, in, 0, in);
    free(data);
    return weights;
}

static void linear(struct run *run, struct vr_linear args)
{
    must(run->rig->backend->ops->linear(run->rig->stream, &args), "linear");
}

/* Random features, gathered as the run's element: what `linear` reads. */
static struct vr_view features(struct run *run, uint32_t rows, uint32_t width)
{
    const struct vr_segment segment = {.kind = VR_SEGMENT_DENSE, .width = width};
    struct vr_gather args = {.rows = rows, .segment = &segment, .segments = 1, .dense_stride = width};
    args.index_stride = 1;
    args.dense = put_floats(run, (size_t)rows * width, 1.0f);
    args.index = room(run, rows, VR_ELEMENT_F32);
    args.y_stride = vr_half_stride(width);
    args.y_element = run->element;
    args.y = room(run, (size_t)rows * args.y_stride, run->element);
    must(run->rig->backend->ops->gather(run->rig->stream, &args), "gather");
    return args.y;
}

static struct vr_view request_of(struct run *run)
{
    int32_t *row = calloc(run->n->rows + 1, sizeof *row);
    if (row == NULL) {
        abort();
    }
    for (uint32_t r = 0; r < run->n->rows; r++) {
        row[r] = (int32_t)(r % run->n->requests);
    }
    const struct vr_view view = rig_put(run->rig, row, run->n->rows * sizeof *row);
    free(row);
    return view;
}

struct inputs {
    struct vr_view request, row, request_of;
};

/* First layers of experts or gates: the request's part once with the bias, then the rows' own with it added. */
static void first_layer(struct run *run, const struct inputs *inputs, uint32_t out, float gain,
                        enum vr_linear_activation activation, struct vr_view y, enum vr_element y_element)
{
    const struct network *n = run->n;
    const uint32_t all = n->hoisted + n->own;
    float *data = numbers(run, (size_t)out * all, sqrtf(gain / (float)all));
    const struct weights theirs = put_weights(run, data, out, n->hoisted, 0, all);
    const struct weights own = put_weights(run, data, out, n->own, n->hoisted, all);
    free(data);
    struct vr_linear args = {.rows = n->requests, .in = n->hoisted, .out = out, .has_bias = true, .y_stride = out};
    args.x_element = run->element;
    args.x = inputs->request;
    args.x_stride = vr_half_stride(n->hoisted);
    args.weight = theirs.view;
    args.weight_stride = theirs.stride;
    args.bias = put_bias(run, out, VR_ELEMENT_F32);
    args.y = room(run, (size_t)n->requests * out, VR_ELEMENT_F32);
    linear(run, args);
    args.has_bias = false;
    args.has_add = true;
    args.add = args.y;
    args.add_stride = out;
    args.add_row = inputs->request_of;
    args.rows = n->rows;
    args.in = n->own;
    args.x = inputs->row;
    args.x_stride = vr_half_stride(n->own);
    args.weight = own.view;
    args.weight_stride = own.stride;
    args.activation = activation;
    args.y = y;
    args.y_element = y_element;
    linear(run, args);
}

/* `batch` layers side by side, each on its own `in` columns of x. */
static void own_layers(struct run *run, uint32_t batch, uint32_t in, uint32_t out, float gain,
                       enum vr_linear_activation activation, struct vr_view x, struct vr_view y,
                       enum vr_element y_element)
{
    const struct weights weights = new_weights(run, batch * out, in, gain);
    struct vr_linear args = {.rows = run->n->rows, .in = in, .out = out, .batch = batch, .has_bias = true};
    args.x_element = run->element;
    args.x = x;
    args.x_stride = batch * in;
    args.x_step = in;
    args.weight = weights.view;
    args.weight_stride = weights.stride;
    args.weight_step = (size_t)out * weights.stride;
    args.bias = put_bias(run, (size_t)batch * out, y_element);
    args.bias_element = y_element;
    args.bias_step = args.y_step = out;
    args.activation = activation;
    args.y = y;
    args.y_stride = batch * out;
    args.y_element = y_element;
    linear(run, args);
}

static void mix(struct run *run, struct vr_view logit, struct vr_view expert, struct vr_view y)
{
    const struct network *n = run->n;
    struct vr_expert_mix args = {.rows = n->rows, .gates = n->gates, .experts = n->experts, .width = n->width};
    for (uint32_t g = 0; g < n->gates; g++) {
        args.listed[g] = (1ull << n->experts) - 1;
    }
    args.logit = logit;
    args.expert = expert;
    args.y = y;
    args.expert_element = args.y_element = run->element;
    must(run->rig->backend->ops->expert_mix(run->rig->stream, &args), "expert_mix");
}

static void probabilities(struct run *run, struct vr_view z, float *heads)
{
    const struct network *n = run->n;
    struct vr_task_heads args = {.rows = n->rows, .tasks = n->gates, .z = z};
    float ones[8];
    for (uint32_t t = 0; t < n->gates; t++) {
        args.outputs[t] = 1;
        ones[t] = 1.0f;
    }
    args.widths = rig_put(run->rig, ones, n->gates * sizeof *ones);
    args.head = room(run, (size_t)n->rows * n->gates, VR_ELEMENT_F32);
    must(run->rig->backend->ops->task_heads(run->rig->stream, &args), "task_heads");
    rig_get(run->rig, args.head, (size_t)n->rows * n->gates * sizeof *heads, heads);
}

#define FOR_RELU 6.0f /* He's gain over uniform numbers: activations keep their size */
#define FOR_NONE 3.0f

void network_run(struct rig *rig, const struct network *network, enum vr_element element, uint64_t seed, float *heads)
{
    const struct network *n = network;
    struct run run = {rig, n, element, {seed}};
    const struct inputs inputs = {features(&run, n->requests, n->hoisted), features(&run, n->rows, n->own),
                                  request_of(&run)};
    const size_t rows = n->rows;
    const struct vr_view hidden = room(&run, rows * n->experts * n->hidden, element);
    const struct vr_view expert = room(&run, rows * n->experts * n->width, element);
    const struct vr_view logit = room(&run, rows * n->gates * n->experts, VR_ELEMENT_F32);
    const struct vr_view mixed = room(&run, rows * n->gates * n->width, element);
    const struct vr_view tower = room(&run, rows * n->gates * n->tower, element);
    const struct vr_view z = room(&run, rows * n->gates, VR_ELEMENT_F32);
    first_layer(&run, &inputs, n->experts * n->hidden, FOR_RELU, VR_LINEAR_RELU, hidden, element);
    own_layers(&run, n->experts, n->hidden, n->width, FOR_RELU, VR_LINEAR_RELU, hidden, expert, element);
    first_layer(&run, &inputs, n->gates * n->experts, FOR_NONE, VR_LINEAR_NONE, logit, VR_ELEMENT_F32);
    mix(&run, logit, expert, mixed);
    own_layers(&run, n->gates, n->width, n->tower, FOR_RELU, VR_LINEAR_RELU, mixed, tower, element);
    own_layers(&run, n->gates, n->tower, 1, FOR_NONE, VR_LINEAR_NONE, tower, z, VR_ELEMENT_F32);
    probabilities(&run, z, heads);
    rig_clear(rig);
}
