/* The ranker: the request's columns of the first layers of experts and gates, with their biases, once a request
 * (hoisted [requests, ..]); then levels, tasks and heads for a chunk of rows, each of which adds its request's part.
 * Each matrix knows what its numbers are (engine_weights.c), so halves and float32 take the same way. */
#include "engine_parts.h"

/* ---- layers ---- */

/* Dense layers of one shape side by side. Layer u reads block `block[u]` of x (u itself where block is NULL), blocks
 * lying x_step columns apart, and writes block u of y, y_step columns apart. */
struct layers {
    uint32_t count, in, out;
    const uint32_t *block; /* [count] */
    struct engine_matrix x, y;
    uint32_t x_step, y_step;
    struct engine_dense dense;
    bool has_bias, has_add;
    struct engine_matrix add; /* float [requests, count * out] */
    struct vr_view add_row;   /* int32 [rows] */
    bool has_table;
    struct vr_view table_row; /* int32 [rows, the inputs' index_stride] */
    uint32_t table_at;        /* column of the first of the layers */
    enum vr_linear_activation activation;
};

static uint32_t block_of(const struct layers *layers, uint32_t u)
{
    return layers->block == NULL ? u : layers->block[u];
}

/* How many layers from `first` on read blocks that are equally far apart: *apart blocks, 0 where they share one. */
static uint32_t run_length(const struct layers *layers, uint32_t first, uint32_t *apart)
{
    uint32_t count = 1;
    *apart = 0;
    for (; first + count < layers->count; count++) {
        const uint32_t last = block_of(layers, first + count - 1), next = block_of(layers, first + count);
        if (next < last || (count > 1 && next - last != *apart)) {
            break;
        }
        *apart = next - last;
    }
    return count;
}

/* Layers from `first` on, of `out` outputs each. */
static struct engine_dense dense_at(struct engine_dense dense, uint32_t first, uint32_t out)
{
    dense.bias = matrix_at(dense.bias, first, 0);
    if (dense.weight.packed > 0) {
        dense.weight.view.offset += first * dense.weight.packed;
    } else {
        dense.weight = matrix_at(dense.weight, (size_t)first * out, 0);
    }
    return dense;
}

/* One operation: a batch of products, or one wide product where all read the same and lie side by side. */
static enum vr_status run_some(struct vr_engine_slot *slot, uint32_t rows, const struct layers *layers, uint32_t first,
                               uint32_t count, uint32_t apart)
{
    const struct engine_dense dense = dense_at(layers->dense, first, layers->out);
    const struct engine_matrix weight = dense.weight, bias = dense.bias;
    const bool packed = weight.packed > 0;
    const bool wide = apart == 0 && layers->y_step == layers->out && (!packed || dense.whole);
    const struct engine_matrix x = matrix_at(layers->x, 0, (size_t)block_of(layers, first) * layers->x_step);
    const struct engine_matrix add = matrix_at(layers->add, 0, (size_t)first * layers->out);
    const struct engine_matrix y = matrix_at(layers->y, 0, (size_t)first * layers->y_step);
    const struct vr_linear args = {
        .rows = rows,
        .in = layers->in,
        .out = wide ? count * layers->out : layers->out,
        .x = x.view,
        .x_stride = x.stride,
        .x_element = x.element,
        .weight = weight.view,
        .weight_stride = weight.stride,
        .weight_packed = packed,
        .weight_element = weight.element,
        .has_bias = layers->has_bias,
        .bias = bias.view,
        .bias_element = bias.element,
        .has_add = layers->has_add,
        .add = add.view,
        .add_stride = add.stride,
        .add_row = layers->add_row,
        .has_table = layers->has_table,
        .table = slot->engine->table.rows,
        .table_row = layers->table_row,
        .table_row_stride = slot->engine->video.index_stride,
        .table_at = layers->table_at + first * layers->out,
        .activation = layers->activation,
        .y = y.view,
        .y_stride = y.stride,
        .y_element = y.element,
        .batch = wide ? 1 : count,
        .x_step = (size_t)apart * layers->x_step,
        .weight_step = packed ? weight.packed : (size_t)layers->out * weight.stride,
        .bias_step = bias.stride,
        .add_step = layers->out,
        .table_step = layers->out,
        .y_step = layers->y_step,
    };
    return slot_ops(slot)->linear(slot->stream, &args);
}

