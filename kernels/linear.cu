/* linear in float32: y[r, o] = activation(sum_i x[r, i] * weight[o, i] + bias[o] + add[add_row[r], o]).
 *
 * Blocks of 64 rows x 64 outputs, 256 threads with 4 x 4 outputs each, 16 inputs at a time through shared memory. Each
 * output is one chain of fused multiply-adds in the order of the inputs: the same bits in any batch, and those of the
 * CPU backend's tiles. Error against exact arithmetic: at most `in` roundings of 2^-24 of the partial sums. */
#include "numbers.cuh"

namespace
{

constexpr unsigned THREADS = 256;
constexpr unsigned TILE = 64;  /* rows and outputs of a block */
constexpr unsigned OWN = 4;    /* rows and outputs of a thread */
constexpr unsigned DEPTH = 16; /* inputs at a time */
constexpr unsigned PITCH = TILE + 4;

struct linear_args {
    uint32_t rows, in, out, x_stride, weight_stride, add_stride, y_stride;
    const float *x, *weight, *bias, *add;
    const int32_t *add_row;
    bool relu;
    float *y;
};

/* tile[i][r] = matrix[first_row + r, first + i], zeros outside. */
__device__ void load_tile(float *tile, const float *matrix, uint32_t rows, uint32_t stride, uint32_t in,
                          uint32_t first_row, uint32_t first)
{
    for (unsigned t = threadIdx.x; t < TILE * DEPTH; t += THREADS) {
        const unsigned r = t / DEPTH, i = t % DEPTH;
        const bool inside = first_row + r < rows && first + i < in;
        tile[i * PITCH + r] = inside ? matrix[static_cast<size_t>(first_row + r) * stride + first + i] : 0.0f;
    }
}

__device__ void finish(const linear_args &args, uint32_t row, uint32_t out, float value)
{
    if (args.bias != nullptr) {
        value += args.bias[out];
    }
    if (args.add != nullptr) {
        value += args.add[static_cast<size_t>(args.add_row[row]) * args.add_stride + out];
    }
    args.y[static_cast<size_t>(row) * args.y_stride + out] = args.relu && value < 0.0f ? 0.0f : value; /* NaN stays */
}

__global__ void __launch_bounds__(THREADS) linear_f32_kernel(const linear_args args)
{
    VR_SHARED(float, x, DEPTH *PITCH);
    VR_SHARED(float, w, DEPTH *PITCH);
    const uint32_t first_row = blockIdx.y * TILE, first_out = blockIdx.x * TILE;
    const unsigned own_row = threadIdx.x / (TILE / OWN) * OWN, own_out = threadIdx.x % (TILE / OWN) * OWN;
    float sum[OWN][OWN] = {};
    for (uint32_t first = 0; first < args.in; first += DEPTH) {
        load_tile(x, args.x, args.rows, args.x_stride, args.in, first_row, first);
        load_tile(w, args.weight, args.out, args.weight_stride, args.in, first_out, first);
        __syncthreads();
        for (unsigned i = 0; i < DEPTH; i++) {
            for (unsigned r = 0; r < OWN; r++) {
                for (unsigned o = 0; o < OWN; o++) {
                    sum[r][o] = __fmaf_rn(x[i * PITCH + own_row + r], w[i * PITCH + own_out + o], sum[r][o]);
                }
            }
        }
        __syncthreads();
    }
    for (unsigned r = 0; r < OWN; r++) {
        for (unsigned o = 0; o < OWN; o++) {
            const uint32_t row = first_row + own_row + r, out = first_out + own_out + o;
            if (row < args.rows && out < args.out) {
                finish(args, row, out, sum[r][o]);
            }
        }
    }
}

const float *floats_at(struct vr_view view, size_t count, const char *what)
{
    return static_cast<const float *>(vr_cuda_at(view, count, 4, what));
}

enum vr_status resolve(const struct vr_linear *args, linear_args *out)
{
    if (args->x_stride < args->in || args->weight_stride < args->in || args->y_stride < args->out ||
        (args->has_add && args->add_stride < args->out)) {
        return vr_fail(VR_ERR_INVALID, "linear: a stride is smaller than its row");
    }
    *out = linear_args{args->rows,       args->in,       args->out, args->x_stride, args->weight_stride,
                       args->add_stride, args->y_stride, nullptr,   nullptr,        nullptr,
                       nullptr,          nullptr,        false,     nullptr};
    out->relu = args->activation == VR_LINEAR_RELU;
    out->x = floats_at(args->x, vr_cuda_extent(args->rows, args->x_stride, args->in), "linear: x");
    out->weight = floats_at(args->weight, vr_cuda_extent(args->out, args->weight_stride, args->in), "linear: weight");
    const size_t outputs = vr_cuda_extent(args->rows, args->y_stride, args->out);
    out->y = static_cast<float *>(vr_cuda_at(args->y, outputs, 4, "linear: y"));
    bool inside = out->x != nullptr && out->weight != nullptr && out->y != nullptr;
    if (args->has_bias) {
        out->bias = floats_at(args->bias, args->out, "linear: bias");
        inside = inside && out->bias != nullptr;
    }
    if (args->has_add) {
        out->add = floats_at(args->add, args->out, "linear: add");
        out->add_row = static_cast<const int32_t *>(vr_cuda_at(args->add_row, args->rows, 4, "linear: add_row"));
        inside = inside && out->add != nullptr && out->add_row != nullptr;
    }
    return inside ? VR_OK : VR_ERR_INVALID;
}

} // namespace

enum vr_status vr_cuda_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    linear_args given;
    const enum vr_status status = resolve(args, &given);
    if (status != VR_OK || args->rows == 0 || args->out == 0) {
        return status;
    }
    const dim3 grid(vr_blocks_for(args->out, TILE), vr_blocks_for(args->rows, TILE));
    return vr_launch(stream->seam, "linear", linear_f32_kernel, grid, THREADS, 0, given);
}
