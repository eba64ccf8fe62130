/* sample and collect: scores of slots by the tensor cores, in tiles of 128 slots and up to 128 queries.
 *
 * A block takes every grid-th tile through a pipeline of asynchronous copies; each warp keeps its slots' fragments in
 * registers and goes over the queries, 16 at a time, from shared memory. Scores are never stored but for the sample:
 * one that reaches its query's threshold is noted with an atomic count. */
#include "ptx.cuh"
#include "scan_tile.cuh"

namespace
{

constexpr unsigned M = 16; /* queries of an mma */
constexpr unsigned N = 8;  /* slots of an mma */
constexpr unsigned K = 16; /* dimensions of an mma */

/* How a tile is shared out, by dimension: warps, and slots a warp holds in registers (N each). */
template <unsigned D> struct shape {
    static constexpr unsigned WARPS = D <= 128 ? 4 : 8;
    static constexpr unsigned OWN = VR_SCAN_TILE / WARPS / N;
    static constexpr unsigned STAGES = D <= 128 ? 3 : 2;
    static constexpr unsigned THREADS = WARPS * VR_WARP;
    static constexpr unsigned TILE_HALVES = VR_SCAN_TILE * D;
};

template <unsigned D> constexpr size_t shared_bytes(unsigned queries)
{
    return (shape<D>::STAGES * shape<D>::TILE_HALVES + queries * D) * sizeof(uint16_t);
}

/* Tile `tile` to a stage; nothing, but a group all the same, past the end. */
template <unsigned D>
__device__ void load_tile(uint16_t *stage, const vr_scan_vectors &vectors, uint32_t tile, uint32_t tiles)
{
    if (tile < tiles) {
        const uint16_t *from = vectors.tile + static_cast<size_t>(tile) * shape<D>::TILE_HALVES;
        for (unsigned i = threadIdx.x * VR_CHUNK; i < shape<D>::TILE_HALVES; i += shape<D>::THREADS * VR_CHUNK) {
            vr_copy_async(stage + i, from + i, 16);
        }
    }
    vr_copy_commit();
}

/* The pass's queries, swizzled like a tile's rows. Part of the first group of copies. */
template <unsigned D> __device__ void load_queries(uint16_t *to, const vr_scan_pass &pass, unsigned queries)
{
    for (unsigned i = threadIdx.x; i < queries * (D / VR_CHUNK); i += shape<D>::THREADS) {
        const unsigned q = i / (D / VR_CHUNK), chunk = i % (D / VR_CHUNK);
        vr_copy_async(to + vr_chunk_at(q, chunk, D), pass.half + static_cast<size_t>(q) * D + chunk * VR_CHUNK, 16);
    }
}

/* Fragments of the warp's slots: own[n][k] for slots n * 8 .. and dimensions k * 16 .. */
template <unsigned D> __device__ void load_slots(uint32_t own[shape<D>::OWN][D / K][2], const uint16_t *stage)
{
    const unsigned lane = threadIdx.x % VR_WARP, first = threadIdx.x / VR_WARP * shape<D>::OWN * N;
    VR_UNROLL
    for (unsigned n = 0; n < shape<D>::OWN; n++) {
        VR_UNROLL
        for (unsigned k = 0; k < D / K; k += 2) { /* four matrices: two steps of k */
            const unsigned row = first + n * N + lane % 8, chunk = k * 2 + lane / 8;
            uint32_t matrix[4];
            vr_load_matrices(matrix, stage + vr_chunk_at(row, chunk, D));
            own[n][k][0] = matrix[0];
            own[n][k][1] = matrix[1];
            own[n][k + 1][0] = matrix[2];
            own[n][k + 1][1] = matrix[3];
        }
    }
}

/* sum[n] += 16 queries from `first` on x the warp's slots. */
template <unsigned D>
__device__ void multiply(float sum[shape<D>::OWN][4], const uint32_t own[shape<D>::OWN][D / K][2],
                         const uint16_t *queries, unsigned first)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned k = 0; k < D / K; k++) {
        const unsigned q = first + lane % 8 + (lane / 8 % 2) * 8, chunk = k * 2 + lane / 16;
        uint32_t a[4];
        vr_load_matrices(a, queries + vr_chunk_at(q, chunk, D));
        VR_UNROLL
        for (unsigned n = 0; n < shape<D>::OWN; n++) {
            vr_mma_f16(sum[n], a, own[n][k]);
        }
    }
}

__device__ void note(const vr_scan_pass &pass, uint32_t query, uint32_t slot)
{
    if (query < pass.queries && slot < pass.vectors.rows &&
        !vr_is_excluded(vr_excluded_of(pass.exclude, pass.first + query), pass.vectors.row_of_slot[slot])) {
        const uint32_t at = atomicAdd(&pass.state[query].noted, 1u);
        if (at < VR_SCAN_CAPACITY) {
            pass.noted[static_cast<size_t>(query) * VR_SCAN_CAPACITY + at] = slot;
        }
    }
}

/* What is done with 16 x 8 scores; query and slot are those of element (0, 0). Element e of a lane is query
 * lane / 4 + e / 2 * 8, slot lane % 4 * 2 + e % 2. */
