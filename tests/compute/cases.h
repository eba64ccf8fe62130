/* The one table of cases of the backend's operations: test_ops.c runs it on the CPU backend, and every later backend
 * runs the same rows through vr_ops_check (support_ops.h). The oracle is the plain C reference. Shapes are ragged on
 * purpose: nothing may assume a multiple of anything.
 *
 * A tolerance belongs to the operation: |got - want| <= absolute + relative * |want|. */
#ifndef VIREO_TESTS_COMPUTE_CASES_H
#define VIREO_TESTS_COMPUTE_CASES_H

#include <stdint.h>

enum op {
    OP_GATHER = 0,
    OP_POOL_ROWS,
    OP_LINEAR,
    OP_NORMALIZE,
    OP_EXPERT_MIX,
    OP_TASK_HEADS,
    OP_GATHER_F16, /* the same with matrices of halves */
    OP_LINEAR_F16,
    OP_EXPERT_MIX_F16,
    OP_TASK_HEADS_F16,
};
#define OP_COUNT 10u

/* What a backend may differ by from the reference, and why. A result that is stored as halves may moreover be the
 * neighbouring half: two sums that differ in their last bits can lie on both sides of a tie. */
#define HALF_STEP 0x1p-10           /* from one half to the next, relative: at most */
#define HALF_STEP_SUBNORMAL 0x1p-24 /* absolute */
struct op_tolerance {
    const char *name;
    double absolute, relative;
};
static const struct op_tolerance op_tolerance[OP_COUNT] = {
    [OP_GATHER] = {"gather", 0.0, 0.0},         /* copies and exact conversions: the same bits; int8 has one product */
    [OP_POOL_ROWS] = {"pool_rows", 2e-6, 1e-5}, /* up to 256 float32 additions in another order */
    [OP_LINEAR] = {"linear", 4e-5, 1e-5},       /* up to 700 products of [-1, 1] added in another order */
    [OP_NORMALIZE] = {"normalize", 1e-7, 2e-6}, /* a sum of squares in float32 instead of float64 */
    [OP_EXPERT_MIX] = {"expert_mix", 1e-6, 1e-5}, /* another exp, and up to 64 additions in another order */
    [OP_TASK_HEADS] = {"task_heads", 1e-5, 1e-5}, /* another exp, and up to 64 additions in another order */
    [OP_GATHER_F16] = {"gather f16", 0.0, 0.0},   /* one conversion, to the nearest: the same bits */
    [OP_LINEAR_F16] = {"linear f16", 4e-5, 1e-5}, /* as linear: products of halves are exact in float32 */
    [OP_EXPERT_MIX_F16] = {"expert_mix f16", 1e-6, 1e-5},
    [OP_TASK_HEADS_F16] = {"task_heads f16", 1e-5, 1e-5},
};

/* What is put among the random inputs. */
enum spice { PLAIN = 0, WITH_NAN, WITH_INFINITY, WITH_ZERO_ROWS };

/* Bits of c of a linear; its bits 8 and up are the batch, whose products' inputs and outputs lie side by side. */
enum linear_form {
    BIAS = 1,
    ADD = 2,
    RELU = 4,
    PADDED = 8,       /* strides that are longer than rows, and of y and add not multiples of anything */
    Y_HALVES = 16,    /* y is halves */
    BIAS_HALVES = 32, /* and so is the bias */
    WHOLE_STEPS = 64, /* strides of y and add are longer than rows and multiples of 8, with any out */
};
#define BATCH(products) ((uint32_t)(products) << 8)

/* Bits of a of an expert_mix f16, above its gates. */
enum mix_form {
    EXPERT_FLOATS = 256,
    Y_FLOATS = 512,
};

/* The meaning of a, b, c by operation:
 * gather: dense columns, table width, table rows (three tables: F32, F16, I8; one index column each)
 * pool_rows: terms, table width, table rows        linear: in, out, form
 * normalize: width, extra stride                   expert_mix: gates, experts, width
 * task_heads: tasks, outputs of the second task */
struct op_case {
    enum op op;
    uint32_t rows, a, b, c;
    enum spice spice;
};

