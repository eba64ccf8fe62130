/* linear in halves on the emulated CUDA backend, beyond the cases of cases.h: its stated error bound against float64, a
 * row's bits in any batch and any tile, rows of `add` that are not there, and the library engine: what it runs, what it
 * leaves, what a plan and a failure do to it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/linear.h"
#include "support_left.h"
#include "support_parity.h"
#include "vireo/backend_cuda.h"
#include "vireo/clock.h"
#include "vireo/half.h"

static struct vr_backend *cuda;
static struct rig rig;

static void open_cuda(void)
{
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
    rig_open(&rig, cuda);
}

static void close_cuda(void)
{
    rig_close(&rig);
    vr_backend_destroy(cuda);
    must_leave_nothing();
}

TestSuite(linear_f16, .init = open_cuda, .fini = close_cuda);

#define ROWS 256u

/* A product on the device and what it was made of, as floats. */
struct product {
    struct vr_linear args;
    float *x, *weight, *bias; /* [ROWS, in], [products, out, in], [products, out] */
    uint32_t products;
};

/* Random halves as [rows, width] floats, and on the device [rows, stride] with NaN behind. */
static struct vr_view put(struct dice *dice, uint32_t rows, uint32_t width, uint32_t stride, float *as_floats)
{
    uint16_t *half = malloc((size_t)rows * stride * sizeof *half + 1);
    cr_assert(half != NULL);
    for (size_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < stride; c++) {
            half[r * stride + c] = c < width ? vr_half_from_float(dice_unit(dice)) : 0x7e00u;
            if (c < width) {
                as_floats[r * width + c] = vr_half_to_float(half[r * stride + c]);
            }
        }
    }
    const struct vr_view view = rig_put(&rig, half, (size_t)rows * stride * sizeof *half);
    free(half);
    return view;
}

static float *floats(size_t count)
{
    float *data = calloc(count + 1, sizeof *data);
    cr_assert(data != NULL);
    return data;
}

/* Products that share x; outputs side by side. */
static struct product make(uint32_t in, uint32_t out, uint32_t products, enum vr_element y_element)
{
    struct dice dice = {in * 1000 + out};
    const uint32_t stride = vr_half_stride(in);
    struct product made = {.products = products};
    made.x = floats((size_t)ROWS * in);
    made.weight = floats((size_t)products * out * in);
    made.bias = floats((size_t)products * out);
    made.args = (struct vr_linear){.rows = ROWS, .in = in, .out = out, .x_stride = stride, .weight_stride = stride};
    made.args.x_element = VR_ELEMENT_F16;
    made.args.y_element = y_element;
    made.args.x = put(&dice, ROWS, in, stride, made.x);
    made.args.weight = put(&dice, products * out, in, stride, made.weight);
    dice_floats(&dice, made.bias, (size_t)products * out);
    made.args.has_bias = true;
    made.args.bias = rig_put(&rig, made.bias, (size_t)products * out * sizeof(float));
    made.args.batch = products;
    made.args.weight_step = (size_t)out * stride;
    made.args.bias_step = made.args.y_step = out;
    made.args.y_stride = products * out;
    float *y = floats((size_t)ROWS * products * out);
    made.args.y = rig_put(&rig, y, (size_t)ROWS * products * out * sizeof *y);
    free(y);
    return made;
}

static void drop(struct product *product)
{
    free(product->x);
    free(product->weight);
    free(product->bias);
    rig_clear(&rig);
}

static size_t y_bytes(const struct vr_linear *args, uint32_t rows)
{
    return (size_t)rows * args->y_stride * vr_element_bytes(args->y_element);
}

