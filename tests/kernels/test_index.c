/* The CUDA backend's searches in the emulator: what every exact kind passes, the paths of the scan (threshold,
 * overflow, safe), dimensions, and k up to 1,000; each under several seeds of the emulator's dice. */
#include <criterion/criterion.h>

#include "kernels/emulator/emulator.h"
#include "support_index.h"
#include "vireo/backend_cuda.h"

#define SEEDS 4u

static struct vr_backend *cuda;

static void open_cuda(void)
{
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
}

static void close_cuda(void)
{
    vr_backend_destroy(cuda);
    cr_assert_eq(vr_emulator_memory_used(), 0);
}

TestSuite(index, .init = open_cuda, .fini = close_cuda);

Test(index, exact)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        check_all(cuda, VR_INDEX_EXACT);
    }
}

Test(index, odd_queries)
{
    check_odd_queries(cuda, VR_INDEX_EXACT);
}

Test(index, ties)
{
    check_ties(cuda, 9001);
}
