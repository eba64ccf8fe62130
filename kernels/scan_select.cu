/* select: the true scores of what was noted, sorted; the best k are the answer where that can be proved (scan.h). One
 * block a query; as many keys are sorted as were noted. */
#include "scan_tile.cuh"

namespace
{

constexpr unsigned THREADS = 512;

/* The key of a slot that lies apart, 0 where it is excluded. */
__device__ uint64_t key_apart(const vr_scan_pass &pass, const float *query, uint32_t slot)
{
    const uint64_t key = vr_slot_key(pass.vectors, query, slot);
    const vr_excluded excluded = vr_excluded_of(pass.exclude, pass.first + blockIdx.x);
    return vr_is_excluded(excluded, vr_key_row(key)) ? 0 : key;
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
            key[i] = vr_slot_key(pass.vectors, query, slot[i]);
        } else {
            key[i] = i < *count ? key_apart(pass, query, pass.vectors.rows + (i - noted)) : 0;
        }
    }
    return true;
}

/* A query of zeros (a viewer without history) scores 0 everywhere: the first k rows that are not excluded are the
 * answer. They are looked for in steps of one row a thread. Returns the number of keys, below k + THREADS. */
__device__ uint32_t score_zeros(const vr_scan_pass &pass, uint64_t *key)
{
    VR_SHARED(uint32_t, found, 1);
    const vr_excluded excluded = vr_excluded_of(pass.exclude, pass.first + blockIdx.x);
    uint32_t count = 0;
    if (threadIdx.x == 0) {
        *found = 0;
    }
    for (uint32_t first = 0; first < pass.vectors.rows && count < pass.k; first += THREADS) {
        const uint32_t row = first + threadIdx.x;
        __syncthreads(); /* the count before was read by all */
        if (row < pass.vectors.rows) {
            const int32_t held = pass.vectors.row_of_slot[pass.vectors.slot_of_row[row]];
            if (vr_is_wanted(excluded, held)) {
                key[atomicAdd(found, 1u)] = vr_key_of(0.0f, held);
            }
        }
        __syncthreads();
        count = *found;
    }
    for (unsigned i = count + threadIdx.x; i < vr_power_of_two(count); i += THREADS) {
        key[i] = 0;
    }
    return count;
}
static_assert(VR_SCAN_K_MAX + THREADS <= VR_SCAN_CAPACITY, "the keys of a query of zeros fit");

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
    bool fits = true;
    if (state.zeros != 0) {
        count = score_zeros(pass, key);
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
