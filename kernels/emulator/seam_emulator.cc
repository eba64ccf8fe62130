/* The CUDA API of tests (seam.h): memory that is watched, streams that do their work when they are polled, graphs as
 * lists of calls.
 *
 * - Work that was put on a stream runs at once, or later, or when somebody polls, as the dice fall: a host that reads a
 *   result or changes an argument too early is found out.
 * - Under AddressSanitizer device memory is poisoned but while work runs, so a host that touches it is found too.
 * - A copy between places that vr_seam_memory_create did not give, or past their ends, is an error; so are launches
 *   that a GPU would refuse, and whatever block.h calls undefined. They show at the stream's next poll. */
#include <algorithm>
#include <cstdio>
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
#include "watch.h"

namespace
{

using emu::SHARED_BYTES, emu::SHARED_BYTES_UNASKED;

constexpr size_t MEMORY_ALIGNMENT = 256;

/* One piece of work; false with a text when it went wrong. */
using work = std::function<bool(struct vr_seam_stream *, std::string &)>;

struct allocation {
    size_t bytes;
    bool pinned;
};

/* The device: one at a time works on it. */
struct {
    std::mutex lock;
    std::vector<vr_seam_stream *> orphans; /* destroyed while work was in flight */
    std::map<char *, allocation> memory;
    std::map<const void *, size_t> allowed_shared; /* by kernel */
    size_t used, limit = size_t{4} << 30, shared = SHARED_BYTES;
    uint64_t seed = 1, seeds = 1, streams; /* seeds: how often one was set; streams: made since */
} device;

size_t round_up(size_t bytes)
{
    return (std::max<size_t>(bytes, 1) + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
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

/* Device memory is open as long as one of these is there. */
struct opened {
    opened()
    {
        for (auto &[begin, found] : device.memory) {
            EMU_OPEN(begin, found.bytes);
        }
    }
    ~opened()
    {
        for (auto &[begin, found] : device.memory) {
            if (!found.pinned) {
                EMU_CLOSE(begin, found.bytes);
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
    uint64_t number, seeds; /* what its luck comes from, see follow_seed */
    emu::draw drawn;
    uint64_t waits;    /* how often a poll has found it done: between two, its haste is the same */
    std::string error; /* stays, as on a GPU */
    std::unique_ptr<vr_seam_graph> capture;
};

namespace
{

/* A stream's dice depend on the seed and on its number among the streams made since that was set: so runs repeat even
 * where several threads have a stream each. */
void follow_seed(vr_seam_stream *stream)
{
    if (stream->seeds != device.seeds) {
        emu::dice mixed = {device.seed}; /* neighbouring seeds' sequences must not overlap */
        mixed.state = mixed.next() + stream->number;
        stream->seeds = device.seeds;
        stream->drawn = {mixed.next(), device.seed, stream->number << 12};
    }
}

unsigned roll(vr_seam_stream *stream, unsigned sides)
{
    emu::dice dice = {stream->drawn.random};
    const unsigned rolled = dice.below(sides);
    stream->drawn.random = dice.state;
    return rolled;
}

/* How much of its work a stream does when some is put on it: in two cases of four nothing before it is polled, in one
 * all at once, in one it is between. */
size_t hurries(vr_seam_stream *stream)
{
    emu::dice fixed = {stream->number << 32 | stream->waits};
    const uint64_t choice = (fixed.next() + stream->drawn.seed) % 4;
    return choice == 1 ? stream->waiting.size() : choice == 3 ? roll(stream, 3) : 0;
}

/* Do up to `count` pieces of work. */
void run_some(vr_seam_stream *stream, size_t count)
{
    if (count == 0 || stream->waiting.empty() || !stream->error.empty()) {
        return;
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    const opened open;
    while (count-- > 0 && !stream->waiting.empty() && stream->error.empty()) {
        const work next = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        std::string error;
        if (!next(stream, error)) {
            stream->error = error;
        }
    }
}

/* A GPU goes on with the work of a stream that was destroyed. Here it does so when memory has been freed: if that was
 * memory which the work needs, this is a bug of the host. */
void run_orphans()
{
    std::vector<vr_seam_stream *> orphans;
    {
        const std::lock_guard<std::mutex> guard(device.lock);
        orphans.swap(device.orphans);
    }
    for (vr_seam_stream *stream : orphans) {
        run_some(stream, stream->waiting.size());
        if (!stream->error.empty()) {
            fprintf(stderr, "work of a stream that was destroyed: %s\n", stream->error.c_str());
            abort();
        }
        delete stream;
    }
}

enum vr_status put(vr_seam_stream *stream, work piece)
{
    if (stream->capture != nullptr) {
        stream->capture->step.push_back(std::move(piece));
        return VR_OK;
    }
    follow_seed(stream);
    stream->waiting.push_back(std::move(piece));
    run_some(stream, hurries(stream));
    return VR_OK;
}

/* What is wrong with a launch, nullptr: nothing. Fills in its limit of shared memory. */
const char *wrong_launch(const void *kernel, emu::launch *launch)
{
    const dim3 grid = launch->grid, size = launch->size;
    const uint64_t threads = uint64_t{size.x} * size.y * size.z;
    if (threads == 0 || threads > 1024 || size.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) {
        return "a grid or block that no device takes";
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    const auto allowed = device.allowed_shared.find(kernel);
    const bool asked = allowed != device.allowed_shared.end();
    launch->shared_limit = asked ? device.shared : SHARED_BYTES_UNASKED;
    return launch->dynamic_bytes > (asked ? allowed->second : SHARED_BYTES_UNASKED)
               ? "more shared memory than vr_allow_shared gave it"
               : nullptr;
}

} // namespace

namespace emu
{

enum vr_status enqueue_kernel(struct vr_seam_stream *stream, const char *name, const void *kernel, launch launch)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_LAUNCH, name);
    if (status != VR_OK) {
        return status;
    }
    const char *wrong = wrong_launch(kernel, &launch);
    if (wrong != nullptr) {
        return vr_fail(VR_ERR_BACKEND, "%s: %s", name, wrong);
    }
    return put(stream,
               [launch = std::move(launch), called = std::string(name)](struct vr_seam_stream *on, std::string &error) {
                   roll(on, 1);
                   on->drawn.number++;
                   if (run_grid(launch, on->drawn, error)) {
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
    device.seeds++;
    device.streams = 0;
}

void vr_emulator_memory_limit(size_t bytes)
{
    const std::lock_guard<std::mutex> guard(device.lock);
    device.limit = bytes;
}

void vr_emulator_shared_limit(size_t bytes)
{
    const std::lock_guard<std::mutex> guard(device.lock);
    device.shared = bytes;
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
    *out = vr_seam_device{"emulator", 9, 0, 4, device.shared, device.limit, device.limit - device.used};
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
    EMU_CLOSE(static_cast<char *>(memory) + bytes, rounded - bytes);
    if (!pinned) {
        EMU_CLOSE(memory, bytes);
    }
    *out = memory;
    return VR_OK;
}

void vr_seam_memory_destroy(bool, void *memory)
{
    if (memory == nullptr) {
        return;
    }
    {
        const std::lock_guard<std::mutex> guard(device.lock);
        const auto found = device.memory.find(static_cast<char *>(memory));
        if (found == device.memory.end()) {
            abort(); /* freed twice, or never taken */
        }
        device.used -= found->second.bytes;
        EMU_OPEN(memory, round_up(found->second.bytes));
        device.memory.erase(found);
        free(memory);
    }
    run_orphans();
}

enum vr_status vr_seam_stream_create(struct vr_seam_stream **out)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_STREAM, "create");
    if (status != VR_OK) {
        return status;
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    *out = new vr_seam_stream{};
    (*out)->number = device.streams++;
    return VR_OK;
}

void vr_seam_stream_destroy(struct vr_seam_stream *stream)
{
    if (stream == nullptr) {
        return;
    }
    if (stream->waiting.empty() || !stream->error.empty() || vr_seam_hangs() || vr_seam_is_lost()) {
        delete stream; /* with work that never runs */
        return;
    }
    const std::lock_guard<std::mutex> guard(device.lock);
    device.orphans.push_back(stream);
}

enum vr_status vr_seam_stream_poll(struct vr_seam_stream *stream, bool *done)
{
    *done = false;
    const enum vr_status status = vr_seam_enter(VR_SEAM_POLL, "stream");
    if (status != VR_OK || vr_seam_hangs()) {
        return status;
    }
    if (stream->capture != nullptr) {
        return vr_fail(VR_ERR_BACKEND, "a stream is polled while it is captured");
    }
    follow_seed(stream);
    run_some(stream, 1 + roll(stream, 4));
    if (!stream->error.empty()) {
        return vr_fail(VR_ERR_BACKEND, "%s", stream->error.c_str());
    }
    *done = stream->waiting.empty();
    stream->waits += *done;
    return VR_OK;
}

/* What `other` has to do is done now: a GPU may have been as quick. */
enum vr_status vr_seam_stream_follow(struct vr_seam_stream *stream, struct vr_seam_stream *other)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_STREAM, "follow");
    if (status == VR_OK && (stream->capture != nullptr || other->capture != nullptr)) {
        return vr_fail(VR_ERR_BACKEND, "a stream follows while it is captured");
    }
    if (status == VR_OK) {
        run_some(other, other->waiting.size());
    }
    return status == VR_OK && !other->error.empty() ? vr_fail(VR_ERR_BACKEND, "%s", other->error.c_str()) : status;
}

void *vr_seam_launch_on(struct vr_seam_stream *stream)
{
    return stream;
}

enum vr_status vr_seam_copy(struct vr_seam_stream *stream, void *to, const void *from, size_t bytes)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_COPY, "memory");
    if (status != VR_OK || bytes == 0) {
        return status;
    }
    return put(stream, [=](struct vr_seam_stream *, std::string &error) {
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
    return put(stream, [=](struct vr_seam_stream *, std::string &error) {
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
    const std::lock_guard<std::mutex> guard(device.lock);
    if (bytes > device.shared) {
        return vr_fail(VR_ERR_UNSUPPORTED, "%zu bytes of shared memory, the device has %zu", bytes, device.shared);
    }
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
