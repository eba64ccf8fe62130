/* Files mapped read-only, for bundle.json and safetensors files. */
#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum vr_status fail_errno(const char *what)
{
    enum vr_status status = errno == ENOENT || errno == ENOTDIR ? VR_ERR_NOT_FOUND : VR_ERR_IO;
    return vr_fail(status, "%s: %s", what, strerror(errno));
}

static enum vr_status map(int fd, size_t max_bytes, struct vr_mapping *out)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return fail_errno("stat");
    }
    if (!S_ISREG(info.st_mode)) {
        return vr_fail(VR_ERR_FORMAT, "not a regular file");
    }
    size_t bytes = (size_t)info.st_size;
    if (bytes > max_bytes) {
        return vr_fail(VR_ERR_TOO_LARGE, "%zu bytes, at most %zu are allowed", bytes, max_bytes);
    }
    if (bytes == 0) {
        return VR_OK;
    }
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        return fail_errno("mmap");
    }
    out->data = data;
    out->bytes = bytes;
    return VR_OK;
}

enum vr_status vr_mapping_open(const char *path, size_t max_bytes, struct vr_mapping *out)
{
    out->data = NULL;
    out->bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe in the place of a file must not hang */
    if (fd < 0) {
        return fail_errno("open");
    }
    enum vr_status status = map(fd, max_bytes, out);
    close(fd);
    return status;
}

void vr_mapping_close(struct vr_mapping *mapping)
{
    if (mapping->data != NULL) {
        munmap((void *)mapping->data, mapping->bytes);
    }
    mapping->data = NULL;
    mapping->bytes = 0;
}
