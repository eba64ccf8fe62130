/* linear on the tensor cores: x and weight halves, sums float32,
 * y[r, o] = activation(sum_i x[r, i] * weight[o, i] + bias[o] + add[add_row[r], o]), for each product of a batch.
 *
 * How it came to be what it is; nothing has run on a GPU yet, so the steps are named by what limits them:
 * 1. linear_f32.cu's form, one multiply-add an instruction: an H100's CUDA cores have 67 TFLOP/s by its data sheet,
 *    the yardstick model at 128 requests in 365 us needs some 360 (470 with nothing hoisted).
 * 2. mma.sync m16n8k16, fragments by ldmatrix from tiles of 32 inputs. Rows are 64 bytes, and their 16-byte chunks
 *    are crossed with the row, so that neither cp.async's writes nor ldmatrix' reads meet in a bank.
 * 3. Warp tiles of 64 x 64: 16 inputs of a 128 x 128 tile then cost 16 KiB of reads from shared memory, 128 clocks of
 *    128 bytes, which is what tensor cores take for them at an H100's peak. Warp tiles of 64 x 32 cost 24 KiB.
 * 4. cp.async in four stages with one barrier a stage: a stage is 64 mma a warp. Ragged rows, outputs and inputs are
 *    zeros by cp.async's source size: no divisibility is asked for, and what lies between rows is never read.
 * 5. Block tiles by what the L2 must deliver. A tile of R x O does RO / (R + O) FLOP a byte: 128 x 256 does 85,
 *    128 x 128 does 64, 64 x 64 does 32, and 400 TFLOP/s ask 4.7, 6.3 and 12.5 TB/s of it. So large products take
 *    128 x 256, one block a multiprocessor; small ones, that would leave multiprocessors idle, take smaller tiles.
 * 6. The end goes through shared memory, a warp for itself, 16 rows at a time: so add is read and y written in 16-byte
 *    pieces, whole 128-byte lines of a row, instead of in pairs.
 * 7. A batch is the grid's third dimension: all second layers of a level are one launch, 8 times the blocks.
 * Not tried: wgmma with TMA and multicast to a cluster (sm_90a alone, the emulator does not know them), and both layers
 * of an expert in one kernel, which would spare the hidden layer's way through the L2.
 *
 * A row's bits: each element is one chain of mma over the inputs in steps of 16 from 0 on, in every tile shape, and an
 * mma's element depends on its own row and column alone. Rows beside it, their number and the tile change nothing.
 *
 * Error. Products of halves are exact in float32. A tensor core aligns an mma's 16 products and the sum so far to the
 * largest and cuts each below 2^-23 of it (Fasi, Higham, Mikaitis, Pranesh, 2021: at worst; newer ones keep more bits),
 * so with S = sum_i |x_i w_i| + |bias| + |add| and n inputs rounded up to 16,
 *   |y - exact| <= (17 / 16 n + 3) 2^-23 S, and 2^-11 |y| (2^-25 for subnormals) more where y is halves.
 * Sums overflow only beyond 3e38; halves of y become infinite from 65520 on. */
#include "linear.cuh"
#include "ptx.cuh"

