/* Products of packed weights (compute/panels.h): every form that this processor runs against sums in float64 within a
 * bound worked out from the very numbers, int8's forms against each other bit for bit, a row alone and in any company;
 * then the same through the backend's linear. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/panels.h"
#include "support_ops.h"
#include "vireo/half.h"

#define ROWS_MAX 70u
#define GUARD 0x7fc0beefu /* a NaN that nothing computes: what lies around y stays as it is */

static const enum vr_element elements[] = {VR_ELEMENT_F32, VR_ELEMENT_BF16, VR_ELEMENT_I8};
static const char *const element_name[VR_ELEMENT_COUNT] = {"float32", "half", "bfloat16", "int8"};

struct shape {
    uint32_t in, out;
    bool bias, add, relu, x_bf16, y_bf16, positive; /* positive: no x is below zero, as behind a ReLU */
    bool table;
};
static const struct shape shapes[] = {
    {1, 1, false, false, false, false, false, false, true},   {2, 3, true, false, false, false, false, false, false},
    {15, 16, true, true, true, false, false, false, true},    {16, 17, false, true, true, false, true, false, true},
    {31, 32, true, false, true, true, false, true, false},    {33, 33, true, true, false, true, true, false, true},
    {64, 64, true, true, true, false, true, false, true},     {65, 100, true, false, true, false, false, true, false},
    {128, 160, true, true, true, true, true, true, true},     {200, 130, false, true, true, false, false, false, true},
    {306, 257, true, true, true, false, false, false, false}, {512, 96, true, false, true, true, true, true, true},
    {0, 9, true, true, true, false, false, false, true},      {700, 8, true, false, false, false, false, false, false},
};

/* One shape's numbers, and room for what is made of them. */
struct numbers {
    struct shape shape;
    float *x, *weight, *bias, *add; /* [ROWS_MAX, in] as stored, [out, in], [out], [ROWS_MAX, out] */
    uint16_t *x_bf16, *table;       /* halves [ROWS_MAX, out], of which every third row is not there */
    void *packed;
    char *taken;
    size_t stride, y_stride;
    float scale[ROWS_MAX];
    int32_t zero[ROWS_MAX];
};

static void *room(size_t bytes)
{
    const size_t whole = (bytes + 64) / 64 * 64;
    void *block = aligned_alloc(64, whole);
    cr_assert(block != NULL);
    memset(block, 0, whole);
    return block;
}

static void dice_halves(struct dice *dice, uint16_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = 0.0f;
        dice_floats(dice, &value, 1);
        out[i] = vr_half_from_float(value);
    }
}

static void numbers_make(struct numbers *n, struct shape shape)
{
    struct dice dice = {shape.in * 7919u + shape.out};
    const size_t xs = (size_t)ROWS_MAX * shape.in, ys = (size_t)ROWS_MAX * shape.out;
    *n = (struct numbers){.shape = shape, .y_stride = shape.out + 5};
    n->x = room(xs * sizeof *n->x);
    n->x_bf16 = room(xs * sizeof *n->x_bf16);
    n->weight = room((size_t)shape.out * shape.in * sizeof *n->weight);
    n->bias = room(shape.out * sizeof *n->bias);
    n->add = room(ys * sizeof *n->add);
    n->table = room(ys * sizeof *n->table);
    dice_floats(&dice, n->x, xs);
    dice_floats(&dice, n->weight, (size_t)shape.out * shape.in);
    dice_floats(&dice, n->bias, shape.out);
    dice_floats(&dice, n->add, ys);
    dice_halves(&dice, n->table, ys);
    for (size_t i = 0; i < xs; i++) {
        n->x[i] = shape.positive ? fmaxf(n->x[i], 0.0f) : n->x[i];
        n->x_bf16[i] = vr_bf16_from_float(n->x[i]);
        n->x[i] = shape.x_bf16 ? vr_bf16_to_float(n->x_bf16[i]) : n->x[i];
    }
    n->taken = room(ROWS_MAX * ((size_t)shape.in * 4 + 256));
}

static void numbers_drop(struct numbers *n)
{
    free(n->x);
    free(n->x_bf16);
    free(n->weight);
    free(n->bias);
    free(n->add);
    free(n->table);
    free(n->taken);
    free(n->packed);
}

