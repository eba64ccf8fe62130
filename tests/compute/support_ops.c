/* See support_ops.h. */
#include "support_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/clock.h"
#include "vireo/half.h"

static void must(enum vr_status status, const char *what)
{
    if (status != VR_OK) {
        fprintf(stderr, "%s: %s\n", what, vr_error_text());
        abort();
    }
}

void rig_open(struct rig *rig, struct vr_backend *backend)
{
    memset(rig, 0, sizeof *rig);
    rig->backend = backend;
    must(backend->ops->stream_create(backend, &rig->stream), "stream_create");
}

void rig_clear(struct rig *rig)
{
    if (rig->buffers > 0) { /* not under the feet of what still runs; after a failure there is nothing to wait for */
        (void)vr_stream_wait(rig->backend, rig->stream, vr_clock_mono_us() + 1000000);
    }
    while (rig->buffers > 0) {
        rig->backend->ops->buffer_destroy(rig->buffer[--rig->buffers]);
    }
}

void rig_close(struct rig *rig)
{
    rig_clear(rig);
    rig->backend->ops->stream_destroy(rig->stream);
}

static struct vr_view device(struct rig *rig, size_t bytes)
{
    if (rig->buffers == RIG_BUFFERS) {
        abort();
    }
    struct vr_view view = {NULL, 0};
    must(rig->backend->ops->buffer_create(rig->backend, VR_MEMORY_DEVICE, bytes, &view.buffer), "buffer_create");
    rig->buffer[rig->buffers++] = view.buffer;
    return view;
}

static struct vr_view staging(struct rig *rig, size_t bytes)
{
    struct vr_view view = {NULL, 0};
    must(rig->backend->ops->buffer_create(rig->backend, VR_MEMORY_STAGING, bytes, &view.buffer), "buffer_create");
    return view;
}

static void copy_and_wait(struct rig *rig, struct vr_view to, struct vr_view from, size_t bytes)
{
    must(rig->backend->ops->copy(rig->stream, to, from, bytes), "copy");
    must(vr_stream_wait(rig->backend, rig->stream, vr_clock_mono_us() + 120000000), "stream_wait");
}

struct vr_view rig_put(struct rig *rig, const void *data, size_t bytes)
{
    struct vr_view to = device(rig, bytes), from = staging(rig, bytes);
    if (bytes > 0) {
        memcpy(rig->backend->ops->buffer_host(from.buffer), data, bytes);
    }
    copy_and_wait(rig, to, from, bytes);
    rig->backend->ops->buffer_destroy(from.buffer);
    return to;
}

void rig_get(struct rig *rig, struct vr_view from, size_t bytes, void *out)
{
    struct vr_view to = staging(rig, bytes);
    copy_and_wait(rig, to, from, bytes);
    if (bytes > 0) {
        memcpy(out, rig->backend->ops->buffer_host(to.buffer), bytes);
    }
    rig->backend->ops->buffer_destroy(to.buffer);
}

uint32_t dice_next(struct dice *dice) /* splitmix64 */
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

float dice_unit(struct dice *dice)
{
    return (float)(dice_next(dice) >> 8) * 0x1p-23f - 1.0f;
}

uint32_t dice_below(struct dice *dice, uint32_t bound)
{
    return dice_next(dice) % bound;
}

void dice_floats(struct dice *dice, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = dice_unit(dice);
    }
}

/* One case in the making: where its inputs come from and where they go. */
struct making {
    struct rig *rig;
    const struct op_case *c;
    struct dice dice;
};

static void *host(size_t bytes)
{
    void *block = calloc(1, bytes + 1);
    if (block == NULL) {
        abort();
    }
    return block;
}

/* NaN, infinity and zero rows among `rows` rows of `width`. */
static void spice(struct making *m, float *data, uint32_t rows, size_t width)
{
    for (uint32_t r = 0; r < rows && width > 0; r += 5) {
        float *row = data + r * width;
        switch (m->c->spice) {
        case PLAIN: break;
        case WITH_NAN: row[dice_below(&m->dice, (uint32_t)width)] = NAN; break;
        case WITH_INFINITY: row[dice_below(&m->dice, (uint32_t)width)] = r % 2 == 0 ? INFINITY : -INFINITY; break;
        case WITH_ZERO_ROWS: memset(row, 0, width * sizeof *row); break;
        }
    }
}

