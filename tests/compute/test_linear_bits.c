/* A row of `linear` has the same bits alone, in 7 rows and in 256, and at every place among them; the kernels below it
 * keep one chain of additions whatever their blocking; halves convert exactly. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/dot_tiles.h"
#include "support_ops.h"
#include "vireo/half.h"

#define ROWS 256u

struct shape {
    uint32_t in, out;
};
static const struct shape shapes[] = {{200, 512}, {64, 128}, {128, 64}, {31, 17},   {1, 1},    {385, 130},
                                      {700, 40},  {64, 4},   {64, 1},   {48, 1030}, {1100, 9}, {16, 16}};

/* rows first .. first + count of x, at place 0 of their own call. */
static void run(struct rig *rig, const struct vr_linear *whole, uint32_t first, uint32_t count, float *out)
{
    struct vr_linear args = *whole;
    args.rows = count;
    args.x.offset = (size_t)first * args.x_stride * sizeof(float);
    cr_assert_eq(rig->backend->ops->linear(rig->stream, &args), VR_OK, "%s", vr_error_text());
    rig_get(rig, args.y, (size_t)count * args.out * sizeof(float), out);
}

static void check_shape(struct rig *rig, struct shape shape)
{
    struct dice dice = {shape.in * 1000 + shape.out};
    const size_t xs = (size_t)ROWS * shape.in, ws = (size_t)shape.out * shape.in, ys = (size_t)ROWS * shape.out;
    float *data = malloc((xs + ws) * sizeof *data);
    float *whole = malloc(ys * sizeof *whole), *part = malloc(ys * sizeof *part);
    cr_assert(data != NULL && whole != NULL && part != NULL);
    dice_floats(&dice, data, xs + ws);
    struct vr_linear args = {.rows = ROWS, .in = shape.in, .out = shape.out, .x_stride = shape.in};
    args.weight_stride = shape.in;
    args.y_stride = shape.out;
    args.x = rig_put(rig, data, xs * sizeof *data);
    args.weight = rig_put(rig, data + xs, ws * sizeof *data);
    memset(whole, 0, ys * sizeof *whole);
    args.y = rig_put(rig, whole, ys * sizeof *whole);
    run(rig, &args, 0, ROWS, whole);
    static const uint32_t counts[] = {1, 7, 63, 64, 65};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (uint32_t first = 0; first + counts[c] <= ROWS; first += counts[c] == 1 ? 1 : 5) {
            run(rig, &args, first, counts[c], part);
            cr_assert_eq(memcmp(part, whole + (size_t)first * shape.out, (size_t)counts[c] * shape.out * sizeof *part),
                         0, "[%u, %u], %u rows from %u", shape.in, shape.out, counts[c], first);
        }
    }
    free(data);
    free(whole);
    free(part);
    rig_clear(rig);
}

Test(linear_bits, any_batch)
{
    struct vr_backend *cpu = NULL;
    struct rig rig;
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    rig_open(&rig, cpu);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        check_shape(&rig, shapes[s]);
    }
    rig_close(&rig);
    vr_backend_destroy(cpu);
}

/* ---- the kernels alone: those that this processor runs ---- */

#define DIM 77u

struct kernel {
    const char *name;
    vr_dot_block *f32, *f16;
};

static unsigned kernels(struct kernel out[3])
{
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    unsigned count = 0;
    out[count++] = (struct kernel){"plain", vr_dot_block_f32_plain, vr_dot_block_f16_plain};
    if (avx2) {
        out[count++] = (struct kernel){"avx2", vr_dot_block_f32_avx2, vr_dot_block_f16_avx2};
    }
    if (__builtin_cpu_supports("avx512f")) {
        out[count++] = (struct kernel){"avx512", vr_dot_block_f32_avx512, vr_dot_block_f16_avx512};
    }
    return count;
}

struct inputs {
    float tile[VR_BLOCK_LANES * DIM], x[VR_DOT_ROWS * DIM];
    uint16_t half[VR_BLOCK_LANES * DIM];
};

/* Values that a half holds exactly, so that both kinds of tile mean the same. */
static void fill(struct inputs *in)
{
    struct dice dice = {42};
    dice_floats(&dice, in->x, VR_DOT_ROWS * DIM);
    for (size_t i = 0; i < VR_BLOCK_LANES * DIM; i++) {
        in->half[i] = vr_half_from_float(dice_unit(&dice));
        in->tile[i] = vr_half_to_float(in->half[i]);
    }
}

