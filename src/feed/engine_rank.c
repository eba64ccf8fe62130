/* The second dense step of a batch: features of every candidate, then the ranker's levels and heads in chunks of rows.
 * The viewer's and context's part of the first layers is computed once a request and added to each of its rows. */
#include <string.h>

#include "engine_parts.h"
#include "vireo/clock.h"
#include "vireo/half.h"

/* ---- the vectors of each request: given, or computed on the device and read back ---- */

struct vectors {
    const float *of[ENGINE_VECTORS];
};

static struct vectors given(const struct vr_engine_rank *request)
{
    return (struct vectors){{request->hist_tower, request->hist_content, request->user_tower}};
}

static float *vector_row(const struct vr_engine_slot *slot, uint32_t v, uint32_t r)
{
    return (float *)slot->vector[v].host + (size_t)r * engine_vector_dim(slot->engine, (enum engine_vector)v);
}

/* What is given goes to staging, the rest is marked; true when something is missing. */
static bool place_vectors(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request)
{
    bool any = false;
    for (uint32_t r = 0; r < requests; r++) {
        const struct vectors vectors = given(&request[r]);
        for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
            const size_t bytes = engine_vector_dim(slot->engine, (enum engine_vector)v) * sizeof(float);
            float *row = vector_row(slot, v, r);
            slot->missing[(size_t)v * slot->max_requests + r] = vectors.of[v] == NULL;
            if (vectors.of[v] == NULL) {
                memset(row, 0, bytes);
                any = true;
            } else if (vectors.of[v] != row) { /* the result of retrieval, in this very place */
                memmove(row, vectors.of[v], bytes);
            }
        }
    }
    return any;
}

static enum vr_status push_vectors(struct vr_engine_slot *slot, uint32_t requests)
{
    enum vr_status status = VR_OK;
    for (uint32_t v = 0; status == VR_OK && v < ENGINE_VECTORS; v++) {
        const size_t dim = engine_vector_dim(slot->engine, (enum engine_vector)v);
        status = slot_push(slot, &slot->vector[v], requests * dim);
    }
    return status;
}

/* Raw rows of an input's blocks, by entity. */
static void fill_request(struct vr_engine_slot *slot, const struct engine_inputs *inputs, uint32_t r,
                         const struct vr_engine_rank *request, const struct engine_pair *dense,
                         const struct engine_pair *index)
{
    const double *raw[2];
    for (uint32_t b = 0; b < inputs->blocks; b++) {
        raw[b] = inputs->block[b]->entity == VR_ENTITY_VIEWER ? request->viewer_raw : request->context_raw;
    }
    inputs_fill(slot->engine, inputs, r, raw, dense, index);
}

/* Four pairs that the user tower and the history need on the device. */
static enum vr_status push_tower_inputs(struct vr_engine_slot *slot, uint32_t requests)
{
    const struct engine_inputs *user = &slot->engine->user;
    const struct {
        const struct engine_pair *pair;
        size_t width;
    } input[] = {{&slot->recent_index, VR_RECENT_MAX},
                 {&slot->recent_weight, VR_RECENT_MAX},
                 {&slot->user_dense, user->dense_stride},
                 {&slot->user_index, user->index_stride}};
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof input / sizeof input[0]; i++) {
        status = slot_push(slot, input[i].pair, requests * input[i].width);
    }
    return status;
}

/* The dot products of a row need the vectors on the host, so what is computed here costs a wait of its own. */
static enum vr_status compute_missing(struct vr_engine_slot *slot, uint32_t requests,
                                      const struct vr_engine_rank *request, uint64_t deadline_us)
{
    for (uint32_t r = 0; r < requests; r++) {
        fill_request(slot, &slot->engine->user, r, &request[r], &slot->user_dense, &slot->user_index);
        slot_fill_recent(slot, r, request[r].recent, request[r].recent_count);
    }
    enum vr_status status = push_tower_inputs(slot, requests);
    if (status == VR_OK) {
        status = slot_compute_vectors(slot, requests);
    }
    if (status == VR_OK) {
        status = slot_pull_vectors(slot, requests);
    }
    return status == VR_OK ? slot_wait(slot, deadline_us) : status;
}

static enum vr_status settle_vectors(struct vr_engine_slot *slot, uint32_t requests,
                                     const struct vr_engine_rank *request, uint64_t deadline_us)
{
    const bool missing = place_vectors(slot, requests, request);
    const enum vr_status status = push_vectors(slot, requests);
    return status == VR_OK && missing ? compute_missing(slot, requests, request, deadline_us) : status;
}

