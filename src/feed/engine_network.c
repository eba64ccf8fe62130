/* The ranker: the request's columns of the first layers of experts and gates, with their biases, once a request
 * (hoisted [requests, ..]); then levels, tasks and heads for a chunk of rows, each of which adds its request's part. */
#include "engine_parts.h"

enum vr_status slot_hoist(struct vr_engine_slot *slot)
{
    const struct vr_engine *engine = slot->engine;
    const struct vr_level *level = &engine->bundle->ranker.level[0];
    const struct engine_ranking *at = &slot->ranking;
    enum vr_status status = inputs_gather(slot, &engine->request, at->room, at->request_dense.device,
                                          at->request_index.device, slot->request_row);
    struct vr_linear args = {
        .rows = at->room,
        .in = engine->request.width,
        .out = level->experts * level->hidden,
        .x = slot->request_row,
        .x_stride = engine->request.width,
        .weight = engine->level[0].w1,
        .weight_stride = level->in,
        .has_bias = true,
        .bias = engine->level[0].b1,
        .y = slot->hoisted_hidden,
        .y_stride = level->experts * level->hidden,
    };
    if (status == VR_OK) {
        status = slot_ops(slot)->linear(slot->stream, &args);
    }
    args.out = args.y_stride = level->gates * level->experts;
    args.weight = engine->level[0].gate_w;
    args.bias = engine->level[0].gate_b;
    args.y = slot->hoisted_gate;
    return status == VR_OK ? slot_ops(slot)->linear(slot->stream, &args) : status;
}

/* One chunk of rows on its way through the levels. */
struct chunk {
    uint32_t first, rows;
    struct vr_view request_of; /* int32 [rows] */
    struct vr_view x;          /* input of the level: [rows, x_stride] */
    uint32_t x_stride;
};

/* A stack of linear units that read one input: `units` of them from number `unit` on, `out` outputs each. */
struct stack {
    uint32_t units, unit, out, all; /* all: units of the level */
    struct vr_view weight, bias, y, hoisted;
    enum vr_linear_activation activation;
};

/* Level 0 reads the video columns and adds the hoisted part; later levels read gate `input`'s mix. */
static enum vr_status run_stack(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l, uint32_t input,
                                const struct stack *stack)
{
    const struct vr_engine *engine = slot->engine;
    const struct vr_level *level = &engine->bundle->ranker.level[l];
    const uint32_t skipped = l == 0 ? engine->request.width : 0; /* columns that were hoisted */
    const size_t from = (size_t)stack->unit * stack->out;
    const struct vr_linear args = {
        .rows = chunk->rows,
        .in = level->in - skipped,
        .out = stack->units * stack->out,
        .x = view_at(chunk->x, (size_t)input * level->in),
        .x_stride = chunk->x_stride,
        .weight = view_at(stack->weight, from * level->in + skipped),
        .weight_stride = level->in,
        .has_bias = l > 0,
        .bias = view_at(stack->bias, from),
        .has_add = l == 0,
        .add = view_at(stack->hoisted, from),
        .add_stride = stack->all * stack->out,
        .add_row = chunk->request_of,
        .activation = stack->activation,
        .y = view_at(stack->y, from),
        .y_stride = stack->all * stack->out,
    };
    return slot_ops(slot)->linear(slot->stream, &args);
}

/* Experts (or gates) that share an input stand side by side in the weights: one product for each run of them. */
static enum vr_status run_units(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l,
                                const uint32_t *input, struct stack stack)
{
    enum vr_status status = VR_OK;
    for (stack.unit = 0; status == VR_OK && stack.unit < stack.all; stack.unit += stack.units) {
        stack.units = 1;
        while (stack.unit + stack.units < stack.all && input[stack.unit + stack.units] == input[stack.unit]) {
            stack.units++;
        }
        status = run_stack(slot, chunk, l, input[stack.unit], &stack);
    }
    return status;
}

/* Second layers: each expert reads its own hidden columns. */
static enum vr_status second_layers(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l)
{
    const struct vr_level *level = &slot->engine->bundle->ranker.level[l];
    const struct engine_level *at = &slot->engine->level[l];
    enum vr_status status = VR_OK;
    for (uint32_t e = 0; status == VR_OK && e < level->experts; e++) {
        const struct vr_linear args = {
            .rows = chunk->rows,
            .in = level->hidden,
            .out = level->width,
            .x = view_at(slot->hidden, (size_t)e * level->hidden),
            .x_stride = level->experts * level->hidden,
            .weight = view_at(at->w2, (size_t)e * level->width * level->hidden),
            .weight_stride = level->hidden,
            .has_bias = true,
            .bias = view_at(at->b2, (size_t)e * level->width),
            .activation = VR_LINEAR_RELU,
            .y = view_at(slot->expert, (size_t)e * level->width),
            .y_stride = level->experts * level->width,
        };
        status = slot_ops(slot)->linear(slot->stream, &args);
    }
    return status;
}

