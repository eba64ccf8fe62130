/* sample and collect: scores of the slots of marked lists by the tensor cores (ivf.h). As in scan.cu, a block takes
 * every grid-th tile of a worklist through a pipeline of asynchronous copies; but each tile has queries of its own. All
 * queries of the pass lie in shared memory, and the fragments of 16 that ask for the tile are gathered from there: each
 * lane of an ldmatrix names its own row. Only rows that the list has are read. */
#include "ivf.h"
#include "ptx.cuh"
#include "scan_tile.cuh"

namespace
{

constexpr unsigned M = 16; /* queries of an mma */
constexpr unsigned N = 8;  /* slots of an mma */
constexpr unsigned K = 16; /* dimensions of an mma */
constexpr uint8_t NOBODY = VR_SCAN_QUERIES;

/* How a tile is shared out, by dimension: warps, and slots a warp holds in registers (N each). */
template <unsigned D> struct shape {
    static constexpr unsigned WARPS = D <= 128 ? 4 : 8;
    static constexpr unsigned OWN = VR_SCAN_TILE / WARPS / N;
    static constexpr unsigned STAGES = D <= 64 ? 3 : 2; /* 128 dimensions fit the 99 KB of sm_86 and 89 */
    static constexpr unsigned THREADS = WARPS * VR_WARP;
    static constexpr unsigned ROW_BYTES = D * sizeof(uint16_t);
    static constexpr unsigned TILE_BYTES = VR_SCAN_TILE * ROW_BYTES;
};

template <unsigned D> constexpr size_t shared_bytes(unsigned queries)
{
    return shape<D>::STAGES * shape<D>::TILE_BYTES + queries * shape<D>::ROW_BYTES;
}

/* What belongs to a stage beside its vectors. */
struct stage_state {
    uint32_t tile, rows, count;     /* rows: slots that are looked at; count: queries that ask for them */
    uint8_t query[VR_SCAN_QUERIES]; /* [count], rising; NOBODY up to whole groups of M */
};

/* Which queries ask for an item, one thread a query, from its bits. */
__device__ void list_queries(stage_state *state, const vr_ivf_item &item)
{
    uint32_t all = 0;
    VR_UNROLL
    for (unsigned w = 0; w < VR_IVF_WORDS; w++) {
        all += __popc(item.asked[w]);
    }
    if (threadIdx.x == 0) {
        state->tile = item.tile;
        state->rows = item.rows;
        state->count = all;
    }
    if (threadIdx.x >= VR_SCAN_QUERIES) {
        return;
    }
    const unsigned word = threadIdx.x / 32, bit = threadIdx.x % 32;
    uint32_t before = 0, own = 0;
    VR_UNROLL
    for (unsigned w = 0; w < VR_IVF_WORDS; w++) {
        before += w < word ? __popc(item.asked[w]) : 0;
        own = w == word ? item.asked[w] : own;
    }
    if ((own >> bit & 1) != 0) {
        state->query[before + __popc(own & ((1u << bit) - 1))] = static_cast<uint8_t>(threadIdx.x);
    }
    if (threadIdx.x >= all && threadIdx.x < (all + M - 1) / M * M) {
        state->query[threadIdx.x] = NOBODY;
    }
}

/* Item `at` of the worklist to a stage; nothing, but a group all the same, past the end. */
template <unsigned D>
__device__ void load_item(unsigned char *stage, stage_state *state, const vr_ivf_pass &pass, const vr_ivf_item *work,
                          uint32_t at, uint32_t items)
{
    if (at < items) {
        const vr_ivf_item item = work[at];
        const unsigned char *from = pass.scan.vectors.tile + static_cast<size_t>(item.tile) * shape<D>::TILE_BYTES;
        const unsigned bytes = item.rows * shape<D>::ROW_BYTES;
        for (unsigned i = threadIdx.x * VR_CHUNK; i < bytes; i += shape<D>::THREADS * VR_CHUNK) {
            vr_copy_async(stage + i, from + i, VR_CHUNK);
        }
        list_queries(state, item);
    }
    vr_copy_commit();
}

/* The pass's queries, swizzled like a tile's rows. Part of the first group of copies. */
template <unsigned D> __device__ void load_queries(unsigned char *to, const vr_scan_pass &pass)
{
    constexpr unsigned BYTES = shape<D>::ROW_BYTES, CHUNKS = BYTES / VR_CHUNK;
    for (unsigned i = threadIdx.x; i < pass.queries * CHUNKS; i += shape<D>::THREADS) {
        const unsigned q = i / CHUNKS, chunk = i % CHUNKS;
        vr_copy_async(to + vr_chunk_at(q, chunk, BYTES), pass.code + static_cast<size_t>(q) * BYTES + chunk * VR_CHUNK,
                      VR_CHUNK);
    }
}

/* Fragments of the warp's slots: own[n][k] for slots n * 8 .. and dimensions k * 16 .. Rows that were not read hold
 * what was there before; their scores are dropped. */
template <unsigned D> __device__ void load_slots(uint32_t own[shape<D>::OWN][D / K][2], const unsigned char *stage)
{
    const unsigned lane = threadIdx.x % VR_WARP, first = threadIdx.x / VR_WARP * shape<D>::OWN * N;
    VR_UNROLL
    for (unsigned n = 0; n < shape<D>::OWN; n++) {
        VR_UNROLL
        for (unsigned k = 0; k < D / K; k += 2) { /* four matrices: two steps of k */
            const unsigned row = first + n * N + lane % 8, chunk = k * 2 + lane / 8;
            uint32_t matrix[4];
            vr_load_matrices(matrix, stage + vr_chunk_at(row, chunk, shape<D>::ROW_BYTES));
            own[n][k][0] = matrix[0];
            own[n][k][1] = matrix[1];
            own[n][k + 1][0] = matrix[2];
            own[n][k + 1][1] = matrix[3];
        }
    }
}

/* sum[n] += 16 queries x the warp's slots. `query` [M]: their rows in `queries`. */
template <unsigned D>
__device__ void multiply(float sum[shape<D>::OWN][4], const uint32_t own[shape<D>::OWN][D / K][2],
                         const unsigned char *queries, const uint8_t *query)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    const unsigned named = query[lane % 8 + (lane / 8 % 2) * 8], row = named == NOBODY ? 0 : named;
    VR_UNROLL
    for (unsigned k = 0; k < D / K; k++) {
        uint32_t a[4];
        vr_load_matrices(a, queries + vr_chunk_at(row, k * 2 + lane / 16, shape<D>::ROW_BYTES));
        VR_UNROLL
        for (unsigned n = 0; n < shape<D>::OWN; n++) {
            vr_mma_f16(sum[n], a, own[n][k]);
        }
    }
}

