/* The CUDA backend's operations in the emulator, against the plain C reference: the same table of cases as the CPU
 * backend's, under several seeds of the emulator's dice. */
#include <criterion/criterion.h>

#include "kernels/emulator/emulator.h"
#include "support_ops.h"
#include "vireo/backend_cuda.h"

#define SEEDS 4u

Test(ops, emulated_cuda_equals_reference)
{
    struct vr_backend *cuda = NULL;
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        cr_expect_eq(vr_ops_check(cuda), 0, "seed %u", (unsigned)seed);
    }
    vr_backend_destroy(cuda);
    cr_assert_eq(vr_emulator_memory_used(), 0);
}