/* Random floats on the device; `spiced` where the case's oddities belong. */
static struct vr_view floats(struct making *m, uint32_t rows, size_t width, float scale, bool spiced)
{
    float *data = host(rows * width * sizeof *data);
    dice_floats(&m->dice, data, rows * width);
    for (size_t i = 0; i < rows * width; i++) {
        data[i] *= scale;
    }
    if (spiced) {
        spice(m, data, rows, width);
    }
    const struct vr_view view = rig_put(m->rig, data, rows * width * sizeof *data);
    free(data);
    return view;
}

/* Random halves in rows of `width` that begin `stride` apart; behind each row NaN, which nobody may use. */
static struct vr_view halves(struct making *m, uint32_t rows, size_t width, size_t stride, float scale, bool spiced)
{
    float *data = host(rows * width * sizeof *data);
    uint16_t *half = host(rows * stride * sizeof *half);
    dice_floats(&m->dice, data, rows * width);
    if (spiced) {
        spice(m, data, rows, width);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < stride; c++) {
            half[r * stride + c] = c < width ? vr_half_from_float(data[r * width + c] * scale) : 0x7e00u;
        }
    }
    const struct vr_view view = rig_put(m->rig, half, rows * stride * sizeof *half);
    free(data);
    free(half);
    return view;
}

/* Random numbers of either kind, row behind row. */
static struct vr_view elements(struct making *m, enum vr_element element, uint32_t rows, size_t width, float scale,
                               bool spiced)
{
    return element == VR_ELEMENT_F16 ? halves(m, rows, width, width, scale, spiced)
                                     : floats(m, rows, width, scale, spiced);
}

/* Row numbers from -2 to two past the end. */
static struct vr_view indexes(struct making *m, size_t count, uint32_t table_rows)
{
    int32_t *data = host(count * sizeof *data);
    for (size_t i = 0; i < count; i++) {
        data[i] = (int32_t)dice_below(&m->dice, table_rows + 4) - 2;
    }
    const struct vr_view view = rig_put(m->rig, data, count * sizeof *data);
    free(data);
    return view;
}

static struct vr_table table(struct making *m, enum vr_table_dtype dtype, uint32_t rows, uint32_t width)
{
    struct vr_table made = {.rows = rows, .width = width, .dtype = dtype};
    const size_t count = (size_t)rows * width;
    if (dtype == VR_TABLE_F32) {
        made.data = floats(m, rows, width, 1.0f, true);
        return made;
    }
    uint16_t *half = host(count * sizeof *half);
    for (size_t i = 0; i < count; i++) {
        half[i] = dtype == VR_TABLE_F16 ? vr_half_from_float(dice_unit(&m->dice)) : (uint16_t)dice_next(&m->dice);
    }
    made.data = rig_put(m->rig, half, count * (dtype == VR_TABLE_F16 ? 2 : 1)); /* int8: any bytes */
    free(half);
    if (dtype == VR_TABLE_I8) {
        made.scale = floats(m, rows, 1, 1.0f, false);
    }
    return made;
}

struct result {
    struct vr_view view;
    size_t count;
    enum vr_element element;
    struct vr_view more; /* floats that follow, of an operation with two results */
    size_t more_count;
};

static struct result run_gather(struct making *m)
{
    const struct op_case *c = m->c;
    const uint32_t width = c->a + 3 * c->b;
    struct vr_segment segment[4] = {{.kind = VR_SEGMENT_DENSE, .offset = c->b, .width = c->a, .source = 1}};
    for (uint32_t t = 0; t < 3; t++) { /* the dense columns stand between the first table and the others */
        segment[t + 1] = (struct vr_segment){.kind = VR_SEGMENT_TABLE, .width = c->b, .source = t};
        segment[t + 1].offset = t == 0 ? 0 : c->a + t * c->b;
        segment[t + 1].table = table(m, (enum vr_table_dtype)t, c->c, c->b);
    }
    struct vr_gather args = {.rows = c->rows, .segment = segment, .segments = 4, .dense_stride = c->a + 2};
    args.index_stride = 3;
    args.dense = floats(m, c->rows, c->a + 2, 1.0f, true);
    args.index = indexes(m, (size_t)c->rows * 3, c->c);
    args.y_stride = width + 1; /* one column stays as it was */
    args.y_element = c->op == OP_GATHER_F16 ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    args.y = elements(m, args.y_element, c->rows, width + 1, 1.0f, false);
    must(m->rig->backend->ops->gather(m->rig->stream, &args), "gather");
    return (struct result){.view = args.y, .count = (size_t)c->rows * (width + 1), .element = args.y_element};
}