static const uint16_t *table_row(const struct numbers *n, uint32_t r)
{
    return r % 3 == 1 ? NULL : n->table + (size_t)r * n->shape.out;
}

static void numbers_pack(struct numbers *n, enum vr_element element)
{
    const struct vr_panel_shape shape = vr_panel_shape_of(element, n->shape.out, n->shape.in);
    free(n->packed);
    n->packed = room(shape.bytes);
    vr_panel_pack(element, n->shape.out, n->shape.in, n->weight, n->shape.in, n->packed);
}

/* Rows first .. first + rows by one form; y [rows, y_stride], of which only columns of outputs may be written. */
static void run(struct numbers *n, const struct vr_panel_form *form, enum vr_element element, uint32_t first,
                uint32_t rows, void *y)
{
    const struct shape *s = &n->shape;
    const struct vr_panel_shape shape = vr_panel_shape_of(element, s->out, s->in);
    const float *add[ROWS_MAX];
    const uint16_t *table[ROWS_MAX];
    n->stride = ((size_t)shape.groups * VR_PANEL_GROUP + 63) / 64 * 64 + 64;
    for (uint32_t r = 0; r < rows; r++) {
        add[r] = n->add + (size_t)(first + r) * s->out;
        table[r] = table_row(n, first + r);
    }
    const void *x = s->x_bf16 ? (const void *)(n->x_bf16 + (size_t)first * s->in) : n->x + (size_t)first * s->in;
    const struct vr_panel_rows take = {
        rows, s->in, shape.groups, x, s->in, s->x_bf16 ? VR_ELEMENT_BF16 : 0, n->taken, n->stride, n->scale, n->zero};
    const struct vr_panel_product product = {
        .rows = rows,
        .groups = shape.groups,
        .out = s->out,
        .x = n->taken,
        .stride = n->stride,
        .x_scale = n->scale,
        .x_zero = n->zero,
        .weight = n->packed,
        .w_scale = (const float *)(const void *)((char *)n->packed + shape.scale_at),
        .w_sum = (const int32_t *)(const void *)((char *)n->packed + shape.sum_at),
        .bias = s->bias ? n->bias : NULL,
        .add = s->add ? add : NULL,
        .table = s->table ? table : NULL,
        .relu = s->relu,
        .y = y,
        .y_stride = n->y_stride,
        .y_element = s->y_bf16 ? VR_ELEMENT_BF16 : VR_ELEMENT_F32,
    };
    form->take(&take);
    form->multiply(&product);
}

/* ---- against float64 ---- */

/* How far an output may be off: a step of each factor's rounding times the other factor, and float32's own sums. */
static double bound_of(const struct numbers *n, enum vr_element element, uint32_t r, uint32_t o)
{
    const float *x = n->x + (size_t)r * n->shape.in, *weight = n->weight + (size_t)o * n->shape.in;
    double absolute = 0.0, sum_x = 0.0, sum_w = 0.0, low = 0.0, high = 0.0, largest_w = 0.0;
    for (uint32_t i = 0; i < n->shape.in; i++) {
        absolute += fabs((double)x[i] * weight[i]);
        sum_x += fabs((double)x[i]);
        sum_w += fabs((double)weight[i]);
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
        largest_w = fmax(largest_w, fabs((double)weight[i]));
    }
    const double sums = (absolute + 3.0) * (n->shape.in + 3) * 0x1p-24;
    const double step_x = (high - low) / 255.0, step_w = largest_w / 127.0;
    switch (element) {
    case VR_ELEMENT_BF16: return sums + absolute * (0x1p-7 + 0x1p-16); /* each factor within 2^-8 */
    case VR_ELEMENT_I8: /* half a step each; the zero point is rounded too, which moves x by as much again at the ends
                         */
        return sums + step_x * sum_w + 0.5 * step_w * sum_x + n->shape.in * step_x * step_w;
    default: return sums;
    }
}

static double want_of(const struct numbers *n, uint32_t r, uint32_t o)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n->shape.in; i++) {
        sum += (double)n->x[(size_t)r * n->shape.in + i] * n->weight[(size_t)o * n->shape.in + i];
    }
    sum += n->shape.bias ? n->bias[o] : 0.0;
    sum += n->shape.add ? n->add[(size_t)r * n->shape.out + o] : 0.0;
    sum += n->shape.table && table_row(n, r) != NULL ? vr_half_to_float(table_row(n, r)[o]) : 0.0;
    return n->shape.relu && sum < 0.0 ? 0.0 : sum;
}