/* rows first .. first + count of x, at place 0 of a call of their own. */
static void run(const struct vr_linear *whole, uint32_t first, uint32_t count, void *out)
{
    struct vr_linear args = *whole;
    args.rows = count;
    args.x.offset += (size_t)first * args.x_stride * sizeof(uint16_t);
    cr_assert_eq(cuda->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
    rig_get(&rig, args.y, y_bytes(&args, count), out);
}

struct shape {
    uint32_t in, out, products;
};

/* The error of one element, in the bounds that linear_f16.cu states: at most 1. */
static double check_element(const struct product *p, size_t r, uint32_t b, uint32_t o, double got)
{
    const uint32_t in = p->args.in, out = p->args.out;
    const float *weight = p->weight + ((size_t)b * out + o) * in;
    double exact = (double)p->bias[(size_t)b * out + o], magnitude = fabs(exact);
    for (uint32_t i = 0; i < in; i++) {
        const double product = (double)p->x[r * in + i] * (double)weight[i];
        exact += product;
        magnitude += fabs(product);
    }
    const double inputs = (in + 15) / 16 * 16;
    double bound = (17.0 / 16.0 * inputs + 3.0) * 0x1p-23 * magnitude;
    if (p->args.y_element == VR_ELEMENT_F16) {
        bound += fmax(0x1p-11 * (fabs(exact) + bound), 0x1p-25);
    }
    cr_assert(fabs(got - exact) <= bound, "[%u, %u] row %zu product %u output %u: %.9g, exactly %.9g, bound %.3g", in,
              out, r, b, o, got, exact, bound);
    return fabs(got - exact) / bound;
}

static double check_bound(struct shape shape, enum vr_element element)
{
    double worst = 0.0;
    struct product p = make(shape.in, shape.out, shape.products, element);
    float *y = floats((size_t)ROWS * p.args.y_stride);
    uint16_t *half = (uint16_t *)(void *)y;
    run(&p.args, 0, ROWS, y);
    for (size_t r = 0; r < ROWS; r += 3) {
        for (uint32_t column = 0; column < p.args.y_stride; column++) {
            const size_t at = r * p.args.y_stride + column;
            const double got = (double)(element == VR_ELEMENT_F16 ? vr_half_to_float(half[at]) : y[at]);
            worst = fmax(worst, check_element(&p, r, column / shape.out, column % shape.out, got));
        }
    }
    free(y);
    drop(&p);
    return worst;
}

Test(linear_f16, error_is_within_its_bound)
{
    static const struct shape shapes[] = {{400, 130, 2}, {64, 100, 2}, {1000, 9, 1}, {17, 256, 2}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        vr_emulator_seed(s + 1);
        const double worst = fmax(check_bound(shapes[s], VR_ELEMENT_F32), check_bound(shapes[s], VR_ELEMENT_F16));
        parity_row("linear f16, float64", 2, s + 1, worst, "(17/16 in + 3) 2^-23 sum |x w|");
    }
}

/* The emulator's four multiprocessors: 256 rows of 512 outputs are 4 blocks of the large tile, fewer rows 4 of the
 * middle one; 200 outputs are middle, then small. */
static void check_bits(struct shape shape, enum vr_element element)
{
    struct product p = make(shape.in, shape.out, shape.products, element);
    char *whole = malloc(y_bytes(&p.args, ROWS)), *part = malloc(y_bytes(&p.args, ROWS));
    cr_assert(whole != NULL && part != NULL);
    run(&p.args, 0, ROWS, whole);
    static const uint32_t firsts[] = {0, 5, 63, 64, 121, 128, 200, 249};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        for (uint32_t count = 1; count <= 7; count += 6) {
            run(&p.args, firsts[i], count, part);
            cr_assert_eq(memcmp(part, whole + y_bytes(&p.args, firsts[i]), y_bytes(&p.args, count)), 0,
                         "[%u, %u], %u rows from %u", shape.in, shape.out, count, firsts[i]);
        }
    }
    free(whole);
    free(part);
    drop(&p);
}

Test(linear_f16, a_row_has_the_same_bits_in_any_batch)
{
    static const struct shape shapes[] = {{70, 512, 1}, {45, 200, 1}, {129, 40, 1}, {40, 130, 3}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        vr_emulator_seed(s + 1);
        check_bits(shapes[s], s % 2 == 0 ? VR_ELEMENT_F32 : VR_ELEMENT_F16);
    }
}

Test(linear_f16, a_product_has_the_same_bits_in_a_batch_and_alone)
{
    struct product p = make(72, 130, 3, VR_ELEMENT_F32);
    const size_t elements = (size_t)ROWS * p.args.y_stride;
    float *batch = floats(elements), *alone = floats(elements);
    run(&p.args, 0, ROWS, batch);
    memset(alone, 0xff, elements * sizeof *alone);
    drop(&p);
    p = make(72, 130, 3, VR_ELEMENT_F32); /* the same numbers, another y */
    for (uint32_t b = 0; b < 3; b++) {
        const struct vr_linear one = vr_linear_product(&p.args, b);
        cr_assert_eq(cuda->ops->linear(rig.stream, &one), VR_OK, "%s", vr_error_text());
    }
    rig_get(&rig, p.args.y, elements * sizeof *alone, alone);
    cr_assert_eq(memcmp(batch, alone, elements * sizeof *alone), 0);
    free(batch);
    free(alone);
    drop(&p);
}

