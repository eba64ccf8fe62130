/* select: the true scores of what was noted, sorted; the best k are the answer where that can be proved (scan.h). One
 * block a query; as many keys are sorted as were noted. */
#include "scan_tile.cuh"

namespace
{

constexpr unsigned THREADS = 512;

/* The key of a slot that lies apart, 0 where it is excluded. */
__device__ uint64_t key_apart(const vr_scan_pass &pass, const float *query, uint32_t slot)
{
    const int32_t row = pass.vectors.row_of_slot[slot];
    const vr_excluded excluded = vr_excluded_of(pass.exclude, pass.first + blockIdx.x);
    return vr_is_excluded(excluded, row) ? 0 : vr_key_of(vr_exact_score(pass.vectors, query, slot), row);
}

/* key [vr_power_of_two(*count)]: the true score of each slot that was noted or lies apart; the rest are none. The
 * number of slots; false, and none, where they do not fit. */
__device__ bool score_noted(const vr_scan_pass &pass, uint32_t noted, const float *query, uint32_t *count,
                            uint64_t *key)
{
    const uint32_t *slot = pass.noted + static_cast<size_t>(blockIdx.x) * VR_SCAN_CAPACITY;
    *count = noted + pass.vectors.apart;
    if (*count > VR_SCAN_CAPACITY) {
        *count = 0;
        return false;
    }
    for (unsigned i = threadIdx.x; i < vr_power_of_two(*count); i += THREADS) {
        if (i < noted) {
            key[i] = vr_key_of(vr_exact_score(pass.vectors, query, slot[i]), pass.vectors.row_of_slot[slot[i]]);
        } else {
            key[i] = i < *count ? key_apart(pass, query, pass.vectors.rows + (i - noted)) : 0;
        }
    }
    return true;
}

/* A query of zeros (a viewer without history) scores 0 everywhere: among the first rows, as many as k and what is
 * excluded, are the answer. The number of keys; false, and none, where they do not fit. */
__device__ bool score_zeros(const vr_scan_pass &pass, uint32_t *count, uint64_t *key)
{
    const vr_excluded excluded = vr_excluded_of(pass.exclude, pass.first + blockIdx.x);
    const uint32_t wanted = pass.k + excluded.count;
    *count = wanted < pass.vectors.rows ? wanted : pass.vectors.rows;
    if (*count > VR_SCAN_CAPACITY) {
        *count = 0;
        return false;
    }
    for (unsigned i = threadIdx.x; i < vr_power_of_two(*count); i += THREADS) {
        const int32_t row = static_cast<int32_t>(i);
        key[i] = i < *count && !vr_is_excluded(excluded, row) ? vr_key_of(0.0f, row) : 0;
    }
    return true;
}

/* Nothing that was not noted can be among the best k; some of all slots were not. */
__device__ bool is_proved(const vr_scan_query &state, const uint64_t *key, uint32_t count, uint32_t k)
{
    const uint64_t last = k <= vr_power_of_two(count) ? key[k - 1] : 0;
    return last != 0 && vr_key_score(last) * state.scale >= state.threshold + state.bound;
}

/* Which of the counts a query belongs to whose keys fit; it needs the safe pass when that is `unproved`. */
__device__ unsigned long long *how_answered(const vr_scan_pass &pass, const vr_scan_query &state, const uint64_t *key,
                                            uint32_t count)
{
    if (state.threshold == -INFINITY) {
        return &pass.counts->whole;
    }
    return is_proved(state, key, count, pass.k) ? &pass.counts->proved : &pass.counts->unproved;
}

__device__ void count_answer(const vr_scan_pass &pass, unsigned long long *how, unsigned long long noted)
{
    if (threadIdx.x == 0) {
        atomicAdd(how, 1ull);
        atomicAdd(&pass.counts->noted, noted);
    }
}

__global__ void __launch_bounds__(THREADS, 1) scan_select_kernel(const vr_scan_pass pass)
{
    VR_SHARED_LAUNCH(uint64_t, key); /* [VR_SCAN_CAPACITY] */
    VR_SHARED(float, query, VR_SCAN_DIM_MAX);
    const vr_scan_query state = pass.state[blockIdx.x];
    if (state.unsafe != 0) {
        count_answer(pass, &pass.counts->unbounded, 0);
        return;
    }
    uint32_t count = 0;
    bool fits = false;
    if (state.zeros != 0) {
        fits = score_zeros(pass, &count, key);
    } else {
        vr_load_query(pass, blockIdx.x, query);
        fits = score_noted(pass, state.noted, query, &count, key);
    }
    vr_sort_keys(key, vr_power_of_two(count));
    unsigned long long *how = !fits              ? &pass.counts->overflowed
                              : state.zeros != 0 ? &pass.counts->zeros
                                                 : how_answered(pass, state, key, count);
    count_answer(pass, how, state.noted);
    if (how == &pass.counts->overflowed || how == &pass.counts->unproved) {
        if (threadIdx.x == 0) {
            pass.state[blockIdx.x].unsafe = 1;
        }
        return;
    }
    for (unsigned i = threadIdx.x; i < pass.k; i += THREADS) {
        const uint64_t found = i < vr_power_of_two(count) ? key[i] : 0;
        pass.row[static_cast<size_t>(blockIdx.x) * pass.k + i] = vr_key_row(found);
        pass.score[static_cast<size_t>(blockIdx.x) * pass.k + i] = vr_key_score(found);
    }
}

} // namespace

enum vr_status vr_scan_select(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    return vr_launch(stream->seam, "scan_select", scan_select_kernel, pass->queries, THREADS,
                     VR_SCAN_CAPACITY * sizeof(uint64_t), *pass);
}

enum vr_status vr_scan_select_allow_shared(size_t most)
{
    (void)most; /* every device that is supported has this much */
    return vr_allow_shared(scan_select_kernel, VR_SCAN_CAPACITY * sizeof(uint64_t));
}