static float got_of(const struct numbers *n, const void *y, uint32_t r, uint32_t o)
{
    const size_t at = r * n->y_stride + o;
    return n->shape.y_bf16 ? vr_bf16_to_float(((const uint16_t *)y)[at]) : ((const float *)y)[at];
}

static void *guarded(const struct numbers *n)
{
    uint32_t *y = room(ROWS_MAX * n->y_stride * sizeof *y);
    for (size_t i = 0; i < ROWS_MAX * n->y_stride; i++) {
        y[i] = GUARD;
    }
    return y;
}

static void check_guards(const struct numbers *n, const void *y, uint32_t rows, const char *name)
{
    const size_t size = n->shape.y_bf16 ? 2 : 4;
    const uint32_t guard = GUARD;
    for (size_t i = 0; i < ROWS_MAX * n->y_stride * (4 / size); i++) {
        if (i / n->y_stride >= rows || i % n->y_stride >= n->shape.out) {
            const size_t half = size == 2 ? i % 2 * 2 : 0;
            cr_assert_eq(memcmp((const char *)y + i * size, (const char *)&guard + half, size), 0, "%s [%u, %u]", name,
                         n->shape.in, n->shape.out);
        }
    }
}

static void check_form(struct numbers *n, const struct vr_panel_form *form, enum vr_element element, uint32_t rows)
{
    void *y = guarded(n);
    run(n, form, element, 0, rows, y);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t o = 0; o < n->shape.out; o++) {
            const double want = want_of(n, r, o), got = got_of(n, y, r, o);
            const double stored = n->shape.y_bf16 ? fabs(want) * 0x1p-8 : 0.0;
            cr_assert(fabs(got - want) <= bound_of(n, element, r, o) * 1.01 + stored,
                      "%s %s [%u, %u] row %u of %u: %g for %g", element_name[element], form->name, n->shape.in,
                      n->shape.out, r, rows, got, want);
        }
    }
    check_guards(n, y, rows, form->name);
    free(y);
}

/* ---- bits ---- */

/* Every row alone and in company of each size is what it is among all. */
static void check_company(struct numbers *n, const struct vr_panel_form *form, enum vr_element element)
{
    void *whole = guarded(n), *part = guarded(n);
    const size_t row = n->shape.out * (n->shape.y_bf16 ? 2u : 4u), stride = n->y_stride * (n->shape.y_bf16 ? 2u : 4u);
    run(n, form, element, 0, ROWS_MAX, whole);
    for (uint32_t rows = 1; rows <= ROWS_MAX; rows++) {
        const uint32_t first = rows * 31 % (ROWS_MAX - rows + 1);
        run(n, form, element, first, rows, part);
        for (uint32_t r = 0; r < rows; r++) {
            cr_assert_eq(memcmp((char *)part + r * stride, (char *)whole + (first + r) * stride, row), 0,
                         "%s %s [%u, %u]: row %u of %u", element_name[element], form->name, n->shape.in, n->shape.out,
                         r, rows);
        }
    }
    free(whole);
    free(part);
}

static void each_form(void (*check)(struct numbers *, const struct vr_panel_form *, enum vr_element))
{
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct numbers n;
        numbers_make(&n, shapes[s]);
        for (size_t e = 0; e < 3; e++) {
            unsigned count = 0;
            const struct vr_panel_form *const *form = vr_panel_forms(elements[e], &count);
            numbers_pack(&n, elements[e]);
            for (unsigned f = 0; f < count; f++) {
                if (form[f]->runs()) {
                    check(&n, form[f], elements[e]);
                }
            }
        }
        numbers_drop(&n);
    }
}

static void check_counts(struct numbers *n, const struct vr_panel_form *form, enum vr_element element)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 13, 14, 17, 33, ROWS_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        check_form(n, form, element, counts[c]);
    }
}

Test(panels, every_form_is_within_its_bound)
{
    each_form(check_counts);
}

Test(panels, a_row_has_the_same_bits_in_any_company)
{
    each_form(check_company);
}

