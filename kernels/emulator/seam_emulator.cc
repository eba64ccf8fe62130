/* The CUDA API of tests (seam.h): memory that is watched, streams that do their work when they are polled, graphs as
 * lists of calls.
 *
 * - Work that was put on a stream runs at once, or later, or when somebody polls, as the dice fall: a host that reads a
 *   result or changes an argument too early is found out.
 * - Under AddressSanitizer device memory is poisoned but while work runs, so a host that touches it is found too.
 * - A copy between places that vr_seam_memory_create did not give, or past their ends, is an error; so are launches
 *   that a GPU would refuse, and whatever block.h calls undefined. They show at the stream's next poll. */
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "emulator.h"
#include "kernel.h"
#include "seam.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

namespace
{

constexpr size_t SHARED_BYTES = 227 * 1024;        /* of sm_90 */
constexpr size_t SHARED_BYTES_UNASKED = 48 * 1024; /* without vr_allow_shared */
constexpr size_t MEMORY_ALIGNMENT = 256;

/* One piece of work; false with a text when it went wrong. */
using work = std::function<bool(std::string &)>;

struct allocation {
    size_t bytes;
    bool pinned;
};

/* The device: one at a time works on it. */
struct {
    std::mutex lock;
    std::map<char *, allocation> memory;
    std::map<const void *, size_t> allowed_shared; /* by kernel */
    size_t used, limit = size_t{4} << 30;
    uint64_t seed = 1, launches;
} device;

size_t round_up(size_t bytes)
{
    return (std::max<size_t>(bytes, 1) + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
}

uint64_t next_seed()
{
    return device.seed * 0x9e3779b97f4a7c15u + ++device.launches;
}

/* Whether `bytes` from `at` lie inside one allocation. */
bool is_known(const void *at, size_t bytes)
{
    char *place = static_cast<char *>(const_cast<void *>(at));
    auto after = device.memory.upper_bound(place);
    if (after == device.memory.begin()) {
        return false;
    }
    const auto &[begin, found] = *std::prev(after);
    const size_t offset = static_cast<size_t>(place - begin);
    return offset <= found.bytes && bytes <= found.bytes - offset;
}

/* Device memory is open to whoever holds one of these. */
struct opened {
    opened()
    {
        for (auto &[begin, found] : device.memory) {
            UNPOISON(begin, found.bytes);
        }
    }
    ~opened()
    {
        for (auto &[begin, found] : device.memory) {
            if (!found.pinned) {
                POISON(begin, found.bytes);
            }
        }
    }
    opened(const opened &) = delete;
    opened &operator=(const opened &) = delete;
};

} // namespace

struct vr_seam_graph {
    std::vector<work> step;
};

struct vr_seam_stream {
    std::deque<work> waiting;
    std::mt19937_64 random;
    std::string error; /* stays, as on a GPU */
    std::unique_ptr<vr_seam_graph> capture;
};

namespace
{

/* Do up to `count` pieces of work. */
void run_some(vr_seam_stream *stream, size_t count)
{
    const std::lock_guard<std::mutex> guard(device.lock);
    while (count-- > 0 && !stream->waiting.empty() && stream->error.empty()) {
        const work next = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        const opened open;
        std::string error;
        if (!next(error)) {
            stream->error = error;
        }
    }
}

enum vr_status put(vr_seam_stream *stream, work piece)
{
    if (stream->capture != nullptr) {
        stream->capture->step.push_back(std::move(piece));
        return VR_OK;
    }
    stream->waiting.push_back(std::move(piece));
    run_some(stream, stream->random() % 3);
    return VR_OK;
}

std::string wrong_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared_bytes)
{
    const uint64_t threads = uint64_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX ||
        grid.y > 65535 || grid.z > 65535) {
        return std::string(name) + ": a grid or block that no device takes";
    }
    const auto allowed = device.allowed_shared.find(kernel);
    const size_t most = allowed == device.allowed_shared.end() ? SHARED_BYTES_UNASKED : allowed->second;
    return shared_bytes > most ? std::string(name) + ": more shared memory than vr_allow_shared gave it" : "";
}

} // namespace

namespace emu
{

enum vr_status enqueue_kernel(struct vr_seam_stream *stream, const char *name, const void *kernel, dim3 grid,
                              dim3 block, size_t shared_bytes, std::function<void()> body)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_LAUNCH, name);
    if (status != VR_OK) {
        return status;
    }
    std::string wrong;
    {
        const std::lock_guard<std::mutex> guard(device.lock);
        wrong = wrong_launch(name, kernel, grid, block, shared_bytes);
    }
    if (!wrong.empty()) {
        return vr_fail(VR_ERR_BACKEND, "%s", wrong.c_str());
    }
    const std::string called = name;
    return put(stream, [=](std::string &error) {
        if (run_grid(grid, block, shared_bytes, next_seed(), body, error)) {
            return true;
        }
        error = called + ": " + error;
        return false;
    });
}

} // namespace emu