/* A score of a sample, or of a slot that reaches the threshold; excluded rows count for neither: they are no answers,
 * and a viewer's own history is what scores best. */
template <bool SAMPLE> __device__ void note(const vr_ivf_pass &pass, uint32_t query, uint32_t slot, float score)
{
    const vr_excluded excluded = vr_excluded_of(pass.scan.exclude, pass.scan.first + query);
    if (vr_is_excluded(excluded, pass.scan.vectors.row_of_slot[slot])) {
        return;
    }
    if (SAMPLE) {
        const uint32_t at = atomicAdd(&pass.query[query].sampled, 1u);
        if (at < pass.sample_room) {
            pass.scan.sampled[static_cast<size_t>(query) * pass.sample_room + at] = score == score ? score : -INFINITY;
        }
    } else {
        const uint32_t at = atomicAdd(&pass.scan.state[query].noted, 1u);
        if (at < VR_SCAN_CAPACITY) {
            pass.scan.noted[static_cast<size_t>(query) * VR_SCAN_CAPACITY + at] = slot;
        }
    }
}

/* What is done with 16 x 8 scores; `slot`, of the tile, is that of element (0, 0). Element e of a lane is query
 * lane / 4 + e / 2 * 8 of the group, slot lane % 4 * 2 + e % 2. A score that is NaN is noted (scan.h). */
template <bool SAMPLE>
__device__ void take(const vr_ivf_pass &pass, const float *threshold, const float *score, const stage_state *state,
                     unsigned group, uint32_t slot)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned e = 0; e < 4; e++) {
        const uint32_t q = state->query[group + lane / 4 + e / 2 * 8], s = slot + lane % 4 * 2 + e % 2;
        if (q != NOBODY && s < state->rows && (SAMPLE || !(score[e] < threshold[q]))) {
            note<SAMPLE>(pass, q, state->tile * VR_SCAN_TILE + s, score[e]);
        }
    }
}

/* All that is done with a stage that has arrived. */
template <unsigned D, bool SAMPLE>
__device__ void score_stage(const vr_ivf_pass &pass, const unsigned char *stage, const stage_state *state,
                            const unsigned char *queries, const float *threshold)
{
    const uint32_t slot = threadIdx.x / VR_WARP * shape<D>::OWN * N;
    if (slot >= state->rows) { /* the whole warp */
        return;
    }
    uint32_t own[shape<D>::OWN][D / K][2];
    load_slots<D>(own, stage);
    for (unsigned group = 0; group < state->count; group += M) {
        float sum[shape<D>::OWN][4] = {};
        multiply<D>(sum, own, queries, state->query + group);
        VR_UNROLL
        for (unsigned n = 0; n < shape<D>::OWN; n++) {
            take<SAMPLE>(pass, threshold, sum[n], state, group, slot + n * N);
        }
    }
}

