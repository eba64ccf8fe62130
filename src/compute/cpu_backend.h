/* The CPU backend as the registry sees it. */
#ifndef VIREO_COMPUTE_CPU_BACKEND_H
#define VIREO_COMPUTE_CPU_BACKEND_H

#include "vireo/backend.h"

enum vr_status vr_cpu_backend_open(unsigned threads, struct vr_backend **out);

#endif
