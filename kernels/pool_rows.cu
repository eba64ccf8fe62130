/* pool_rows: y[r, c] = sum_i weight[r, i] * table[index[r, i], c]; y float [rows, y_stride].
 *
 * One block a row, one thread a column; the terms' numbers and weights wait in shared memory. Float32 sums of at most
 * 256 terms in their order, with one rounding a term (fused), where the reference has two. */
#include "numbers.cuh"

namespace
{

constexpr unsigned THREADS = 64;
constexpr unsigned TERMS = 256;

struct pool_args {
    vr_cuda_table table;
    uint32_t count, y_stride;
    const int32_t *index;
    const float *weight;
    float *y;
};

__global__ void pool_rows_f32_kernel(const pool_args args)
{
    VR_SHARED(int32_t, index, TERMS);
    VR_SHARED(float, weight, TERMS);
    const size_t row = blockIdx.x;
    for (unsigned i = threadIdx.x; i < args.count; i += THREADS) {
        index[i] = args.index[row * args.count + i];
        weight[i] = args.weight[row * args.count + i];
    }
    __syncthreads();
    for (uint32_t c = threadIdx.x; c < args.table.width; c += THREADS) {
        float sum = 0.0f;
        for (unsigned i = 0; i < args.count; i++) {
            if (index[i] >= 0 && static_cast<uint32_t>(index[i]) < args.table.rows) {
                sum = __fmaf_rn(weight[i], vr_table_value(args.table, index[i], c), sum);
            }
        }
        args.y[row * args.y_stride + c] = sum;
    }
}

} // namespace

enum vr_status vr_cuda_pool_rows(struct vr_stream *stream, const struct vr_pool_rows *args)
{
    pool_args given = {};
    const enum vr_status status = vr_cuda_table_at(&args->table, &given.table);
    if (status != VR_OK) {
        return status;
    }
    if (args->count > TERMS || given.table.width > args->y_stride) {
        return vr_fail(VR_ERR_INVALID, "pool_rows: %u terms of width %u", args->count, given.table.width);
    }
    const size_t terms = static_cast<size_t>(args->rows) * args->count;
    const size_t outputs = vr_cuda_extent(args->rows, args->y_stride, given.table.width);
    given.count = args->count;
    given.y_stride = args->y_stride;
    given.index = static_cast<const int32_t *>(vr_cuda_at(args->index, terms, 4, "pool_rows: index"));
    given.weight = static_cast<const float *>(vr_cuda_at(args->weight, terms, 4, "pool_rows: weight"));
    given.y = static_cast<float *>(vr_cuda_at(args->y, outputs, 4, "pool_rows: y"));
    if (given.index == nullptr || given.weight == nullptr || given.y == nullptr) {
        return VR_ERR_INVALID;
    }
    return args->rows == 0 ? VR_OK
                           : vr_launch(stream->seam, "pool_rows", pool_rows_f32_kernel, args->rows, THREADS, 0, given);
}
