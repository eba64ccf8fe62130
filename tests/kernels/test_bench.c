/* `vireo bench backends` with the CUDA backend beside the CPU's: every answer of the engine agrees within the bounds,
 * at batches of one and of several. In the emulator the speeds mean nothing. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vireo/backend_cuda.h"
#include "vireo/bench.h"

Test(bench, cuda_and_cpu_give_the_same_answers)
{
    static char printed[8192];
    struct vr_bench_backends_setup setup = {.bundle = VIREO_TINY_BUNDLES "/1",
                                            .backend = {"cpu", "cuda"},
                                            .batch = {1, 3},
                                            .backend_count = 2,
                                            .batch_count = 2,
                                            .seconds = 0.01,
                                            .calls = 1,
                                            .candidates = 4,
                                            .k = 30,
                                            .requests = 5};
    if (access(VIREO_TINY_BUNDLES "/1/bundle.json", R_OK) != 0) {
        cr_skip_test("no small bundle: `make deps-test` makes the Python environment");
    }
    cr_assert_eq(vr_backend_register("cuda", vr_cuda_backend_open), VR_OK);
    FILE *out = fmemopen(printed, sizeof printed, "w");
    cr_assert_eq(vr_bench_backends_run(&setup, out), VR_OK, "%s", vr_error_text());
    fclose(out);
    cr_assert(strstr(printed, "agreement    cpu in fp32 and cuda in fp16, 11 answers") != NULL, "%s",
              printed); /* 5 + 6 */
    cr_assert(strstr(printed, "not measured") == NULL, "%s", printed);
}