static enum vr_status run_layers(struct vr_engine_slot *slot, uint32_t rows, const struct layers *layers)
{
    enum vr_status status = VR_OK;
    for (uint32_t first = 0, count = 0; status == VR_OK && first < layers->count; first += count) {
        uint32_t apart = 0;
        count = run_length(layers, first, &apart);
        status = run_some(slot, rows, layers, first, count, apart);
    }
    return status;
}

/* Scratch for the widest level as rows of one level's width. */
static struct engine_matrix of_width(struct engine_matrix matrix, uint32_t width)
{
    matrix.stride = element_stride(matrix.element, width);
    return matrix;
}

/* ---- the requests' part ---- */

enum vr_status slot_hoist(struct vr_engine_slot *slot)
{
    const struct vr_engine *engine = slot->engine;
    const struct vr_level *level = &engine->bundle->ranker.level[0];
    const struct engine_ranking *at = &slot->ranking;
    struct layers layers = {
        .count = 1,
        .in = engine->request.width,
        .x = slot->request_row,
        .dense = engine->hoisted_first,
        .has_bias = true,
        .out = level->experts * level->hidden,
        .y = slot->hoisted_hidden,
    };
    enum vr_status status = inputs_gather(engine, slot->stream, &engine->request, at->room, at->request_dense.device,
                                          at->request_index.device, slot->request_row);
    if (status == VR_OK) {
        status = run_layers(slot, at->room, &layers);
    }
    layers.dense = engine->hoisted_gate;
    layers.out = level->gates * level->experts;
    layers.y = slot->hoisted_gate;
    return status == VR_OK ? run_layers(slot, at->room, &layers) : status;
}

/* ---- levels ---- */

/* One chunk of rows on its way through the levels. */
struct chunk {
    uint32_t first, rows;
    struct vr_view request_of; /* int32 [rows] */
    struct vr_view video;      /* int32 [rows, the inputs' index_stride]: rows of the video table */
    struct engine_matrix x;    /* input of the level */
};

/* First layers and gates: level 0's read the row and add the hoisted part, and the video's where there is a table;
 * later ones read a gate's mix each. */
static struct layers level_layers(const struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l)
{
    const struct vr_level *level = &slot->engine->bundle->ranker.level[l];
    return (struct layers){
        .in = l == 0 ? slot->engine->video.width : level->in,
        .x = chunk->x,
        .x_step = level->in,
        .has_bias = l > 0,
        .has_add = l == 0,
        .add_row = chunk->request_of,
        .has_table = l == 0 && engine_has_table(slot->engine),
        .table_row = chunk->video,
    };
}

/* Of `count` experts from `first` on. */
static enum vr_status first_layers(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l, uint32_t first,
                                   uint32_t count)
{
    const struct vr_level *level = &slot->engine->bundle->ranker.level[l];
    struct layers layers = level_layers(slot, chunk, l);
    layers.count = count;
    layers.block = level->expert_input + first;
    layers.out = layers.y_step = level->hidden;
    layers.dense = dense_at(slot->engine->level[l].first, first, level->hidden);
    layers.add = matrix_at(slot->hoisted_hidden, 0, (size_t)first * level->hidden);
    layers.table_at = first * level->hidden;
    layers.activation = VR_LINEAR_RELU;
    layers.y = of_width(slot->hidden, slot_experts(slot, level) * level->hidden);
    return run_layers(slot, chunk->rows, &layers);
}