extern "C" {

void vr_emulator_seed(uint64_t seed)
{
    const std::lock_guard<std::mutex> guard(device.lock);
    device.seed = seed;
    device.launches = 0;
}

void vr_emulator_memory_limit(size_t bytes)
{
    const std::lock_guard<std::mutex> guard(device.lock);
    device.limit = bytes;
}

size_t vr_emulator_memory_used(void)
{
    const std::lock_guard<std::mutex> guard(device.lock);
    return device.used;
}

enum vr_status vr_seam_open(struct vr_seam_device *out)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_OPEN, "device");
    if (status != VR_OK) {
        return status;
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    *out = vr_seam_device{"emulator", 9, 0, 4, SHARED_BYTES, device.limit, device.limit - device.used};
    return VR_OK;
}

enum vr_status vr_seam_memory_create(bool pinned, size_t bytes, void **out)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_MEMORY, pinned ? "pinned" : "device");
    if (status != VR_OK) {
        return status;
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    const size_t rounded = round_up(bytes);
    void *memory = nullptr;
    if (bytes <= device.limit - device.used) {
        memory = aligned_alloc(MEMORY_ALIGNMENT, rounded);
    }
    if (memory == nullptr) {
        return vr_fail(VR_ERR_NOMEM, "no %s memory for %zu bytes", pinned ? "pinned" : "device", bytes);
    }
    memset(memory, 0, rounded);
    device.memory[static_cast<char *>(memory)] = {bytes, pinned};
    device.used += bytes;
    POISON(static_cast<char *>(memory) + bytes, rounded - bytes);
    if (!pinned) {
        POISON(memory, bytes);
    }
    *out = memory;
    return VR_OK;
}

void vr_seam_memory_destroy(bool, void *memory)
{
    if (memory == nullptr) {
        return;
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    const auto found = device.memory.find(static_cast<char *>(memory));
    if (found == device.memory.end()) {
        abort(); /* freed twice, or never taken */
    }
    device.used -= found->second.bytes;
    UNPOISON(memory, round_up(found->second.bytes));
    device.memory.erase(found);
    free(memory);
}

enum vr_status vr_seam_stream_create(struct vr_seam_stream **out)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_STREAM, "create");
    if (status != VR_OK) {
        return status;
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    *out = new vr_seam_stream();
    (*out)->random.seed(next_seed());
    return VR_OK;
}

void vr_seam_stream_destroy(struct vr_seam_stream *stream)
{
    if (stream != nullptr) {
        run_some(stream, stream->waiting.size());
        delete stream;
    }
}

enum vr_status vr_seam_stream_poll(struct vr_seam_stream *stream, bool *done)
{
    *done = false;
    const enum vr_status status = vr_seam_enter(VR_SEAM_POLL, "stream");
    if (status != VR_OK || vr_seam_hangs()) {
        return status;
    }
    run_some(stream, 1 + stream->random() % 4);
    if (!stream->error.empty()) {
        return vr_fail(VR_ERR_BACKEND, "%s", stream->error.c_str());
    }
    *done = stream->waiting.empty();
    return VR_OK;
}

enum vr_status vr_seam_copy(struct vr_seam_stream *stream, void *to, const void *from, size_t bytes)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_COPY, "memory");
    if (status != VR_OK || bytes == 0) {
        return status;
    }
    return put(stream, [=](std::string &error) {
        if (!is_known(to, bytes) || !is_known(from, bytes)) {
            error = "a copy of " + std::to_string(bytes) + " bytes leaves its memory";
            return false;
        }
        memmove(to, from, bytes);
        return true;
    });
}

enum vr_status vr_seam_fill(struct vr_seam_stream *stream, void *to, int byte, size_t bytes)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_FILL, "memory");
    if (status != VR_OK || bytes == 0) {
        return status;
    }
    return put(stream, [=](std::string &error) {
        if (!is_known(to, bytes)) {
            error = "a fill of " + std::to_string(bytes) + " bytes leaves its memory";
            return false;
        }
        memset(to, byte, bytes);
        return true;
    });
}

enum vr_status vr_seam_allow_shared(const void *kernel, size_t bytes)
{
    if (bytes > SHARED_BYTES) {
        return vr_fail(VR_ERR_UNSUPPORTED, "%zu bytes of shared memory, the device has %zu", bytes, SHARED_BYTES);
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    device.allowed_shared[kernel] = bytes;
    return VR_OK;
}

enum vr_status vr_seam_capture_begin(struct vr_seam_stream *stream)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_CAPTURE, "begin");
    if (status == VR_OK) {
        stream->capture = std::make_unique<vr_seam_graph>();
    }
    return status;
}

enum vr_status vr_seam_capture_end(struct vr_seam_stream *stream, struct vr_seam_graph **out)
{
    std::unique_ptr<vr_seam_graph> graph = std::move(stream->capture); /* the stream leaves capture whatever happens */
    const enum vr_status status = vr_seam_enter(VR_SEAM_CAPTURE, "end");
    if (status == VR_OK) {
        *out = graph.release();
    }
    return status;
}

enum vr_status vr_seam_graph_launch(struct vr_seam_stream *stream, struct vr_seam_graph *graph)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_GRAPH, "launch");
    if (status != VR_OK) {
        return status;
    }
    for (const work &step : graph->step) {
        put(stream, step);
    }
    return VR_OK;
}

void vr_seam_graph_destroy(struct vr_seam_graph *graph)
{
    delete graph;
}

} /* extern "C" */
