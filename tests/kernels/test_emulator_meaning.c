/* What the emulator's instructions mean, against the PTX ISA and the CUDA programming guide in other words
 * (planted/meaning*.cc), and that a seed decides all of it. */
#include <criterion/criterion.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "planted/meaning.h"

#define SEEDS 8u
#define THREADS 64

#define UNDER_SEEDS(name)                                             \
    Test(meaning, name)                                               \
    {                                                                 \
        for (unsigned seed = 1; seed <= SEEDS; seed++) {              \
            vr_emulator_seed(seed);                                   \
            cr_expect_eq(meaning_##name(), 0, "under seed %u", seed); \
        }                                                             \
        cr_expect_eq(vr_emulator_memory_used(), 0);                   \
    }

UNDER_SEEDS(shuffles)
UNDER_SEEDS(votes)
UNDER_SEEDS(load_matrices)
UNDER_SEEDS(mma_f16)
UNDER_SEEDS(mma_s8)
UNDER_SEEDS(copy_sizes)
UNDER_SEEDS(copy_groups)
UNDER_SEEDS(exited_threads)
UNDER_SEEDS(atomics)
UNDER_SEEDS(indices)
UNDER_SEEDS(after_errors)
UNDER_SEEDS(capture_and_run)

Test(meaning, a_seed_decides)
{
    int first[THREADS], again[THREADS];
    unsigned differ = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        cr_assert_eq(meaning_order(first), 0);
        vr_emulator_seed(seed + 1);
        cr_assert_eq(meaning_order(again), 0);
        differ += memcmp(first, again, sizeof first) != 0;
        vr_emulator_seed(seed);
        cr_assert_eq(meaning_order(again), 0);
        cr_assert_arr_eq(first, again, sizeof first);
    }
    cr_assert_eq(differ, SEEDS);
}