namespace
{

constexpr unsigned DEPTH = 32; /* inputs of a stage */
constexpr unsigned STAGES = 4;
constexpr unsigned CHUNK = 8; /* halves, 16 bytes */
constexpr unsigned CHUNKS = DEPTH / CHUNK;
constexpr unsigned M = 16, N = 8, K = 16; /* of an mma: rows, outputs, inputs */

/* Rows x outputs of a block and of a warp. */
template <unsigned ROWS_, unsigned OUTS_, unsigned WARP_ROWS_, unsigned WARP_OUTS_, unsigned RESIDENT_> struct tile {
    static constexpr unsigned ROWS = ROWS_, OUTS = OUTS_, WARP_ROWS = WARP_ROWS_, WARP_OUTS = WARP_OUTS_;
    static constexpr unsigned RESIDENT = RESIDENT_; /* blocks that a multiprocessor holds, at least */
    static constexpr unsigned WARPS_OUT = OUTS / WARP_OUTS;
    static constexpr unsigned THREADS = ROWS / WARP_ROWS * WARPS_OUT * VR_WARP;
    static constexpr unsigned STAGE_HALVES = (ROWS + OUTS) * DEPTH;
    static constexpr size_t SHARED_BYTES = STAGES * STAGE_HALVES * sizeof(uint16_t);
    static constexpr unsigned PITCH = WARP_OUTS + 8; /* floats of a staged row: pairs of 4 rows fill the banks */
    static_assert(THREADS / VR_WARP * M * PITCH * sizeof(float) <= SHARED_BYTES, "the end needs more than the stages");
};
using large = tile<128, 256, 64, 64, 1>;
using middle = tile<128, 128, 64, 64, 2>;
using small = tile<64, 64, 32, 32, 4>;

/* Where chunk `chunk` of row `row` of a stage's tile begins. Two rows share 128 bytes: four numbers cross them. */
__device__ unsigned place(unsigned row, unsigned chunk)
{
    return row * DEPTH + (chunk ^ (row >> 1 & 3u)) * CHUNK;
}

/* COUNT rows of a matrix [rows, in] from `first_row` on, inputs `first` .., to a stage's tile; zeros outside. */
template <unsigned COUNT, unsigned THREADS>
__device__ void load_rows(uint16_t *to, const uint16_t *matrix, uint32_t stride, uint32_t rows, uint32_t in,
                          uint32_t first_row, uint32_t first)
{
    VR_UNROLL
    for (unsigned i = 0; i < COUNT * CHUNKS / THREADS; i++) {
        const unsigned r = (i * THREADS + threadIdx.x) / CHUNKS, chunk = threadIdx.x % CHUNKS;
        const uint32_t row = first_row + r, input = first + chunk * CHUNK;
        const uint32_t left = row < rows && input < in ? in - input : 0;
        const uint16_t *from = left > 0 ? matrix + static_cast<size_t>(row) * stride + input : matrix;
        vr_copy_async(to + place(r, chunk), from, left < CHUNK ? left * 2 : 16);
    }
}

/* Stage `step` of the block's product; nothing, but a group all the same, past the last. */
template <class T> __device__ void load_stage(uint16_t *stages, const vr_linear_launch &args, uint32_t step)
{
    const uint32_t first = step * DEPTH;
    if (first < args.in) {
        uint16_t *stage = stages + step % STAGES * T::STAGE_HALVES;
        const uint16_t *x = static_cast<const uint16_t *>(args.x) + blockIdx.z * args.x_step;
        const uint16_t *weight = static_cast<const uint16_t *>(args.weight) + blockIdx.z * args.weight_step;
        load_rows<T::ROWS, T::THREADS>(stage, x, args.x_stride, args.rows, args.in, blockIdx.x * T::ROWS, first);
        load_rows<T::OUTS, T::THREADS>(stage + T::ROWS * DEPTH, weight, args.weight_stride, args.out, args.in,
                                       blockIdx.y * T::OUTS, first);
    }
    vr_copy_commit();
}

/* sum[m][n] += the warp's rows x outputs over a stage's inputs. */
template <class T>
__device__ void multiply(float sum[T::WARP_ROWS / M][T::WARP_OUTS / N][4], const uint16_t *rows, const uint16_t *outs)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned k = 0; k < DEPTH / CHUNK; k += K / CHUNK) {
        uint32_t a[T::WARP_ROWS / M][4], b[T::WARP_OUTS / N][2];
        VR_UNROLL
        for (unsigned m = 0; m < T::WARP_ROWS / M; m++) {
            vr_load_matrices(a[m], rows + place(m * M + lane % 16, k + lane / 16));
        }
        VR_UNROLL
        for (unsigned n = 0; n < T::WARP_OUTS / N; n += 2) { /* four matrices: two fragments */
            uint32_t matrix[4];
            vr_load_matrices(matrix, outs + place(n * N + lane / 16 * N + lane % 8, k + lane / 8 % 2));
            b[n][0] = matrix[0];
            b[n][1] = matrix[1];
            b[n + 1][0] = matrix[2];
            b[n + 1][1] = matrix[3];
        }
        VR_UNROLL
        for (unsigned m = 0; m < T::WARP_ROWS / M; m++) {
            VR_UNROLL
            for (unsigned n = 0; n < T::WARP_OUTS / N; n++) {
                vr_mma_f16(sum[m][n], a[m], b[n]);
            }
        }
    }
}

