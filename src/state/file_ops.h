/* What the event log asks of the file system: one table of calls, so that tests can let each of them fail, or lose what
 * was not synced. All give what their system calls give and set errno. */
#ifndef VIREO_STATE_FILE_OPS_H
#define VIREO_STATE_FILE_OPS_H

#include <sys/types.h>

struct vr_file_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *data, size_t len, off_t offset); /* pwrite */
    int (*fdatasync)(int fd);                                             /* of a file, and of a folder's entries */
    int (*ftruncate)(int fd, off_t len);
    int (*rename)(const char *from, const char *to);
};

extern const struct vr_file_ops vr_file_ops_system;

#endif
