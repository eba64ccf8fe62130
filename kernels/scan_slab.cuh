/* Scores of slabs by the tensor cores: what the scan of all slots (scan.cu) and that of lists (ivf_scan.cu) share. A
 * slab is a tile, or half of one where rows are long: at most 32 KB. Blocks take slabs through a pipeline of
 * asynchronous copies; queries lie beside the stages in shared memory, as many as the device has room for, in as many
 * launches as a pass then needs. Each warp keeps its slots' fragments in registers and goes over the queries, 16 at a
 * time. One step of mma takes 32 bytes of a row, whatever its coding is (scan_code.cuh). */
#ifndef VIREO_KERNELS_SCAN_SLAB_CUH
#define VIREO_KERNELS_SCAN_SLAB_CUH

#include "scan_code.cuh"

#define VR_SLAB_M 16u /* queries of an mma */
#define VR_SLAB_N 8u  /* slots of an mma */
#define VR_SLAB_K 32u /* bytes of an mma: two chunks */

/* Of shared memory, beside stages and queries: the kernels' own arrays, and what CUDA keeps. */
#define VR_SLAB_RESERVED 2048u

/* How the work is shared out, by the bytes of a row. */
template <unsigned B> struct vr_slab {
    static constexpr unsigned SLOTS = B <= 256 ? VR_SCAN_TILE : VR_SCAN_TILE / 2;
    static constexpr unsigned SLOT_WARPS = 4;                       /* share the slots */
    static constexpr unsigned QUERY_WARPS = B <= 256 ? 1 : 2;       /* share the queries */
    static constexpr unsigned OWN = SLOTS / SLOT_WARPS / VR_SLAB_N; /* groups of slots a warp holds */
    static constexpr unsigned STEPS = B / VR_SLAB_K;                /* of mma */
    static constexpr unsigned STAGES = B <= 128 ? 3 : 2;
    static constexpr unsigned THREADS = SLOT_WARPS * QUERY_WARPS * VR_WARP;
    static constexpr unsigned BYTES = SLOTS * B;
    static constexpr unsigned BLOCKS = B <= 256 ? 4 : 2; /* of a processor, at most: 128 registers a thread are free */
};

/* What a launch does: queries first .. first + count - 1 of the pass. */
struct vr_slab_queries {
    uint32_t first, count;
};

/* Queries that a launch can hold beside its stages: a multiple of VR_SLAB_M. */
template <unsigned B> static inline unsigned vr_slab_queries_in(size_t shared_bytes)
{
    const size_t stages = vr_slab<B>::STAGES * vr_slab<B>::BYTES + VR_SLAB_RESERVED;
    const size_t fit = shared_bytes > stages ? (shared_bytes - stages) / B / VR_SLAB_M * VR_SLAB_M : 0;
    return fit < VR_SCAN_QUERIES ? static_cast<unsigned>(fit) : VR_SCAN_QUERIES;
}

template <unsigned B> static inline size_t vr_slab_shared_for(unsigned queries)
{
    return vr_slab<B>::STAGES * vr_slab<B>::BYTES + static_cast<size_t>(queries) * B;
}

/* Start `launch`(queries, blocks, shared bytes) over at most `slabs` slabs, as often as the pass's queries need it. */
template <unsigned B, typename Launch>
static inline enum vr_status vr_slab_launch(struct vr_stream *stream, uint32_t queries, uint32_t slabs,
                                            const Launch &launch)
{
    const vr_seam_device &device = stream->device->seam;
    const unsigned most = vr_slab_queries_in<B>(device.shared_bytes);
    if (most == 0) {
        return vr_fail(VR_ERR_UNSUPPORTED, "search: rows of %u bytes need more shared memory than %zu bytes", B,
                       device.shared_bytes);
    }
    enum vr_status status = VR_OK;
    for (uint32_t first = 0; status == VR_OK && slabs > 0 && first < queries; first += most) {
        const uint32_t left = queries - first, count = left < most ? left : most;
        const size_t shared = vr_slab_shared_for<B>(vr_blocks_for(count, VR_SLAB_M) * VR_SLAB_M);
        const unsigned fit = static_cast<unsigned>(device.shared_bytes / (shared + VR_SLAB_RESERVED));
        const unsigned resident = fit > vr_slab<B>::BLOCKS ? vr_slab<B>::BLOCKS : fit > 0 ? fit : 1;
        const unsigned blocks = device.processors * resident;
        status = launch(vr_slab_queries{first, count}, blocks < slabs ? blocks : slabs, shared);
    }
    return status;
}

