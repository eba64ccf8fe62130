/* A whole ranker in halves on the emulated CUDA backend against the reference, by both engines of its products. */
#include <criterion/criterion.h>
#include <math.h>

#include "kernels/emulator/emulator.h"
#include "kernels/linear.h"
#include "support_network.h"
#include "support_parity.h"
#include "vireo/backend_cuda.h"

/* Nothing is a multiple of a tile. */
static const struct network small = {.requests = 3,
                                     .rows = 70,
                                     .hoisted = 21,
                                     .own = 45,
                                     .experts = 5,
                                     .hidden = 72,
                                     .width = 40,
                                     .gates = 3,
                                     .tower = 24};
#define HEADS (70u * 3u)

/* Each of four layers rounds to halves; two sums on both sides of a tie are one step of 2^-10 apart there, a few of
 * them in a row's way to its head. */
#define TOLERANCE 1e-3

static void check(bool library)
{
    struct vr_backend *cuda = NULL, *reference = NULL;
    struct rig rig, oracle;
    float want[HEADS], got[HEADS];
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_backend_open_reference(&reference), VR_OK);
    cr_assert_eq(cuda->ops->halves, VR_HALF_FAST);
    cr_assert_eq(vr_linear_prefer_library(cuda, library), VR_OK, "%s", vr_error_text());
    rig_open(&rig, cuda);
    rig_open(&oracle, reference);
    network_run(&oracle, &small, VR_ELEMENT_F16, 3, want);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        vr_emulator_seed(seed);
        network_run(&rig, &small, VR_ELEMENT_F16, 3, got);
        double worst = 0.0;
        for (uint32_t i = 0; i < HEADS; i++) {
            const double error = fabs((double)got[i] - (double)want[i]) / TOLERANCE;
            cr_assert(error < 1.0, "head %u is %g, the reference has %g", i, (double)got[i], (double)want[i]);
            worst = fmax(worst, error);
        }
        parity_row(library ? "ranker f16, library" : "ranker f16", 1, seed, worst, "1e-3 of a head");
    }
    rig_close(&rig);
    rig_close(&oracle);
    vr_backend_destroy(cuda);
    vr_backend_destroy(reference);
    cr_assert_eq(vr_emulator_memory_used(), 0);
}

Test(network_f16, own_kernels)
{
    check(false);
}

Test(network_f16, library)
{
    check(true);
}