static const struct op_case op_cases[] = {
    {OP_GATHER, 0, 3, 8, 10, PLAIN},
    {OP_GATHER, 1, 1, 1, 1, PLAIN},
    {OP_GATHER, 7, 5, 17, 33, PLAIN},
    {OP_GATHER, 300, 20, 64, 1000, PLAIN},
    {OP_GATHER, 65, 3, 24, 50, WITH_NAN},
    {OP_GATHER, 65, 3, 24, 50, WITH_INFINITY},
    {OP_POOL_ROWS, 0, 50, 64, 100, PLAIN},
    {OP_POOL_ROWS, 1, 1, 8, 1, PLAIN},
    {OP_POOL_ROWS, 5, 50, 64, 1000, PLAIN},
    {OP_POOL_ROWS, 17, 256, 31, 300, PLAIN},
    {OP_POOL_ROWS, 3, 0, 8, 10, PLAIN},
    {OP_POOL_ROWS, 9, 50, 24, 77, WITH_NAN},
    {OP_POOL_ROWS, 9, 50, 24, 77, WITH_INFINITY},
    {OP_LINEAR, 33, 48, 20, BATCH(3) | BIAS | ADD | RELU, PLAIN},
    {OP_LINEAR, 70, 31, 67, BATCH(2) | BIAS | ADD | PADDED, PLAIN},
    {OP_LINEAR, 9, 20, 24, BIAS | ADD | Y_HALVES | BIAS_HALVES, PLAIN},
    {OP_LINEAR, 0, 64, 32, 7, PLAIN},
    {OP_LINEAR, 1, 1, 1, 0, PLAIN},
    {OP_LINEAR, 1, 200, 64, 5, PLAIN},
    {OP_LINEAR, 63, 31, 17, 1, PLAIN},
    {OP_LINEAR, 64, 64, 64, 4, PLAIN},
    {OP_LINEAR, 65, 129, 67, 7, PLAIN},
    {OP_LINEAR, 129, 256, 512, 15, PLAIN},
    {OP_LINEAR, 10, 700, 1030, 15, PLAIN},
    {OP_LINEAR, 5, 0, 9, 3, PLAIN},
    {OP_LINEAR, 3, 5000, 4, 1, WITH_ZERO_ROWS},
    {OP_LINEAR, 70, 48, 20, 7, WITH_NAN},
    {OP_LINEAR, 70, 48, 20, 7, WITH_INFINITY},
    {OP_LINEAR, 70, 48, 20, 8, WITH_ZERO_ROWS},
    {OP_NORMALIZE, 0, 64, 0, 0, PLAIN},
    {OP_NORMALIZE, 1, 1, 0, 0, PLAIN},
    {OP_NORMALIZE, 33, 64, 5, 0, PLAIN},
    {OP_NORMALIZE, 33, 31, 0, 0, WITH_ZERO_ROWS},
    {OP_NORMALIZE, 33, 31, 3, 0, WITH_NAN},
    {OP_NORMALIZE, 33, 31, 3, 0, WITH_INFINITY},
    {OP_EXPERT_MIX, 0, 4, 4, 64, PLAIN},
    {OP_EXPERT_MIX, 1, 1, 1, 1, PLAIN},
    {OP_EXPERT_MIX, 65, 4, 8, 64, PLAIN},
    {OP_EXPERT_MIX, 7, 16, 64, 33, PLAIN},
    {OP_EXPERT_MIX, 30, 3, 5, 16, WITH_NAN},
    {OP_EXPERT_MIX, 30, 3, 5, 16, WITH_INFINITY},
    {OP_TASK_HEADS, 0, 4, 32, 0, PLAIN},
    {OP_TASK_HEADS, 1, 1, 1, 0, PLAIN},
    {OP_TASK_HEADS, 67, 4, 32, 0, PLAIN},
    {OP_TASK_HEADS, 5, 8, 64, 0, PLAIN},
    {OP_TASK_HEADS, 30, 4, 9, 0, WITH_NAN},
    {OP_TASK_HEADS, 30, 4, 9, 0, WITH_INFINITY},
    {OP_GATHER_F16, 0, 3, 8, 10, PLAIN},
    {OP_GATHER_F16, 1, 1, 1, 1, PLAIN},
    {OP_GATHER_F16, 65, 5, 17, 33, PLAIN},
    {OP_GATHER_F16, 65, 3, 24, 50, WITH_NAN},
    {OP_GATHER_F16, 65, 3, 24, 50, WITH_INFINITY},
    {OP_LINEAR_F16, 0, 64, 32, BIAS | ADD | RELU | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 1, 1, 1, 0, PLAIN},
    {OP_LINEAR_F16, 1, 200, 64, BIAS | RELU | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 63, 31, 17, BIAS | BIAS_HALVES | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 64, 64, 64, RELU, PLAIN},
    {OP_LINEAR_F16, 65, 129, 67, BIAS | ADD | RELU | Y_HALVES | WHOLE_STEPS, PLAIN},
    {OP_LINEAR_F16, 65, 33, 67, BIAS | ADD | WHOLE_STEPS, PLAIN},
    {OP_LINEAR_F16, 129, 160, 512, BIAS | ADD | RELU | PADDED | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 257, 128, 264, ADD | RELU | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 10, 150, 1030, BIAS | ADD | RELU | PADDED, PLAIN},
    {OP_LINEAR_F16, 5, 0, 9, BIAS | ADD | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 3, 2000, 4, BIAS, WITH_ZERO_ROWS},
    {OP_LINEAR_F16, 70, 48, 20, BIAS | ADD | RELU | Y_HALVES, WITH_NAN},
    {OP_LINEAR_F16, 70, 48, 20, BIAS | ADD | RELU | Y_HALVES, WITH_INFINITY},
    {OP_LINEAR_F16, 70, 48, 20, PADDED, WITH_ZERO_ROWS},
    {OP_LINEAR_F16, 130, 96, 256, BATCH(3) | BIAS | RELU | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 257, 64, 100, BATCH(2) | BIAS | BIAS_HALVES | RELU | Y_HALVES | WHOLE_STEPS, PLAIN},
    {OP_LINEAR_F16, 33, 41, 20, BATCH(4) | BIAS | ADD | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 33, 41, 20, BATCH(4) | BIAS | ADD | PADDED, PLAIN},
    {OP_LINEAR_F16, 40, 72, 64, BATCH(2) | BIAS | BIAS_HALVES | RELU | Y_HALVES, PLAIN},
    {OP_LINEAR_F16, 33, 41, 20, BIAS | BIAS_HALVES | Y_HALVES | WHOLE_STEPS, PLAIN},
    {OP_EXPERT_MIX_F16, 0, 4, 4, 64, PLAIN},
    {OP_EXPERT_MIX_F16, 1, 1, 1, 1, PLAIN},
    {OP_EXPERT_MIX_F16, 65, 4, 8, 64, PLAIN},
    {OP_EXPERT_MIX_F16, 13, 6, 8, 264, PLAIN},
    {OP_EXPERT_MIX_F16, 7, 16, 64, 33, PLAIN},
    {OP_EXPERT_MIX_F16, 9, 3 | Y_FLOATS, 5, 16, PLAIN},
    {OP_EXPERT_MIX_F16, 9, 3 | EXPERT_FLOATS, 5, 16, PLAIN},
    {OP_EXPERT_MIX_F16, 30, 3, 5, 16, WITH_NAN},
    {OP_EXPERT_MIX_F16, 30, 3, 5, 16, WITH_INFINITY},
    {OP_TASK_HEADS_F16, 1, 1, 1, 0, PLAIN},
    {OP_TASK_HEADS_F16, 67, 4, 32, 0, PLAIN},
    {OP_TASK_HEADS_F16, 30, 4, 9, 0, WITH_NAN},
    {OP_TASK_HEADS_F16, 30, 4, 9, 0, WITH_INFINITY},
};
#define OP_CASE_COUNT (sizeof op_cases / sizeof op_cases[0])

#endif
