/* One block of threads at a time: every CUDA thread is a fiber that runs until it meets a warp collective or a block
 * barrier. Collectives run when all lanes of the mask have arrived. The order of blocks, of warps and of lanes within a
 * warp, how far a warp runs ahead of the others, when asynchronous copies end and how shared arrays are aligned come
 * from a seed, and from nothing else. What a GPU would leave undefined is an error with a text, the launch's first.
 * README.md says what is not emulated and where the emulator is stricter than a GPU. */
#ifndef VIREO_KERNELS_EMULATOR_BLOCK_H
#define VIREO_KERNELS_EMULATOR_BLOCK_H

#include <functional>
#include <string>
#include <vector>

#include "fiber.h"
#include "types.h"

namespace emu
{

constexpr size_t SHARED_BYTES = 227 * 1024;        /* of a block of sm_90 */
constexpr size_t SHARED_BYTES_UNASKED = 48 * 1024; /* without vr_allow_shared; what VR_SHARED takes, in any case */

/* splitmix64 (Steele, Lea, Flood 2014): the same numbers with any standard library. */
struct dice {
    uint64_t state;

    uint64_t next()
    {
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    unsigned below(unsigned end)
    {
        return static_cast<unsigned>(next() % end);
    }
    unsigned pick(uint32_t set); /* one of its bits' numbers; `set` is not 0 */
};

/* What decides a launch: dice of its own, and choices of four that any four seeds in a row take in turn, so that what
 * one of them shows is not left to luck (block::choice). */
struct draw {
    uint64_t random, seed, number; /* number: which launch of the stream it is, whatever the seed */
};

/* A warp collective: `run` gets the arguments of the lanes in `mask`, nullptr for the others. Its address is its
 * identity: lanes of one mask must meet at the same one. */
struct collective {
    const char *name;
    void (*run)(void *const *argument, uint32_t mask);
};

/* A 16-byte copy to shared memory that has not been waited for. */
struct pending_copy {
    void *to;
    const void *from;
    unsigned bytes; /* zeros follow, up to 16 */
    unsigned group;
    bool done;
};

struct lane {
    fiber *own;
    uint3 thread;
    unsigned warp, number; /* number in the warp, 0..31 */
    const collective *at;  /* where it waits, with what, for whom */
    void *argument;
    uint32_t mask;
    int line;       /* of an instruction that a warp must run as one; 0: any */
    unsigned fired; /* the number in its warp of the collective that it has come from */
    std::vector<pending_copy> copies;
    unsigned groups; /* committed so far */
};

/* Sets of lanes, one bit each; those that exist and are in no other set have exited. */
struct warp {
    uint32_t exist, ready, at_collective, at_barrier;
    unsigned fired; /* collectives so far */
    char order[64]; /* addresses for EMU_BEFORE: the last collectives */
};

/* An array in shared memory, known by the place in the source that declares it. Its bytes lie between red zones. */
struct shared_array {
    const void *site;
    size_t size, alignment;
    std::vector<char> bytes;
    char *data; /* in this block; nullptr: not asked for yet */
};

struct launch {
    dim3 grid, size;
    size_t dynamic_bytes, shared_limit; /* the limit is on static and dynamic shared memory together */
    std::function<void()> body;
};

struct block {
    const launch *of;
    uint3 index;
    std::vector<lane> lanes;
    std::vector<warp> warps;
    std::vector<shared_array> shared;
    lane *current;
    fiber scheduler;
    dice random;
    draw drawn;
    unsigned patience;        /* a warp's turn ends with one collective in so many; 0: when it must wait */
    unsigned living, waiting; /* threads that have not exited, and those of them at the barrier */
    const char *barrier_file;
    int barrier_line;
    unsigned barriers; /* opened so far */
    char order[4];     /* addresses for EMU_BEFORE: the last two barriers, the block's start, its end */
    char error[256];   /* the first thing that went wrong */

    unsigned choice(unsigned about) const; /* 0..3, of this block until its next barrier */
};

extern __thread block *running __attribute__((tls_model("initial-exec"))); /* of this thread's launch */

/* Run a kernel over a grid. False with the text in `error` when it did something undefined. */
bool run_grid(const launch &launch, draw drawn, std::string &error);

/* What block::choice is asked about. */
enum { CHOICE_PATIENCE = 0, CHOICE_ALIGNMENT, CHOICE_COPY };

/* The block has ended: its shared arrays are gone, and an error if something was written beside one. */
void close_shared(block &b);

/* Called by device code. */
void meet(const collective *at, void *argument, uint32_t mask, int line = 0);
void wait_at_barrier(const char *file, int line);
char *shared_memory(const void *site, size_t bytes, size_t alignment);
char *dynamic_shared_memory();
bool is_shared(const void *at, size_t bytes);
void copy_async(void *to, const void *from, unsigned bytes);
void copy_commit();
void copy_wait(unsigned groups_left);

/* Note the current thread's error, if it is the launch's first; `stop` also ends the launch. Neither leaves memory
 * behind on a stack that nobody returns to. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void stop(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace emu
#endif
