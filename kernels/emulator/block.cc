/* See block.h: the scheduler, collectives and barriers. Shared memory and copies are in shared.cc. */
#include "block.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "watch.h"

namespace emu
{

__thread block *running = nullptr;

namespace
{

constexpr unsigned WARP = 32;
constexpr unsigned START = 2, END = 3; /* of block::order */

uint32_t bit(unsigned lane)
{
    return uint32_t{1} << lane;
}

unsigned lowest(uint32_t set)
{
    return static_cast<unsigned>(__builtin_ctz(set));
}

void note(block &b, const char *format, va_list arguments)
{
    if (b.error[0] != 0) { /* what follows is a consequence */
        return;
    }
    EMU_UNORDERED_BEGIN();
    const uint3 thread = b.current->thread;
    const int used = snprintf(b.error, sizeof b.error, "block (%u, %u, %u) thread (%u, %u, %u): ", b.index.x, b.index.y,
                              b.index.z, thread.x, thread.y, thread.z);
    vsnprintf(b.error + used, sizeof b.error - static_cast<size_t>(used), format, arguments);
    EMU_UNORDERED_END();
}

/* ---- collectives ---- */

lane &lane_of(block &b, unsigned w, unsigned number)
{
    return b.lanes[w * WARP + number];
}

/* Whether `other`, of l's mask, waits at the same collective as l; an error when it never will. */
bool is_with(const lane &l, const lane &other)
{
    if (other.at == l.at && other.mask == l.mask && other.line == l.line) {
        return true;
    }
    if ((other.mask >> l.number & 1) != 0) {
        if (other.at == l.at && other.mask == l.mask) {
            fail("%s at line %d: a lane of the warp waits at line %d's", l.at->name, l.line, other.line);
        } else {
            fail("%s: a lane of the mask waits at %s with mask %08x, not %08x", l.at->name, other.at->name,
                 static_cast<unsigned>(other.mask), static_cast<unsigned>(l.mask));
        }
    }
    return false;
}

/* Whether every lane of l's mask waits at l's collective; an error when one never will. */
bool all_arrived(block &b, const warp &w, const lane &l, void **argument)
{
    b.current = const_cast<lane *>(&l);
    const uint32_t gone = l.mask & ~(w.ready | w.at_collective | w.at_barrier);
    if (gone != 0) {
        fail((gone & ~w.exist) != 0 ? "%s: the mask names a lane that the block does not have"
                                    : "%s: a lane of the mask has exited",
             l.at->name);
        return false;
    }
    if ((l.mask & ~w.at_collective) != 0) {
        return false;
    }
    for (unsigned n = 0; n < WARP; n++) {
        argument[n] = nullptr;
        if ((l.mask & bit(n)) != 0) {
            const lane &other = lane_of(b, l.warp, n);
            if (!is_with(l, other)) {
                return false;
            }
            argument[n] = other.argument;
        }
    }
    return true;
}

void fire(block &b, warp &w, const lane &l, void *const *argument)
{
    const uint32_t mask = l.mask;
    const unsigned number = ++w.fired % sizeof w.order;
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        lane &each = lane_of(b, l.warp, lowest(left));
        EMU_AFTER(&each.mask);
        each.fired = number;
    }
    l.at->run(argument, mask);
    EMU_BEFORE(&w.order[number]);
    w.at_collective &= ~mask;
    w.ready |= mask;
}

/* Run the collectives of a warp whose lanes all wait. True when there was one. */
bool fire_collectives(block &b, warp &w, unsigned number)
{
    lane *const caller = b.current;
    bool fired = false;
    for (uint32_t left = w.at_collective; left != 0 && b.error[0] == 0;) {
        const lane &l = lane_of(b, number, lowest(left));
        void *argument[WARP];
        left &= ~bit(l.number);
        if (all_arrived(b, w, l, argument)) {
            left &= ~l.mask;
            fire(b, w, l, argument);
            fired = true;
        }
    }
    b.current = caller;
    return fired;
}

/* ---- who runs next ---- */

/* The current lane waits, or has exited: go on with another of its warp, or let the scheduler choose. */
void pause(block &b)
{
    lane *const self = b.current;
    warp &w = b.warps[self->warp];
    bool turn_ends = false;
    EMU_BEFORE(&b.order[END]); /* here, since after an error it does not get further */
    if (w.ready == 0 && b.error[0] == 0) {
        turn_ends = !fire_collectives(b, w, self->warp) || (b.patience != 0 && b.random.below(b.patience) == 0);
    }
    if (turn_ends || b.error[0] != 0) {
        fiber_switch(self->own, &b.scheduler);
        return;
    }
    b.current = &lane_of(b, self->warp, b.random.pick(w.ready));
    if (b.current != self) {
        fiber_switch(self->own, b.current->own);
    }
}

/* What every fiber runs: its lane's part of one block after the other. */
void thread_loop()
{
    fiber_entered();
    for (;;) {
        block &b = *running;
        lane *const self = b.current;
        EMU_AFTER(&b.order[START]);
        b.of->body();
        if (!self->copies.empty()) {
            fail("exited before its asynchronous copies were waited for");
        }
        b.warps[self->warp].ready &= ~bit(self->number);
        b.living--;
        pause(b);
    }
}

/* How far warps may run ahead of each other, until the next barrier: any way is one that a GPU may choose. */
void choose_patience(block &b)
{
    static const unsigned choices[] = {0, 2, 0, 8};
    b.patience = choices[b.choice(CHOICE_PATIENCE)];
}

void open_barrier(block &b)
{
    for (warp &w : b.warps) {
        w.ready |= w.at_barrier;
        w.at_barrier = 0;
    }
    b.waiting = 0;
    b.barriers++;
    choose_patience(b);
}

void report_deadlock(block &b)
{
    for (lane &l : b.lanes) {
        b.current = &l;
        if ((b.warps[l.warp].at_collective & bit(l.number)) != 0) {
            fail("deadlock: waits at %s for lanes that wait elsewhere", l.at->name);
        }
    }
    fail("deadlock");
}

uint32_t warps_that_can_run(const block &b)
{
    uint32_t set = 0;
    for (unsigned w = 0; w < b.warps.size(); w++) {
        set |= b.warps[w].ready != 0 ? bit(w) : 0;
    }
    return set;
}

void run_threads(block &b)
{
    while (b.error[0] == 0 && b.living > 0) {
        const uint32_t can = warps_that_can_run(b);
        if (can != 0) {
            const unsigned w = b.random.pick(can);
            b.current = &lane_of(b, w, b.random.pick(b.warps[w].ready));
            fiber_switch(&b.scheduler, b.current->own);
        } else if (b.waiting == b.living) {
            open_barrier(b);
        } else {
            report_deadlock(b);
        }
    }
}

void prepare_lanes(block &b)
{
    for (warp &w : b.warps) {
        w = warp{};
    }
    for (unsigned i = 0; i < b.lanes.size(); i++) {
        lane &l = b.lanes[i];
        l.copies.clear();
        l.groups = 0;
        l.own = fiber_take(i, thread_loop);
        b.warps[l.warp].exist |= bit(l.number);
        b.warps[l.warp].ready |= bit(l.number);
    }
    b.living = static_cast<unsigned>(b.lanes.size());
    b.waiting = b.barriers = 0;
    choose_patience(b);
}

/* Fibers that paused in the middle of what will never go on. */
void abandon_lanes(block &b)
{
    for (unsigned i = 0; i < b.lanes.size(); i++) {
        fiber_abandon(i);
    }
}

void run_block(block &b)
{
    prepare_lanes(b);
    EMU_BEFORE(&b.order[START]);
    run_threads(b);
    EMU_AFTER(&b.order[END]);
    if (b.error[0] != 0) {
        abandon_lanes(b);
    }
    b.current = &b.lanes[0];
    close_shared(b);
}

void prepare_block(block &b, const launch &launch)
{
    const unsigned count = launch.size.x * launch.size.y * launch.size.z;
    b.lanes.resize(count);
    b.warps.resize((count + WARP - 1) / WARP);
    for (unsigned i = 0; i < count; i++) {
        lane &l = b.lanes[i];
        l.thread = uint3{i % launch.size.x, i / launch.size.x % launch.size.y, i / (launch.size.x * launch.size.y)};
        l.warp = i / WARP;
        l.number = i % WARP;
    }
}

std::vector<unsigned> shuffled(unsigned count, dice &random)
{
    std::vector<unsigned> order(count);
    for (unsigned i = 0; i < count; i++) {
        const unsigned j = random.below(i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

} // namespace

unsigned dice::pick(uint32_t set)
{
    const uint64_t thrown = next();
    const unsigned turn = thrown & 31u;
    const uint32_t turned = turn == 0 ? set : set >> turn | set << (32 - turn);
    const unsigned found = (thrown & 32u) != 0 ? lowest(turned) : 31u - static_cast<unsigned>(__builtin_clz(turned));
    return (found + turn) & 31u;
}

unsigned block::choice(unsigned about) const
{
    const uint64_t number = index.x + uint64_t{of->grid.x} * (index.y + uint64_t{of->grid.y} * index.z);
    dice fixed = {drawn.number << 40 ^ number << 16 ^ uint64_t{barriers} << 4 ^ about};
    return (fixed.next() + drawn.seed) & 3u;
}

bool run_grid(const launch &launch, draw drawn, std::string &error)
{
    static thread_local fiber of_thread = {};
    if (of_thread.bytes == 0) {
        fiber_of_thread(&of_thread);
    }
    block b = {};
    b.of = &launch;
    b.random.state = drawn.random;
    b.drawn = drawn;
    b.scheduler = of_thread;
    prepare_block(b, launch);
    running = &b;
    const dim3 grid = launch.grid;
    for (unsigned i : shuffled(grid.x * grid.y * grid.z, b.random)) {
        b.index = uint3{i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
        run_block(b);
        if (b.error[0] != 0) {
            break;
        }
    }
    running = nullptr;
    error = b.error;
    return error.empty();
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note(*running, format, arguments);
    va_end(arguments);
}

void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note(*running, format, arguments);
    va_end(arguments);
    for (;;) {
        pause(*running); /* to the scheduler, which does not come back */
    }
}

void meet(const collective *at, void *argument, uint32_t mask, int line)
{
    block &b = *running;
    lane *const self = b.current;
    warp &w = b.warps[self->warp];
    if ((mask & bit(self->number)) == 0) {
        stop("%s: the mask leaves out the lane that calls", at->name);
    }
    self->at = at;
    self->argument = argument;
    self->mask = mask;
    self->line = line;
    w.ready &= ~bit(self->number);
    w.at_collective |= bit(self->number);
    EMU_BEFORE(&self->mask);
    pause(b);
    EMU_AFTER(&w.order[self->fired]);
}

void wait_at_barrier(const char *file, int line)
{
    block &b = *running;
    lane *const self = b.current;
    warp &w = b.warps[self->warp];
    if (b.waiting++ == 0) {
        b.barrier_file = file;
        b.barrier_line = line;
    } else if (line != b.barrier_line || (file != b.barrier_file && strcmp(file, b.barrier_file) != 0)) {
        stop("waits at line %d's barrier, others at line %d's", line, b.barrier_line);
    }
    w.ready &= ~bit(self->number);
    w.at_barrier |= bit(self->number);
    char *order = &b.order[b.barriers % 2];
    EMU_BEFORE(order);
    pause(b);
    EMU_AFTER(order);
}

} // namespace emu
