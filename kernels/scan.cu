/* sample and collect: scores of slots by the tensor cores, in slabs of a tile and up to 128 queries.
 *
 * A block takes every grid-th slab through a pipeline of asynchronous copies; each warp keeps its slots' fragments in
 * registers and goes over the queries, 16 at a time, from shared memory. Scores are never stored but for the sample:
 * one that reaches its query's threshold is noted with an atomic count. One step of mma takes 32 bytes of a row,
 * whatever its coding is (scan_code.cuh). */
#include "scan_code.cuh"

namespace
{

constexpr unsigned M = 16;                 /* queries of an mma */
constexpr unsigned N = 8;                  /* slots of an mma */
constexpr unsigned K = 32;                 /* bytes of an mma: two chunks */
constexpr unsigned RESERVED_BYTES = 1024u; /* of shared memory: the kernel's own arrays, and what CUDA keeps */

/* How the work is shared out, by the bytes of a row. */
template <unsigned B> struct shape {
    static constexpr unsigned SLOTS = B <= 256 ? VR_SCAN_TILE : VR_SCAN_TILE / 2; /* of a slab: at most 32 KB */
    static constexpr unsigned SLOT_WARPS = 4;                                     /* share the slots */
    static constexpr unsigned QUERY_WARPS = B <= 256 ? 1 : 2;                     /* share the queries */
    static constexpr unsigned OWN = SLOTS / SLOT_WARPS / N;                       /* groups of slots a warp holds */
    static constexpr unsigned STAGES = B <= 128 ? 3 : 2;
    static constexpr unsigned THREADS = SLOT_WARPS * QUERY_WARPS * VR_WARP;
    static constexpr unsigned SLAB_BYTES = SLOTS * B;
    static constexpr unsigned BLOCKS = B <= 256 ? 4 : 2; /* of a processor, at most: 128 registers a thread are free */
};

/* Queries that a launch can hold beside its stages: a multiple of M. */
template <unsigned B> unsigned queries_in(size_t shared_bytes)
{
    const size_t stages = shape<B>::STAGES * shape<B>::SLAB_BYTES + RESERVED_BYTES;
    const size_t fit = shared_bytes > stages ? (shared_bytes - stages) / B / M * M : 0;
    return fit < VR_SCAN_QUERIES ? static_cast<unsigned>(fit) : VR_SCAN_QUERIES;
}

template <unsigned B> size_t shared_for(unsigned queries)
{
    return shape<B>::STAGES * shape<B>::SLAB_BYTES + static_cast<size_t>(queries) * B;
}

/* What a launch does: slabs 0 .. slabs - 1 for queries first .. first + queries - 1 of the pass. */
struct part {
    uint32_t slabs, first, queries;
};

/* Slab `slab` to a stage; nothing, but a group all the same, past the end. */
template <unsigned B>
__device__ void load_slab(unsigned char *stage, const vr_scan_vectors &vectors, uint32_t slab, uint32_t slabs)
{
    if (slab < slabs) {
        const unsigned char *from = vectors.tile + static_cast<size_t>(slab) * shape<B>::SLAB_BYTES;
        for (unsigned i = threadIdx.x * VR_CHUNK; i < shape<B>::SLAB_BYTES; i += shape<B>::THREADS * VR_CHUNK) {
            vr_copy_async(stage + i, from + i, VR_CHUNK);
        }
    }
    vr_copy_commit();
}

/* The part's queries, swizzled like a tile's rows, `whole` of them. They end in the first group of copies. */
template <unsigned B>
__device__ void load_queries(unsigned char *to, const vr_scan_pass &pass, uint32_t first, unsigned whole)
{
    constexpr unsigned CHUNKS = B / VR_CHUNK;
    for (unsigned i = threadIdx.x; i < whole * CHUNKS; i += shape<B>::THREADS) {
        const unsigned q = i / CHUNKS, chunk = i % CHUNKS;
        vr_copy_async(to + vr_chunk_at(q, chunk, B), pass.code + static_cast<size_t>(first + q) * B + chunk * VR_CHUNK,
                      VR_CHUNK);
    }
}

/* Fragments of the warp's slots, which begin at `first` of the slab: own[n][k] for slots n * 8 .. and step k. */
template <unsigned B>
__device__ void load_slots(uint32_t own[shape<B>::OWN][B / K][2], const unsigned char *stage, unsigned first)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned n = 0; n < shape<B>::OWN; n++) {
        VR_UNROLL
        for (unsigned k = 0; k < B / K; k += 2) { /* four matrices: two steps */
            const unsigned row = first + n * N + lane % 8, chunk = k * 2 + lane / 8;
            uint32_t matrix[4];
            vr_load_matrices(matrix, stage + vr_chunk_at(row, chunk, B));
            own[n][k][0] = matrix[0];
            own[n][k][1] = matrix[1];
            own[n][k + 1][0] = matrix[2];
            own[n][k + 1][1] = matrix[3];
        }
    }
}