/* Let a kernel have what vr_slab_launch asks for where a block may have `most` bytes. */
template <unsigned B, typename Kernel> static inline enum vr_status vr_slab_allow(Kernel kernel, size_t most)
{
    const unsigned queries = vr_slab_queries_in<B>(most);
    return queries == 0 ? VR_OK : vr_allow_shared(kernel, vr_slab_shared_for<B>(queries)); /* 0: the launch says so */
}

/* The first `rows` rows at `from` to a stage. */
template <unsigned B>
static __device__ __forceinline__ void vr_slab_load(unsigned char *stage, const unsigned char *from, unsigned rows)
{
    for (unsigned i = threadIdx.x * VR_CHUNK; i < rows * B; i += vr_slab<B>::THREADS * VR_CHUNK) {
        vr_copy_async(stage + i, from + i, VR_CHUNK);
    }
}

/* The launch's queries, swizzled like a tile's rows, in whole groups of VR_SLAB_M: prepare makes rows of zeros behind
 * the last. They end in the first group of copies. */
template <unsigned B>
static __device__ __forceinline__ void vr_slab_load_queries(unsigned char *to, const vr_scan_pass &pass,
                                                            const vr_slab_queries &queries)
{
    constexpr unsigned CHUNKS = B / VR_CHUNK;
    const unsigned whole = (queries.count + VR_SLAB_M - 1) / VR_SLAB_M * VR_SLAB_M;
    for (unsigned i = threadIdx.x; i < whole * CHUNKS; i += vr_slab<B>::THREADS) {
        const unsigned q = i / CHUNKS, chunk = i % CHUNKS;
        vr_copy_async(to + vr_chunk_at(q, chunk, B),
                      pass.code + static_cast<size_t>(queries.first + q) * B + chunk * VR_CHUNK, VR_CHUNK);
    }
}

/* The first slot of the slab that this warp holds. */
template <unsigned B> static __device__ __forceinline__ unsigned vr_slab_begin()
{
    return threadIdx.x / VR_WARP % vr_slab<B>::SLOT_WARPS * vr_slab<B>::OWN * VR_SLAB_N;
}

/* Fragments of the warp's slots: own[n][k] for slots n * 8 .. and step k. */
template <unsigned B>
static __device__ __forceinline__ void vr_slab_load_slots(uint32_t own[vr_slab<B>::OWN][vr_slab<B>::STEPS][2],
                                                          const unsigned char *stage)
{
    const unsigned lane = threadIdx.x % VR_WARP, first = vr_slab_begin<B>();
    VR_UNROLL
    for (unsigned n = 0; n < vr_slab<B>::OWN; n++) {
        VR_UNROLL
        for (unsigned k = 0; k < vr_slab<B>::STEPS; k += 2) { /* four matrices: two steps */
            const unsigned row = first + n * VR_SLAB_N + lane % 8, chunk = k * 2 + lane / 8;
            uint32_t matrix[4];
            vr_load_matrices(matrix, stage + vr_chunk_at(row, chunk, B));
            own[n][k][0] = matrix[0];
            own[n][k][1] = matrix[1];
            own[n][k + 1][0] = matrix[2];
            own[n][k + 1][1] = matrix[3];
        }
    }
}

/* sum[n] += 16 queries x the warp's slots. `row`, in the launch's queries: of query lane % 16 of the group. */
template <unsigned B, class Code>
static __device__ __forceinline__ void vr_slab_multiply(typename Code::sum sum[vr_slab<B>::OWN][4],
                                                        const uint32_t own[vr_slab<B>::OWN][vr_slab<B>::STEPS][2],
                                                        const unsigned char *queries, unsigned row)
{
    const unsigned lane = threadIdx.x % VR_WARP;
    VR_UNROLL
    for (unsigned k = 0; k < vr_slab<B>::STEPS; k++) {
        uint32_t a[4];
        vr_load_matrices(a, queries + vr_chunk_at(row, k * 2 + lane / 16, B));
        VR_UNROLL
        for (unsigned n = 0; n < vr_slab<B>::OWN; n++) {
            Code::multiply(sum[n], a, own[n][k]);
        }
    }
}

/* Element e of a lane's four sums is query lane / 4 + e / 2 * 8 of the group and slot lane % 4 * 2 + e % 2 of the
 * eight. */
static __device__ __forceinline__ unsigned vr_slab_query_of(unsigned e)
{
    return threadIdx.x % VR_WARP / 4 + e / 2 * 8;
}
static __device__ __forceinline__ unsigned vr_slab_slot_of(unsigned e)
{
    return threadIdx.x % 4 * 2 + e % 2;
}

#endif
