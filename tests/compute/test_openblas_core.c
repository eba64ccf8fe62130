/* The choice of OpenBLAS' core type, and the list of backends. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "compute/cpu.h"

/* What happens on a processor newer than the library: it starts as Haswell, and opening the backend mends that. */
Test(openblas_core, a_core_taken_for_haswell_is_mended)
{
    if (!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512bw")) {
        cr_skip_test("skipped: no AVX-512");
    }
    cr_assert_eq(vr_openblas_core_set("Haswell"), VR_OK, "%s", vr_error_text());
    struct vr_backend *cpu = NULL;
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    cr_assert_str_eq(vr_openblas_core_name(), "SkylakeX");
    vr_backend_destroy(cpu);
    setenv("OPENBLAS_CORETYPE", "Haswell", 1); /* the user's own choice stands */
    cr_assert_eq(vr_openblas_core_set("Haswell"), VR_OK);
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    cr_assert_str_eq(vr_openblas_core_name(), "Haswell");
    vr_backend_destroy(cpu);
}

static enum vr_status open_another(unsigned threads, struct vr_backend **out)
{
    (void)threads;
    return vr_backend_open_reference(out);
}

Test(backends, are_opened_by_name)
{
    struct vr_backend *backend = NULL;
    cr_assert_eq(vr_backend_open("another", 1, &backend), VR_ERR_UNSUPPORTED);
    cr_assert(strstr(vr_error_text(), "another") != NULL);
    cr_assert_eq(vr_backend_register("another", open_another), VR_OK);
    cr_assert_eq(vr_backend_register("another", open_another), VR_ERR_BUSY);
    cr_assert_eq(vr_backend_open("another", 1, &backend), VR_OK);
    cr_assert_str_eq(vr_backend_ops_of(backend)->name, "reference");
    vr_backend_destroy(backend);
    vr_backend_destroy(NULL);
    cr_assert(strstr(vr_backend_built(), "cpu") != NULL);
    cr_assert(strstr(vr_backend_built(), "another") != NULL);
    cr_assert(strstr(vr_backend_built(), "faiss") != NULL);
}
