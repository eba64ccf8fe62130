/* The operations but the searches, at the shapes of the yardstick ranker (docs/benchmarks.md): 256 columns in, 8
 * experts 256-512-256, 4 gates, 4 towers 256-128, heads; as many rows at a time as the backend prefers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops_parts.h"
#include "schedule.h"
#include "vireo/half.h"

#define INPUT 256u
#define EXPERTS 8u
#define HIDDEN 512u
#define WIDTH 256u
#define GATES 4u
#define TOWER 128u
#define OUTPUTS 32u   /* of the watch-time task: bins */
#define TABLE 100000u /* rows of a table that is gathered from */
#define HISTORY 100u  /* watches that are pooled */
#define COPY_BYTES ((size_t)64 << 20)

/* Halves where the backend is quicker in them: then the network runs in them. */
static enum vr_element element_of(const struct ops_bench *bench)
{
    return bench->backend->ops->halves == VR_HALF_FAST ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
}

/* Random numbers in [-1, 1) of an element type. */
static enum vr_status matrix(struct ops_bench *bench, size_t count, enum vr_element element, struct vr_view *out)
{
    if (element == VR_ELEMENT_F32) {
        return ops_floats(bench, count, out);
    }
    uint16_t *half = calloc(count, sizeof *half);
    if (half == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for %zu halves", count);
    }
    for (size_t i = 0; i < count; i++) {
        half[i] = vr_half_from_float((float)(2.0 * bench_random_unit(&bench->random) - 1.0));
    }
    const enum vr_status status = ops_put(bench, half, count * sizeof *half, out);
    free(half);
    return status;
}

/* Measure a case whose buffers were taken, and give them back. What reads no table touches the same bytes each call. */
static enum vr_status conclude(struct ops_bench *bench, struct ops_case *one, enum vr_status status)
{
    one->footprint = one->footprint > 0.0 ? one->footprint : one->bytes;
    if (status == VR_OK) {
        status = ops_measure(bench, one);
    }
    ops_release(bench);
    return status;
}

/* ---- linear ---- */

struct layer {
    const char *name;
    uint32_t in, out, batch;
    bool hoisted; /* adds a request's part, computed once */
};

/* The weights of a layer's products as the backend packs them, as an engine does at load. */
static enum vr_status packed_weights(struct ops_bench *bench, const struct layer *layer, struct vr_linear *linear)
{
    const struct vr_backend_ops *ops = bench->backend->ops;
    const size_t count = (size_t)layer->out * layer->in;
    size_t bytes = 0;
    const enum vr_status fits = ops->weights_bytes(bench->backend, VR_ELEMENT_F32, layer->out, layer->in, &bytes);
    float *weight = calloc(count, sizeof *weight);
    char *packed = calloc(layer->batch, bytes);
    if (weight == NULL || packed == NULL) {
        free(weight);
        free(packed);
        return vr_fail(VR_ERR_NOMEM, "no memory for weights");
    }
    enum vr_status status = fits;
    for (uint32_t b = 0; status == VR_OK && b < layer->batch; b++) {
        for (size_t i = 0; i < count; i++) {
            weight[i] = (float)(2.0 * bench_random_unit(&bench->random) - 1.0);
        }
        ops->weights_pack(VR_ELEMENT_F32, layer->out, layer->in, weight, layer->in, packed + b * bytes);
    }
    linear->weight_packed = true;
    linear->weight_element = VR_ELEMENT_F32;
    linear->weight_step = bytes;
    status = status == VR_OK ? ops_put(bench, packed, layer->batch * bytes, &linear->weight) : status;
    free(weight);
    free(packed);
    return status;
}