static struct result run_pool_rows(struct making *m)
{
    const struct op_case *c = m->c;
    struct vr_pool_rows args = {.rows = c->rows, .count = c->a, .y_stride = c->b + 3};
    args.table = table(m, c->spice == PLAIN ? VR_TABLE_F16 : VR_TABLE_F32, c->c, c->b);
    args.index = indexes(m, (size_t)c->rows * c->a, c->c);
    args.weight = floats(m, c->rows, c->a, 0.1f, false);
    args.y = floats(m, c->rows, c->b + 3, 1.0f, false);
    must(m->rig->backend->ops->pool_rows(m->rig->stream, &args), "pool_rows");
    return (struct result){.view = args.y, .count = (size_t)c->rows * (c->b + 3)};
}

static struct vr_view add_rows(struct making *m, uint32_t rows, uint32_t bound)
{
    int32_t *data = host(rows * sizeof *data);
    for (uint32_t r = 0; r < rows; r++) {
        data[r] = (int32_t)dice_below(&m->dice, bound);
    }
    const struct vr_view view = rig_put(m->rig, data, rows * sizeof *data);
    free(data);
    return view;
}

/* Floats, or halves at the alignment that a linear reads; NaN behind rows where they are padded or halves. */
static struct vr_view linear_matrix(struct making *m, enum vr_element element, uint32_t rows, uint32_t width,
                                    uint32_t stride, bool spiced)
{
    return element == VR_ELEMENT_F16 ? halves(m, rows, width, stride, 1.0f, spiced)
                                     : floats(m, rows, stride, 1.0f, spiced);
}

static uint32_t linear_stride(const struct op_case *c, uint32_t width)
{
    const uint32_t padded = width + ((c->c & PADDED) != 0 ? 5 : 0);
    return (c->c & WHOLE_STEPS) != 0 ? vr_half_stride(padded) + VR_HALF_ALIGNMENT : padded;
}

static struct result run_linear(struct making *m)
{
    const struct op_case *c = m->c;
    const bool half = c->op == OP_LINEAR_F16;
    struct vr_linear args = {.rows = c->rows, .in = c->a, .out = c->b, .batch = c->c >> 8};
    const uint32_t products = args.batch > 1 ? args.batch : 1,
                   step = (c->c & WHOLE_STEPS) != 0 ? vr_half_stride(c->b) : c->b;
    args.x_element = half ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    args.y_element = (c->c & Y_HALVES) != 0 ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    args.bias_element = (c->c & BIAS_HALVES) != 0 ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    args.x_step = half ? vr_half_stride(c->a) : c->a;
    args.weight_stride = half ? vr_half_stride(linear_stride(c, c->a)) : linear_stride(c, c->a);
    args.weight_step = (size_t)c->b * args.weight_stride;
    args.bias_step = c->b;
    args.add_step = args.y_step = step;
    const uint32_t inputs = products > 1 ? products * (uint32_t)args.x_step : c->a;
    args.x_stride = half ? vr_half_stride(linear_stride(c, inputs)) : linear_stride(c, inputs);
    args.y_stride = args.add_stride = linear_stride(c, products > 1 ? products * step : c->b);
    args.x = linear_matrix(m, args.x_element, c->rows, inputs, args.x_stride, true);
    args.weight = linear_matrix(m, args.x_element, products * c->b, c->a, args.weight_stride, false);
    args.has_bias = (c->c & BIAS) != 0;
    args.bias = elements(m, args.bias_element, products * c->b, 1, 1.0f, false);
    args.has_add = (c->c & ADD) != 0;
    args.add = floats(m, 3, args.add_stride, 1.0f, false);
    args.add_row = add_rows(m, c->rows, 3);
    args.activation = (c->c & RELU) != 0 ? VR_LINEAR_RELU : VR_LINEAR_NONE;
    args.y = elements(m, args.y_element, c->rows, args.y_stride, 1.0f, false);
    must(m->rig->backend->ops->linear(m->rig->stream, &args), "linear");
    return (struct result){.view = args.y, .count = (size_t)c->rows * args.y_stride, .element = args.y_element};
}