template <unsigned D, bool SAMPLE>
__global__ void __launch_bounds__(shape<D>::THREADS, 1) ivf_scan_kernel(const vr_ivf_pass pass)
{
    VR_SHARED_LAUNCH(unsigned char, stages); /* [STAGES, TILE, ROW_BYTES], then queries [.., ROW_BYTES] */
    VR_SHARED(float, threshold, VR_SCAN_QUERIES);
    VR_SHARED(stage_state, state, shape<D>::STAGES);
    unsigned char *queries = stages + shape<D>::STAGES * shape<D>::TILE_BYTES;
    const vr_ivf_item *work = SAMPLE ? pass.sample_work : pass.work;
    const uint32_t items = pass.works[SAMPLE ? 0 : 1];
    for (unsigned q = threadIdx.x; q < pass.scan.queries; q += shape<D>::THREADS) {
        threshold[q] = pass.scan.state[q].threshold;
    }
    load_queries<D>(queries, pass.scan);
    for (unsigned s = 0; s + 1 < shape<D>::STAGES; s++) {
        load_item<D>(stages + s * shape<D>::TILE_BYTES, &state[s], pass, work, blockIdx.x + s * gridDim.x, items);
    }
    unsigned stage = 0;
    for (uint32_t at = blockIdx.x; at < items; at += gridDim.x) {
        vr_copy_wait<shape<D>::STAGES - 2>();
        __syncthreads(); /* the item is there for all, and the stage that is loaded next is no longer read */
        const unsigned next = (stage + shape<D>::STAGES - 1) % shape<D>::STAGES;
        load_item<D>(stages + next * shape<D>::TILE_BYTES, &state[next], pass, work,
                     at + (shape<D>::STAGES - 1) * gridDim.x, items);
        score_stage<D, SAMPLE>(pass, stages + stage * shape<D>::TILE_BYTES, &state[stage], queries, threshold);
        stage = (stage + 1) % shape<D>::STAGES;
    }
    vr_copy_wait<0>();
}

/* The host does not know how many tiles there are: as many blocks as run at once, or as all lists have. */
template <unsigned D, bool SAMPLE> enum vr_status launch(struct vr_stream *stream, const vr_ivf_pass *pass)
{
    const size_t shared = shared_bytes<D>(pass->scan.queries);
    const unsigned fit = static_cast<unsigned>(stream->device->seam.shared_bytes / (shared + 2048));
    const unsigned blocks = stream->device->seam.processors * (fit > 4 ? 4 : fit > 0 ? fit : 1);
    const unsigned tiles = pass->scan.vectors.tiles;
    return vr_launch(stream->seam, SAMPLE ? "ivf_sample" : "ivf_collect", ivf_scan_kernel<D, SAMPLE>,
                     blocks < tiles ? blocks : tiles, shape<D>::THREADS, shared, *pass);
}

template <bool SAMPLE> enum vr_status launch_any(struct vr_stream *stream, const vr_ivf_pass *pass)
{
    switch (pass->scan.vectors.row_bytes / sizeof(uint16_t)) {
    case 32: return launch<32, SAMPLE>(stream, pass);
    case 64: return launch<64, SAMPLE>(stream, pass);
    case 128: return launch<128, SAMPLE>(stream, pass);
    case 256: return launch<256, SAMPLE>(stream, pass);
    default: return vr_fail(VR_ERR_INVALID, "ivf: rows of %u bytes", pass->scan.vectors.row_bytes);
    }
}

template <unsigned D> enum vr_status allow()
{
    const enum vr_status status = vr_allow_shared(ivf_scan_kernel<D, true>, shared_bytes<D>(VR_SCAN_QUERIES));
    return status == VR_OK ? vr_allow_shared(ivf_scan_kernel<D, false>, shared_bytes<D>(VR_SCAN_QUERIES)) : status;
}

} // namespace

enum vr_status vr_ivf_sample(struct vr_stream *stream, const struct vr_ivf_pass *pass)
{
    return launch_any<true>(stream, pass);
}

enum vr_status vr_ivf_collect(struct vr_stream *stream, const struct vr_ivf_pass *pass)
{
    return launch_any<false>(stream, pass);
}

enum vr_status vr_ivf_allow_shared(uint32_t row_bytes)
{
    switch (row_bytes / sizeof(uint16_t)) {
    case 32: return allow<32>();
    case 64: return allow<64>();
    case 128: return allow<128>();
    case 256: return allow<256>();
    default: return vr_fail(VR_ERR_INVALID, "ivf: rows of %u bytes", row_bytes);
    }
}
