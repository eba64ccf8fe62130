/* The tiles of an index from a table (scan.h): each slot takes the row that row_of_slot names. One warp a slot; once an
 * index, so it is written to be read. Values of float32 and int8 tables are rounded to halves here; the scan's bound
 * knows of it, and true scores come from the table. */
#include "scan_tile.cuh"

namespace
{

constexpr unsigned WARPS = 4; /* of a block */

__global__ void scan_build_kernel(const vr_scan_vectors vectors, const vr_cuda_table table, uint32_t *norm_bits)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t slot = blockIdx.x * WARPS + threadIdx.x / VR_WARP; /* whole tiles: none is past the end */
    const bool there = slot < vectors.rows && vectors.row_of_slot[slot] >= 0;
    uint16_t *tile = vectors.tile + static_cast<size_t>(slot / VR_SCAN_TILE) * VR_SCAN_TILE * vectors.dim_padded;
    float squares = 0.0f;
    for (unsigned i = lane; i < vectors.dim_padded; i += VR_WARP) {
        const float value = there && i < vectors.dim ? vr_table_value(table, vectors.row_of_slot[slot], i) : 0.0f;
        const uint16_t half = vr_half_of_float(value);
        tile[vr_chunk_at(slot % VR_SCAN_TILE, i / VR_CHUNK, vectors.dim_padded) + i % VR_CHUNK] = half;
        squares = __fmaf_rn(vr_float_of_half(half), vr_float_of_half(half), squares);
    }
    for (int bits = 16; bits > 0; bits /= 2) {
        squares += __shfl_xor_sync(VR_ALL_LANES, squares, bits);
    }
    if (lane == 0 && there) {
        /* Bits of floats that are not negative rise with them; NaN's are above infinity's. */
        atomicMax(norm_bits, __float_as_uint(squares) & 0x7fffffffu);
        if (vectors.slot_of_row != nullptr) {
            vectors.slot_of_row[vectors.row_of_slot[slot]] = static_cast<int32_t>(slot);
        }
    }
}

} // namespace

enum vr_status vr_scan_build(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                             const struct vr_cuda_table *table, uint32_t *norm_bits)
{
    return vr_launch(stream->seam, "scan_build", scan_build_kernel, vectors->tiles * (VR_SCAN_TILE / WARPS),
                     WARPS * VR_WARP, 0, *vectors, *table, norm_bits);
}