static void check_equal_plain(struct numbers *n, const struct vr_panel_form *form, enum vr_element element)
{
    if (element != VR_ELEMENT_I8) {
        return;
    }
    void *plain = guarded(n), *other = guarded(n);
    run(n, &vr_panel_i8_plain, element, 0, ROWS_MAX, plain);
    run(n, form, element, 0, ROWS_MAX, other);
    cr_assert_eq(memcmp(plain, other, ROWS_MAX * n->y_stride * 4), 0, "%s [%u, %u]", form->name, n->shape.in,
                 n->shape.out);
    free(plain);
    free(other);
}

Test(panels, int8_is_exact_in_every_form)
{
    each_form(check_equal_plain);
}

/* x of 1 and codes of a known scale: sums that are worked out by hand. */
Test(panels, int8_by_hand)
{
    struct numbers n;
    numbers_make(&n, (struct shape){.in = 3, .out = 2, .bias = true});
    const float x[] = {-1.0f, 0.5f, 1.55f}, weight[] = {1.27f, -0.01f, 0.64f, 0.0f, 0.0f, 0.0f}, bias[] = {0.25f, 7.0f};
    memcpy(n.x, x, sizeof x);
    memcpy(n.weight, weight, sizeof weight);
    memcpy(n.bias, bias, sizeof bias);
    numbers_pack(&n, VR_ELEMENT_I8);
    float *y = guarded(&n);
    run(&n, &vr_panel_i8_plain, VR_ELEMENT_I8, 0, 1, y);
    /* step of x 2.55 / 255 = 0.01, zero point 100: codes 0, 150, 255; of the weights 127, -1, 64. */
    cr_assert_float_eq(n.scale[0], 0.01, 1e-8);
    cr_assert_eq(n.zero[0], 100);
    cr_assert_float_eq(y[0], -1.27 - 0.005 + 0.64 * 1.55 + 0.25, 1e-6);
    cr_assert_eq(y[1], 7.0f);
    free(y);
    numbers_drop(&n);
}

/* A row with a NaN or an infinity: NaN in each output, and its neighbours as they were. */
static void check_odd(struct numbers *n, const struct vr_panel_form *form, enum vr_element element)
{
    if (n->shape.in < 2 || n->shape.relu || n->shape.x_bf16 || n->shape.y_bf16) {
        return;
    }
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    float *before = guarded(n), *after = guarded(n);
    run(n, form, element, 0, 5, before);
    for (size_t i = 0; i < 3; i++) {
        float *x = n->x + (size_t)(i + 1) * n->shape.in + n->shape.in - 1, kept = *x;
        *x = odd[i];
        run(n, form, element, 0, 5, after);
        for (uint32_t r = 0; r < 5; r++) {
            for (uint32_t o = 0; o < n->shape.out; o++) {
                const float was = before[r * n->y_stride + o], is = after[r * n->y_stride + o];
                const bool nan = element == VR_ELEMENT_I8 || i == 0;
                cr_assert(r == i + 1 ? nan ? isnan(is) : !isfinite(is) : is == was, "%s %s row %u: %g, %g before",
                          element_name[element], form->name, r, (double)is, (double)was);
            }
        }
        *x = kept;
    }
    free(before);
    free(after);
}

Test(panels, what_is_not_finite_stays_in_its_row)
{
    each_form(check_odd);
}

/* ---- through the backend ---- */

static struct rig rig;
static struct vr_backend *cpu;

static void open_cpu(void)
{
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    rig_open(&rig, cpu);
}

static void close_cpu(void)
{
    rig_close(&rig);
    vr_backend_destroy(cpu);
}

TestSuite(packed_linear, .init = open_cpu, .fini = close_cpu);

#define BATCH_ROWS 150u
#define PRODUCTS 3u
#define IN 90u
#define OUT 70u

