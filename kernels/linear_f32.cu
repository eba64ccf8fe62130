/* linear on the CUDA cores, rows and weights in float32:
 * y[r, o] = activation(sum_i x[r, i] * weight[o, i] + bias[o] + add[add_row[r], o]), for each product of a batch.
 *
 * Blocks of 64 rows x 64 outputs, 256 threads with 4 x 4 outputs each, 16 inputs at a time through shared memory. Each
 * output is one chain of fused multiply-adds in the order of the inputs: the same bits in any batch, and those of the
 * CPU backend's tiles. Error against exact arithmetic: at most `in` roundings of 2^-24 of the partial sums. */
#include "linear.cuh"

namespace
{

constexpr unsigned THREADS = 256;
constexpr unsigned TILE = 64;  /* rows and outputs of a block */
constexpr unsigned OWN = 4;    /* rows and outputs of a thread */
constexpr unsigned DEPTH = 16; /* inputs at a time */
constexpr unsigned PITCH = TILE + 4;

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

__device__ void finish(const vr_linear_launch &args, uint32_t row, uint32_t out, float value)
{
    const float *add = vr_linear_add(args, blockIdx.z, row, out);
    value += vr_linear_bias(args, blockIdx.z, out);
    value += add == nullptr ? 0.0f : *add;
    vr_element_put(args.y, args.y_half, blockIdx.z * args.y_step + static_cast<size_t>(row) * args.y_stride + out,
                   vr_linear_activate(args, value));
}

__global__ void __launch_bounds__(THREADS) linear_f32_kernel(const vr_linear_launch args)
{
    VR_SHARED(float, x, DEPTH *PITCH);
    VR_SHARED(float, w, DEPTH *PITCH);
    const uint32_t first_row = blockIdx.x * TILE, first_out = blockIdx.y * TILE;
    const float *rows = static_cast<const float *>(args.x) + blockIdx.z * args.x_step;
    const float *weights = static_cast<const float *>(args.weight) + blockIdx.z * args.weight_step;
    const unsigned own_row = threadIdx.x / (TILE / OWN) * OWN, own_out = threadIdx.x % (TILE / OWN) * OWN;
    float sum[OWN][OWN] = {};
    for (uint32_t first = 0; first < args.in; first += DEPTH) {
        load_tile(x, rows, args.rows, args.x_stride, args.in, first_row, first);
        load_tile(w, weights, args.out, args.weight_stride, args.in, first_out, first);
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

} // namespace

enum vr_status vr_linear_f32_launch(struct vr_stream *stream, const vr_linear_launch *args)
{
    const dim3 grid(vr_blocks_for(args->rows, TILE), vr_blocks_for(args->out, TILE), args->batch);
    return vr_launch(stream->seam, "linear", linear_f32_kernel, grid, THREADS, 0, *args);
}
