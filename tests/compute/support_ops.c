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
    must(vr_stream_wait(rig->backend, rig->stream, vr_clock_mono_us() + 10000000), "stream_wait");
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
    args.y = floats(m, c->rows, width + 1, 1.0f, false);
    must(m->rig->backend->ops->gather(m->rig->stream, &args), "gather");
    return (struct result){args.y, (size_t)c->rows * (width + 1)};
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
    return (struct result){args.y, (size_t)c->rows * (c->b + 3)};
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

static struct result run_linear(struct making *m)
{
    const struct op_case *c = m->c;
    const uint32_t pad = (c->c & 8) != 0 ? 5 : 0;
    struct vr_linear args = {.rows = c->rows, .in = c->a, .out = c->b, .x_stride = c->a + pad};
    args.weight_stride = c->a + pad;
    args.y_stride = c->b + pad;
    args.add_stride = c->b + pad;
    args.x = floats(m, c->rows, args.x_stride, 1.0f, true);
    args.weight = floats(m, c->b, args.weight_stride, 1.0f, false);
    args.has_bias = (c->c & 1) != 0;
    args.bias = floats(m, c->b, 1, 1.0f, false);
    args.has_add = (c->c & 2) != 0;
    args.add = floats(m, 3, args.add_stride, 1.0f, false);
    args.add_row = add_rows(m, c->rows, 3);
    args.activation = (c->c & 4) != 0 ? VR_LINEAR_RELU : VR_LINEAR_NONE;
    args.y = floats(m, c->rows, args.y_stride, 1.0f, false);
    must(m->rig->backend->ops->linear(m->rig->stream, &args), "linear");
    return (struct result){args.y, (size_t)c->rows * args.y_stride};
}

static struct result run_normalize(struct making *m)
{
    const struct op_case *c = m->c;
    struct vr_normalize args = {.rows = c->rows, .width = c->a, .stride = c->a + c->b};
    args.x = floats(m, c->rows, args.stride, 3.0f, true);
    must(m->rig->backend->ops->normalize(m->rig->stream, &args), "normalize");
    return (struct result){args.x, (size_t)c->rows * args.stride};
}

/* The mix and, behind it, the weights: both are outputs. */
static struct result run_expert_mix(struct making *m)
{
    const struct op_case *c = m->c;
    struct vr_expert_mix args = {.rows = c->rows, .gates = c->a, .experts = c->b, .width = c->c, .want_weights = true};
    const uint64_t all = c->b == 64 ? ~0ull : (1ull << c->b) - 1;
    for (uint32_t g = 0; g < c->a; g++) { /* all, one alone, some */
        const uint64_t some = ((uint64_t)dice_next(&m->dice) << 32 | dice_next(&m->dice)) & all;
        args.listed[g] = g % 3 == 0 ? all : g % 3 == 1 ? 1ull << dice_below(&m->dice, c->b) : some | 1;
    }
    const size_t mixed = (size_t)c->a * c->c, logits = (size_t)c->a * c->b;
    args.logit = floats(m, c->rows, logits, 8.0f, true);
    args.expert = floats(m, c->rows, (size_t)c->b * c->c, 1.0f, true);
    args.y = floats(m, c->rows, mixed + logits, 1.0f, false);
    args.weights = (struct vr_view){args.y.buffer, c->rows * mixed * sizeof(float)};
    must(m->rig->backend->ops->expert_mix(m->rig->stream, &args), "expert_mix");
    return (struct result){args.y, c->rows * (mixed + logits)};
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
    args.z = floats(m, c->rows, columns, 20.0f, true);
    args.widths = floats(m, columns, 1, 1.0f, false);
    args.head = floats(m, c->rows, c->a, 1.0f, false);
    must(m->rig->backend->ops->task_heads(m->rig->stream, &args), "task_heads");
    return (struct result){args.head, (size_t)c->rows * c->a};
}

void ops_run(struct rig *rig, const struct op_case *c, uint64_t seed, float *out, size_t capacity, size_t *count)
{
    static struct result (*const run[OP_COUNT])(struct making *) = {
        [OP_GATHER] = run_gather,       [OP_POOL_ROWS] = run_pool_rows,   [OP_LINEAR] = run_linear,
        [OP_NORMALIZE] = run_normalize, [OP_EXPERT_MIX] = run_expert_mix, [OP_TASK_HEADS] = run_task_heads,
    };
    struct making making = {rig, c, {seed}};
    const struct result result = run[c->op](&making);
    if (result.count > capacity) {
        abort();
    }
    rig_get(rig, result.view, result.count * sizeof(float), out);
    *count = result.count;
    rig_clear(rig);
}

static bool agrees(float got, float want, const struct op_tolerance *tolerance)
{
    if (isnan(want) || isnan(got)) {
        return isnan(want) && isnan(got);
    }
    if (isinf(want) || isinf(got)) {
        return got == want;
    }
    return fabs((double)got - want) <= tolerance->absolute + tolerance->relative * fabs((double)want);
}

static unsigned compare(const struct op_case *c, const float *got, const float *want, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!agrees(got[i], want[i], &op_tolerance[c->op])) {
            fprintf(stderr, "%s rows %u a %u b %u c %u spice %d: output %zu is %.9g, the reference has %.9g\n",
                    op_tolerance[c->op].name, c->rows, c->a, c->b, c->c, (int)c->spice, i, (double)got[i],
                    (double)want[i]);
            return 1;
        }
    }
    return 0;
}

unsigned vr_ops_check(struct vr_backend *backend)
{
    const size_t capacity = 400000;
    struct vr_backend *reference = NULL;
    must(vr_backend_open_reference(&reference), "vr_backend_open_reference");
    struct rig mine, oracle;
    rig_open(&mine, backend);
    rig_open(&oracle, reference);
    float *got = host(capacity * sizeof *got), *want = host(capacity * sizeof *want);
    unsigned wrong = 0;
    for (size_t i = 0; i < OP_CASE_COUNT; i++) {
        size_t count = 0;
        ops_run(&mine, &op_cases[i], i + 1, got, capacity, &count);
        ops_run(&oracle, &op_cases[i], i + 1, want, capacity, &count);
        wrong += compare(&op_cases[i], got, want, count);
    }
    free(got);
    free(want);
    rig_close(&mine);
    rig_close(&oracle);
    vr_backend_destroy(reference);
    return wrong;
}