static enum vr_status mix_experts(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t l, struct vr_view y)
{
    const struct vr_ranker *ranker = &slot->engine->bundle->ranker;
    const struct vr_level *level = &ranker->level[l];
    struct vr_expert_mix args = {
        .rows = chunk->rows,
        .gates = level->gates,
        .experts = level->experts,
        .width = level->width,
        .logit = slot->logit,
        .expert = slot->expert,
        .y = y,
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
    const struct engine_level *at = &slot->engine->level[l];
    const struct stack experts = {
        .out = level->hidden,
        .all = level->experts,
        .weight = at->w1,
        .bias = at->b1,
        .y = slot->hidden,
        .hoisted = slot->hoisted_hidden,
        .activation = VR_LINEAR_RELU,
    };
    const struct stack gates = {
        .out = level->experts,
        .all = level->gates,
        .weight = at->gate_w,
        .bias = at->gate_b,
        .y = slot->logit,
        .hoisted = slot->hoisted_gate,
    };
    uint32_t gate_input[VR_GATES_MAX];
    for (uint32_t g = 0; g < level->gates; g++) {
        gate_input[g] = level->gate[g].input;
    }
    enum vr_status status = run_units(slot, chunk, l, level->expert_input, experts);
    if (status == VR_OK) {
        status = second_layers(slot, chunk, l);
    }
    if (status == VR_OK) {
        status = run_units(slot, chunk, l, gate_input, gates);
    }
    if (status == VR_OK) {
        status = mix_experts(slot, chunk, l, slot->mix[l % 2]);
    }
    chunk->x = slot->mix[l % 2];
    chunk->x_stride = level->gates * level->width;
    return status;
}

/* Task t's tower on its gate's mix; its outputs go to columns `first` .. of z. */
static enum vr_status run_task(struct vr_engine_slot *slot, const struct chunk *chunk, uint32_t t, uint32_t first)
{
    const struct vr_engine *engine = slot->engine;
    const struct vr_ranker *ranker = &engine->bundle->ranker;
    const uint32_t width = ranker->level[ranker->level_count - 1].width;
    struct vr_linear args = {
        .rows = chunk->rows,
        .in = width,
        .out = ranker->tower_hidden,
        .x = view_at(chunk->x, (size_t)ranker->task[t].gate * width),
        .x_stride = chunk->x_stride,
        .weight = engine->task[t].w1,
        .weight_stride = width,
        .has_bias = true,
        .bias = engine->task[t].b1,
        .activation = VR_LINEAR_RELU,
        .y = slot->task_hidden,
        .y_stride = ranker->tower_hidden,
    };
    const enum vr_status status = slot_ops(slot)->linear(slot->stream, &args);
    args.in = args.x_stride = args.weight_stride = ranker->tower_hidden;
    args.out = ranker->task[t].outputs;
    args.x = slot->task_hidden;
    args.weight = engine->task[t].w2;
    args.bias = engine->task[t].b2;
    args.activation = VR_LINEAR_NONE;
    args.y = view_at(slot->z, first);
    args.y_stride = engine->z_width;
    return status == VR_OK ? slot_ops(slot)->linear(slot->stream, &args) : status;
}

static enum vr_status run_tasks(struct vr_engine_slot *slot, const struct chunk *chunk)
{
    const struct vr_engine *engine = slot->engine;
    struct vr_task_heads args = {
        .rows = chunk->rows,
        .tasks = VR_HEAD_COUNT,
        .z = slot->z,
        .widths = engine->widths,
        .head = view_at(slot->heads.device, (size_t)chunk->first * VR_HEAD_COUNT),
    };
    uint32_t first = 0;
    for (uint32_t t = 0; t < VR_HEAD_COUNT; t++) {
        const enum vr_status status = run_task(slot, chunk, t, first);
        if (status != VR_OK) {
            return status;
        }
        args.outputs[t] = engine->bundle->ranker.task[t].outputs;
        first += args.outputs[t];
    }
    return slot_ops(slot)->task_heads(slot->stream, &args);
}

enum vr_status slot_network(struct vr_engine_slot *slot, uint32_t first, uint32_t rows)
{
    const struct engine_inputs *inputs = &slot->engine->video;
    const struct engine_rows at = slot_rows(slot, first, rows);
    struct chunk chunk = {first, rows, at.request_of.device, slot->video_part, inputs->width};
    enum vr_status status = inputs_gather(slot, inputs, rows, at.dense.device, at.index.device, slot->video_part);
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
