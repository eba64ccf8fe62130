/* The tiles of an index from a table (scan.h): each slot takes the row that row_of_slot names. One warp a slot; once an
 * index, so it is written to be read. What coding loses is measured here for the scan's bound; true scores come from
 * the table's own values. */
#include "scan_code.cuh"
#include "warp.cuh"

namespace
{

constexpr unsigned WARPS = 4; /* of a block */

__device__ void raise(uint32_t *bits, float value)
{
    atomicMax(bits, __float_as_uint(value));
}

/* found->largest: of all finite values. */
__global__ void scan_largest_kernel(const vr_scan_vectors vectors, const vr_cuda_table table, vr_scan_found *found)
{
    const uint32_t row = blockIdx.x * WARPS + threadIdx.x / VR_WARP;
    float largest = 0.0f;
    for (unsigned i = threadIdx.x % VR_WARP; row < vectors.rows && i < vectors.dim; i += VR_WARP) {
        const float value = fabsf(vr_table_value(table, static_cast<int32_t>(row), i));
        largest = value - value == 0.0f ? fmaxf(largest, value) : largest;
    }
    raise(&found->largest, largest);
}

/* A row that is not finite, or whose codes are not; `residual` is infinity or NaN. */
template <class Code>
__device__ void mark_not_finite(unsigned char *first, bool codes_are_exact, float residual, vr_scan_found *found)
{
    found->odd = 1; /* whoever writes it writes the same */
    if (sizeof(typename Code::code) == 1) {
        raise(&found->norm, residual == residual ? INFINITY : 0.0f); /* with a NaN it is never an answer */
    } else if (!codes_are_exact) {
        *reinterpret_cast<uint16_t *>(first) = 0x7fff; /* NaN: always noted, and scored by the table */
    }
}

template <class Code>
__global__ void scan_build_kernel(const vr_scan_vectors vectors, const vr_cuda_table table, vr_scan_found *found)
{
    constexpr unsigned CODES = VR_CHUNK / sizeof(typename Code::code);
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t slot = blockIdx.x * WARPS + threadIdx.x / VR_WARP; /* whole tiles: none is past the end */
    const bool there = slot < vectors.rows && vectors.row_of_slot[slot] >= 0;
    const float unit = Code::unit_of(__uint_as_float(found->largest));
    unsigned char *tile = vr_tile_of(vectors, slot);
    float norm = 0.0f, residual = 0.0f; /* squared */
    for (unsigned i = lane; i < vectors.row_bytes / sizeof(typename Code::code); i += VR_WARP) {
        const float value = there && i < vectors.dim ? vr_table_value(table, vectors.row_of_slot[slot], i) : 0.0f;
        const typename Code::code code = Code::encode(value, unit);
        unsigned char *chunk = tile + vr_chunk_at(slot % VR_SCAN_TILE, i / CODES, vectors.row_bytes);
        reinterpret_cast<typename Code::code *>(chunk)[i % CODES] = code;
        const float decoded = Code::decode(code, unit), lost = value - decoded;
        norm = __fmaf_rn(decoded, decoded, norm);
        residual = __fmaf_rn(lost, lost, residual);
    }
    norm = vr_warp_sum(norm);
    residual = vr_warp_sum(residual);
    if (lane != 0 || !there) {
        return;
    }
    if (vectors.slot_of_row != nullptr) {
        vectors.slot_of_row[vectors.row_of_slot[slot]] = static_cast<int32_t>(slot);
    }
    if (slot == 0) {
        found->unit = __float_as_uint(unit);
    }
    if (residual - residual != 0.0f) {
        mark_not_finite<Code>(tile + vr_chunk_at(slot % VR_SCAN_TILE, 0, vectors.row_bytes),
                              vectors.exact.data == nullptr, residual, found);
        return;
    }
    raise(&found->norm, norm);
    raise(&found->residual, residual);
}

} // namespace

enum vr_status vr_scan_build(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                             const struct vr_cuda_table *table, struct vr_scan_found *found)
{
    const unsigned blocks = vectors->tiles * (VR_SCAN_TILE / WARPS), threads = WARPS * VR_WARP;
    if (vectors->coding == VR_SCAN_F16) {
        return vr_launch(stream->seam, "scan_build", scan_build_kernel<vr_code_f16>, blocks, threads, 0, *vectors,
                         *table, found);
    }
    const enum vr_status status =
        vr_launch(stream->seam, "scan_largest", scan_largest_kernel, blocks, threads, 0, *vectors, *table, found);
    return status == VR_OK ? vr_launch(stream->seam, "scan_build", scan_build_kernel<vr_code_s8>, blocks, threads, 0,
                                       *vectors, *table, found)
                           : status;
}