static float dots[4][VR_DOT_ROWS][VR_BLOCK_LANES];

Test(dot_tiles, rows_do_not_depend_on_their_call)
{
    static struct inputs in;
    struct kernel kernel[3];
    fill(&in);
    const unsigned count = kernels(kernel);
    for (unsigned k = 0; k < count; k++) {
        kernel[k].f32(in.tile, VR_BLOCK_TILES, DIM, in.x, DIM, VR_DOT_ROWS, dots[0]);
        kernel[k].f16(in.half, VR_BLOCK_TILES, DIM, in.x, DIM, VR_DOT_ROWS, dots[1]);
        cr_assert_eq(memcmp(dots[0], dots[1], sizeof dots[0]), 0, "%s: halves differ from floats", kernel[k].name);
        for (uint32_t rows = 1; rows <= VR_DOT_ROWS; rows++) {
            for (uint32_t tiles = 1; tiles <= VR_BLOCK_TILES; tiles++) {
                const float *x = in.x + (VR_DOT_ROWS - rows) * DIM;
                kernel[k].f32(in.tile, tiles, DIM, x, DIM, rows, dots[2]);
                kernel[k].f16(in.half, tiles, DIM, x, DIM, rows, dots[3]);
                for (uint32_t r = 0; r < rows; r++) {
                    const size_t bytes = (size_t)tiles * VR_TILE_LANES * sizeof(float);
                    const float *want = dots[0][VR_DOT_ROWS - rows + r];
                    cr_assert_eq(memcmp(dots[2][r], want, bytes), 0, "%s: %u rows", kernel[k].name, rows);
                    cr_assert_eq(memcmp(dots[3][r], want, bytes), 0, "%s: %u rows, half", kernel[k].name, rows);
                }
            }
        }
    }
}

Test(dot_tiles, fma_kernels_agree_and_equal_a_chain_of_fmaf)
{
    static struct inputs in;
    struct kernel kernel[3];
    fill(&in);
    const unsigned count = kernels(kernel);
    for (unsigned k = 0; k < count; k++) {
        kernel[k].f32(in.tile, VR_BLOCK_TILES, DIM, in.x, DIM, VR_DOT_ROWS, dots[k]);
        for (uint32_t r = 0; r < VR_DOT_ROWS; r++) {
            for (uint32_t lane = 0; lane < VR_BLOCK_LANES; lane++) {
                float chain = 0.0f;
                for (uint32_t i = 0; i < DIM; i++) {
                    const float *tile = in.tile + (size_t)(lane / VR_TILE_LANES) * DIM * VR_TILE_LANES;
                    const float component = tile[i * VR_TILE_LANES + lane % VR_TILE_LANES];
                    chain = fmaf(in.x[r * DIM + i], component, chain);
                }
                if (kernel[k].f32 != vr_dot_block_f32_plain) {
                    cr_assert_eq(dots[k][r][lane], chain, "%s row %u lane %u", kernel[k].name, r, lane);
                }
                cr_assert_float_eq(dots[k][r][lane], chain, 2e-5);
            }
        }
    }
}

Test(half, every_value_there_and_back)
{
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        const float value = vr_half_to_float((uint16_t)bits);
        float row[9];
        uint16_t halves[9] = {0, 1, 2, 3, 4, 5, 6, 7, (uint16_t)bits};
        halves[bits % 8] = (uint16_t)bits;
        vr_half_to_floats(halves, 9, row);
        if (isnan(value)) {
            cr_assert(isnan(row[8]) && isnan(row[bits % 8]) && isnan(vr_half_to_float(vr_half_from_float(value))));
            continue;
        }
        cr_assert(row[8] == value && row[bits % 8] == value, "half %04x", bits);
        cr_assert_eq(vr_half_from_float(value), bits, "half %04x is %a", bits, (double)value);
    }
    cr_assert_eq(vr_half_to_float(0x3c00), 1.0f);
    cr_assert_eq(vr_half_to_float(0x7bff), 65504.0f);
    cr_assert_eq(vr_half_from_float(1.0f + 0x1p-11f), 0x3c00, "ties go to even");
    cr_assert_eq(vr_half_from_float(1.0f + 0x3p-11f), 0x3c02);
    cr_assert_eq(vr_half_from_float(65519.0f), 0x7bff);
    cr_assert_eq(vr_half_from_float(65520.0f), 0x7c00);
}
