/* The system's calls (file_ops.h). */
#include "file_ops.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int open_file(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

const struct vr_file_ops vr_file_ops_system = {
    .open = open_file,
    .write = pwrite,
    .fdatasync = fdatasync,
    .ftruncate = ftruncate,
    .rename = rename,
};