/* The host of a GPU does not see add_row, so what the reference refuses adds nothing here. */
Test(linear_f16, a_row_of_add_that_is_not_there_adds_nothing)
{
    const float add[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 30, 40, 50, 60, 70, 80};
    int32_t add_row[ROWS];
    for (uint32_t r = 0; r < ROWS; r++) {
        add_row[r] = (int32_t)(r % 4) - 1; /* -1 and 2 are not there */
    }
    for (int form = 0; form < 2; form++) {
        struct product p = make(24, 8, 1, VR_ELEMENT_F32);
        float without[ROWS * 8], with[ROWS * 8];
        p.args.has_bias = false;
        run(&p.args, 0, ROWS, without);
        p.args.has_add = true;
        p.args.add_stride = 8;
        p.args.add = rig_put(&rig, add, sizeof add);
        p.args.add_row = rig_put(&rig, add_row, sizeof add_row);
        p.args.out = form == 0 ? 8 : 7; /* 16 bytes at a time, and one by one */
        run(&p.args, 0, ROWS, with);
        for (uint32_t i = 0; i < ROWS * 8; i++) {
            const int32_t row = add_row[i / 8];
            const bool there = (row == 0 || row == 1) && i % 8 < p.args.out;
            cr_assert_eq(with[i], without[i] + (there ? add[row * 8 + (int32_t)(i % 8)] : 0.0f), "%u", i);
        }
        drop(&p);
    }
}

Test(linear_f16, what_does_not_fit_is_refused)
{
    struct product p = make(24, 16, 2, VR_ELEMENT_F32);
    struct vr_linear wrong[5];
    for (size_t i = 0; i < 5; i++) {
        wrong[i] = p.args;
    }
    wrong[0].x_stride = 25; /* not at 16 bytes */
    wrong[1].x.offset = 2;
    wrong[2].weight_step += 8; /* the second product's weights end past their buffer */
    wrong[3].y_step += 1;
    wrong[4].batch = 65536;
    wrong[4].weight_step = wrong[4].bias_step = wrong[4].y_step = 0;
    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(cuda->ops->linear(rig.stream, &wrong[i]), VR_ERR_INVALID, "%zu", i);
    }
    struct vr_linear tabled = p.args; /* a device has no tables, and says so before anything is read */
    tabled.has_table = true;
    cr_expect_not(cuda->ops->linear_tables);
    cr_expect_eq(cuda->ops->linear(rig.stream, &tabled), VR_ERR_UNSUPPORTED);
    cr_expect_eq(cuda->ops->linear(rig.stream, &p.args), VR_OK, "%s", vr_error_text());
    drop(&p);
}

/* ---- the library ---- */

Test(linear_f16, the_library_equals_the_reference)
{
    cr_assert_eq(vr_linear_prefer_library(cuda, true), VR_OK, "%s", vr_error_text());
    const uint64_t before = vr_seam_calls(VR_SEAM_OPEN);
    struct op_report report[OP_COUNT];
    for (uint64_t seed = 1; seed <= 4; seed++) {
        vr_emulator_seed(seed);
        cr_assert_eq(vr_ops_check_of(cuda, OP_LINEAR_F16, report), 0, "seed %u", (unsigned)seed);
        parity_ops(report, ", library", seed);
    }
    cr_expect_eq(vr_seam_calls(VR_SEAM_OPEN) - before, 4, "as many cases as have a form that it can run");
}