/* value[i] += add, for columns out .. of a row. */
__device__ void add_hoisted(const vr_linear_launch &args, uint32_t row, uint32_t out, float value[CHUNK])
{
    const float *add = vr_linear_add(args, blockIdx.z, row, out);
    if (add == nullptr) {
        return;
    }
    if (args.add_wide && out + CHUNK <= args.out) {
        const float4 low = *reinterpret_cast<const float4 *>(add), high = *reinterpret_cast<const float4 *>(add + 4);
        const float given[CHUNK] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        VR_UNROLL
        for (unsigned i = 0; i < CHUNK; i++) {
            value[i] += given[i];
        }
        return;
    }
    VR_UNROLL
    for (unsigned i = 0; i < CHUNK; i++) {
        value[i] += out + i < args.out ? add[i] : 0.0f;
    }
}

/* y[row, out ..] = value, as far as the row goes. */
__device__ void store(const vr_linear_launch &args, uint32_t row, uint32_t out, const float value[CHUNK])
{
    const size_t at = blockIdx.z * args.y_step + static_cast<size_t>(row) * args.y_stride + out;
    if (!args.y_wide || out + CHUNK > args.out) {
        VR_UNROLL
        for (unsigned i = 0; i < CHUNK; i++) {
            if (out + i < args.out) {
                vr_element_put(args.y, args.y_half, at + i, value[i]);
            }
        }
    } else if (args.y_half) {
        *reinterpret_cast<uint4 *>(static_cast<uint16_t *>(args.y) + at) =
            make_uint4(vr_halves_of_floats(value[0], value[1]), vr_halves_of_floats(value[2], value[3]),
                       vr_halves_of_floats(value[4], value[5]), vr_halves_of_floats(value[6], value[7]));
    } else {
        float4 *y = reinterpret_cast<float4 *>(static_cast<float *>(args.y) + at);
        y[0] = make_float4(value[0], value[1], value[2], value[3]);
        y[1] = make_float4(value[4], value[5], value[6], value[7]);
    }
}

/* One row's 8 columns: product + bias + add, activated, stored. */
__device__ void finish(const vr_linear_launch &args, uint32_t row, uint32_t out, const float *product,
                       const float bias[CHUNK])
{
    if (row >= args.rows || out >= args.out) {
        return;
    }
    const float4 low = *reinterpret_cast<const float4 *>(product),
                 high = *reinterpret_cast<const float4 *>(product + 4);
    float value[CHUNK] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    VR_UNROLL
    for (unsigned i = 0; i < CHUNK; i++) {
        value[i] += bias[i];
    }
    add_hoisted(args, row, out, value);
    VR_UNROLL
    for (unsigned i = 0; i < CHUNK; i++) {
        value[i] = vr_linear_activate(args, value[i]);
    }
    store(args, row, out, value);
}

/* The warp's sums, whose element (0, 0) is y[row, out], by way of its own `staging` [M, PITCH]: 16 rows at a time. */
template <class T>
__device__ void finish_warp(const vr_linear_launch &args, const float sum[T::WARP_ROWS / M][T::WARP_OUTS / N][4],
                            float *staging, uint32_t row, uint32_t out)
{
    constexpr unsigned PIECES = T::WARP_OUTS / CHUNK; /* of a row; a lane keeps to one column */
    const unsigned lane = threadIdx.x % VR_WARP, column = lane % PIECES * CHUNK;
    float bias[CHUNK];
    VR_UNROLL
    for (unsigned i = 0; i < CHUNK; i++) {
        bias[i] = out + column + i < args.out ? vr_linear_bias(args, blockIdx.z, out + column + i) : 0.0f;
    }
    VR_UNROLL
    for (unsigned m = 0; m < T::WARP_ROWS / M; m++) {
        __syncwarp(); /* the rows before have been read */
        VR_UNROLL
        for (unsigned n = 0; n < T::WARP_OUTS / N; n++) {
            float *pair = staging + lane / 4 * T::PITCH + n * N + lane % 4 * 2;
            *reinterpret_cast<float2 *>(pair) = make_float2(sum[m][n][0], sum[m][n][1]);
            *reinterpret_cast<float2 *>(pair + 8 * T::PITCH) = make_float2(sum[m][n][2], sum[m][n][3]);
        }
        __syncwarp();
        for (unsigned r = lane / PIECES; r < M; r += VR_WARP / PIECES) {
            finish(args, row + m * M + r, out + column, staging + r * T::PITCH + column, bias);
        }
    }
}

