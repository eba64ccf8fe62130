/* One block of threads at a time: every CUDA thread is a fiber that runs until it meets a warp collective or a block
 * barrier. Collectives run when all lanes of the mask have arrived; the order of warps, of lanes within a warp and of
 * blocks, and how long a warp runs before another gets its turn, come from a seed. What the hardware would leave
 * undefined is an error with a text: a lane of the mask that exited or waits elsewhere, a shuffle from outside the
 * mask, threads at different barriers, copies never waited for, shared memory written outside its arrays.
 *
 * Not emulated: concurrency of blocks and streams, races between lanes of one warp, wgmma and TMA, speed. */
#ifndef VIREO_KERNELS_EMULATOR_BLOCK_H
#define VIREO_KERNELS_EMULATOR_BLOCK_H

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "fiber.h"
#include "types.h"

namespace emu
{

/* A warp collective: `run` gets the arguments of the lanes in `mask`, nullptr for the others. Its address is its
 * identity: lanes of one mask must meet at the same one. */
struct collective {
    const char *name;
    void (*run)(void *const *argument, uint32_t mask);
};

enum lane_state { LANE_READY = 0, LANE_AT_COLLECTIVE, LANE_AT_BARRIER, LANE_DONE };

/* A 16-byte or shorter copy to shared memory that has been asked for and not been seen to end. */
struct pending_copy {
    void *to;
    const void *from;
    unsigned bytes, zeros; /* `zeros` bytes of 0 follow */
    unsigned group;
};

struct lane {
    fiber own;
    lane_state state;
    uint3 thread;
    unsigned number; /* in the warp, 0..31 */
    const collective *at;
    void *argument;
    uint32_t mask;
    const char *barrier_file;
    int barrier_line;
    std::vector<pending_copy> copies;
    unsigned groups; /* committed so far */
};

/* An array in shared memory, known by the place in the source that declares it. */
struct shared_array {
    const void *site;
    std::vector<char> bytes; /* red zone, array, red zone */
    char *data;
    size_t size;
};

struct block {
    dim3 grid, size;
    uint3 index;
    size_t dynamic_bytes;
    std::function<void()> body;
    std::vector<lane> lanes;
    std::vector<shared_array> shared;
    lane *current;
    std::mt19937_64 random;
    std::string error; /* the first thing that went wrong; the launch ends there */
};

extern thread_local block *running; /* the block of this thread's launch */

/* Run a kernel over a grid. False with the text in `error` when it did something undefined. */
bool run_grid(dim3 grid, dim3 size, size_t dynamic_bytes, uint64_t seed, const std::function<void()> &body,
              std::string &error);

/* Called by device code. */
void meet(const collective *at, void *argument, uint32_t mask);
void wait_at_barrier(const char *file, int line);
char *shared_memory(const void *site, size_t bytes);
char *dynamic_shared_memory();
void copy_async(void *to, const void *from, unsigned bytes, unsigned zeros);
void copy_commit();
void copy_wait(unsigned groups_left);
[[noreturn]] void stop(const std::string &error); /* ends the launch from inside a thread */

} // namespace emu
#endif
