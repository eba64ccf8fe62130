/* The file system of support_files.h: the system's calls, with the synced length of each file written down. */
#include "support_files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 4096
#define PAGE 512

static char folder[64];
static struct file {
    ino_t inode;
    long synced;  /* bytes */
    bool doubted; /* a sync of it failed: what it holds beyond `synced` may be lost, whatever later syncs say */
} file[FILES_MAX];
static int file_count;
static struct {
    long calls, fail_at, fail_end;
    int error;
} plan[FILES_CALLS];

const char *files_begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/vireo-state-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        abort();
    }
    file_count = 0;
    for (int i = 0; i < FILES_CALLS; i++) {
        files_fail((enum files_call)i, -1, 0, 0);
    }
    return folder;
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *where)
{
    (void)found;
    (void)kind;
    (void)where;
    return remove(path);
}

void files_end(void)
{
    if (nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0) {
        abort();
    }
}

void files_fail(enum files_call call, long after, long times, int error)
{
    plan[call].calls = 0;
    plan[call].fail_at = after;
    plan[call].fail_end = after + times;
    plan[call].error = error;
}

long files_calls(enum files_call call)
{
    return plan[call].calls;
}

static bool fails(enum files_call call)
{
    long number = plan[call].calls++;
    bool now = plan[call].fail_at >= 0 && number >= plan[call].fail_at && number < plan[call].fail_end;
    errno = now ? plan[call].error : errno;
    return now;
}

static struct file *file_of(int fd)
{
    struct stat found;
    if (fstat(fd, &found) != 0) {
        abort();
    }
    for (int i = 0; i < file_count; i++) {
        if (file[i].inode == found.st_ino) {
            return &file[i];
        }
    }
    if (file_count == FILES_MAX) {
        abort();
    }
    file[file_count] = (struct file){.inode = found.st_ino};
    return &file[file_count++];
}

static int do_open(const char *path, int flags, mode_t mode)
{
    bool is_new = access(path, F_OK) != 0;
    int fd = fails(FILES_OPEN) ? -1 : open(path, flags, mode);
    if (fd >= 0 && is_new) { /* its number may have been another's */
        struct file *one = file_of(fd);
        one->synced = 0;
        one->doubted = false;
    }
    return fd;
}

static ssize_t do_write(int fd, const void *data, size_t len, off_t offset)
{
    bool failed = fails(FILES_WRITE);
    int error = errno;
    ssize_t written = pwrite(fd, data, failed ? len * 7 / 8 : len, offset);
    errno = error;
    return failed ? -1 : written;
}

static int do_sync(int fd)
{
    struct stat found;
    bool failed = fails(FILES_SYNC);
    int error = errno;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
        struct file *one = file_of(fd);
        one->doubted = one->doubted || failed;
        one->synced = one->doubted ? one->synced : (long)found.st_size;
    }
    errno = error;
    return failed ? -1 : 0;
}

static int do_truncate(int fd, off_t len)
{
    if (fails(FILES_TRUNCATE)) {
        return -1;
    }
    struct file *one = file_of(fd);
    one->synced = one->synced < (long)len ? one->synced : (long)len;
    return ftruncate(fd, len);
}

static int do_rename(const char *from, const char *to)
{
    return fails(FILES_RENAME) ? -1 : rename(from, to);
}

const struct vr_file_ops files_ops = {
    .open = do_open, .write = do_write, .fdatasync = do_sync, .ftruncate = do_truncate, .rename = do_rename};

static void path_of(const char *in, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", in, name);
}

/* The file's bytes from `synced` on, as a crash leaves them. */
static void lose_in(int fd, long synced, unsigned how)
{
    struct stat found;
    static const char zeros[PAGE];
    if (fstat(fd, &found) != 0 || how == 1) {
        return;
    }
    if (how == 0) {
        if (ftruncate(fd, synced) != 0) {
            abort();
        }
        return;
    }
    srand(how);
    for (long at = synced; at < (long)found.st_size; at += PAGE - at % PAGE) {
        long bytes = PAGE - at % PAGE;
        bytes = at + bytes <= (long)found.st_size ? bytes : (long)found.st_size - at;
        if (rand() % 2 == 0 && pwrite(fd, zeros, (size_t)bytes, at) != bytes) {
            abort();
        }
    }
}

static unsigned losing;

static int lose_one(const char *path, const struct stat *found, int kind, struct FTW *where)
{
    const char *ending = strrchr(path, '.');
    (void)found;
    (void)where;
    if (kind == FTW_F && ending != NULL && strcmp(ending, ".log") == 0) {
        int fd = open(path, O_RDWR);
        if (fd < 0) {
            abort();
        }
        lose_in(fd, file_of(fd)->synced, losing);
        close(fd);
    }
    return 0;
}

void files_lose(unsigned how)
{
    losing = how;
    if (nftw(folder, lose_one, 8, FTW_PHYS) != 0) {
        abort();
    }
}

long files_size(const char *in, const char *name)
{
    char path[256];
    struct stat found;
    path_of(in, name, path);
    return stat(path, &found) == 0 ? (long)found.st_size : -1;
}

void files_flip(const char *in, const char *name, long at)
{
    char path[256];
    char byte;
    path_of(in, name, path);
    int fd = open(path, O_RDWR);
    if (fd < 0 || pread(fd, &byte, 1, at) != 1) {
        abort();
    }
    byte ^= 0x10;
    if (pwrite(fd, &byte, 1, at) != 1) {
        abort();
    }
    close(fd);
}

void files_cut(const char *in, const char *name, long size)
{
    char path[256];
    path_of(in, name, path);
    if (truncate(path, size) != 0) {
        abort();
    }
}