/* Rows of x lie side by side where products read columns of their own, as a level's second layers do. */
static enum vr_status run_layer(struct ops_bench *bench, const struct layer *layer)
{
    const enum vr_element element = element_of(bench);
    const uint32_t rows = bench->backend->ops->preferred_rows, batch = layer->batch;
    const uint32_t requests = (rows + 299) / 300;
    struct ops_case one = {.kind = OPS_LINEAR, .recall = NAN};
    struct vr_linear *linear = &one.of.linear;
    *linear = (struct vr_linear){.rows = rows,
                                 .in = layer->in,
                                 .out = layer->out,
                                 .x_stride = batch * layer->in,
                                 .x_element = element,
                                 .weight_stride = layer->in,
                                 .has_bias = !layer->hoisted,
                                 .has_add = layer->hoisted,
                                 .add_stride = batch * layer->out,
                                 .activation = VR_LINEAR_RELU,
                                 .y_stride = batch * layer->out,
                                 .y_element = element,
                                 .batch = batch,
                                 .x_step = layer->in,
                                 .weight_step = (size_t)layer->out * layer->in,
                                 .bias_step = layer->out,
                                 .add_step = layer->out,
                                 .y_step = layer->out};
    int32_t *row = calloc(rows, sizeof *row);
    if (row == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for rows");
    }
    for (uint32_t r = 0; r < rows; r++) {
        row[r] = (int32_t)(r / 300);
    }
    const size_t weights = (size_t)batch * layer->out * layer->in;
    enum vr_status status = matrix(bench, (size_t)rows * linear->x_stride, element, &linear->x);
    if (status == VR_OK) {
        status = bench->backend->ops->weights_bytes != NULL ? packed_weights(bench, layer, linear)
                                                            : matrix(bench, weights, element, &linear->weight);
    }
    status = status == VR_OK ? ops_floats(bench, (size_t)batch * layer->out, &linear->bias) : status;
    status = status == VR_OK ? ops_floats(bench, (size_t)requests * linear->add_stride, &linear->add) : status;
    status = status == VR_OK ? ops_put(bench, row, rows * sizeof *row, &linear->add_row) : status;
    status = status == VR_OK ? ops_zeros(bench, (size_t)rows * linear->y_stride * sizeof(float), &linear->y) : status;
    free(row);
    one.flops = 2.0 * rows * (double)weights;
    one.bytes =
        (double)vr_element_bytes(element) * ((double)rows * (linear->x_stride + linear->y_stride) + (double)weights);
    snprintf(one.name, sizeof one.name, "linear, %s", layer->name);
    snprintf(one.shape, sizeof one.shape, "%u x %u x %u%s, %u product%s, %s", rows, layer->in, layer->out,
             layer->hoisted ? " + hoisted" : "", batch, batch == 1 ? "" : "s",
             element == VR_ELEMENT_F16 ? "fp16" : "fp32");
    return conclude(bench, &one, status);
}

static enum vr_status run_layers(struct ops_bench *bench)
{
    static const struct layer layers[] = {
        {"first layers", INPUT, EXPERTS * HIDDEN, 1, false},
        {"first layers, hoisted", INPUT / 2, EXPERTS * HIDDEN, 1, true},
        {"second layers", HIDDEN, WIDTH, EXPERTS, false},
        {"gates", INPUT, EXPERTS * GATES, 1, false},
        {"towers", WIDTH, TOWER, GATES, false},
        {"last layer", TOWER, OUTPUTS, 1, false},
    };
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof layers / sizeof layers[0]; i++) {
        status = run_layer(bench, &layers[i]);
    }
    return status;
}

/* ---- the rest of a ranking ---- */