static enum vr_status second_layers(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l, uint32_t first,
                                    uint32_t count)
{
    const struct vr_level *level = &slot->engine->bundle->ranker.level[l];
    const struct engine_matrix expert = of_width(slot->expert, level->experts * level->width);
    const struct layers layers = {
        .count = count,
        .in = level->hidden,
        .out = level->width,
        .x = of_width(slot->hidden, slot_experts(slot, level) * level->hidden),
        .x_step = level->hidden,
        .dense = dense_at(slot->engine->level[l].second, first, level->width),
        .has_bias = true,
        .activation = VR_LINEAR_RELU,
        .y = matrix_at(expert, 0, (size_t)first * level->width),
        .y_step = level->width,
    };
    return run_layers(slot, chunk->rows, &layers);
}

/* Both layers of the experts, as many at a time as the backend prefers: what lies between them is used again at once.
 */
static enum vr_status run_experts(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l)
{
    const struct vr_level *level = &slot->engine->bundle->ranker.level[l];
    const uint32_t most = slot_experts(slot, level);
    enum vr_status status = VR_OK;
    for (uint32_t first = 0; status == VR_OK && first < level->experts; first += most) {
        const uint32_t count = level->experts - first < most ? level->experts - first : most;
        status = first_layers(slot, chunk, l, first, count);
        status = status == VR_OK ? second_layers(slot, chunk, l, first, count) : status;
    }
    return status;
}

static enum vr_status gate_logits(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l)
{
    const struct vr_level *level = &slot->engine->bundle->ranker.level[l];
    uint32_t block[VR_GATES_MAX];
    for (uint32_t g = 0; g < level->gates; g++) {
        block[g] = level->gate[g].input;
    }
    struct layers layers = level_layers(slot, chunk, l);
    layers.count = level->gates;
    layers.block = block;
    layers.out = layers.y_step = level->experts;
    layers.dense = slot->engine->level[l].gate;
    layers.add = slot->hoisted_gate;
    layers.table_at = level->experts * level->hidden;
    layers.y = of_width(slot->logit, level->gates * level->experts);
    return run_layers(slot, chunk->rows, &layers);
}

static enum vr_status mix_experts(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l,
                                  struct engine_matrix y)
{
    const struct vr_ranker *ranker = &slot->engine->bundle->ranker;
    const struct vr_level *level = &ranker->level[l];
    struct vr_expert_mix args = {
        .rows = chunk->rows,
        .gates = level->gates,
        .experts = level->experts,
        .width = level->width,
        .logit = slot->logit.view,
        .expert = slot->expert.view,
        .expert_element = slot->expert.element,
        .y = y.view,
        .y_element = y.element,
        .want_weights = slot->ranking.want_gates && l + 1 == ranker->level_count,
        .weights = view_at(slot->gates.device, (size_t)chunk->first * level->gates * level->experts),
    };
    for (uint32_t g = 0; g < level->gates; g++) {
        args.listed[g] = level->gate[g].experts;
    }
    return slot_ops(slot)->expert_mix(slot->stream, &args);
}

/* One level; its gates' mixes become the chunk's x. */
static enum vr_status run_level(struct vr_engine_slot *slot, uint32_t l, struct chunk *chunk)
{
    const struct vr_level *level = &slot->engine->bundle->ranker.level[l];
    const struct engine_matrix mix = of_width(slot->mix[l % 2], level->gates * level->width);
    enum vr_status status = run_experts(slot, chunk, l);
    if (status == VR_OK) {
        status = gate_logits(slot, chunk, l);
    }
    if (status == VR_OK) {
        status = mix_experts(slot, chunk, l, mix);
    }
    chunk->x = mix;
    return status;
}

/* ---- tasks ---- */

uint32_t slot_task_stride(const struct vr_engine_slot *slot)
{
    return element_stride(slot->engine->element, slot->engine->bundle->ranker.tower_hidden);
}

/* Each task's tower on its gate's mix. */
static enum vr_status task_towers(struct vr_engine_slot *slot, const struct chunk *chunk)
{
    const struct vr_ranker *ranker = &slot->engine->bundle->ranker;
    const uint32_t width = ranker->level[ranker->level_count - 1].width;
    uint32_t block[VR_HEAD_COUNT];
    for (uint32_t t = 0; t < VR_HEAD_COUNT; t++) {
        block[t] = ranker->task[t].gate;
    }
    const struct layers layers = {
        .count = VR_HEAD_COUNT,
        .block = block,
        .in = width,
        .out = ranker->tower_hidden,
        .x = chunk->x,
        .x_step = width,
        .dense = slot->engine->task_first,
        .has_bias = true,
        .activation = VR_LINEAR_RELU,
        .y = slot->task_hidden,
        .y_step = slot_task_stride(slot),
    };
    return run_layers(slot, chunk->rows, &layers);
}

