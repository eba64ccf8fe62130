/* The choice of OpenBLAS' core type, for FAISS, whose flat search and list training are matrix products. Version 0.3.21
 * knows no AMD core newer than its release and takes those for Haswell (AVX2), although they run its AVX-512 kernels.
 * The library chooses in a constructor of its shared object, before anything of ours runs, and has no call to choose
 * again; but its own loader pair, gotoblas_dynamic_quit and gotoblas_dynamic_init, is exported and reads
 * OPENBLAS_CORETYPE anew. That must happen while no other thread is in the library: vr_backend_open("cpu") does it
 * once. A build of OpenBLAS without the pair (a static core) is left as it is, and so is a core type that the user
 * chose by the environment. */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

extern void gotoblas_dynamic_quit(void) __attribute__((weak));
extern void gotoblas_dynamic_init(void) __attribute__((weak));

const char *vr_openblas_core_name(void)
{
    return openblas_get_corename();
}

enum vr_status vr_openblas_core_set(const char *name)
{
    if (gotoblas_dynamic_quit == NULL || gotoblas_dynamic_init == NULL) {
        return vr_fail(VR_ERR_UNSUPPORTED, "this OpenBLAS cannot change its core type");
    }
    char *before = getenv("OPENBLAS_CORETYPE");
    before = before == NULL ? NULL : strdup(before);
    setenv("OPENBLAS_CORETYPE", name, 1);
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    if (before == NULL) {
        unsetenv("OPENBLAS_CORETYPE");
    } else {
        setenv("OPENBLAS_CORETYPE", before, 1);
    }
    free(before);
    openblas_set_num_threads(1);
    return strcmp(openblas_get_corename(), name) == 0
               ? VR_OK
               : vr_fail(VR_ERR_UNSUPPORTED, "OpenBLAS took '%s' for '%s'", openblas_get_corename(), name);
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

static bool core_is_avx512(const char *name)
{
    return strcmp(name, "SkylakeX") == 0 || strcmp(name, "Cooperlake") == 0 || strcmp(name, "SapphireRapids") == 0;
}

void vr_openblas_core_choose(void)
{
    openblas_set_num_threads(1);
    if (has_avx512() && !core_is_avx512(openblas_get_corename()) && getenv("OPENBLAS_CORETYPE") == NULL) {
        (void)vr_openblas_core_set("SkylakeX"); /* refused: the library's own choice serves as well, only slower */
    }
}
