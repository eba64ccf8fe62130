/* A file mapped for reading. Bundles are replaced by renaming whole folders, never written in place: a file that is
 * cut short while it is mapped would fault. */
#ifndef VIREO_MODEL_MAPPING_H
#define VIREO_MODEL_MAPPING_H

#include <stddef.h>

#include "vireo/status.h"

struct vr_mapping {
    const void *data; /* page-aligned; NULL when closed or empty */
    size_t bytes;
};

/* VR_ERR_NOT_FOUND, VR_ERR_IO, VR_ERR_FORMAT (not a regular file), VR_ERR_TOO_LARGE. An empty file maps to no bytes. */
enum vr_status vr_mapping_open(const char *path, size_t max_bytes, struct vr_mapping *out);
void vr_mapping_close(struct vr_mapping *mapping); /* a closed one is accepted */

#endif