/* Three products of 150 rows, x and y side by side, with bias and a hoisted part. */
static struct vr_linear three_products(enum vr_element element, float *x, float *weight, struct vr_view *rows)
{
    struct dice dice = {11};
    float bias[PRODUCTS * OUT], add[2 * PRODUCTS * OUT], *y = calloc(BATCH_ROWS * PRODUCTS * OUT, sizeof *y);
    int32_t add_row[BATCH_ROWS];
    size_t bytes = 0;
    dice_floats(&dice, x, BATCH_ROWS * PRODUCTS * IN);
    dice_floats(&dice, weight, PRODUCTS * OUT * IN);
    dice_floats(&dice, bias, PRODUCTS * OUT);
    dice_floats(&dice, add, 2 * PRODUCTS * OUT);
    for (uint32_t r = 0; r < BATCH_ROWS; r++) {
        add_row[r] = r % 3 == 0;
    }
    struct vr_linear args = {.rows = BATCH_ROWS, .in = IN, .out = OUT, .batch = PRODUCTS};
    args.x = rig_put(&rig, x, BATCH_ROWS * PRODUCTS * IN * sizeof *x);
    args.x_stride = PRODUCTS * IN;
    args.x_step = IN;
    *rows = rig_put(&rig, weight, PRODUCTS * OUT * IN * sizeof *weight);
    args.has_bias = args.has_add = true;
    args.bias = rig_put(&rig, bias, sizeof bias);
    args.add = rig_put(&rig, add, sizeof add);
    args.add_row = rig_put(&rig, add_row, sizeof add_row);
    args.add_stride = args.y_stride = PRODUCTS * OUT;
    args.bias_step = args.add_step = args.y_step = OUT;
    args.activation = VR_LINEAR_RELU;
    args.y = rig_put(&rig, y, BATCH_ROWS * PRODUCTS * OUT * sizeof *y);
    free(y);
    if (cpu->ops->weights_bytes(cpu, element, OUT, IN, &bytes) == VR_OK) {
        char *packed = calloc(PRODUCTS, bytes);
        for (size_t p = 0; p < PRODUCTS; p++) {
            cpu->ops->weights_pack(element, OUT, IN, weight + p * OUT * IN, IN, packed + p * bytes);
        }
        args.weight = rig_put(&rig, packed, PRODUCTS * bytes);
        args.weight_packed = true;
        args.weight_element = element;
        args.weight_step = bytes;
        free(packed);
    }
    return args;
}

