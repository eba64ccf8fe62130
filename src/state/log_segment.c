/* Reading segments (log_segment.h). */
#include "log_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"

#define NAME_DIGITS 20u
#define ENDING ".log"

static const char magic[8] = {'V', 'I', 'R', 'E', 'O', 'L', 'O', 'G'};

/* ---- headers and names ---- */

void vr_segment_header_write(const struct vr_segment_header *header, char out[VR_SEGMENT_HEADER_BYTES])
{
    const uint32_t version = VR_SEGMENT_VERSION;
    const uint32_t bytes = VR_SEGMENT_HEADER_BYTES;
    memset(out, 0, VR_SEGMENT_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    memcpy(out + 8, &version, 4);
    memcpy(out + 12, &bytes, 4);
    memcpy(out + 16, &header->first, 8);
    memcpy(out + 24, &header->store_ms, 8);
    const uint32_t crc = vr_crc32c(0, out, VR_SEGMENT_HEADER_BYTES - 4);
    memcpy(out + VR_SEGMENT_HEADER_BYTES - 4, &crc, 4);
}

enum vr_status vr_segment_header_read(const char *data, size_t len, struct vr_segment_header *out)
{
    uint32_t version;
    uint32_t crc;
    if (len < VR_SEGMENT_HEADER_BYTES || memcmp(data, magic, sizeof magic) != 0) {
        return vr_fail(VR_ERR_FORMAT, "no segment of an event log");
    }
    memcpy(&version, data + 8, 4);
    memcpy(&crc, data + VR_SEGMENT_HEADER_BYTES - 4, 4);
    if (vr_crc32c(0, data, VR_SEGMENT_HEADER_BYTES - 4) != crc) {
        return vr_fail(VR_ERR_CHECKSUM, "its header does not have its checksum");
    }
    if (version != VR_SEGMENT_VERSION) {
        return vr_fail(VR_ERR_UNSUPPORTED, "version %u of the event log, this program knows %u", version,
                       VR_SEGMENT_VERSION);
    }
    memcpy(&out->first, data + 16, 8);
    memcpy(&out->store_ms, data + 24, 8);
    return VR_OK;
}

enum vr_status vr_segment_path(const char *folder, uint64_t first, const char *ending, char out[VR_SEGMENT_PATH_MAX])
{
    int len = snprintf(out, VR_SEGMENT_PATH_MAX, "%s/%020" PRIu64 "%s", folder, first, ending);
    return len > 0 && (unsigned)len < VR_SEGMENT_PATH_MAX ? VR_OK
                                                          : vr_fail(VR_ERR_TOO_LARGE, "%s: too long a path", folder);
}

/* "00000000000000000001.log" -> 1; 0 for any other name. */
static uint64_t first_of(const char *name)
{
    if (strspn(name, "0123456789") != NAME_DIGITS || strcmp(name + NAME_DIGITS, ENDING) != 0) {
        return 0;
    }
    return strtoull(name, NULL, 10);
}

static int compare_firsts(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static bool append(uint64_t **list, size_t *count, uint64_t first)
{
    if ((*count & (*count - 1)) == 0) { /* 0, or a power of two: full */
        uint64_t *larger = realloc(*list, (*count == 0 ? 1 : *count * 2) * sizeof **list);
        if (larger == NULL) {
            return false;
        }
        *list = larger;
    }
    (*list)[(*count)++] = first;
    return true;
}

enum vr_status vr_segment_list(const char *folder, uint64_t **first, size_t *count)
{
    *first = NULL;
    *count = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return vr_fail(VR_ERR_IO, "%s: %s", folder, strerror(errno));
    }
    bool complete = true;
    for (const struct dirent *entry = readdir(dir); entry != NULL && complete; entry = readdir(dir)) {
        uint64_t number = first_of(entry->d_name);
        complete = number == 0 || append(first, count, number);
    }
    closedir(dir);
    if (!complete) {
        free(*first);
        *first = NULL;
        return vr_fail(VR_ERR_NOMEM, "event log: no memory for its segments");
    }
    if (*count > 0) {
        qsort(*first, *count, sizeof **first, compare_firsts);
    }
    return VR_OK;
}

/* ---- a segment in memory ---- */

static enum vr_status read_rest(int fd, const char *path, struct vr_segment *out)
{
    size_t filled = 0;
    while (filled < out->len) {
        ssize_t got = read(fd, out->data + filled, out->len - filled);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return vr_fail(VR_ERR_IO, "%s: %s", path, got < 0 ? strerror(errno) : "it became shorter");
        }
        filled += (size_t)got;
    }
    return VR_OK;
}

static enum vr_status load(const char *path, struct vr_segment *out)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) != 0) {
        enum vr_status status = vr_fail(VR_ERR_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    out->len = (size_t)found.st_size;
    out->data = malloc(out->len + 1);
    enum vr_status status = out->data != NULL ? read_rest(fd, path, out) : vr_fail(VR_ERR_NOMEM, "%s: no memory", path);
    close(fd);
    return status;
}

enum vr_status vr_segment_open(const char *folder, uint64_t first, uint64_t next_first, struct vr_segment *out)
{
    char path[VR_SEGMENT_PATH_MAX];
    memset(out, 0, sizeof *out);
    enum vr_status status = vr_segment_path(folder, first, ENDING, path);
    if (status == VR_OK) {
        status = load(path, out);
    }
    if (status == VR_OK) {
        status = vr_segment_header_read(out->data, out->len, &out->header);
        status = status == VR_OK ? status : vr_fail_in(status, "%s", path);
    }
    if (status == VR_OK && out->header.first != first) {
        status = vr_fail(VR_ERR_FORMAT, "%s: its header says record %" PRIu64, path, out->header.first);
    }
    if (status != VR_OK) {
        vr_segment_close(out);
        return status;
    }
    out->end = next_first;
    out->at = VR_SEGMENT_HEADER_BYTES;
    out->next = first;
    return VR_OK;
}

void vr_segment_close(struct vr_segment *segment)
{
    free(segment->data);
    memset(segment, 0, sizeof *segment);
}

bool vr_segment_next(struct vr_segment *segment, struct vr_log_record *out)
{
    if (segment->next >= segment->end) {
        return false;
    }
    const char *frame = segment->data + segment->at;
    size_t bytes = vr_log_frame_check(frame, segment->len - segment->at);
    if (bytes == 0 || vr_log_record_read(frame, out) != VR_OK || out->sequence != segment->next) {
        return false;
    }
    segment->at += bytes;
    segment->next++;
    return true;
}

/* A later frame whose group begins behind `at`: only what was synced has such behind it. */
static bool later_group(const struct vr_segment *segment)
{
    struct vr_log_record record;
    for (size_t at = segment->at + VR_FRAME_ALIGN; at < segment->len; at += VR_FRAME_ALIGN) {
        if (vr_log_frame_check(segment->data + at, segment->len - at) != 0 &&
            vr_log_record_read(segment->data + at, &record) == VR_OK && record.sequence > segment->next &&
            record.group < at - segment->at) {
            return true;
        }
    }
    return false;
}

enum vr_segment_rest vr_segment_judge(const struct vr_segment *segment)
{
    if (segment->end != UINT64_MAX && segment->next < segment->end) {
        return VR_REST_CORRUPT;
    }
    if (segment->at == segment->len) {
        return VR_REST_NONE;
    }
    return segment->end == UINT64_MAX && later_group(segment) ? VR_REST_CORRUPT : VR_REST_TORN;
}
