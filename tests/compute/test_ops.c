/* The CPU backend's operations against the plain C reference, and the reference against values worked out by hand. */
#include <criterion/criterion.h>
#include <math.h>

#include "support_ops.h"

Test(ops, cpu_equals_reference)
{
    struct vr_backend *cpu = NULL;
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_ops_check(cpu, NULL), 0);
    vr_backend_destroy(cpu);
}

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

TestSuite(by_hand, .init = open_reference, .fini = close_reference);

Test(by_hand, linear_adds_bias_and_hoisted_part)
{
    const float x[] = {1, 2, 3, 4}, weight[] = {1, 10, -1, 1, 0.5f, 0.5f}, bias[] = {100, 0, -10};
    const float add[] = {1, 1, 1, 0, 5, 0};
    const int32_t add_row[] = {1, 0};
    float y[6] = {0};
    struct vr_linear args = {.rows = 2, .in = 2, .out = 3, .x_stride = 2, .weight_stride = 2, .y_stride = 3};
    args.x = rig_put(&rig, x, sizeof x);
    args.weight = rig_put(&rig, weight, sizeof weight);
    args.has_bias = args.has_add = true;
    args.bias = rig_put(&rig, bias, sizeof bias);
    args.add = rig_put(&rig, add, sizeof add);
    args.add_stride = 3;
    args.add_row = rig_put(&rig, add_row, sizeof add_row);
    args.activation = VR_LINEAR_RELU;
    args.y = rig_put(&rig, y, sizeof y);
    cr_assert_eq(reference->ops->linear(rig.stream, &args), VR_OK);
    rig_get(&rig, args.y, sizeof y, y);
    const float want[] = {121, 6, 0, 144, 2, 0};
    for (int i = 0; i < 6; i++) {
        cr_assert_float_eq(y[i], want[i], 1e-6, "y[%d] = %g", i, (double)y[i]);
    }
}

Test(by_hand, expert_mix_is_a_softmax_over_listed_experts)
{
    const float logit[] = {0, 5, logf(3)}, expert[] = {1, 2, 100, 100, 5, 6};
    float y[2] = {0}, weights[3] = {9, 9, 9};
    struct vr_expert_mix args = {.rows = 1, .gates = 1, .experts = 3, .width = 2, .listed = {5}, .want_weights = true};
    args.logit = rig_put(&rig, logit, sizeof logit);
    args.expert = rig_put(&rig, expert, sizeof expert);
    args.y = rig_put(&rig, y, sizeof y);
    args.weights = rig_put(&rig, weights, sizeof weights);
    cr_assert_eq(reference->ops->expert_mix(rig.stream, &args), VR_OK);
    rig_get(&rig, args.y, sizeof y, y);
    rig_get(&rig, args.weights, sizeof weights, weights);
    cr_assert_float_eq(y[0], 4.0, 1e-6);
    cr_assert_float_eq(y[1], 5.0, 1e-6);
    cr_assert_float_eq(weights[0], 0.25, 1e-6);
    cr_assert_eq(weights[1], 0.0f);
    cr_assert_float_eq(weights[2], 0.75, 1e-6);
}

Test(by_hand, heads_are_weighted_sigmoids)
{
    const float z[] = {0, logf(3), -logf(3)}, widths[] = {1, 2, 8};
    float head[2] = {0};
    struct vr_task_heads args = {.rows = 1, .tasks = 2, .outputs = {1, 2}};
    args.z = rig_put(&rig, z, sizeof z);
    args.widths = rig_put(&rig, widths, sizeof widths);
    args.head = rig_put(&rig, head, sizeof head);
    cr_assert_eq(reference->ops->task_heads(rig.stream, &args), VR_OK);
    rig_get(&rig, args.head, sizeof head, head);
    cr_assert_float_eq(head[0], 0.5, 1e-6);
    cr_assert_float_eq(head[1], 2 * 0.75 + 8 * 0.25, 1e-5);
}

