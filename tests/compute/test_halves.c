/* Halves in the contract: the reference's products of halves against values worked out by hand, where it rounds, how
 * weights are packed, and what is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "support_network.h"
#include "vireo/half.h"

static struct rig rig;
static struct vr_backend *reference;

static void open_reference(void)
{
    cr_assert_eq(vr_backend_open_reference(&reference), VR_OK);
    rig_open(&rig, reference);
}

static void close_reference(void)
{
    rig_close(&rig);
    vr_backend_destroy(reference);
}

TestSuite(halves, .init = open_reference, .fini = close_reference);

#define ROW VR_HALF_ALIGNMENT

/* `rows` rows of `width` numbers as halves, ROW apart, NaN behind. */
static struct vr_view put_halves(const float *value, uint32_t rows, uint32_t width)
{
    uint16_t half[8 * ROW];
    for (uint32_t i = 0; i < rows * ROW; i++) {
        half[i] = i % ROW < width ? vr_half_from_float(value[i / ROW * width + i % ROW]) : 0x7e00u;
    }
    return rig_put(&rig, half, rows * ROW * sizeof *half);
}

static struct vr_linear two_products(void)
{
    /* Both products read the same rows: {1, 2}, {3, 4}. */
    const float x[] = {1, 2, 3, 4}, weight[] = {1, 10, -1, 1, 0.5f, 0.5f, 2048, 1};
    struct vr_linear args = {.rows = 2, .in = 2, .out = 2, .x_stride = ROW, .weight_stride = ROW, .y_stride = 4};
    args.x = put_halves(x, 2, 2);
    args.weight = put_halves(weight, 4, 2);
    args.x_element = VR_ELEMENT_F16;
    args.batch = 2;
    args.weight_step = 2 * ROW;
    args.bias_step = args.add_step = args.y_step = 2;
    return args;
}

Test(halves, products_of_a_batch_in_float32)
{
    const float bias[] = {100, 0, 0, 1}, add[] = {1, 1, 0, 0, 0, 5, 0, 0};
    const int32_t add_row[] = {1, 0};
    float y[8] = {0};
    struct vr_linear args = two_products();
    args.has_bias = args.has_add = true;
    args.bias = rig_put(&rig, bias, sizeof bias);
    args.add = rig_put(&rig, add, sizeof add);
    args.add_stride = 4;
    args.add_row = rig_put(&rig, add_row, sizeof add_row);
    args.activation = VR_LINEAR_RELU;
    args.y = rig_put(&rig, y, sizeof y);
    cr_assert_eq(reference->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
    rig_get(&rig, args.y, sizeof y, y);
    const float want[] = {121, 6, 1.5f, 2051, 144, 2, 3.5f, 6149};
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(y[i], want[i], "y[%d] = %g", i, (double)y[i]);
    }
}

Test(halves, results_are_rounded_once)
{
    const uint16_t bias[] = {vr_half_from_float(100), 0, 0, vr_half_from_float(-1.0f)};
    uint16_t y[8] = {0};
    struct vr_linear args = two_products();
    args.y_element = args.bias_element = VR_ELEMENT_F16;
    args.has_bias = true;
    args.bias = rig_put(&rig, bias, sizeof bias);
    args.y = rig_put(&rig, y, sizeof y);
    cr_assert_eq(reference->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
    rig_get(&rig, args.y, sizeof y, y);
    /* 2048 + 2 - 1 = 2049 is between 2048 and 2050: to even. 6144 + 4 - 1 = 6147 is nearer to 6148. */
    const float want[] = {121, 1, 1.5f, 2048, 143, 1, 3.5f, 6148};
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(vr_half_to_float(y[i]), want[i], "y[%d] = %g", i, (double)vr_half_to_float(y[i]));
    }
}

Test(halves, past_their_range_they_are_infinite)
{
    const float x[] = {60000, 5504, 60000, 5520}, weight[] = {1, 1, -1, -1};
    uint16_t y[4] = {0};
    struct vr_linear args = {.rows = 2, .in = 2, .out = 2, .x_stride = ROW, .weight_stride = ROW, .y_stride = 2};
    args.x_element = args.y_element = VR_ELEMENT_F16;
    args.x = put_halves(x, 2, 2);
    args.weight = put_halves(weight, 2, 2);
    args.y = rig_put(&rig, y, sizeof y);
    cr_assert_eq(reference->ops->linear(rig.stream, &args), VR_OK, "%s", vr_error_text());
    rig_get(&rig, args.y, sizeof y, y);
    cr_assert_eq(vr_half_to_float(y[0]), 65504.0f);
    cr_assert_eq(vr_half_to_float(y[1]), -65504.0f);
    cr_assert_eq(vr_half_to_float(y[2]), INFINITY);
    cr_assert_eq(vr_half_to_float(y[3]), -INFINITY);
}

