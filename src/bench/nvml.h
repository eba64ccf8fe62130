/* The energy counter of a GPU, from NVIDIA's management library, which is loaded at run time: the program needs none.
 */
#ifndef VIREO_BENCH_NVML_H
#define VIREO_BENCH_NVML_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/status.h"

struct vr_nvml;

/* Load the library and take the machine's one GPU. VR_ERR_UNSUPPORTED with the reason: no library, no driver, none or
 * several GPUs (then nothing tells which of them is the backend's). The caller frees with vr_nvml_close. */
enum vr_status vr_nvml_open(struct vr_nvml **out);
void vr_nvml_close(struct vr_nvml *nvml); /* NULL is accepted */

const char *vr_nvml_device(const struct vr_nvml *nvml); /* "NVIDIA H100 80GB HBM3" */
const char *vr_nvml_driver(const struct vr_nvml *nvml);

/* Millijoules since the driver was loaded; false where the device does not count them. */
bool vr_nvml_energy(const struct vr_nvml *nvml, uint64_t *millijoules);

#endif
