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

/* Squares of smaller values, VR_SCAN_DIM_MAX of them, are within float32. */
constexpr float SQUARABLE = 0x1p59f;

__global__ void scan_survey_kernel(const vr_scan_vectors vectors, const vr_cuda_table table, vr_scan_found *found,
                                   int32_t *list)
{
    const uint32_t row = blockIdx.x * WARPS + threadIdx.x / VR_WARP;
    float largest = 0.0f; /* infinity: lies apart */
    for (unsigned i = threadIdx.x % VR_WARP; row < vectors.rows && i < vectors.dim; i += VR_WARP) {
        const float value = fabsf(vr_table_value(table, static_cast<int32_t>(row), i));
        largest = fmaxf(largest, value < SQUARABLE ? value : INFINITY); /* of NaN too */
    }
    largest = vr_warp_max(largest);
    if (threadIdx.x % VR_WARP != 0 || row >= vectors.rows) {
        return;
    }
    if (largest == INFINITY) {
        list[atomicAdd(&found->apart, 1u)] = static_cast<int32_t>(row);
    } else {
        raise(&found->largest, largest);
    }
}

/* A row of halves that is not finite, or whose codes are not: always noted, and scored by the table. */
template <class Code> __device__ void mark_not_finite(unsigned char *first, bool codes_are_exact, vr_scan_found *found)
{
    found->odd = 1; /* whoever writes it writes the same */
    if (sizeof(typename Code::code) == sizeof(uint16_t) && !codes_are_exact) {
        *reinterpret_cast<uint16_t *>(first) = 0x7fff; /* NaN */
    }
}

/* Two sums over the warp at once, as vr_warp_sum: one shuffle of 8 bytes a step. */
__device__ float2 warp_sums(float2 value)
{
    for (int bits = 16; bits > 0; bits /= 2) {
        const uint64_t own = static_cast<uint64_t>(__float_as_uint(value.y)) << 32 | __float_as_uint(value.x);
        const uint64_t other = __shfl_xor_sync(VR_ALL_LANES, own, bits);
        value.x += __uint_as_float(static_cast<uint32_t>(other));
        value.y += __uint_as_float(static_cast<uint32_t>(other >> 32));
    }
    return value;
}

template <class Code>
__global__ void scan_build_kernel(const vr_scan_vectors vectors, const vr_cuda_table table, vr_scan_found *found)
{
    constexpr unsigned CODES = VR_CHUNK / sizeof(typename Code::code);
    const unsigned lane = threadIdx.x % VR_WARP;
    const uint32_t slot = blockIdx.x * WARPS + threadIdx.x / VR_WARP; /* whole tiles: none is past the end */
    const bool held = slot < vectors.rows + vectors.apart && vectors.row_of_slot[slot] >= 0;
    const bool there = held && slot < vectors.rows;
    const float unit = Code::unit_of(__uint_as_float(found->largest));
    unsigned char *tile = vr_tile_of(vectors, slot);
    float2 sum = make_float2(0.0f, 0.0f); /* squares: of the decoded row, of what coding lost */
    for (unsigned i = lane; i < vectors.row_bytes / sizeof(typename Code::code); i += VR_WARP) {
        const float value = there && i < vectors.dim ? vr_table_value(table, vectors.row_of_slot[slot], i) : 0.0f;
        const typename Code::code code = Code::encode(value, unit);
        unsigned char *chunk = tile + vr_chunk_at(slot % VR_SCAN_TILE, i / CODES, vectors.row_bytes);
        reinterpret_cast<typename Code::code *>(chunk)[i % CODES] = code;
        const float decoded = Code::decode(code, unit), lost = value - decoded;
        sum.x = __fmaf_rn(decoded, decoded, sum.x);
        sum.y = __fmaf_rn(lost, lost, sum.y);
    }
    sum = warp_sums(sum);
    if (lane == 0 && slot == 0) {
        found->unit = __float_as_uint(unit);
    }
    if (lane == 0 && held) {
        vectors.slot_of_row[vectors.row_of_slot[slot]] = static_cast<int32_t>(slot);
    }
    if (lane != 0 || !there) {
        return;
    }
    if (sum.y - sum.y != 0.0f) {
        mark_not_finite<Code>(tile + vr_chunk_at(slot % VR_SCAN_TILE, 0, vectors.row_bytes),
                              vectors.exact.data == nullptr, found);
        return;
    }
    raise(&found->norm, sum.x);
    raise(&found->residual, sum.y);
}

} // namespace

enum vr_status vr_scan_survey(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                              const struct vr_cuda_table *table, struct vr_scan_found *found, int32_t *list)
{
    return vr_launch(stream->seam, "scan_survey", scan_survey_kernel, vr_blocks_for(vectors->rows, WARPS),
                     WARPS * VR_WARP, 0, *vectors, *table, found, list);
}

enum vr_status vr_scan_build(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                             const struct vr_cuda_table *table, struct vr_scan_found *found)
{
    const auto kernel = vectors->coding == VR_SCAN_S8 ? scan_build_kernel<vr_code_s8> : scan_build_kernel<vr_code_f16>;
    return vr_launch(stream->seam, "scan_build", kernel, vectors->tiles * (VR_SCAN_TILE / WARPS), WARPS * VR_WARP, 0,
                     *vectors, *table, found);
}