static struct result run_normalize(struct making *m)
{
    const struct op_case *c = m->c;
    struct vr_normalize args = {.rows = c->rows, .width = c->a, .stride = c->a + c->b};
    args.x = floats(m, c->rows, args.stride, 3.0f, true);
    must(m->rig->backend->ops->normalize(m->rig->stream, &args), "normalize");
    return (struct result){.view = args.x, .count = (size_t)c->rows * args.stride};
}

/* The mix and the weights: both are outputs. */
static struct result run_expert_mix(struct making *m)
{
    const struct op_case *c = m->c;
    const bool half = c->op == OP_EXPERT_MIX_F16;
    struct vr_expert_mix args = {.rows = c->rows, .experts = c->b, .width = c->c, .want_weights = true};
    args.gates = c->a % EXPERT_FLOATS;
    args.expert_element = half && (c->a & EXPERT_FLOATS) == 0 ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    args.y_element = half && (c->a & Y_FLOATS) == 0 ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    const uint64_t all = c->b == 64 ? ~0ull : (1ull << c->b) - 1;
    for (uint32_t g = 0; g < args.gates; g++) { /* all, one alone, some */
        const uint64_t some = ((uint64_t)dice_next(&m->dice) << 32 | dice_next(&m->dice)) & all;
        args.listed[g] = g % 3 == 0 ? all : g % 3 == 1 ? 1ull << dice_below(&m->dice, c->b) : some | 1;
    }
    const size_t mixed = (size_t)args.gates * c->c, logits = (size_t)args.gates * c->b;
    args.logit = floats(m, c->rows, logits, 8.0f, true);
    args.expert = elements(m, args.expert_element, c->rows, (size_t)c->b * c->c, 1.0f, true);
    args.y = elements(m, args.y_element, c->rows, mixed, 1.0f, false);
    args.weights = floats(m, c->rows, logits, 1.0f, false);
    must(m->rig->backend->ops->expert_mix(m->rig->stream, &args), "expert_mix");
    return (struct result){args.y, c->rows * mixed, args.y_element, args.weights, c->rows * logits};
}

static struct result run_task_heads(struct making *m)
{
    const struct op_case *c = m->c;
    struct vr_task_heads args = {.rows = c->rows, .tasks = c->a};
    uint32_t columns = 0;
    for (uint32_t t = 0; t < c->a; t++) {
        args.outputs[t] = t == 1 ? c->b : 1;
        columns += args.outputs[t];
    }
    args.z_element = c->op == OP_TASK_HEADS_F16 ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    args.z = elements(m, args.z_element, c->rows, columns, 20.0f, true);
    args.widths = floats(m, columns, 1, 1.0f, false);
    args.head = floats(m, c->rows, c->a, 1.0f, false);
    must(m->rig->backend->ops->task_heads(m->rig->stream, &args), "task_heads");
    return (struct result){.view = args.head, .count = (size_t)c->rows * c->a};
}

static void get_floats(struct rig *rig, const struct result *result, float *out)
{
    if (result->element == VR_ELEMENT_F32) {
        rig_get(rig, result->view, result->count * sizeof *out, out);
        return;
    }
    uint16_t *half = host(result->count * sizeof *half);
    rig_get(rig, result->view, result->count * sizeof *half, half);
    vr_half_to_floats(half, result->count, out);
    free(half);
}

