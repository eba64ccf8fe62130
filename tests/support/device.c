/* What tests of kernels have in place of the emulator when they are built for a GPU (VIREO_TESTS with VIREO_CUDA): the
 * emulator's dice do nothing, and before anything else a child process asks for the device. Without one the program
 * says so and ends with 77, as a test that was skipped; the parent itself stays free of CUDA, which does not survive
 * a fork. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/emulator/emulator.h"
#include "vireo/backend_cuda.h"

#define SKIPPED 77
#define SEEN "VR_TEST_DEVICE_SEEN" /* set for the processes that Criterion starts, one a test */

void vr_emulator_seed(uint64_t seed)
{
    (void)seed;
}

void vr_emulator_memory_limit(size_t bytes)
{
    (void)bytes;
}

void vr_emulator_shared_limit(size_t bytes)
{
    (void)bytes;
}

size_t vr_emulator_memory_used(void)
{
    return 0;
}

static void ask(void)
{
    struct vr_backend *cuda = NULL;
    const enum vr_status status = vr_cuda_backend_open(1, &cuda);
    if (status == VR_ERR_UNSUPPORTED) {
        printf("skipped: no device (%s)\n", vr_error_text());
    } else if (status != VR_OK) {
        printf("the device does not open: %s: %s\n", vr_status_name(status), vr_error_text());
    }
    fflush(stdout);
    _exit(status == VR_OK ? 0 : status == VR_ERR_UNSUPPORTED ? SKIPPED : 1);
}

__attribute__((constructor)) static void need_device(void)
{
    if (getenv(SEEN) != NULL) {
        return;
    }
    const pid_t child = fork();
    if (child == 0) {
        ask();
    }
    int ended = 0;
    if (child < 0 || waitpid(child, &ended, 0) != child || !WIFEXITED(ended)) {
        fprintf(stderr, "the device could not be asked for\n");
        _exit(1);
    }
    if (WEXITSTATUS(ended) != 0) {
        _exit(WEXITSTATUS(ended));
    }
    setenv(SEEN, "1", 1);
}