/* ---- rows ---- */

#define LANES 8u
#define DIM_MAX 256u /* of tower and content vectors (docs/bundle.md), a multiple of LANES */

/* Eight sums side by side, then added in a fixed order. */
static float dot(const float *a, const float *b, uint32_t dim)
{
    float sum[LANES] = {0};
    for (uint32_t i = 0; i + LANES <= dim; i += LANES) {
        for (uint32_t lane = 0; lane < LANES; lane++) {
            sum[lane] += a[i + lane] * b[i + lane];
        }
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static void pair_dots(const struct vr_engine_slot *slot, uint32_t r, int32_t row, double *pair_raw)
{
    const struct vr_bundle *bundle = slot->engine->bundle;
    float vector[DIM_MAX];
    pair_raw[VR_PAIR_DOT_TOWER] = 0.0;
    pair_raw[VR_PAIR_DOT_CONTENT] = 0.0;
    if (row < 0 || (uint32_t)row >= bundle->videos.count) {
        return;
    }
    vr_half_to_floats(bundle->videos.tower + (size_t)row * bundle->tower_dim, bundle->tower_dim, vector);
    pair_raw[VR_PAIR_DOT_TOWER] = (double)dot(vector_row(slot, ENGINE_USER_TOWER, r), vector, bundle->tower_dim);
    vr_engine_content_vector(slot->engine, row, vector);
    pair_raw[VR_PAIR_DOT_CONTENT] = (double)dot(vector_row(slot, ENGINE_HIST_CONTENT, r), vector, bundle->content_dim);
}

/* Candidates of request r as rows first .. in staging. */
static void fill_candidates(struct vr_engine_slot *slot, uint32_t r, const struct vr_engine_rank *request,
                            uint32_t first)
{
    const struct vr_engine *engine = slot->engine;
    const struct engine_inputs *inputs = &engine->video;
    const uint32_t video_fields = vr_feature_field_count(engine->bundle->features, VR_ENTITY_VIDEO);
    for (uint32_t c = 0; c < request->candidates; c++) {
        double pair_raw[VR_PAIR_FIELDS];
        memcpy(pair_raw, request->pair_raw + (size_t)c * VR_PAIR_FIELDS, sizeof pair_raw);
        pair_dots(slot, r, request->row[c], pair_raw);
        const double *raw[2] = {request->video_raw + (size_t)c * video_fields, pair_raw};
        inputs_fill(engine, inputs, first + c, raw, &slot->video_dense, &slot->video_index);
        if (inputs->row_at != ENGINE_NONE) {
            ((int32_t *)slot->video_index.host)[(size_t)(first + c) * inputs->index_stride + inputs->row_at] =
                request->row[c];
        }
        ((int32_t *)slot->request_of.host)[first + c] = (int32_t)r;
    }
}

static enum vr_status send_rows(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                                uint32_t rows)
{
    const struct vr_engine *engine = slot->engine;
    uint32_t first = 0;
    for (uint32_t r = 0; r < requests; r++) {
        fill_request(slot, &engine->request, r, &request[r], &slot->request_dense, &slot->request_index);
        fill_candidates(slot, r, &request[r], first);
        first += request[r].candidates;
    }
    const struct {
        const struct engine_pair *pair;
        size_t elements;
    } input[] = {{&slot->request_dense, (size_t)requests * engine->request.dense_stride},
                 {&slot->request_index, (size_t)requests * engine->request.index_stride},
                 {&slot->video_dense, (size_t)rows * engine->video.dense_stride},
                 {&slot->video_index, (size_t)rows * engine->video.index_stride},
                 {&slot->request_of, rows}};
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof input / sizeof input[0]; i++) {
        status = slot_push(slot, input[i].pair, input[i].elements);
    }
    return status;
}

/* ---- the networks ---- */

/* The request's columns of the first layers of experts and gates, with their biases: hoisted [requests, ..]. */
static enum vr_status hoist(struct vr_engine_slot *slot, uint32_t requests)
{
    const struct vr_engine *engine = slot->engine;
    const struct vr_level *level = &engine->bundle->ranker.level[0];
    struct vr_view vector[ENGINE_VECTORS];
    for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
        vector[v] = slot->vector[v].device;
    }
    enum vr_status status = inputs_gather(slot, &engine->request, requests, slot->request_dense.device,
                                          slot->request_index.device, vector, slot->request_row);
    struct vr_linear args = {
        .rows = requests,
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
    struct vr_view x; /* input of the level: [rows, x_stride] */
    uint32_t x_stride;
    bool want_gates;
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
        .add_row = view_at(slot->request_of.device, chunk->first),
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
        .want_weights = chunk->want_gates && l + 1 == ranker->level_count,
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

static enum vr_status run_chunk(struct vr_engine_slot *slot, struct chunk *chunk)
{
    const struct vr_engine *engine = slot->engine;
    const struct engine_inputs *inputs = &engine->video;
    chunk->x = slot->video_part;
    chunk->x_stride = inputs->width;
    enum vr_status status = inputs_gather(
        slot, inputs, chunk->rows, view_at(slot->video_dense.device, (size_t)chunk->first * inputs->dense_stride),
        view_at(slot->video_index.device, (size_t)chunk->first * inputs->index_stride), NULL, slot->video_part);
    for (uint32_t l = 0; status == VR_OK && l < engine->bundle->ranker.level_count; l++) {
        status = run_level(slot, l, chunk);
    }
    return status == VR_OK ? run_tasks(slot, chunk) : status;
}

static enum vr_status run_chunks(struct vr_engine_slot *slot, uint32_t rows, bool want_gates, uint64_t deadline_us)
{
    for (uint32_t first = 0; first < rows; first += slot->chunk) {
        struct chunk chunk = {.first = first, .want_gates = want_gates};
        chunk.rows = rows - first < slot->chunk ? rows - first : slot->chunk;
        if (vr_clock_mono_us() > deadline_us) {
            return vr_fail(VR_ERR_TIMEOUT, "the ranker was not done at the deadline");
        }
        const enum vr_status status = run_chunk(slot, &chunk);
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

/* ---- the call ---- */

static uint32_t gate_floats(const struct vr_engine_slot *slot)
{
    const struct vr_ranker *ranker = &slot->engine->bundle->ranker;
    const struct vr_level *last = &ranker->level[ranker->level_count - 1];
    return last->gates * last->experts;
}

static enum vr_status count_rows(const struct vr_engine_slot *slot, uint32_t requests,
                                 const struct vr_engine_rank *request, uint32_t *rows, bool *want_gates)
{
    if (requests > slot->max_requests) {
        return vr_fail(VR_ERR_INVALID, "%u requests in a slot for %u", requests, slot->max_requests);
    }
    *rows = 0;
    *want_gates = false;
    for (uint32_t r = 0; r < requests; r++) {
        if (request[r].candidates > slot->max_rows - *rows) {
            return vr_fail(VR_ERR_INVALID, "more than %u candidates in a slot", slot->max_rows);
        }
        *rows += request[r].candidates;
        *want_gates = *want_gates || request[r].want_gates;
    }
    return VR_OK;
}

static void report(const struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                   struct vr_engine_ranked *result)
{
    size_t first = 0;
    for (uint32_t r = 0; r < requests; r++) {
        result[r].heads = (const float *)slot->heads.host + first * VR_HEAD_COUNT;
        result[r].gates = request[r].want_gates ? (const float *)slot->gates.host + first * gate_floats(slot) : NULL;
        first += request[r].candidates;
    }
}

static enum vr_status pull_results(struct vr_engine_slot *slot, uint32_t rows, bool want_gates)
{
    const enum vr_status status = slot_pull(slot, &slot->heads, (size_t)rows * VR_HEAD_COUNT);
    return status == VR_OK && want_gates ? slot_pull(slot, &slot->gates, (size_t)rows * gate_floats(slot)) : status;
}

enum vr_status vr_engine_score(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                               uint64_t deadline_us, struct vr_engine_ranked *result)
{
    uint32_t rows = 0;
    bool want_gates = false;
    enum vr_status status = count_rows(slot, requests, request, &rows, &want_gates);
    if (status == VR_OK) {
        status = slot_begin(slot, deadline_us);
    }
    if (status == VR_OK) {
        status = settle_vectors(slot, requests, request, deadline_us);
    }
    if (status == VR_OK) {
        status = send_rows(slot, requests, request, rows);
    }
    if (status == VR_OK) {
        status = hoist(slot, requests);
    }
    if (status == VR_OK) {
        status = run_chunks(slot, rows, want_gates, deadline_us);
    }
    if (status == VR_OK) {
        status = pull_results(slot, rows, want_gates);
    }
    if (status == VR_OK) {
        status = slot_wait(slot, deadline_us);
    }
    if (status == VR_OK) {
        report(slot, requests, request, result);
    }
    return status;
}
