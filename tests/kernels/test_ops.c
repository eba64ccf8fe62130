/* The CUDA backend's operations in the emulator, against the plain C reference: the same table of cases as the CPU
 * backend's, under several seeds of the emulator's dice. */
#include <criterion/criterion.h>

#include "kernels/emulator/emulator.h"
#include "support_parity.h"
#include "vireo/backend_cuda.h"

/* One seed a test: each has its own process and time limit. */
static void check(uint64_t seed)
{
    struct vr_backend *cuda = NULL;
    struct op_report report[OP_COUNT];
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
    vr_emulator_seed(seed);
    cr_assert_eq(vr_ops_check(cuda, report), 0, "seed %u", (unsigned)seed);
    parity_ops(report, "", seed);
    vr_backend_destroy(cuda);
    cr_assert_eq(vr_emulator_memory_used(), 0);
}

Test(ops, emulated_cuda_equals_reference_seed_1)
{
    check(1);
}

Test(ops, emulated_cuda_equals_reference_seed_2)
{
    check(2);
}

Test(ops, emulated_cuda_equals_reference_seed_3)
{
    check(3);
}

Test(ops, emulated_cuda_equals_reference_seed_4)
{
    check(4);
}