/* sum[n] += 16 queries from `first` on x the warp's slots. */
template <unsigned B, class Code>
__device__ void multiply(typename Code::sum sum[shape<B>::OWN][4], const uint32_t own[shape<B>::OWN][B / K][2],
                         const unsigned char *queries, unsigned first)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned k = 0; k < B / K; k++) {
        const unsigned q = first + lane % 8 + (lane / 8 % 2) * 8, chunk = k * 2 + lane / 16;
        uint32_t a[4];
        vr_load_matrices(a, queries + vr_chunk_at(q, chunk, B));
        VR_UNROLL
        for (unsigned n = 0; n < shape<B>::OWN; n++) {
            Code::multiply(sum[n], a, own[n][k]);
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
 * lane / 4 + e / 2 * 8, slot lane % 4 * 2 + e % 2. A score that is NaN is noted. */
template <class Code, bool SAMPLE>
__device__ void take(const vr_scan_pass &pass, const typename Code::sum *limit, const typename Code::sum *score,
                     uint32_t first, uint32_t query, uint32_t slot)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned e = 0; e < 4; e++) {
        const uint32_t q = query + lane / 4 + e / 2 * 8, s = slot + lane % 4 * 2 + e % 2;
        if (SAMPLE) {
            if (first + q < pass.queries && s < pass.sample) {
                pass.sampled[static_cast<size_t>(first + q) * pass.sample + s] = Code::sampled_of(score[e]);
            }
        } else if (!(score[e] < limit[q])) {
            note(pass, first + q, s);
        }
    }
}

template <unsigned B, class Code, bool SAMPLE>
__global__ void __launch_bounds__(shape<B>::THREADS, shape<B>::BLOCKS)
    scan_tiles_kernel(const vr_scan_pass pass, const part part)
{
    using sum_type = typename Code::sum;
    constexpr unsigned AHEAD = shape<B>::STAGES - 1;
    VR_SHARED_LAUNCH(unsigned char, stages); /* [STAGES, SLOTS, B], then queries [.., B] */
    VR_SHARED(sum_type, limit, VR_SCAN_QUERIES);
    unsigned char *queries = stages + shape<B>::STAGES * shape<B>::SLAB_BYTES;
    const unsigned whole = (part.queries + M - 1) / M * M, warp = threadIdx.x / VR_WARP;
    for (unsigned q = threadIdx.x; q < whole; q += shape<B>::THREADS) {
        limit[q] = Code::limit_of(pass.state[part.first + q].threshold);
    }
    load_queries<B>(queries, pass, part.first, whole);
    for (unsigned s = 0; s < AHEAD; s++) {
        load_slab<B>(stages + s * shape<B>::SLAB_BYTES, pass.vectors, blockIdx.x + s * gridDim.x, part.slabs);
    }
    unsigned stage = 0;
    for (uint32_t slab = blockIdx.x; slab < part.slabs; slab += gridDim.x) {
        vr_copy_wait<AHEAD - 1>();
        __syncthreads(); /* the slab is there for all, and the stage that is loaded next is no longer read */
        const unsigned next = (stage + AHEAD) % shape<B>::STAGES;
        load_slab<B>(stages + next * shape<B>::SLAB_BYTES, pass.vectors, slab + AHEAD * gridDim.x, part.slabs);
        const unsigned begin = warp % shape<B>::SLOT_WARPS * shape<B>::OWN * N; /* the warp's first slot */
        uint32_t own[shape<B>::OWN][B / K][2];
        load_slots<B>(own, stages + stage * shape<B>::SLAB_BYTES, begin);
        for (unsigned q = warp / shape<B>::SLOT_WARPS * M; q < whole; q += shape<B>::QUERY_WARPS * M) {
            sum_type sum[shape<B>::OWN][4] = {};
            multiply<B, Code>(sum, own, queries, q);
            VR_UNROLL
            for (unsigned n = 0; n < shape<B>::OWN; n++) {
                take<Code, SAMPLE>(pass, limit, sum[n], part.first, q, slab * shape<B>::SLOTS + begin + n * N);
            }
        }
        stage = (stage + 1) % shape<B>::STAGES;
    }
    vr_copy_wait<0>();
}

/* Over `slots` slots, in as many launches as the queries need to find room in shared memory. */
template <unsigned B, class Code, bool SAMPLE>
enum vr_status launch(struct vr_stream *stream, const vr_scan_pass *pass, uint32_t slots)
{
    const vr_seam_device &device = stream->device->seam;
    const unsigned most = queries_in<B>(device.shared_bytes);
    if (most == 0) {
        return vr_fail(VR_ERR_UNSUPPORTED, "scan: rows of %u bytes need more shared memory than %zu bytes", B,
                       device.shared_bytes);
    }
    enum vr_status status = VR_OK;
    for (uint32_t first = 0; status == VR_OK && first < pass->queries; first += most) {
        const uint32_t left = pass->queries - first, queries = left < most ? left : most;
        const part part = {vr_blocks_for(slots, shape<B>::SLOTS), first, queries};
        const size_t shared = shared_for<B>(vr_blocks_for(queries, M) * M);
        const unsigned fit = static_cast<unsigned>(device.shared_bytes / (shared + RESERVED_BYTES));
        const unsigned blocks = device.processors * (fit > shape<B>::BLOCKS ? shape<B>::BLOCKS : fit > 0 ? fit : 1);
        status = vr_launch(stream->seam, SAMPLE ? "scan_sample" : "scan_collect", scan_tiles_kernel<B, Code, SAMPLE>,
                           blocks < part.slabs ? blocks : part.slabs, shape<B>::THREADS, shared, *pass, part);
    }
    return status;
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
    const unsigned queries = queries_in<B>(most);
    if (queries == 0) {
        return VR_OK; /* the launch says so */
    }
    const enum vr_status status = vr_allow_shared(scan_tiles_kernel<B, Code, true>, shared_for<B>(queries));
    return status == VR_OK ? vr_allow_shared(scan_tiles_kernel<B, Code, false>, shared_for<B>(queries)) : status;
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
