/* gather: y[row] = columns of a dense matrix and rows of tables, side by side; y [rows, y_stride], floats or halves.
 *
 * A block first notes for each column of y which segment it belongs to, then copies its rows column by column, so that
 * neighbouring threads read and write neighbouring addresses. Exact: copies, and conversions of stored numbers; one
 * rounding where y is halves. */
#include "numbers.cuh"

namespace
{

constexpr unsigned THREADS = 128;
constexpr unsigned ROWS = 16;      /* of a block */
constexpr unsigned COLUMNS = 1024; /* of a block */
constexpr unsigned SEGMENTS = 32;  /* of a launch: they travel as its argument */
constexpr uint8_t NONE = 0xff;

struct segment {
    enum vr_segment_kind kind;
    uint32_t offset, width, source;
    vr_cuda_table table;
};

struct gather_args {
    segment part[SEGMENTS];
    uint32_t parts;
    uint32_t rows, dense_stride, index_stride, y_stride;
    const float *dense;
    const int32_t *index;
    void *y;
    bool y_half;
};

__device__ float value_of(const gather_args &args, const segment &part, size_t row, uint32_t column)
{
    if (part.kind == VR_SEGMENT_DENSE) {
        return args.dense[row * args.dense_stride + part.source + column];
    }
    return vr_table_value(part.table, args.index[row * args.index_stride + part.source], column);
}

__global__ void gather_kernel(const gather_args args)
{
    VR_SHARED(uint8_t, part_of, COLUMNS);
    const uint32_t first_column = blockIdx.y * COLUMNS;
    for (unsigned c = threadIdx.x; c < COLUMNS; c += THREADS) {
        uint8_t found = NONE;
        for (unsigned p = 0; p < args.parts; p++) { /* the last one wins, as if copied in order */
            const uint32_t column = first_column + c - args.part[p].offset;
            found = column < args.part[p].width ? static_cast<uint8_t>(p) : found;
        }
        part_of[c] = found;
    }
    __syncthreads();
    const size_t first_row = static_cast<size_t>(blockIdx.x) * ROWS;
    for (size_t row = first_row; row < first_row + ROWS && row < args.rows; row++) {
        for (unsigned c = threadIdx.x; c < COLUMNS && first_column + c < args.y_stride; c += THREADS) {
            if (part_of[c] != NONE) {
                const segment &part = args.part[part_of[c]];
                const uint32_t column = first_column + c;
                vr_element_put(args.y, args.y_half, row * args.y_stride + column,
                               value_of(args, part, row, column - part.offset));
            }
        }
    }
}

enum vr_status take_segment(const vr_gather *args, uint32_t s, segment *out)
{
    const vr_segment *given = &args->segment[s];
    if (given->width > args->y_stride || given->offset > args->y_stride - given->width) {
        return vr_fail(VR_ERR_INVALID, "gather: segment %u ends past the row", s);
    }
    *out = segment{given->kind, given->offset, given->width, given->source, {}};
    if (given->kind == VR_SEGMENT_DENSE) {
        if (given->width > args->dense_stride || given->source > args->dense_stride - given->width) {
            return vr_fail(VR_ERR_INVALID, "gather: segment %u reads past the dense columns", s);
        }
        return VR_OK;
    }
    if (given->source >= args->index_stride || given->width != given->table.width) {
        return vr_fail(VR_ERR_INVALID, "gather: segment %u does not fit its table", s);
    }
    return vr_cuda_table_at(&given->table, &out->table);
}

} // namespace

enum vr_status vr_cuda_gather(struct vr_stream *stream, const struct vr_gather *args)
{
    gather_args given = {};
    given.rows = args->rows;
    given.dense_stride = args->dense_stride;
    given.index_stride = args->index_stride;
    given.y_stride = args->y_stride;
    const size_t rows = args->rows;
    given.dense = static_cast<const float *>(vr_cuda_at(args->dense, rows * args->dense_stride, 4, "gather: dense"));
    given.index = static_cast<const int32_t *>(vr_cuda_at(args->index, rows * args->index_stride, 4, "gather: index"));
    given.y_half = args->y_element == VR_ELEMENT_F16;
    given.y = vr_cuda_at(args->y, rows * args->y_stride, vr_element_bytes(args->y_element), "gather: y");
    if (given.dense == nullptr || given.index == nullptr || given.y == nullptr) {
        return VR_ERR_INVALID;
    }
    if (args->segments > VR_SEGMENTS_MAX) {
        return vr_fail(VR_ERR_INVALID, "gather: %u segments, at most %u", args->segments, VR_SEGMENTS_MAX);
    }
    const dim3 grid(vr_blocks_for(args->rows, ROWS), vr_blocks_for(args->y_stride, COLUMNS));
    enum vr_status status = VR_OK;
    for (uint32_t first = 0; status == VR_OK && first < args->segments; first += SEGMENTS) {
        const uint32_t left = args->segments - first;
        given.parts = left < SEGMENTS ? left : SEGMENTS;
        for (uint32_t p = 0; status == VR_OK && p < given.parts; p++) {
            status = take_segment(args, first + p, &given.part[p]);
        }
        if (status == VR_OK && args->rows > 0) {
            status = vr_launch(stream->seam, "gather", gather_kernel, grid, THREADS, 0, given);
        }
    }
    return status;
}
