/* sample and collect: scores of slots by the tensor cores, in slabs and up to 128 queries (scan_slab.cuh). A block
 * takes every grid-th slab. Scores are never stored but for the sample: one that reaches its query's threshold is noted
 * with an atomic count. */
#include "scan_slab.cuh"

namespace
{

/* Slab `slab` to a stage; nothing, but a group all the same, past the end. */
template <unsigned B>
__device__ void load_slab(unsigned char *stage, const vr_scan_vectors &vectors, uint32_t slab, uint32_t slabs)
{
    if (slab < slabs) {
        vr_slab_load<B>(stage, vectors.tile + static_cast<size_t>(slab) * vr_slab<B>::BYTES, vr_slab<B>::SLOTS);
    }
    vr_copy_commit();
}

__device__ void note(const vr_scan_pass &pass, uint32_t query, uint32_t slot)
{
    if (query < pass.queries && slot < pass.vectors.rows &&
        vr_is_wanted(vr_excluded_of(pass.exclude, pass.first + query), pass.vectors.row_of_slot[slot])) {
        const uint32_t at = atomicAdd(&pass.state[query].noted, 1u);
        if (at < VR_SCAN_CAPACITY) {
            pass.noted[static_cast<size_t>(query) * VR_SCAN_CAPACITY + at] = slot;
        }
    }
}

/* What is done with 16 x 8 scores; query and slot are those of element (0, 0). A score that is NaN is noted. */
template <class Code, bool SAMPLE>
__device__ void take(const vr_scan_pass &pass, const typename Code::sum *limit, const typename Code::sum *score,
                     uint32_t first, uint32_t query, uint32_t slot)
{
    VR_UNROLL
    for (unsigned e = 0; e < 4; e++) {
        const uint32_t q = query + vr_slab_query_of(e), s = slot + vr_slab_slot_of(e);
        if (SAMPLE) {
            if (first + q < pass.queries && s < pass.sample) {
                pass.sampled[static_cast<size_t>(first + q) * pass.sample + s] = Code::sampled_of(score[e]);
            }
        } else if (!(score[e] < limit[q])) {
            note(pass, first + q, s);
        }
    }
}

/* All that is done with slab `slab`, which has arrived in `stage`. */
template <unsigned B, class Code, bool SAMPLE>
__device__ void score_stage(const vr_scan_pass &pass, const unsigned char *stage, uint32_t slab,
                            const unsigned char *queries, const vr_slab_queries &part, const typename Code::sum *limit)
{
    constexpr unsigned OWN = vr_slab<B>::OWN;
    uint32_t own[OWN][vr_slab<B>::STEPS][2];
    vr_slab_load_slots<B>(own, stage);
    const uint32_t slot = slab * vr_slab<B>::SLOTS + vr_slab_begin<B>();
    const unsigned turn = threadIdx.x / VR_WARP / vr_slab<B>::SLOT_WARPS;
    for (unsigned q = turn * VR_SLAB_M; q < part.count; q += vr_slab<B>::QUERY_WARPS * VR_SLAB_M) {
        typename Code::sum sum[OWN][4] = {};
        vr_slab_multiply<B, Code>(sum, own, queries, q + threadIdx.x % VR_SLAB_M);
        VR_UNROLL
        for (unsigned n = 0; n < OWN; n++) {
            take<Code, SAMPLE>(pass, limit, sum[n], part.first, q, slot + n * VR_SLAB_N);
        }
    }
}

/* The launch's thresholds to limit [whole groups of VR_SLAB_M]; false when no query of the launch needs a scan, as all
 * of them are zeros or go the safe way. */
template <unsigned B, class Code>
__device__ bool load_limits(typename Code::sum *limit, const vr_scan_pass &pass, const vr_slab_queries &part)
{
    VR_SHARED(uint32_t, asking, 1);
    if (threadIdx.x == 0) {
        *asking = 0;
    }
    __syncthreads();
    const unsigned whole = (part.count + VR_SLAB_M - 1) / VR_SLAB_M * VR_SLAB_M;
    for (unsigned q = threadIdx.x; q < whole; q += vr_slab<B>::THREADS) {
        const float threshold = pass.state[part.first + q].threshold;
        limit[q] = Code::limit_of(threshold);
        if (threshold != INFINITY) {
            atomicOr(asking, 1u);
        }
    }
    __syncthreads();
    return *asking != 0;
}

template <unsigned B, class Code, bool SAMPLE>
__global__ void __launch_bounds__(vr_slab<B>::THREADS, vr_slab<B>::BLOCKS)
    scan_tiles_kernel(const vr_scan_pass pass, const uint32_t slabs, const vr_slab_queries part)
{
    using sum_type = typename Code::sum;
    constexpr unsigned STAGES = vr_slab<B>::STAGES, AHEAD = STAGES - 1, BYTES = vr_slab<B>::BYTES;
    VR_SHARED_LAUNCH(unsigned char, stages); /* [STAGES, SLOTS, B], then queries [.., B] */
    VR_SHARED(sum_type, limit, VR_SCAN_QUERIES);
    unsigned char *queries = stages + STAGES * BYTES;
    if (!load_limits<B, Code>(limit, pass, part)) {
        return;
    }
    vr_slab_load_queries<B>(queries, pass, part);
    for (unsigned s = 0; s < AHEAD; s++) {
        load_slab<B>(stages + s * BYTES, pass.vectors, blockIdx.x + s * gridDim.x, slabs);
    }
    unsigned stage = 0;
    for (uint32_t slab = blockIdx.x; slab < slabs; slab += gridDim.x) {
        vr_copy_wait<AHEAD - 1>();
        __syncthreads(); /* the slab is there for all, and the stage that is loaded next is no longer read */
        const unsigned next = (stage + AHEAD) % STAGES;
        load_slab<B>(stages + next * BYTES, pass.vectors, slab + AHEAD * gridDim.x, slabs);
        score_stage<B, Code, SAMPLE>(pass, stages + stage * BYTES, slab, queries, part, limit);
        stage = (stage + 1) % STAGES;
    }
    vr_copy_wait<0>();
}

/* Over `slots` slots. */
template <unsigned B, class Code, bool SAMPLE>
enum vr_status launch(struct vr_stream *stream, const vr_scan_pass *pass, uint32_t slots)
{
    const uint32_t slabs = vr_blocks_for(slots, vr_slab<B>::SLOTS);
    return vr_slab_launch<B>(
        stream, pass->queries, slabs, [=](const vr_slab_queries &part, unsigned blocks, size_t shared) {
            return vr_launch(stream->seam, SAMPLE ? "scan_sample" : "scan_collect", scan_tiles_kernel<B, Code, SAMPLE>,
                             blocks, vr_slab<B>::THREADS, shared, *pass, slabs, part);
        });
}

template <bool SAMPLE> enum vr_status launch_any(struct vr_stream *stream, const vr_scan_pass *pass, uint32_t slots)
{
    const bool s8 = pass->vectors.coding == VR_SCAN_S8;
    switch (pass->vectors.row_bytes) {
    case 64:
        return s8 ? launch<64, vr_code_s8, SAMPLE>(stream, pass, slots)
                  : launch<64, vr_code_f16, SAMPLE>(stream, pass, slots);
    case 128:
        return s8 ? launch<128, vr_code_s8, SAMPLE>(stream, pass, slots)
                  : launch<128, vr_code_f16, SAMPLE>(stream, pass, slots);
    case 256:
        return s8 ? launch<256, vr_code_s8, SAMPLE>(stream, pass, slots)
                  : launch<256, vr_code_f16, SAMPLE>(stream, pass, slots);
    case 512:
        if (!s8) {
            return launch<512, vr_code_f16, SAMPLE>(stream, pass, slots);
        }
    }
    return vr_fail(VR_ERR_INVALID, "scan: rows of %u bytes", pass->vectors.row_bytes);
}

template <unsigned B, class Code> enum vr_status allow(size_t most)
{
    const enum vr_status status = vr_slab_allow<B>(scan_tiles_kernel<B, Code, true>, most);
    return status == VR_OK ? vr_slab_allow<B>(scan_tiles_kernel<B, Code, false>, most) : status;
}

} // namespace

enum vr_status vr_scan_sample(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return launch_any<true>(stream, pass, pass->sample);
}

enum vr_status vr_scan_collect(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return launch_any<false>(stream, pass, pass->vectors.rows);
}

enum vr_status vr_scan_tiles_allow_shared(size_t most)
{
    enum vr_status (*const each[])(size_t most) = {
        allow<64, vr_code_f16>, allow<128, vr_code_f16>, allow<256, vr_code_f16>, allow<512, vr_code_f16>,
        allow<64, vr_code_s8>,  allow<128, vr_code_s8>,  allow<256, vr_code_s8>};
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof each / sizeof each[0]; i++) {
        status = each[i](most);
    }
    return status;
}
