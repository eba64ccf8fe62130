/* The program `vireo` with the emulated device as its backend "cuda", for the live tests. EMULATED_FAULTS names a
 * folder in which a test plans what the device does:
 *
 *   absent    while it is there, the device does not open
 *   full      while it is there, the device has next to no memory
 *   error, no_memory, lost, hang    holds a number N: the N-th call from now on fails so, in the process that serves,
 *             which removes the file */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels/emulator/emulator.h"
#include "kernels/seam.h"
#include "vireo/backend_cuda.h"

#define LOOK_US 5000u
#define FULL_BYTES 65536u

int vireo_main(int argc, char **argv);

static const char *path_of(const char *name, char path[512])
{
    const char *folder = getenv("EMULATED_FAULTS");
    snprintf(path, 512, "%s/%s", folder != NULL ? folder : "/nonexistent", name);
    return path;
}

static bool is_planned(const char *name)
{
    char path[512];
    return access(path_of(name, path), F_OK) == 0;
}

static void plan(const char *name, enum vr_seam_failure failure)
{
    char path[512];
    unsigned at = 0;
    FILE *file = fopen(path_of(name, path), "re");
    if (file == NULL) {
        return;
    }
    if (fscanf(file, "%u", &at) == 1 && unlink(path) == 0) {
        vr_seam_fail(VR_SEAM_CALLS, at, failure);
    }
    fclose(file);
}

static void limit_memory(void)
{
    vr_emulator_memory_limit(is_planned("full") ? FULL_BYTES : (size_t)1 << 32);
}

static void *watch(void *argument)
{
    for (;;) {
        limit_memory();
        plan("error", VR_SEAM_FAIL_ONCE);
        plan("no_memory", VR_SEAM_FAIL_NOMEM);
        plan("lost", VR_SEAM_FAIL_LOST);
        plan("hang", VR_SEAM_FAIL_HANG);
        usleep(LOOK_US);
    }
    return argument;
}

static enum vr_status open_emulated(unsigned threads, struct vr_backend **out)
{
    static bool watching;
    pthread_t thread;
    if (is_planned("absent")) {
        vr_seam_fail(VR_SEAM_OPEN, 1, VR_SEAM_FAIL_ABSENT);
    }
    limit_memory();
    enum vr_status status = vr_cuda_backend_open(threads, out);
    if (status == VR_OK && !watching && pthread_create(&thread, NULL, watch, NULL) == 0) {
        watching = true;
        pthread_detach(thread);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (vr_backend_register("cuda", open_emulated) != VR_OK) {
        return 1;
    }
    return vireo_main(argc, argv);
}