static enum vr_status run_mix(struct ops_bench *bench)
{
    const enum vr_element element = element_of(bench);
    const uint32_t rows = bench->backend->ops->preferred_rows;
    struct ops_case one = {.name = "expert mix", .kind = OPS_MIX, .recall = NAN};
    struct vr_expert_mix *mix = &one.of.mix;
    *mix = (struct vr_expert_mix){.rows = rows,
                                  .gates = GATES,
                                  .experts = EXPERTS,
                                  .width = WIDTH,
                                  .listed = {0xff, 0xff, 0xff, 0xff},
                                  .expert_element = element,
                                  .y_element = element};
    enum vr_status status = ops_floats(bench, (size_t)rows * GATES * EXPERTS, &mix->logit);
    status = status == VR_OK ? matrix(bench, (size_t)rows * EXPERTS * WIDTH, element, &mix->expert) : status;
    status = status == VR_OK ? ops_zeros(bench, (size_t)rows * GATES * WIDTH * sizeof(float), &mix->y) : status;
    one.flops = 2.0 * rows * GATES * EXPERTS * WIDTH;
    one.bytes = (double)vr_element_bytes(element) * rows * (EXPERTS + GATES) * WIDTH;
    snprintf(one.shape, sizeof one.shape, "%u rows, %u gates, %u experts of %u", rows, GATES, EXPERTS, WIDTH);
    return conclude(bench, &one, status);
}

static enum vr_status run_heads(struct ops_bench *bench)
{
    const uint32_t rows = bench->backend->ops->preferred_rows, columns = 3 + OUTPUTS;
    struct ops_case one = {.name = "task heads", .kind = OPS_HEADS, .recall = NAN};
    struct vr_task_heads *heads = &one.of.heads;
    *heads = (struct vr_task_heads){.rows = rows, .tasks = 4, .outputs = {1, OUTPUTS, 1, 1}};
    enum vr_status status = ops_floats(bench, (size_t)rows * columns, &heads->z);
    status = status == VR_OK ? ops_floats(bench, columns, &heads->widths) : status;
    status = status == VR_OK ? ops_zeros(bench, (size_t)rows * 4 * sizeof(float), &heads->head) : status;
    one.flops = NAN; /* exponentials: how many operations one is, nobody agrees on */
    one.bytes = (double)sizeof(float) * rows * (columns + 4);
    snprintf(one.shape, sizeof one.shape, "%u rows, 4 tasks of 1, %u, 1, 1", rows, OUTPUTS);
    return conclude(bench, &one, status);
}

static enum vr_status run_normalize(struct ops_bench *bench)
{
    const uint32_t rows = bench->backend->ops->preferred_rows, width = 64;
    struct ops_case one = {.name = "normalize", .kind = OPS_NORMALIZE, .recall = NAN};
    one.of.normalize = (struct vr_normalize){.rows = rows, .width = width, .stride = width};
    const enum vr_status status = ops_floats(bench, (size_t)rows * width, &one.of.normalize.x);
    one.flops = 3.0 * rows * width;
    one.bytes = 2.0 * sizeof(float) * rows * width;
    snprintf(one.shape, sizeof one.shape, "%u x %u", rows, width);
    return conclude(bench, &one, status);
}

/* ---- what reads tables ---- */

static enum vr_status random_rows(struct ops_bench *bench, size_t count, struct vr_view *out)
{
    int32_t *index = calloc(count, sizeof *index);
    if (index == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for rows");
    }
    for (size_t i = 0; i < count; i++) {
        index[i] = (int32_t)(bench_random(&bench->random) % TABLE);
    }
    const enum vr_status status = ops_put(bench, index, count * sizeof *index, out);
    free(index);
    return status;
}