/* Every backend refuses what is not aligned, and takes its twin that is. */
static void check_alignment(struct vr_backend *backend, struct rig *at)
{
    const uint16_t zeros[256] = {0};
    const struct vr_view view = rig_put(at, zeros, sizeof zeros);
    const struct vr_linear valid = {.rows = 2,
                                    .in = 3,
                                    .out = 3,
                                    .x_stride = ROW,
                                    .weight_stride = ROW,
                                    .y_stride = 3,
                                    .x = view,
                                    .weight = view,
                                    .y = {view.buffer, 258},
                                    .x_element = VR_ELEMENT_F16,
                                    .y_element = VR_ELEMENT_F16,
                                    .batch = 2,
                                    .x_step = ROW,
                                    .weight_step = 3 * ROW,
                                    .y_step = 7};
    struct vr_linear wrong[6];
    for (int i = 0; i < 6; i++) {
        wrong[i] = valid;
    }
    wrong[0].x_stride = ROW + 1;
    wrong[1].weight_stride = ROW + 4;
    wrong[2].x.offset = 8;
    wrong[3].weight.offset = 2;
    wrong[4].x_step = 3;
    wrong[5].weight_step = 9;
    cr_assert_eq(backend->ops->linear(at->stream, &valid), VR_OK, "%s", vr_error_text());
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(backend->ops->linear(at->stream, &wrong[i]), VR_ERR_INVALID, "%s, %d", backend->ops->name, i);
    }
    struct vr_linear one = wrong[4]; /* of one product the steps are not read */
    one.batch = 1;
    cr_expect_eq(backend->ops->linear(at->stream, &one), VR_OK, "%s", vr_error_text());
}

Test(halves, what_is_not_aligned_is_refused)
{
    struct vr_backend *cpu = NULL;
    struct rig other;
    check_alignment(reference, &rig);
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    cr_assert_eq(cpu->ops->halves, VR_HALF_PLAIN);
    rig_open(&other, cpu);
    check_alignment(cpu, &other);
    rig_close(&other);
    vr_backend_destroy(cpu);
}

Test(halves, weights_are_packed)
{
    const float from[] = {1, 2, 3, 9, 9, 4, 5, 6, 9, 9};
    uint16_t to[2 * 16];
    memset(to, 0xff, sizeof to);
    cr_assert_eq(vr_weights_pack_f16(from, 2, 3, 5, to, 16), VR_OK);
    for (uint32_t i = 0; i < 32; i++) {
        const float want = i % 16 < 3 ? (float)(i / 16 * 3 + i % 16 + 1) : 0.0f;
        cr_assert_eq(vr_half_to_float(to[i]), want, "%u", i);
    }
    cr_assert_eq(vr_half_stride(0), 0);
    cr_assert_eq(vr_half_stride(1), 8);
    cr_assert_eq(vr_half_stride(8), 8);
    cr_assert_eq(vr_half_stride(9), 16);
    cr_assert_eq(vr_weights_pack_f16(from, 2, 3, 2, to, 8), VR_ERR_INVALID);
    cr_assert_eq(vr_weights_pack_f16(from, 2, 3, 5, to, 4), VR_ERR_INVALID);
    cr_assert_eq(vr_weights_pack_f16(from, 2, 3, 5, to, 12), VR_ERR_INVALID);
    const float large[] = {65519.0f, 65520.0f, INFINITY};
    cr_assert_eq(vr_weights_pack_f16(large, 1, 1, 1, to, 8), VR_OK);
    cr_assert_eq(vr_weights_pack_f16(large + 1, 1, 1, 1, to, 8), VR_ERR_UNSUPPORTED);
    cr_assert_eq(vr_weights_pack_f16(large + 2, 1, 1, 1, to, 8), VR_OK, "what was infinite before is no loss");
}

/* The yardstick model of the ranker's benchmarks, random weights: what halves cost in precision. The goal for any
 * precision is 5e-4 of a probability. */
Test(halves, a_ranker_in_halves_gives_the_same_probabilities)
{
    const struct network yardstick = {.requests = 2,
                                      .rows = 12,
                                      .hoisted = 128,
                                      .own = 128,
                                      .experts = 8,
                                      .hidden = 512,
                                      .width = 256,
                                      .gates = 4,
                                      .tower = 128};
    float exact[48], got[48], largest = 0.0f, low = 1.0f, high = 0.0f;
    network_run(&rig, &yardstick, VR_ELEMENT_F32, 7, exact);
    network_run(&rig, &yardstick, VR_ELEMENT_F16, 7, got);
    for (int i = 0; i < 48; i++) {
        largest = fmaxf(largest, fabsf(got[i] - exact[i]));
        low = fminf(low, exact[i]);
        high = fmaxf(high, exact[i]);
    }
    cr_assert(high - low > 0.1f, "probabilities from %g to %g say little", (double)low, (double)high);
    cr_assert(largest > 0.0f, "the halves were not used");
    cr_assert(largest < 5e-4f, "%g", (double)largest);
    cr_log_info("largest difference %g, probabilities %g to %g", (double)largest, (double)low, (double)high);
}