template <class T>
__global__ void __launch_bounds__(T::THREADS, T::RESIDENT) linear_f16_kernel(const vr_linear_launch args)
{
    VR_SHARED_LAUNCH(uint16_t, stages); /* [STAGES, ROWS + OUTS, DEPTH], then the warps' [M, PITCH] floats */
    const unsigned warp = threadIdx.x / VR_WARP;
    const unsigned row = warp / T::WARPS_OUT * T::WARP_ROWS, out = warp % T::WARPS_OUT * T::WARP_OUTS;
    float sum[T::WARP_ROWS / M][T::WARP_OUTS / N][4] = {};
    for (uint32_t step = 0; step + 1 < STAGES; step++) {
        load_stage<T>(stages, args, step);
    }
    for (uint32_t step = 0; step * DEPTH < args.in; step++) {
        vr_copy_wait<STAGES - 2>();
        __syncthreads(); /* the stage is there for all, and the one that is loaded next is no longer read */
        load_stage<T>(stages, args, step + STAGES - 1);
        const uint16_t *stage = stages + step % STAGES * T::STAGE_HALVES;
        multiply<T>(sum, stage + row * DEPTH, stage + (T::ROWS + out) * DEPTH);
    }
    __syncthreads(); /* no stage is read any more, and all copies were waited for: the groups left are empty */
    finish_warp<T>(args, sum, reinterpret_cast<float *>(stages) + warp * M * T::PITCH, blockIdx.x * T::ROWS + row,
                   blockIdx.y * T::OUTS + out);
}

template <class T> dim3 grid_of(const vr_linear_launch *args)
{
    return dim3(vr_blocks_for(args->rows, T::ROWS), vr_blocks_for(args->out, T::OUTS), args->batch);
}

/* Whether a tile leaves no multiprocessor idle and no more than half of its outputs empty. */
template <class T> bool fills(const vr_linear_launch *args, unsigned processors)
{
    const dim3 grid = grid_of<T>(args);
    return args->out > T::OUTS / 2 && uint64_t{grid.x} * grid.y * grid.z >= processors;
}

template <class T> enum vr_status launch(struct vr_stream *stream, const vr_linear_launch *args)
{
    return vr_launch(stream->seam, "linear f16", linear_f16_kernel<T>, grid_of<T>(args), T::THREADS, T::SHARED_BYTES,
                     *args);
}

} // namespace

/* The tile may depend on the number of rows: it does not change their bits (above). */
enum vr_status vr_linear_f16_launch(struct vr_stream *stream, const vr_linear_launch *args)
{
    const unsigned processors = stream->device->seam.processors;
    if (fills<large>(args, processors)) {
        return launch<large>(stream, args);
    }
    return fills<middle>(args, processors) ? launch<middle>(stream, args) : launch<small>(stream, args);
}

enum vr_status vr_linear_allow_shared(size_t most)
{
    (void)most; /* every device that is supported has this much */
    enum vr_status status = vr_allow_shared(linear_f16_kernel<large>, large::SHARED_BYTES);
    status = status == VR_OK ? vr_allow_shared(linear_f16_kernel<middle>, middle::SHARED_BYTES) : status;
    return status == VR_OK ? vr_allow_shared(linear_f16_kernel<small>, small::SHARED_BYTES) : status;
}
