/* sample and collect: scores of the slots of marked lists by the tensor cores (ivf.h, scan_slab.cuh). As in scan.cu, a
 * block takes every grid-th slab, here of the tiles of a worklist; but each tile has queries of its own. All queries of
 * the launch lie in shared memory, and the fragments of 16 that ask for the tile are gathered from there: each lane of
 * an ldmatrix names its own row. Only rows that the list has are read, and none that no query of the launch asks for.
 */
#include "ivf.h"
#include "scan_slab.cuh"

namespace
{

using code = vr_code_f16;
constexpr uint8_t NOBODY = VR_SCAN_QUERIES;

/* What belongs to a stage beside its vectors. */
struct stage_state {
    uint32_t slot, rows, count;     /* the slab's first slot; slots that are looked at; queries that ask for them */
    uint8_t query[VR_SCAN_QUERIES]; /* [count] of the launch, rising; NOBODY up to whole groups of VR_SLAB_M */
};

__device__ uint32_t bits_below(uint32_t end)
{
    return end < 32 ? (1u << end) - 1 : 0xffffffffu;
}

/* Word w of the launch's queries that ask for an item. */
__device__ uint32_t asked_in(const vr_ivf_item &item, const vr_slab_queries &part, unsigned w)
{
    const uint32_t begin = w * 32, end = part.first + part.count;
    const uint32_t below = bits_below(part.first > begin ? part.first - begin : 0);
    return end <= begin ? 0 : item.asked[w] & bits_below(end - begin) & ~below;
}

/* How many of the launch's queries ask for an item. */
__device__ uint32_t count_queries(const vr_ivf_item &item, const vr_slab_queries &part)
{
    uint32_t all = 0;
    VR_UNROLL
    for (unsigned w = 0; w < VR_IVF_WORDS; w++) {
        all += __popc(asked_in(item, part, w));
    }
    return all;
}

/* Which of them do, one thread a query of the pass. */
__device__ void list_queries(stage_state *state, const vr_ivf_item &item, const vr_slab_queries &part, uint32_t all)
{
    if (threadIdx.x >= VR_SCAN_QUERIES) {
        return;
    }
    const unsigned word = threadIdx.x / 32, bit = threadIdx.x % 32;
    uint32_t before = 0, own = 0;
    VR_UNROLL
    for (unsigned w = 0; w < VR_IVF_WORDS; w++) {
        const uint32_t asked = asked_in(item, part, w);
        before += w < word ? __popc(asked) : 0;
        own = w == word ? asked : own;
    }
    if ((own >> bit & 1) != 0) {
        state->query[before + __popc(own & bits_below(bit))] = static_cast<uint8_t>(threadIdx.x - part.first);
    }
    if (threadIdx.x >= all && threadIdx.x < (all + VR_SLAB_M - 1) / VR_SLAB_M * VR_SLAB_M) {
        state->query[threadIdx.x] = NOBODY;
    }
}

/* A worklist as slabs: one after the other, those of its first tile first. */
struct slabs {
    const vr_ivf_item *work;
    uint32_t count;
};

/* Slab `at` to a stage; nothing, but a group all the same, past the end. */
template <unsigned B>
__device__ void load_slab(unsigned char *stage, stage_state *state, const vr_ivf_pass &pass, const slabs &slabs,
                          const vr_slab_queries &part, uint32_t at)
{
    constexpr unsigned SLOTS = vr_slab<B>::SLOTS, SLABS = VR_SCAN_TILE / SLOTS; /* of a tile */
    if (at < slabs.count) {
        const vr_ivf_item item = slabs.work[at / SLABS];
        const uint32_t first = at % SLABS * SLOTS, left = item.rows > first ? item.rows - first : 0;
        const uint32_t all = count_queries(item, part), slot = item.tile * VR_SCAN_TILE + first;
        const uint32_t rows = all == 0 ? 0 : left < SLOTS ? left : SLOTS;
        vr_slab_load<B>(stage, pass.scan.vectors.tile + static_cast<size_t>(slot) * B, rows);
        if (threadIdx.x == 0) {
            state->slot = slot;
            state->rows = rows;
            state->count = all;
        }
        list_queries(state, item, part, all);
    }
    vr_copy_commit();
}

/* A score of a sample, or of a slot that reaches the threshold; excluded and removed rows count for neither: they are
 * no answers, and a viewer's own history is what scores best. */
template <bool SAMPLE> __device__ void note(const vr_ivf_pass &pass, uint32_t query, uint32_t slot, float score)
{
    const vr_excluded excluded = vr_excluded_of(pass.scan.exclude, pass.scan.first + query);
    if (!vr_is_wanted(excluded, pass.scan.vectors.row_of_slot[slot])) {
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

/* What is done with 16 x 8 scores; `slot`, of the slab, is that of element (0, 0), `first` the launch's first query. A
 * score that is NaN is noted (scan.h). */
template <bool SAMPLE>
__device__ void take(const vr_ivf_pass &pass, const float *threshold, const float *score, const stage_state *state,
                     unsigned group, uint32_t first, uint32_t slot)
{
    VR_UNROLL
    for (unsigned e = 0; e < 4; e++) {
        const uint32_t q = state->query[group + vr_slab_query_of(e)], s = slot + vr_slab_slot_of(e);
        if (q != NOBODY && s < state->rows && (SAMPLE || !(score[e] < threshold[q]))) {
            note<SAMPLE>(pass, first + q, state->slot + s, score[e]);
        }
    }
}

/* All that is done with a stage that has arrived. Slots that were not read hold what was there before; their scores are
 * dropped. */
template <unsigned B, bool SAMPLE>
__device__ void score_stage(const vr_ivf_pass &pass, const unsigned char *stage, const stage_state *state,
                            const unsigned char *queries, const vr_slab_queries &part, const float *threshold)
{
    constexpr unsigned OWN = vr_slab<B>::OWN;
    const uint32_t slot = vr_slab_begin<B>();
    if (slot >= state->rows) { /* the whole warp */
        return;
    }
    uint32_t own[OWN][vr_slab<B>::STEPS][2];
    vr_slab_load_slots<B>(own, stage);
    const unsigned turn = threadIdx.x / VR_WARP / vr_slab<B>::SLOT_WARPS;
    for (unsigned group = turn * VR_SLAB_M; group < state->count; group += vr_slab<B>::QUERY_WARPS * VR_SLAB_M) {
        const unsigned named = state->query[group + threadIdx.x % VR_SLAB_M];
        float sum[OWN][4] = {};
        vr_slab_multiply<B, code>(sum, own, queries, named == NOBODY ? 0 : named);
        VR_UNROLL
        for (unsigned n = 0; n < OWN; n++) {
            take<SAMPLE>(pass, threshold, sum[n], state, group, part.first, slot + n * VR_SLAB_N);
        }
    }
}

template <unsigned B, bool SAMPLE>
__global__ void __launch_bounds__(vr_slab<B>::THREADS, vr_slab<B>::BLOCKS)
    ivf_scan_kernel(const vr_ivf_pass pass, const vr_slab_queries part)
{
    constexpr unsigned STAGES = vr_slab<B>::STAGES, AHEAD = STAGES - 1, BYTES = vr_slab<B>::BYTES;
    VR_SHARED_LAUNCH(unsigned char, stages); /* [STAGES, SLOTS, B], then queries [.., B] */
    VR_SHARED(float, threshold, VR_SCAN_QUERIES);
    VR_SHARED(stage_state, state, STAGES);
    unsigned char *queries = stages + STAGES * BYTES;
    const slabs slabs = {SAMPLE ? pass.sample_work : pass.work,
                         pass.works[SAMPLE ? 0 : 1] * (VR_SCAN_TILE / vr_slab<B>::SLOTS)};
    for (unsigned q = threadIdx.x; q < part.count; q += vr_slab<B>::THREADS) {
        threshold[q] = pass.scan.state[part.first + q].threshold;
    }
    vr_slab_load_queries<B>(queries, pass.scan, part);
    for (unsigned s = 0; s < AHEAD; s++) {
        load_slab<B>(stages + s * BYTES, &state[s], pass, slabs, part, blockIdx.x + s * gridDim.x);
    }
    unsigned stage = 0;
    for (uint32_t at = blockIdx.x; at < slabs.count; at += gridDim.x) {
        vr_copy_wait<AHEAD - 1>();
        __syncthreads(); /* the slab is there for all, and the stage that is loaded next is no longer read */
        const unsigned next = (stage + AHEAD) % STAGES;
        load_slab<B>(stages + next * BYTES, &state[next], pass, slabs, part, at + AHEAD * gridDim.x);
        score_stage<B, SAMPLE>(pass, stages + stage * BYTES, &state[stage], queries, part, threshold);
        stage = (stage + 1) % STAGES;
    }
    vr_copy_wait<0>();
}

/* The host does not know how many tiles are marked: as many blocks as run at once, or as all lists have. */
template <unsigned B, bool SAMPLE> enum vr_status launch(struct vr_stream *stream, const vr_ivf_pass *pass)
{
    const uint32_t slabs = pass->scan.vectors.tiles * (VR_SCAN_TILE / vr_slab<B>::SLOTS);
    return vr_slab_launch<B>(
        stream, pass->scan.queries, slabs, [=](const vr_slab_queries &part, unsigned blocks, size_t shared) {
            return vr_launch(stream->seam, SAMPLE ? "ivf_sample" : "ivf_collect", ivf_scan_kernel<B, SAMPLE>, blocks,
                             vr_slab<B>::THREADS, shared, *pass, part);
        });
}

template <bool SAMPLE> enum vr_status launch_any(struct vr_stream *stream, const vr_ivf_pass *pass)
{
    switch (pass->scan.vectors.row_bytes) {
    case 64: return launch<64, SAMPLE>(stream, pass);
    case 128: return launch<128, SAMPLE>(stream, pass);
    case 256: return launch<256, SAMPLE>(stream, pass);
    case 512: return launch<512, SAMPLE>(stream, pass);
    default: return vr_fail(VR_ERR_INVALID, "ivf: rows of %u bytes", pass->scan.vectors.row_bytes);
    }
}

template <unsigned B> enum vr_status allow(size_t most)
{
    const enum vr_status status = vr_slab_allow<B>(ivf_scan_kernel<B, true>, most);
    return status == VR_OK ? vr_slab_allow<B>(ivf_scan_kernel<B, false>, most) : status;
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

enum vr_status vr_ivf_allow_shared(size_t most)
{
    enum vr_status (*const each[])(size_t most) = {allow<64>, allow<128>, allow<256>, allow<512>};
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof each / sizeof each[0]; i++) {
        status = each[i](most);
    }
    return status;
}