Test(linear_f16, the_library_runs_what_it_can_where_it_is_preferred)
{
    struct product p = make(24, 16, 2, VR_ELEMENT_F16);
    const struct vr_device *device = cuda->device;
    struct vr_linear args = p.args;
    args.bias_element = VR_ELEMENT_F16;
    cr_expect_eq(vr_linear_engine_of(device, &args), VR_LINEAR_ENGINE_F16, "nothing was measured");
    cr_assert_eq(vr_linear_prefer_library(cuda, true), VR_OK, "%s", vr_error_text());
    cr_expect_eq(vr_linear_engine_of(device, &args), VR_LINEAR_ENGINE_LIBRARY);
    struct vr_linear other = args;
    other.bias_element = VR_ELEMENT_F32; /* and y halves */
    cr_expect_eq(vr_linear_engine_of(device, &other), VR_LINEAR_ENGINE_F16);
    other = args;
    other.has_add = true;
    cr_expect_eq(vr_linear_engine_of(device, &other), VR_LINEAR_ENGINE_F16);
    other = args;
    other.bias.offset = 8;
    cr_expect_eq(vr_linear_engine_of(device, &other), VR_LINEAR_ENGINE_F16);
    other = args;
    other.bias_step = 12;
    cr_expect_eq(vr_linear_engine_of(device, &other), VR_LINEAR_ENGINE_F16);
    other = args;
    other.y_step = 15;
    cr_expect_eq(vr_linear_engine_of(device, &other), VR_LINEAR_ENGINE_F16);
    other.batch = 1; /* its steps are not read */
    cr_expect_eq(vr_linear_engine_of(device, &other), VR_LINEAR_ENGINE_LIBRARY);
    other.x_element = VR_ELEMENT_F32;
    cr_expect_eq(vr_linear_engine_of(device, &other), VR_LINEAR_ENGINE_F32);
    cr_assert_eq(vr_linear_prefer_library(cuda, false), VR_OK);
    cr_expect_eq(vr_linear_engine_of(device, &args), VR_LINEAR_ENGINE_F16);
    drop(&p);
}

#define FORMS 15u

/* A base and forms that differ from it, or from one before, in one thing that a family is known by. */
static void make_forms(const struct vr_linear *whole, struct vr_linear form[FORMS])
{
    struct vr_linear base = *whole;
    base.rows = 64;
    base.in = 16;
    base.out = 8;
    for (size_t i = 0; i < FORMS; i++) {
        form[i] = base;
    }
    form[1].activation = VR_LINEAR_RELU;
    form[2].in = 15;
    form[3].out = 7;
    form[4].batch = 2;
    form[5].has_bias = false;
    form[6].has_bias = false; /* as 5 */
    form[6].y_element = VR_ELEMENT_F16;
    form[7].x_stride += 8;
    form[8].weight_stride += 8;
    form[9].y_stride += 8;
    form[10].x_step += 8;
    form[11].weight_step -= 8;
    form[12].bias_step -= 8;
    form[13].y_step -= 8;
    form[14].bias_step = 0; /* as 5, but for the bias */
}

/* What `args` makes of a y of zeros. */
static void run_on_zeros(const struct vr_linear *args, struct vr_view zeros, void *out, size_t bytes)
{
    cr_assert_eq(cuda->ops->copy(rig.stream, args->y, zeros, bytes), VR_OK);
    cr_assert_eq(cuda->ops->linear(rig.stream, args), VR_OK, "%s", vr_error_text());
    rig_get(&rig, args->y, bytes, out);
}

static bool is_close(float a, float b)
{
    return fabsf(a - b) <= 1e-5f + 0x1p-10f * fabsf(a);
}

Test(linear_f16, the_library_keeps_families_apart)
{
    static float own[FORMS][64 * 56], library[64 * 56];
    struct product p = make(24, 16, 3, VR_ELEMENT_F32);
    struct vr_linear form[FORMS];
    make_forms(&p.args, form);
    memset(library, 0, sizeof library);
    const struct vr_view zeros = rig_put(&rig, library, sizeof library);
    for (size_t i = 0; i < FORMS; i++) {
        run_on_zeros(&form[i], zeros, own[i], sizeof own[i]);
    }
    cr_assert_eq(vr_linear_prefer_library(cuda, true), VR_OK, "%s", vr_error_text());
    const uint64_t before = vr_seam_calls(VR_SEAM_OPEN);
    for (size_t i = 0; i < FORMS; i++) {
        run_on_zeros(&form[i], zeros, library, sizeof library);
        const bool half = form[i].y_element == VR_ELEMENT_F16;
        for (size_t e = 0; e < 64 * 56; e++) {
            const uint16_t *a = (const uint16_t *)(const void *)own[i], *b = (const uint16_t *)(const void *)library;
            cr_assert(half ? is_close(vr_half_to_float(a[e]), vr_half_to_float(b[e])) : is_close(own[i][e], library[e]),
                      "form %zu, element %zu", i, e);
        }
    }
    cr_expect_eq(vr_seam_calls(VR_SEAM_OPEN) - before, FORMS);
    drop(&p);
}