/* Bounds for 90 products of [-1, 1], far above what the bounds of each output allow on average. */
Test(packed_linear, equals_rows_of_floats)
{
    static const double bound[VR_ELEMENT_COUNT] = {1e-5, 0, 0.12, 0.4};
    static float x[BATCH_ROWS * PRODUCTS * IN], weight[PRODUCTS * OUT * IN];
    static float got[BATCH_ROWS * PRODUCTS * OUT], want[BATCH_ROWS * PRODUCTS * OUT];
    for (size_t e = 0; e < 3; e++) {
        struct vr_view rows;
        struct vr_linear args = three_products(elements[e], x, weight, &rows);
        if (!args.weight_packed) {
            continue; /* this processor is not quick in it */
        }
        cr_assert_eq(cpu->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
        rig_get(&rig, args.y, sizeof got, got);
        args.weight_packed = false;
        args.weight = rows;
        args.weight_stride = IN;
        args.weight_step = OUT * IN;
        cr_assert_eq(cpu->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
        rig_get(&rig, args.y, sizeof want, want);
        double largest = 0.0;
        for (size_t i = 0; i < sizeof got / sizeof got[0]; i++) {
            largest = fmax(largest, fabs((double)got[i] - want[i]));
        }
        cr_expect(largest <= bound[elements[e]], "%s: %g", element_name[elements[e]], largest);
        cr_expect(elements[e] == VR_ELEMENT_F32 ? largest == 0.0 : largest > 0.0, "%s: %g", element_name[elements[e]],
                  largest);
        rig_clear(&rig);
    }
}

/* ---- tables ---- */

#define TABLE_ROWS 40u
#define TABLE_WIDTH (5u + PRODUCTS * OUT)

/* The three products with a table added from column 5 on, by row numbers that stand in the second of two columns. */
static void add_table(struct vr_linear *args, uint16_t *table, int32_t *row)
{
    struct dice dice = {23};
    dice_halves(&dice, table, (size_t)TABLE_ROWS * TABLE_WIDTH);
    for (uint32_t r = 0; r < BATCH_ROWS; r++) { /* some before the first row and past the last */
        row[2 * r] = INT32_MIN;
        row[2 * r + 1] = (int32_t)(r * 7 % (TABLE_ROWS + 4)) - 2;
    }
    struct vr_view rows = rig_put(&rig, row, 2 * BATCH_ROWS * sizeof *row);
    rows.offset += sizeof *row;
    args->has_table = true;
    args->table = (struct vr_table){.rows = TABLE_ROWS, .width = TABLE_WIDTH, .dtype = VR_TABLE_F16};
    args->table.data = rig_put(&rig, table, (size_t)TABLE_ROWS * TABLE_WIDTH * sizeof *table);
    args->table_row = rows;
    args->table_row_stride = 2;
    args->table_at = 5;
    args->table_step = OUT;
    args->activation = VR_LINEAR_NONE;
}

/* The table is the last term, so it can be added to the outputs without it, bit for bit. */
static void check_table(struct vr_linear args)
{
    static float without[BATCH_ROWS * PRODUCTS * OUT], with[BATCH_ROWS * PRODUCTS * OUT];
    static uint16_t table[TABLE_ROWS * TABLE_WIDTH];
    int32_t row[2 * BATCH_ROWS];
    add_table(&args, table, row);
    cr_assert_eq(cpu->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
    rig_get(&rig, args.y, sizeof with, with);
    args.has_table = false;
    cr_assert_eq(cpu->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
    rig_get(&rig, args.y, sizeof without, without);
    for (uint32_t r = 0; r < BATCH_ROWS; r++) {
        const int32_t at = row[2 * r + 1];
        for (uint32_t o = 0; o < PRODUCTS * OUT; o++) {
            const bool there = at >= 0 && at < (int32_t)TABLE_ROWS;
            const float value = there ? vr_half_to_float(table[(size_t)at * TABLE_WIDTH + 5 + o]) : 0.0f;
            cr_assert_eq(with[r * PRODUCTS * OUT + o], without[r * PRODUCTS * OUT + o] + value, "%u %u", r, o);
        }
    }
}

Test(packed_linear, adds_rows_of_a_table)
{
    static float x[BATCH_ROWS * PRODUCTS * IN], weight[PRODUCTS * OUT * IN];
    for (size_t e = 0; e < 3; e++) {
        struct vr_view rows;
        struct vr_linear args = three_products(elements[e], x, weight, &rows);
        if (args.weight_packed) {
            check_table(args);
        }
        args.weight_packed = false;
        args.weight = rows;
        args.weight_stride = IN;
        args.weight_step = OUT * IN;
        check_table(args);
        rig_clear(&rig);
    }
}

static void refuse_table(struct vr_linear args, const char *why)
{
    cr_expect_eq(cpu->ops->linear(rig.stream, &args), VR_ERR_INVALID, "%s", why);
}

Test(packed_linear, a_table_that_does_not_reach_is_refused)
{
    static float x[BATCH_ROWS * PRODUCTS * IN], weight[PRODUCTS * OUT * IN];
    static uint16_t table[TABLE_ROWS * TABLE_WIDTH];
    int32_t row[2 * BATCH_ROWS];
    struct vr_view rows;
    struct vr_linear good = three_products(VR_ELEMENT_F32, x, weight, &rows), bad;
    add_table(&good, table, row);
    cr_assert_eq(cpu->ops->linear(rig.stream, &good), VR_OK, "%s", vr_error_text());
    bad = good, bad.table_at++;
    refuse_table(bad, "the last product's columns");
    bad = good, bad.table.dtype = VR_TABLE_F32;
    refuse_table(bad, "floats");
    bad = good, bad.table.rows++;
    refuse_table(bad, "a row past the buffer");
    bad = good, bad.table_row.offset += sizeof(int32_t);
    refuse_table(bad, "row numbers past the buffer");
    bad = good, bad.table_row_stride = 0;
    refuse_table(bad, "no stride");
}

/* Rows of bfloat16 with NaN behind each, wide and narrow: nothing of it comes into the sums. */
Test(packed_linear, what_lies_behind_a_row_is_not_used)
{
    for (uint32_t in = 16; in <= 64; in += 16) {
        uint16_t x[40 * 96];
        float weight[8 * 64], y[40 * 8] = {0};
        size_t bytes = 0;
        for (uint32_t i = 0; i < 40 * 96; i++) {
            x[i] = i % 96 < in ? vr_bf16_from_float(1.0f) : 0x7fc0u;
        }
        for (uint32_t i = 0; i < 8 * 64; i++) {
            weight[i] = 0.5f;
        }
        if (cpu->ops->weights_bytes(cpu, VR_ELEMENT_BF16, 8, in, &bytes) != VR_OK) {
            return; /* this processor is not quick in it */
        }
        char *packed = calloc(1, bytes);
        cpu->ops->weights_pack(VR_ELEMENT_BF16, 8, in, weight, in, packed);
        struct vr_linear args = {.rows = 40, .in = in, .out = 8, .x_stride = 96, .y_stride = 8, .weight_packed = true};
        args.x_element = args.weight_element = VR_ELEMENT_BF16;
        args.x = rig_put(&rig, x, sizeof x);
        args.weight = rig_put(&rig, packed, bytes);
        args.y = rig_put(&rig, y, sizeof y);
        cr_assert_eq(cpu->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
        rig_get(&rig, args.y, sizeof y, y);
        for (uint32_t i = 0; i < 40 * 8; i++) {
            cr_assert_eq(y[i], 0.5f * (float)in, "%u columns: %g", in, (double)y[i]);
        }
        free(packed);
    }
}

Test(packed_linear, what_does_not_fit_is_refused)
{
    static float x[BATCH_ROWS * PRODUCTS * IN], weight[PRODUCTS * OUT * IN];
    struct vr_view rows;
    size_t bytes = 0;
    const struct vr_linear valid = three_products(VR_ELEMENT_F32, x, weight, &rows);
    struct vr_linear wrong[8];
    for (size_t i = 0; i < 8; i++) {
        wrong[i] = valid;
    }
    wrong[0].weight.offset = 32;
    wrong[1].weight_step += 4;
    wrong[2].weight_element = VR_ELEMENT_F16;
    wrong[3].x_element = VR_ELEMENT_F16;
    wrong[4].y_element = VR_ELEMENT_I8;
    wrong[5].bias_element = VR_ELEMENT_F16;
    wrong[6].weight_step += 64; /* the last product ends past the buffer */
    wrong[7].out += 32;
    cr_assert_eq(cpu->ops->linear(rig.stream, &valid), VR_OK, "%s", vr_error_text());
    for (size_t i = 0; i < 8; i++) {
        cr_expect_eq(cpu->ops->linear(rig.stream, &wrong[i]), VR_ERR_INVALID, "%zu", i);
    }
    struct vr_linear unpacked = valid;
    unpacked.weight_packed = false;
    unpacked.weight_stride = IN;
    unpacked.x_element = VR_ELEMENT_BF16;
    cr_expect_eq(cpu->ops->linear(rig.stream, &unpacked), VR_ERR_INVALID);
    cr_expect_eq(cpu->ops->weights_bytes(cpu, VR_ELEMENT_F16, 8, 8, &bytes), VR_ERR_UNSUPPORTED);
    cr_expect_eq(cpu->ops->weights_bytes(cpu, VR_ELEMENT_F32, 8, 65537, &bytes), VR_ERR_UNSUPPORTED);
    cr_expect_eq(cpu->ops->weights_bytes(cpu, VR_ELEMENT_F32, 8, 65536, &bytes), VR_OK);
    struct vr_backend *reference = NULL;
    cr_assert_eq(vr_backend_open_reference(&reference), VR_OK);
    cr_expect_eq(reference->ops->linear(rig.stream, &valid), VR_ERR_UNSUPPORTED);
    vr_backend_destroy(reference);
}

/* The name of each chosen form stands behind its element's. */
Test(panels, the_chosen_forms_are_told)
{
    static const char *const told[] = {"fp32 ", "bf16 ", "int8 "};
    for (size_t e = 0; e < 3; e++) {
        const char *at = strstr(vr_backend_cpu_forms(), told[e]);
        const char *name = vr_panel_form_choose(elements[e])->name;
        cr_assert(at != NULL && strncmp(at + strlen(told[e]), name, strlen(name)) == 0, "%s", vr_backend_cpu_forms());
        cr_assert(vr_panel_form_choose(elements[e])->runs());
    }
    cr_assert(vr_panel_form_choose(VR_ELEMENT_F16) == NULL);
}