template <bool SAMPLE>
__device__ void take(const vr_scan_pass &pass, const float *threshold, const float *score, uint32_t query,
                     uint32_t slot)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned e = 0; e < 4; e++) {
        const uint32_t q = query + lane / 4 + e / 2 * 8, s = slot + lane % 4 * 2 + e % 2;
        if (SAMPLE) {
            if (q < pass.queries && s < pass.sample) {
                pass.sampled[static_cast<size_t>(q) * pass.sample + s] = score[e];
            }
        } else if (score[e] >= threshold[q]) {
            note(pass, q, s);
        }
    }
}

template <unsigned D, bool SAMPLE>
__global__ void __launch_bounds__(shape<D>::THREADS) scan_f16_kernel(const vr_scan_pass pass, uint32_t tiles)
{
    VR_SHARED_LAUNCH(uint16_t, stages); /* [STAGES, TILE, D], then queries [.., D] */
    VR_SHARED(float, threshold, VR_SCAN_QUERIES);
    uint16_t *queries = stages + shape<D>::STAGES * shape<D>::TILE_HALVES;
    const unsigned whole = (pass.queries + M - 1) / M * M;
    for (unsigned q = threadIdx.x; q < whole; q += shape<D>::THREADS) {
        threshold[q] = q < pass.queries ? pass.state[q].threshold : INFINITY;
    }
    load_queries<D>(queries, pass, whole);
    for (unsigned s = 0; s + 1 < shape<D>::STAGES; s++) {
        load_tile<D>(stages + s * shape<D>::TILE_HALVES, pass.vectors, blockIdx.x + s * gridDim.x, tiles);
    }
    unsigned stage = 0;
    for (uint32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        vr_copy_wait<shape<D>::STAGES - 2>();
        __syncthreads(); /* the tile is there for all, and the stage that is loaded next is no longer read */
        const unsigned next = (stage + shape<D>::STAGES - 1) % shape<D>::STAGES;
        load_tile<D>(stages + next * shape<D>::TILE_HALVES, pass.vectors, tile + (shape<D>::STAGES - 1) * gridDim.x,
                     tiles);
        uint32_t own[shape<D>::OWN][D / K][2];
        load_slots<D>(own, stages + stage * shape<D>::TILE_HALVES);
        const uint32_t slot = tile * VR_SCAN_TILE + threadIdx.x / VR_WARP * shape<D>::OWN * N;
        for (unsigned q = 0; q < whole; q += M) {
            float sum[shape<D>::OWN][4] = {};
            multiply<D>(sum, own, queries, q);
            VR_UNROLL
            for (unsigned n = 0; n < shape<D>::OWN; n++) {
                take<SAMPLE>(pass, threshold, sum[n], q, slot + n * N);
            }
        }
        stage = (stage + 1) % shape<D>::STAGES;
    }
    vr_copy_wait<0>();
}

template <unsigned D, bool SAMPLE>
enum vr_status launch(struct vr_stream *stream, const vr_scan_pass *pass, uint32_t tiles)
{
    const unsigned whole = vr_blocks_for(pass->queries, M) * M;
    const size_t shared = shared_bytes<D>(whole);
    const unsigned fit = static_cast<unsigned>(stream->device->seam.shared_bytes / (shared + 1024));
    const unsigned blocks = stream->device->seam.processors * (fit > 4 ? 4 : fit > 0 ? fit : 1);
    return vr_launch(stream->seam, SAMPLE ? "scan_sample" : "scan_collect", scan_f16_kernel<D, SAMPLE>,
                     blocks < tiles ? blocks : tiles, shape<D>::THREADS, shared, *pass, tiles);
}

template <bool SAMPLE> enum vr_status launch_any(struct vr_stream *stream, const vr_scan_pass *pass, uint32_t tiles)
{
    switch (pass->vectors.dim_padded) {
    case 32: return launch<32, SAMPLE>(stream, pass, tiles);
    case 64: return launch<64, SAMPLE>(stream, pass, tiles);
    case 128: return launch<128, SAMPLE>(stream, pass, tiles);
    case 256: return launch<256, SAMPLE>(stream, pass, tiles);
    default: return vr_fail(VR_ERR_INVALID, "scan: vectors of %u padded dimensions", pass->vectors.dim_padded);
    }
}

template <unsigned D> enum vr_status allow()
{
    const enum vr_status status = vr_allow_shared(scan_f16_kernel<D, true>, shared_bytes<D>(VR_SCAN_QUERIES));
    return status == VR_OK ? vr_allow_shared(scan_f16_kernel<D, false>, shared_bytes<D>(VR_SCAN_QUERIES)) : status;
}

} // namespace

enum vr_status vr_scan_sample(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return launch_any<true>(stream, pass, vr_blocks_for(pass->sample, VR_SCAN_TILE));
}

enum vr_status vr_scan_collect(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return launch_any<false>(stream, pass, pass->vectors.tiles);
}

enum vr_status vr_scan_tiles_allow_shared(void)
{
    enum vr_status status = allow<32>();
    status = status == VR_OK ? allow<64>() : status;
    status = status == VR_OK ? allow<128>() : status;
    return status == VR_OK ? allow<256>() : status;
}