static void wait(void)
{
    cr_assert_eq(vr_stream_wait(cuda, rig.stream, vr_clock_mono_us() + 10000000), VR_OK, "%s", vr_error_text());
}

Test(linear_f16, a_plan_takes_products_that_were_made_ready_before)
{
    struct product p = make(24, 16, 1, VR_ELEMENT_F32);
    struct vr_plan *plan = NULL;
    float direct[ROWS * 16], planned[ROWS * 16];
    cr_assert_eq(vr_linear_prefer_library(cuda, true), VR_OK, "%s", vr_error_text());
    cr_assert_eq(cuda->ops->plan_begin(rig.stream), VR_OK);
    cr_expect_eq(cuda->ops->linear(rig.stream, &p.args), VR_ERR_INVALID);
    cr_assert_eq(cuda->ops->plan_end(rig.stream, &plan), VR_OK);
    cuda->ops->plan_destroy(plan);
    run(&p.args, 0, ROWS, direct);
    const struct vr_view zero = rig_put(&rig, (float[ROWS * 16]){0}, sizeof planned);
    cr_assert_eq(cuda->ops->copy(rig.stream, p.args.y, zero, sizeof planned), VR_OK);
    cr_assert_eq(cuda->ops->plan_begin(rig.stream), VR_OK);
    cr_expect_eq(cuda->ops->linear(rig.stream, &p.args), VR_OK, "%s", vr_error_text());
    cr_assert_eq(cuda->ops->plan_end(rig.stream, &plan), VR_OK);
    wait();
    rig_get(&rig, p.args.y, sizeof planned, planned);
    cr_assert_eq(planned[3], 0.0f, "nothing ran yet");
    cr_assert_eq(cuda->ops->plan_launch(rig.stream, plan), VR_OK);
    wait();
    rig_get(&rig, p.args.y, sizeof planned, planned);
    cr_assert_eq(memcmp(direct, planned, sizeof planned), 0);
    cuda->ops->plan_destroy(plan);
    drop(&p);
}

Test(linear_f16, the_librarys_failures_are_answered)
{
    struct product p = make(24, 16, 1, VR_ELEMENT_F32);
    float y[ROWS * 16];
    vr_seam_fail(VR_SEAM_OPEN, 1, VR_SEAM_FAIL_NOMEM);
    cr_expect_eq(vr_linear_prefer_library(cuda, true), VR_ERR_NOMEM);
    cr_expect_eq(vr_linear_engine_of(cuda->device, &p.args), VR_LINEAR_ENGINE_F16, "not preferred, for it is not open");
    cr_assert_eq(vr_linear_prefer_library(cuda, true), VR_OK, "%s", vr_error_text());
    static const struct {
        enum vr_seam_call call;
        enum vr_seam_failure failure;
        enum vr_status want;
    } faults[] = {{VR_SEAM_MEMORY, VR_SEAM_FAIL_NOMEM, VR_ERR_NOMEM},      /* the workspace */
                  {VR_SEAM_OPEN, VR_SEAM_FAIL_ABSENT, VR_ERR_UNSUPPORTED}, /* the family */
                  {VR_SEAM_LAUNCH, VR_SEAM_FAIL_ONCE, VR_ERR_BACKEND}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        vr_seam_fail((uint32_t)faults[i].call, 1, faults[i].failure);
        cr_expect_eq(cuda->ops->linear(rig.stream, &p.args), faults[i].want, "fault %zu: %s", i, vr_error_text());
    }
    const uint64_t made = vr_seam_calls(VR_SEAM_OPEN);
    run(&p.args, 0, ROWS, y); /* and after all of them it works */
    run(&p.args, 3, 7, y);
    cr_expect_eq(vr_seam_calls(VR_SEAM_OPEN), made, "a family is made once, not for each number of rows");
    drop(&p);
}