/* A candidate's row: 128 computed columns, and two vectors of 64 out of tables of halves. */
static enum vr_status run_gather(struct ops_bench *bench)
{
    const uint32_t rows = bench->backend->ops->preferred_rows;
    struct vr_table table = {.rows = TABLE, .width = 64, .dtype = VR_TABLE_F16};
    struct vr_segment segment[3] = {{.kind = VR_SEGMENT_DENSE, .width = 128}};
    struct ops_case one = {
        .name = "gather", .kind = OPS_GATHER, .footprint = TABLE * 64.0 * sizeof(uint16_t), .recall = NAN};
    struct vr_gather *gather = &one.of.gather;
    *gather = (struct vr_gather){.rows = rows,
                                 .segment = segment,
                                 .segments = 3,
                                 .dense_stride = 128,
                                 .index_stride = 2,
                                 .y_stride = INPUT,
                                 .y_element = element_of(bench)};
    enum vr_status status = matrix(bench, (size_t)TABLE * 64, VR_ELEMENT_F16, &table.data);
    status = status == VR_OK ? ops_floats(bench, (size_t)rows * 128, &gather->dense) : status;
    status = status == VR_OK ? random_rows(bench, (size_t)rows * 2 * OPS_ROTATIONS, &gather->index) : status;
    status = status == VR_OK ? ops_zeros(bench, (size_t)rows * INPUT * sizeof(float), &gather->y) : status;
    for (uint32_t i = 1; i < 3; i++) {
        segment[i] = (struct vr_segment){
            .kind = VR_SEGMENT_TABLE, .offset = 64 + 64 * i, .width = 64, .source = i - 1, .table = table};
    }
    one.rotate = (size_t)rows * 2 * sizeof(int32_t);
    one.flops = 0.0;
    one.bytes = rows * (128.0 * sizeof(float) + 2 * 64.0 * sizeof(uint16_t) +
                        (double)INPUT * (double)vr_element_bytes(gather->y_element));
    snprintf(one.shape, sizeof one.shape, "%u rows of 128 dense, 2 of 64 from fp16 tables", rows);
    return conclude(bench, &one, status);
}

static enum vr_status run_pool(struct ops_bench *bench)
{
    const uint32_t rows = 16;
    struct ops_case one = {
        .name = "pool", .kind = OPS_POOL, .footprint = TABLE * 64.0 * sizeof(uint16_t), .recall = NAN};
    struct vr_pool_rows *pool = &one.of.pool;
    *pool = (struct vr_pool_rows){
        .rows = rows, .count = HISTORY, .table = {.rows = TABLE, .width = 64, .dtype = VR_TABLE_F16}, .y_stride = 64};
    enum vr_status status = matrix(bench, (size_t)TABLE * 64, VR_ELEMENT_F16, &pool->table.data);
    status = status == VR_OK ? random_rows(bench, (size_t)rows * HISTORY * OPS_ROTATIONS, &pool->index) : status;
    status = status == VR_OK ? ops_floats(bench, (size_t)rows * HISTORY, &pool->weight) : status;
    status = status == VR_OK ? ops_zeros(bench, (size_t)rows * 64 * sizeof(float), &pool->y) : status;
    one.rotate = (size_t)rows * HISTORY * sizeof(int32_t);
    one.flops = 2.0 * rows * HISTORY * 64;
    one.bytes = rows * HISTORY * 64.0 * sizeof(uint16_t);
    snprintf(one.shape, sizeof one.shape, "%u histories of %u, fp16 vectors of 64", rows, HISTORY);
    return conclude(bench, &one, status);
}

static enum vr_status run_copy(struct ops_bench *bench)
{
    struct ops_case one = {.name = "copy", .kind = OPS_COPIES, .bytes = 2.0 * (double)COPY_BYTES, .recall = NAN};
    one.of.copy.bytes = COPY_BYTES;
    enum vr_status status = ops_zeros(bench, COPY_BYTES, &one.of.copy.from);
    status = status == VR_OK ? ops_zeros(bench, COPY_BYTES, &one.of.copy.to) : status;
    snprintf(one.shape, sizeof one.shape, "%zu MiB", COPY_BYTES >> 20);
    return conclude(bench, &one, status);
}

enum vr_status ops_cases_run(struct ops_bench *bench)
{
    enum vr_status (*const run[])(struct ops_bench *) = {run_copy, run_gather, run_pool,     run_layers,
                                                         run_mix,  run_heads,  run_normalize};
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof run / sizeof run[0]; i++) {
        status = run[i](bench);
    }
    return status;
}