/* The last layers of `count` tasks of so many outputs each, from task t on; their outputs go to columns `first` .. of
 * z. */
static enum vr_status task_outputs(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t t, uint32_t count,
                                   uint32_t outputs, uint32_t first)
{
    const struct vr_engine *engine = slot->engine;
    struct layers layers = {
        .count = count,
        .in = engine->bundle->ranker.tower_hidden,
        .out = outputs,
        .x = matrix_at(slot->task_hidden, 0, (size_t)t * slot_task_stride(slot)),
        .x_step = slot_task_stride(slot),
        .dense = engine->task_last,
        .has_bias = true,
        .y = matrix_at(slot->z, 0, first),
        .y_step = outputs,
    };
    if (layers.dense.weight.packed > 0) {
        layers.dense.weight.view.offset += t * layers.dense.weight.packed;
    } else {
        layers.dense.weight = matrix_at(layers.dense.weight, first, 0);
    }
    layers.dense.bias = matrix_at(layers.dense.bias, first, 0);
    layers.dense.bias.stride = outputs; /* a column of all tasks' biases as rows of one task's */
    return run_layers(slot, chunk->rows, &layers);
}

static enum vr_status run_tasks(struct vr_engine_slot *slot, const struct chunk *chunk)
{
    const struct vr_engine *engine = slot->engine;
    struct vr_task_heads args = {
        .rows = chunk->rows,
        .tasks = VR_HEAD_COUNT,
        .z = slot->z.view,
        .z_element = slot->z.element,
        .widths = engine->widths,
        .head = view_at(slot->heads.device, (size_t)chunk->first * VR_HEAD_COUNT),
    };
    for (uint32_t t = 0; t < VR_HEAD_COUNT; t++) {
        args.outputs[t] = engine->bundle->ranker.task[t].outputs;
    }
    enum vr_status status = task_towers(slot, chunk);
    for (uint32_t t = 0, first = 0, count = 0; status == VR_OK && t < VR_HEAD_COUNT; t += count) {
        for (count = 1; t + count < VR_HEAD_COUNT && args.outputs[t + count] == args.outputs[t];) {
            count++;
        }
        status = task_outputs(slot, chunk, t, count, args.outputs[t], first);
        first += count * args.outputs[t];
    }
    return status == VR_OK ? slot_ops(slot)->task_heads(slot->stream, &args) : status;
}

/* ---- the whole ---- */

enum vr_status slot_network(struct vr_engine_slot *slot, uint32_t first, uint32_t rows)
{
    const struct engine_inputs *inputs = &slot->engine->video;
    const struct engine_rows at = slot_rows(slot, first, rows);
    const bool table = engine_has_table(slot->engine);
    struct chunk chunk = {
        .first = first,
        .rows = rows,
        .request_of = at.request_of.device,
        .video = table ? view_at(at.index.device, inputs->row_at) : at.index.device,
        .x = slot->video_part,
    };
    enum vr_status status =
        inputs_gather(slot->engine, slot->stream, inputs, rows, at.dense.device, at.index.device, slot->video_part);
    for (uint32_t l = 0; status == VR_OK && l < slot->engine->bundle->ranker.level_count; l++) {
        status = run_level(slot, l, &chunk);
    }
    return status == VR_OK ? run_tasks(slot, &chunk) : status;
}

uint32_t slot_gate_floats(const struct vr_engine_slot *slot)
{
    const struct vr_ranker *ranker = &slot->engine->bundle->ranker;
    const struct vr_level *last = &ranker->level[ranker->level_count - 1];
    return last->gates * last->experts;
}
