/* NVML through dlopen (nvml.h). The functions are those of NVIDIA's NVML API reference; 0 is success in all. */
#include "nvml.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define TEXT 96u /* NVML_DEVICE_NAME_V2_BUFFER_SIZE, and more than a driver's version needs */

struct vr_nvml {
    void *library;
    void *device; /* nvmlDevice_t */
    char name[TEXT], driver[TEXT];
    bool started;
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *count);
    int (*by_index)(unsigned index, void **device);
    int (*device_name)(void *device, char *name, unsigned length);
    int (*driver_version)(char *version, unsigned length);
    int (*energy)(void *device, unsigned long long *millijoules);
};

/* POSIX lets a function's address come out of dlsym; C has no cast for it, so its bytes are copied. */
static void find(const struct vr_nvml *nvml, const char *symbol, void *slot)
{
    void *address = dlsym(nvml->library, symbol);
    memcpy(slot, &address, sizeof address);
}

static bool find_all(struct vr_nvml *nvml)
{
    find(nvml, "nvmlInit_v2", &nvml->init);
    find(nvml, "nvmlShutdown", &nvml->shutdown);
    find(nvml, "nvmlDeviceGetCount_v2", &nvml->count);
    find(nvml, "nvmlDeviceGetHandleByIndex_v2", &nvml->by_index);
    find(nvml, "nvmlDeviceGetName", &nvml->device_name);
    find(nvml, "nvmlSystemGetDriverVersion", &nvml->driver_version);
    find(nvml, "nvmlDeviceGetTotalEnergyConsumption", &nvml->energy);
    return nvml->init != NULL && nvml->shutdown != NULL && nvml->count != NULL && nvml->by_index != NULL &&
           nvml->device_name != NULL && nvml->driver_version != NULL && nvml->energy != NULL;
}

static enum vr_status start(struct vr_nvml *nvml)
{
    nvml->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (nvml->library == NULL) {
        vr_fail(VR_ERR_UNSUPPORTED, "libnvidia-ml.so.1 is not there");
        return VR_ERR_UNSUPPORTED;
    }
    if (!find_all(nvml)) {
        vr_fail(VR_ERR_UNSUPPORTED, "libnvidia-ml.so.1 is too old");
        return VR_ERR_UNSUPPORTED;
    }
    const int error = nvml->init();
    nvml->started = error == 0;
    if (error != 0) {
        vr_fail(VR_ERR_UNSUPPORTED, "NVML does not start: error %d", error);
        return VR_ERR_UNSUPPORTED;
    }
    return VR_OK;
}

static enum vr_status take_device(struct vr_nvml *nvml)
{
    unsigned count = 0;
    if (nvml->count(&count) != 0 || count != 1) {
        return vr_fail(VR_ERR_UNSUPPORTED, "NVML sees %u GPUs, not one", count);
    }
    if (nvml->by_index(0, &nvml->device) != 0 || nvml->device_name(nvml->device, nvml->name, TEXT) != 0 ||
        nvml->driver_version(nvml->driver, TEXT) != 0) {
        return vr_fail(VR_ERR_UNSUPPORTED, "NVML does not describe the GPU");
    }
    return VR_OK;
}

enum vr_status vr_nvml_open(struct vr_nvml **out)
{
    struct vr_nvml *nvml = calloc(1, sizeof *nvml);
    if (nvml == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for NVML");
    }
    enum vr_status status = start(nvml);
    if (status == VR_OK) {
        status = take_device(nvml);
    }
    if (status != VR_OK) {
        vr_nvml_close(nvml);
        return status;
    }
    *out = nvml;
    return VR_OK;
}

void vr_nvml_close(struct vr_nvml *nvml)
{
    if (nvml == NULL) {
        return;
    }
    if (nvml->started) {
        (void)nvml->shutdown();
    }
    if (nvml->library != NULL) {
        (void)dlclose(nvml->library);
    }
    free(nvml);
}

const char *vr_nvml_device(const struct vr_nvml *nvml)
{
    return nvml->name;
}

const char *vr_nvml_driver(const struct vr_nvml *nvml)
{
    return nvml->driver;
}

bool vr_nvml_energy(const struct vr_nvml *nvml, uint64_t *millijoules)
{
    unsigned long long value = 0;
    const bool known = nvml->energy(nvml->device, &value) == 0;
    *millijoules = value;
    return known;
}
