/* task_heads: head[r, t] = sum_k widths[t][k] * sigmoid(z_t[r, k]); z [rows, sum of outputs], floats or halves, the
 * tasks' outputs side by side; head float [rows, tasks].
 *
 * One thread a head. Float32 sums in the reference's order; the exponential may differ in the last bits. */
#include "numbers.cuh"

namespace
{

constexpr unsigned THREADS = 128;
constexpr unsigned TASKS = 8;

struct heads_args {
    uint32_t rows, tasks, columns;
    uint32_t first[TASKS + 1]; /* columns of z where each task begins */
    const void *z;
    bool z_half;
    const float *widths;
    float *head;
};

__global__ void task_heads_kernel(const heads_args args)
{
    const size_t at = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (at >= static_cast<size_t>(args.rows) * args.tasks) {
        return;
    }
    const size_t row = at / args.tasks;
    const uint32_t task = static_cast<uint32_t>(at % args.tasks);
    uint32_t begin = 0, end = 0;
    VR_UNROLL /* an index known only at run time would put the arguments into local memory */
        for (uint32_t t = 0; t < TASKS; t++)
    {
        begin = t == task ? args.first[t] : begin;
        end = t == task ? args.first[t + 1] : end;
    }
    float sum = 0.0f;
    for (uint32_t k = begin; k < end; k++) {
        sum += args.widths[k] / (1.0f + expf(-vr_element_get(args.z, args.z_half, row * args.columns + k)));
    }
    args.head[at] = sum;
}

} // namespace

enum vr_status vr_cuda_task_heads(struct vr_stream *stream, const struct vr_task_heads *args)
{
    if (args->tasks > TASKS) {
        return vr_fail(VR_ERR_INVALID, "task_heads: %u tasks, at most %u", args->tasks, TASKS);
    }
    heads_args given = {args->rows, args->tasks, 0, {}, nullptr, args->z_element == VR_ELEMENT_F16, nullptr, nullptr};
    for (uint32_t t = 0; t < args->tasks; t++) {
        given.first[t] = given.columns;
        given.columns += args->outputs[t];
    }
    given.first[args->tasks] = given.columns;
    const size_t rows = args->rows, heads = rows * args->tasks;
    given.z = vr_cuda_at(args->z, rows * given.columns, vr_element_bytes(args->z_element), "task_heads: z");
    given.widths = static_cast<const float *>(vr_cuda_at(args->widths, given.columns, 4, "task_heads: widths"));
    given.head = static_cast<float *>(vr_cuda_at(args->head, heads, 4, "task_heads: head"));
    if (given.z == nullptr || given.widths == nullptr || given.head == nullptr) {
        return VR_ERR_INVALID;
    }
    return heads == 0 ? VR_OK
                      : vr_launch(stream->seam, "task_heads", task_heads_kernel, vr_blocks_for(heads, THREADS), THREADS,
                                  0, given);
}