Test(by_hand, normalize_and_pool)
{
    float x[] = {3, 4, 1e-13f, 0};
    struct vr_normalize args = {.rows = 2, .width = 2, .stride = 2, .x = rig_put(&rig, x, sizeof x)};
    cr_assert_eq(reference->ops->normalize(rig.stream, &args), VR_OK);
    rig_get(&rig, args.x, sizeof x, x);
    cr_assert_float_eq(x[0], 0.6, 1e-7);
    cr_assert_float_eq(x[1], 0.8, 1e-7);
    cr_assert_eq(x[2], 0.0f);

    const int8_t data[] = {127, -127, 64, 0};
    const float scale[] = {0.5f, 2.0f}, weight[] = {0.5f, 0.25f, 7.0f};
    const int32_t index[] = {0, 1, 2};
    float y[2] = {9, 9};
    struct vr_pool_rows pool = {.rows = 1, .count = 3, .y_stride = 2};
    pool.table = (struct vr_table){.rows = 2, .width = 2, .dtype = VR_TABLE_I8};
    pool.table.data = rig_put(&rig, data, sizeof data);
    pool.table.scale = rig_put(&rig, scale, sizeof scale);
    pool.index = rig_put(&rig, index, sizeof index);
    pool.weight = rig_put(&rig, weight, sizeof weight);
    pool.y = rig_put(&rig, y, sizeof y);
    cr_assert_eq(reference->ops->pool_rows(rig.stream, &pool), VR_OK);
    rig_get(&rig, pool.y, sizeof y, y);
    cr_assert_float_eq(y[0], 0.5 * 0.5 + 0.25 * 64 / 127.0 * 2, 1e-6);
    cr_assert_float_eq(y[1], -0.25, 1e-6);
}

Test(by_hand, a_view_past_its_buffer_is_refused)
{
    float data[16] = {0};
    struct vr_view view = rig_put(&rig, data, sizeof data);
    struct vr_normalize normalize = {.rows = 5, .width = 4, .stride = 4, .x = view};
    cr_assert_eq(reference->ops->normalize(rig.stream, &normalize), VR_ERR_INVALID);
    cr_assert(strstr(vr_error_text(), "normalize: x") != NULL, "%s", vr_error_text());
    normalize.rows = 4;
    cr_assert_eq(reference->ops->normalize(rig.stream, &normalize), VR_OK);

    struct vr_linear linear = {.rows = 2, .in = 2, .out = 2, .x_stride = 2, .weight_stride = 2, .y_stride = 2};
    linear.x = linear.weight = linear.y = view;
    cr_assert_eq(reference->ops->linear(rig.stream, &linear), VR_OK);
    linear.y_stride = 1;
    cr_assert_eq(reference->ops->linear(rig.stream, &linear), VR_ERR_INVALID);
    linear.y_stride = 20;
    cr_assert_eq(reference->ops->linear(rig.stream, &linear), VR_ERR_INVALID);
    linear.y_stride = 2;
    const int32_t add_row[] = {0, 9};
    linear.has_add = true;
    linear.add = view;
    linear.add_stride = 2;
    linear.add_row = rig_put(&rig, add_row, sizeof add_row);
    cr_assert_eq(reference->ops->linear(rig.stream, &linear), VR_ERR_INVALID);

    struct vr_expert_mix mix = {.rows = 1, .gates = 1, .experts = 2, .width = 2, .listed = {0}};
    mix.logit = mix.expert = mix.y = view;
    cr_assert_eq(reference->ops->expert_mix(rig.stream, &mix), VR_ERR_INVALID);
    mix.listed[0] = 4;
    cr_assert_eq(reference->ops->expert_mix(rig.stream, &mix), VR_ERR_INVALID);
    mix.listed[0] = 3;
    cr_assert_eq(reference->ops->expert_mix(rig.stream, &mix), VR_OK);
    cr_assert_eq(reference->ops->copy(rig.stream, view, view, sizeof data + 1), VR_ERR_INVALID);
}
