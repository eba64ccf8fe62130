/* See block.h: the scheduler. */
#include "block.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

namespace emu
{

thread_local block *running = nullptr;

namespace
{

constexpr unsigned WARP = 32;
constexpr size_t RED_ZONE = 128;
constexpr char RED = static_cast<char>(0xA5);
constexpr char UNSET = static_cast<char>(0xFF); /* NaN as a float, half or double, -1 as an integer */

std::string place(const block &b, const lane *at)
{
    char text[128];
    const uint3 thread = at != nullptr ? at->thread : uint3{0, 0, 0};
    snprintf(text, sizeof text, "block (%u, %u, %u) thread (%u, %u, %u)", b.index.x, b.index.y, b.index.z, thread.x,
             thread.y, thread.z);
    return text;
}

/* Note the first error; later ones are its consequences. */
void fail(block &b, const lane *at, const std::string &what)
{
    if (b.error.empty()) {
        b.error = place(b, at) + ": " + what;
    }
}

void entry()
{
    fiber_arrived();
    block &b = *running;
    b.body();
    if (!b.current->copies.empty()) {
        fail(b, b.current, "exited before its asynchronous copies were waited for");
    }
    b.current->state = LANE_DONE;
    fiber_leave(&b.current->own, true);
}

bool chance(block &b, unsigned one_in)
{
    return b.random() % one_in == 0;
}

/* ---- shared memory ---- */

void guard(shared_array &array)
{
    POISON(array.bytes.data(), static_cast<size_t>(array.data - array.bytes.data()));
    char *end = array.data + array.size;
    POISON(end, static_cast<size_t>(array.bytes.data() + array.bytes.size() - end));
}

void unguard(shared_array &array)
{
    UNPOISON(array.bytes.data(), array.bytes.size());
}

bool intact(const shared_array &array)
{
    const char *begin = array.bytes.data(), *end = begin + array.bytes.size();
    return std::all_of(begin, static_cast<const char *>(array.data), [](char c) { return c == RED; }) &&
           std::all_of(static_cast<const char *>(array.data) + array.size, end, [](char c) { return c == RED; });
}

void free_shared(block &b)
{
    for (shared_array &array : b.shared) {
        unguard(array);
        if (!intact(array)) {
            fail(b, nullptr, "shared memory was written outside its array");
        }
    }
    b.shared.clear();
}

/* ---- the scheduler ---- */

/* Lanes lo .. hi - 1 are a warp. True when a lane ran. */
bool run_ready_lanes(block &b, unsigned lo, unsigned hi)
{
    bool ran = false;
    const unsigned count = hi - lo, first = static_cast<unsigned>(b.random() % count);
    for (unsigned i = 0; i < count && b.error.empty(); i++) {
        lane &l = b.lanes[lo + (first + i) % count];
        if (l.state == LANE_READY) {
            b.current = &l;
            fiber_enter(&l.own);
            ran = true;
        }
    }
    return ran;
}

/* Whether every lane of l's mask waits at l's collective; an error when one never will. */
bool all_arrived(block &b, const lane &l, unsigned lo, unsigned hi, void **argument)
{
    for (unsigned n = 0; n < WARP; n++) {
        argument[n] = nullptr;
        if ((l.mask >> n & 1) == 0) {
            continue;
        }
        if (lo + n >= hi) {
            fail(b, &l, std::string(l.at->name) + ": the mask names a lane that the block does not have");
            return false;
        }
        const lane &other = b.lanes[lo + n];
        if (other.state == LANE_DONE) {
            fail(b, &l, std::string(l.at->name) + ": a lane of the mask has exited");
            return false;
        }
        if (other.state != LANE_AT_COLLECTIVE) {
            return false;
        }
        if (other.at != l.at || other.mask != l.mask) {
            if ((other.mask & l.mask) != 0 && (other.mask >> l.number & 1) != 0) {
                fail(b, &l, std::string(l.at->name) + ": a lane of the mask waits at " + other.at->name);
            }
            return false;
        }
        argument[n] = other.argument;
    }
    return true;
}

bool fire_collectives(block &b, unsigned lo, unsigned hi)
{
    bool fired = false;
    for (unsigned i = lo; i < hi && b.error.empty(); i++) {
        lane &l = b.lanes[i];
        void *argument[WARP];
        if (l.state != LANE_AT_COLLECTIVE || !all_arrived(b, l, lo, hi, argument)) {
            continue;
        }
        const uint32_t mask = l.mask;
        b.current = &l;
        l.at->run(argument, mask);
        for (unsigned n = 0; n < WARP; n++) {
            if ((mask >> n & 1) != 0) {
                b.lanes[lo + n].state = LANE_READY;
            }
        }
        fired = true;
    }
    return fired;
}

/* A warp runs until it can't, or until the dice say that it is another's turn. */
bool run_warp(block &b, unsigned warp)
{
    const unsigned lo = warp * WARP, hi = std::min<unsigned>(lo + WARP, static_cast<unsigned>(b.lanes.size()));
    bool progress = false;
    while (b.error.empty()) {
        const bool ran = run_ready_lanes(b, lo, hi);
        const bool fired = b.error.empty() && fire_collectives(b, lo, hi);
        progress = progress || ran || fired;
        if ((!ran && !fired) || chance(b, 4)) {
            break;
        }
    }
    return progress;
}

/* Let the threads go on when all that still live wait at one barrier. */
bool open_barrier(block &b)
{
    const lane *first = nullptr;
    for (const lane &l : b.lanes) {
        if (l.state == LANE_DONE) {
            continue;
        }
        if (l.state != LANE_AT_BARRIER) {
            return false;
        }
        if (first != nullptr && (l.barrier_line != first->barrier_line || l.barrier_file != first->barrier_file)) {
            fail(b, &l,
                 "waits at line " + std::to_string(l.barrier_line) + "'s barrier, others at line " +
                     std::to_string(first->barrier_line) + "'s");
            return false;
        }
        first = first == nullptr ? &l : first;
    }
    for (lane &l : b.lanes) {
        l.state = l.state == LANE_AT_BARRIER ? LANE_READY : l.state;
    }
    return first != nullptr;
}

void report_deadlock(block &b)
{
    for (const lane &l : b.lanes) {
        if (l.state == LANE_AT_COLLECTIVE) {
            fail(b, &l, std::string("deadlock: waits at ") + l.at->name + " for lanes that wait elsewhere");
        }
    }
    for (const lane &l : b.lanes) {
        if (l.state == LANE_AT_BARRIER) {
            fail(b, &l, "deadlock: waits at line " + std::to_string(l.barrier_line) + "'s barrier, others do not");
        }
    }
}

bool all_done(const block &b)
{
    return std::all_of(b.lanes.begin(), b.lanes.end(), [](const lane &l) { return l.state == LANE_DONE; });
}

void prepare_lanes(block &b)
{
    const unsigned count = b.size.x * b.size.y * b.size.z;
    b.lanes.resize(count);
    for (unsigned i = 0; i < count; i++) {
        lane &l = b.lanes[i];
        l.state = LANE_READY;
        l.thread = uint3{i % b.size.x, i / b.size.x % b.size.y, i / (b.size.x * b.size.y)};
        l.number = i % WARP;
        l.copies.clear();
        l.groups = 0;
        fiber_prepare(&l.own, fiber_stack(i), entry);
    }
}

void run_block(block &b)
{
    prepare_lanes(b);
    std::vector<unsigned> order((b.lanes.size() + WARP - 1) / WARP);
    for (unsigned w = 0; w < order.size(); w++) {
        order[w] = w;
    }
    while (b.error.empty() && !all_done(b)) {
        bool progress = false;
        std::shuffle(order.begin(), order.end(), b.random);
        for (unsigned w : order) {
            progress = run_warp(b, w) || progress;
        }
        if (b.error.empty() && !open_barrier(b) && !progress && !all_done(b)) {
            report_deadlock(b);
        }
    }
    free_shared(b);
}

} // namespace

bool run_grid(dim3 grid, dim3 size, size_t dynamic_bytes, uint64_t seed, const std::function<void()> &body,
              std::string &error)
{
    block b = {};
    b.grid = grid;
    b.size = size;
    b.dynamic_bytes = dynamic_bytes;
    b.body = body;
    b.random.seed(seed);
    block *outer = running;
    running = &b;
    std::vector<unsigned> order(static_cast<size_t>(grid.x) * grid.y * grid.z);
    for (unsigned i = 0; i < order.size(); i++) {
        order[i] = i;
    }
    std::shuffle(order.begin(), order.end(), b.random);
    for (unsigned i : order) {
        b.index = uint3{i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
        run_block(b);
        if (!b.error.empty()) {
            break;
        }
    }
    running = outer;
    error = b.error;
    return error.empty();
}

void stop(const std::string &error)
{
    block &b = *running;
    fail(b, b.current, error);
    for (;;) { /* the scheduler sees the error and never comes back */
        fiber_leave(&b.current->own, false);
    }
}

void meet(const collective *at, void *argument, uint32_t mask)
{
    lane *l = running->current;
    if ((mask >> l->number & 1) == 0) {
        stop(std::string(at->name) + ": the mask leaves out the lane that calls");
    }
    l->at = at;
    l->argument = argument;
    l->mask = mask;
    l->state = LANE_AT_COLLECTIVE;
    fiber_leave(&l->own, false);
}

void wait_at_barrier(const char *file, int line)
{
    lane *l = running->current;
    l->barrier_file = file;
    l->barrier_line = line;
    l->state = LANE_AT_BARRIER;
    fiber_leave(&l->own, false);
}

char *shared_memory(const void *site, size_t bytes)
{
    block &b = *running;
    for (shared_array &array : b.shared) {
        if (array.site == site) {
            return array.data;
        }
    }
    b.shared.push_back({site, std::vector<char>(bytes + 2 * RED_ZONE + 128, RED), nullptr, bytes});
    shared_array &array = b.shared.back();
    const uintptr_t after = reinterpret_cast<uintptr_t>(array.bytes.data()) + RED_ZONE;
    array.data = array.bytes.data() + RED_ZONE + (128 - after % 128) % 128; /* as CUDA aligns what is asked to be */
    memset(array.data, UNSET, bytes);
    guard(array);
    return array.data;
}

char *dynamic_shared_memory()
{
    static const char site = 0;
    return shared_memory(&site, running->dynamic_bytes);
}

/* ---- asynchronous copies: each ends at once or when it is waited for, as the dice fall ---- */

static void finish(const pending_copy &copy)
{
    memcpy(copy.to, copy.from, copy.bytes);
    memset(static_cast<char *>(copy.to) + copy.bytes, 0, copy.zeros);
}

void copy_async(void *to, const void *from, unsigned bytes, unsigned zeros)
{
    block &b = *running;
    const unsigned whole = bytes + zeros;
    if (reinterpret_cast<uintptr_t>(to) % whole != 0 || (bytes > 0 && reinterpret_cast<uintptr_t>(from) % whole != 0)) {
        stop("an asynchronous copy is not aligned to its size");
    }
    const pending_copy copy = {to, from, bytes, zeros, b.current->groups};
    if (chance(b, 2)) {
        finish(copy);
    } else {
        b.current->copies.push_back(copy);
    }
}

void copy_commit()
{
    running->current->groups++;
}

void copy_wait(unsigned groups_left)
{
    lane *l = running->current;
    const auto ends = [&](const pending_copy &copy) { return copy.group + groups_left < l->groups; };
    for (const pending_copy &copy : l->copies) {
        if (ends(copy)) {
            finish(copy);
        }
    }
    l->copies.erase(std::remove_if(l->copies.begin(), l->copies.end(), ends), l->copies.end());
}

} // namespace emu
