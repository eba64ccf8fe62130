// See standin.h.
#include "standin.hh"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernel.cuh"
#include "standin.h"

namespace
{
std::atomic<unsigned> alive, strangers, searches, odd_queries;
std::atomic<uint32_t> fetched;
std::atomic<bool> hangs;

struct {
    std::mutex lock;
    enum standin_call call;
    unsigned left;
    std::string words;
} planned;

void enter(enum standin_call call)
{
    const std::lock_guard<std::mutex> guard(planned.lock);
    if (planned.left > 0 && planned.call == call && --planned.left == 0) {
        throw std::runtime_error(planned.words);
    }
}

void must(enum vr_status status)
{
    if (status != VR_OK) {
        throw std::runtime_error(status == VR_ERR_NOMEM ? "std::bad_alloc: out_of_memory" : vr_error_text());
    }
}

// One thread a query.
__global__ void standin_search_kernel(const float *vector, size_t rows, size_t dim, const float *query, size_t k,
                                      int64_t *id, float *score)
{
    query += blockIdx.x * dim;
    odd_queries += !std::all_of(query, query + dim, [](float x) { return std::isfinite(x); });
    std::vector<std::pair<float, int64_t>> best(rows);
    for (size_t r = 0; r < rows; r++) {
        float sum = 0.0f;
        for (size_t c = 0; c < dim; c++) {
            sum += query[c] * vector[r * dim + c];
        }
        best[r] = {-sum, static_cast<int64_t>(r)};
    }
    const bool odd = k > 2 && k < rows; // the last places: one without a row, and the best row once more
    const size_t given = odd ? k - 2 : k;
    std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(std::min(given, rows)), best.end());
    for (size_t i = 0; i < k; i++) {
        const size_t place = given - 1 - i; // worst first
        const bool there = i < given && place < rows;
        id[blockIdx.x * k + i] = there ? best[place].second : i + 1 == k && odd ? best[0].second : INT64_MAX;
        score[blockIdx.x * k + i] = there ? -best[place].first : 0.0f;
    }
}
} // namespace

namespace standin
{
counted::counted()
{
    alive++;
}

counted::~counted()
{
    alive--;
}

handles::handles() : owner(std::this_thread::get_id())
{
    enter(STANDIN_OPEN);
}

handles::~handles()
{
    use();
    vr_seam_memory_destroy(false, memory);
}

void handles::use() const
{
    strangers += std::this_thread::get_id() != owner;
}

void handles::reserve(size_t bytes)
{
    use();
    must(vr_seam_memory_create(false, bytes, &memory));
}

// As cudaFree, it waits: a build that fails half way leaves nothing in flight.
vectors::~vectors()
{
    bool done = stream == nullptr;
    for (unsigned polls = 0; !done && polls < 100000 && vr_seam_stream_poll(stream, &done) == VR_OK; polls++) {
    }
    vr_seam_memory_destroy(false, copy);
}

void vectors::build(const handles &own, size_t rows_, size_t dim_, const float *vector_, bool copied)
{
    own.use();
    enter(STANDIN_BUILD);
    rows = rows_;
    dim = dim_;
    vector = vector_;
    if (copied) {
        must(vr_seam_memory_create(false, rows * dim * sizeof(float), &copy));
        stream = own.stream;
        must(vr_seam_copy(own.stream, copy, vector, rows * dim * sizeof(float)));
        vector = static_cast<const float *>(copy);
    }
}

void vectors::search(const handles &own, size_t queries, const float *query, size_t k, int64_t *id, float *score) const
{
    own.use();
    searches++;
    fetched = static_cast<uint32_t>(k);
    enter(STANDIN_SEARCH);
    if (hangs) {
        std::mutex lock;
        std::unique_lock<std::mutex> held(lock);
        std::condition_variable().wait(held, [] { return false; });
    }
    must(vr_launch(own.stream, "standin_search", standin_search_kernel, static_cast<unsigned>(queries), 1, 0, vector,
                   rows, dim, query, k, id, score));
}
} // namespace standin

extern "C" {
void standin_fail(enum standin_call call, unsigned at, const char *words)
{
    const std::lock_guard<std::mutex> guard(planned.lock);
    planned.call = call;
    planned.left = at;
    planned.words = words;
}

void standin_hang(void)
{
    hangs = true;
}

unsigned standin_alive(void)
{
    return alive;
}

unsigned standin_strangers(void)
{
    return strangers;
}

unsigned standin_odd_queries(void)
{
    return odd_queries;
}

unsigned standin_searches(void)
{
    return searches;
}

uint32_t standin_fetched(void)
{
    return fetched;
}
}
