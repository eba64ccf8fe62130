/* linear by dot products over tiles (dot_tiles.h): a block of up to 256 outputs is packed into tiles in the stream's
 * scratch, then every group of 8 rows runs over it while it is in the cache.
 *
 * Measured against OpenBLAS 0.3.21 on panels of 64 rows (Zen 4, one thread, bias and ReLU included, microseconds):
 *   rows  in  out   OpenBLAS  tiles
 *      1 130  512       93     21
 *     16 130  512       96     43
 *    300 200  512      747    725
 *    300 128   64       65     60
 *    512 256  512     1532   1578
 * so the product is as quick, few rows are not padded to a panel, and a row's bits never depend on its place. */
#include <string.h>

#include "dot_tiles.h"
#include "linear.h"

#define PACK_FLOATS (VR_SCRATCH_BYTES / (uint32_t)sizeof(float))

/* Outputs first .. first + count as tiles; lanes past the end are zeros. */
static void pack(const struct vr_linear *args, const struct vr_linear_at *at, uint32_t first, uint32_t count,
                 float *tile)
{
    const size_t stride = args->weight_stride;
    const float *rows = at->weight;
    for (uint32_t o = 0; o < count; o += VR_TILE_LANES) {
        const uint32_t lanes = count - o < VR_TILE_LANES ? count - o : VR_TILE_LANES;
        const float *weight = rows + (size_t)(first + o) * stride;
        float *out = tile + (size_t)o * args->in;
        if (lanes < VR_TILE_LANES) {
            memset(out, 0, (size_t)args->in * VR_TILE_LANES * sizeof *out);
        }
        for (uint32_t i = 0; i < args->in; i++) {
            for (uint32_t lane = 0; lane < lanes; lane++) {
                out[(size_t)i * VR_TILE_LANES + lane] = weight[lane * stride + i];
            }
        }
    }
}

/* Outputs of one call of the kernel: as many tiles as the scratch holds. */
static uint32_t block_outputs(const struct vr_linear *args)
{
    const uint32_t tiles = PACK_FLOATS / (VR_TILE_LANES * args->in);
    return VR_TILE_LANES * (tiles < VR_BLOCK_TILES ? tiles : VR_BLOCK_TILES);
}

static enum vr_status linear_product(struct vr_stream *stream, const struct vr_linear *args)
{
    struct vr_linear_at at;
    const enum vr_status status = vr_linear_resolve(args, &at);
    if (status != VR_OK || args->rows == 0) {
        return status;
    }
    vr_dot_block *block = vr_dot_block_choose(false);
    const uint32_t outputs = block_outputs(args);
    float *tile = stream->scratch;
    float dot[VR_DOT_ROWS][VR_BLOCK_LANES];
    for (uint32_t first = 0; first < args->out; first += outputs) {
        const uint32_t count = args->out - first < outputs ? args->out - first : outputs;
        pack(args, &at, first, count, tile);
        for (size_t r = 0; r < args->rows; r += VR_DOT_ROWS) {
            const uint32_t rows = args->rows - r < VR_DOT_ROWS ? (uint32_t)(args->rows - r) : VR_DOT_ROWS;
            block(tile, (count + VR_TILE_LANES - 1) / VR_TILE_LANES, args->in, (const float *)at.x + r * args->x_stride,
                  args->x_stride, rows, dot);
            for (uint32_t i = 0; i < rows; i++) {
                vr_linear_finish(args, &at, r + i, first, count, dot[i]);
            }
        }
    }
    return VR_OK;
}

static bool has_halves(const struct vr_linear *args)
{
    return args->x_element == VR_ELEMENT_F16 || args->y_element == VR_ELEMENT_F16 ||
           (args->has_bias && args->bias_element == VR_ELEMENT_F16);
}

enum vr_status vr_tiles_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    const bool plain = args->in == 0 || args->in > PACK_FLOATS / VR_TILE_LANES || has_halves(args);
    return plain ? vr_reference_linear(stream, args) : vr_linear_each(stream, args, linear_product);
}