void ops_run(struct rig *rig, const struct op_case *c, uint64_t seed, float *out, size_t capacity, size_t *count)
{
    static struct result (*const run[OP_COUNT])(struct making *) = {
        [OP_GATHER] = run_gather,
        [OP_POOL_ROWS] = run_pool_rows,
        [OP_LINEAR] = run_linear,
        [OP_NORMALIZE] = run_normalize,
        [OP_EXPERT_MIX] = run_expert_mix,
        [OP_TASK_HEADS] = run_task_heads,
        [OP_GATHER_F16] = run_gather,
        [OP_LINEAR_F16] = run_linear,
        [OP_EXPERT_MIX_F16] = run_expert_mix,
        [OP_TASK_HEADS_F16] = run_task_heads,
    };
    struct making making = {rig, c, {seed}};
    const struct result result = run[c->op](&making);
    if (result.count + result.more_count > capacity) {
        abort();
    }
    get_floats(rig, &result, out);
    if (result.more_count > 0) {
        rig_get(rig, result.more, result.more_count * sizeof *out, out + result.count);
    }
    *count = result.count + result.more_count;
    rig_clear(rig);
}

/* Whether the case's (first) result is stored as halves. */
static bool gives_halves(const struct op_case *c)
{
    switch (c->op) {
    case OP_GATHER_F16: return false; /* rounded once from the same number: no tie to fall on either side of */
    case OP_EXPERT_MIX_F16: return (c->a & Y_FLOATS) == 0;
    case OP_LINEAR:
    case OP_LINEAR_F16: return (c->c & Y_HALVES) != 0;
    default: return false;
    }
}

/* How far off an output is, in tolerances of its operation. */
static double error_of(float got, float want, const struct op_case *c)
{
    double absolute = op_tolerance[c->op].absolute, relative = op_tolerance[c->op].relative;
    if (got == want || (isnan(want) && isnan(got))) {
        return 0.0;
    }
    if (!isfinite(want) || !isfinite(got)) {
        return INFINITY;
    }
    if (gives_halves(c)) {
        absolute += HALF_STEP_SUBNORMAL;
        relative += HALF_STEP;
    }
    return fabs((double)got - want) / (absolute + relative * fabs((double)want));
}

/* Whether a case is off; *worst rises to the error of its worst output. */
static unsigned compare(const struct op_case *c, const float *got, const float *want, size_t count, double *worst)
{
    for (size_t i = 0; i < count; i++) {
        const double error = error_of(got[i], want[i], c);
        *worst = fmax(*worst, error);
        if (error > 1.0) {
            fprintf(stderr, "%s rows %u a %u b %u c %u spice %d: output %zu is %.9g, the reference has %.9g\n",
                    op_tolerance[c->op].name, c->rows, c->a, c->b, c->c, (int)c->spice, i, (double)got[i],
                    (double)want[i]);
            return 1;
        }
    }
    return 0;
}

unsigned vr_ops_check_of(struct vr_backend *backend, uint32_t op, struct op_report *report)
{
    const size_t capacity = 400000;
    struct op_report local[OP_COUNT] = {{0}}, *const at = report != NULL ? report : local;
    struct vr_backend *reference = NULL;
    must(vr_backend_open_reference(&reference), "vr_backend_open_reference");
    struct rig mine, oracle;
    rig_open(&mine, backend);
    rig_open(&oracle, reference);
    float *got = host(capacity * sizeof *got), *want = host(capacity * sizeof *want);
    unsigned wrong = 0;
    memset(at, 0, sizeof local);
    for (size_t i = 0; i < OP_CASE_COUNT; i++) {
        size_t count = 0;
        if (op != OP_COUNT && (uint32_t)op_cases[i].op != op) {
            continue;
        }
        ops_run(&mine, &op_cases[i], i + 1, got, capacity, &count);
        ops_run(&oracle, &op_cases[i], i + 1, want, capacity, &count);
        wrong += compare(&op_cases[i], got, want, count, &at[op_cases[i].op].error);
        at[op_cases[i].op].cases++;
        at[op_cases[i].op].halves |= gives_halves(&op_cases[i]);
    }
    free(got);
    free(want);
    rig_close(&mine);
    rig_close(&oracle);
    vr_backend_destroy(reference);
    return wrong;
}

unsigned vr_ops_check(struct vr_backend *backend, struct op_report *report)
{
    return vr_ops_check_of(backend, OP_COUNT, report);
}
