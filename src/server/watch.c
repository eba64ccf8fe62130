/* Looking into a watched folder (watch.h). */
#include "watch.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool vr_mark_equal(const struct vr_mark *a, const struct vr_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->mtime_ns == b->mtime_ns && a->bytes == b->bytes;
}

static bool is_set(const struct vr_mark *mark)
{
    return mark->inode != 0;
}

bool vr_mark_read(const char *folder, struct vr_mark *out)
{
    char path[VR_PATH_MAX + 16];
    struct stat found;
    (void)snprintf(path, sizeof path, "%s/bundle.json", folder);
    *out = (struct vr_mark){0};
    if (stat(path, &found) != 0 || !S_ISREG(found.st_mode)) {
        return false;
    }
    *out = (struct vr_mark){.device = found.st_dev,
                            .inode = found.st_ino,
                            .mtime_ns = found.st_mtim.tv_sec * INT64_C(1000000000) + found.st_mtim.tv_nsec,
                            .bytes = found.st_size};
    return true;
}

/* Of two that were written at one moment the name that sorts last. */
static bool is_newer(const struct vr_offer *a, const struct vr_offer *b)
{
    return a->mark.mtime_ns != b->mark.mtime_ns ? a->mark.mtime_ns > b->mark.mtime_ns : strcmp(a->path, b->path) > 0;
}

static bool offer_of(const char *folder, const char *name, struct vr_offer *out)
{
    int length = snprintf(out->path, sizeof out->path, "%s/%s", folder, name);
    return name[0] != '.' && length > 0 && (size_t)length < sizeof out->path && vr_mark_read(out->path, &out->mark);
}

static bool newest_of(DIR *entries, const char *folder, struct vr_offer *out)
{
    static const struct vr_offer none;
    *out = none;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        struct vr_offer offer;
        if (offer_of(folder, entry->d_name, &offer) && (!is_set(&out->mark) || is_newer(&offer, out))) {
            *out = offer;
        }
    }
    return is_set(&out->mark);
}

bool vr_watch_look(const char *folder, struct vr_offer *out)
{
    if (strlen(folder) < sizeof out->path && vr_mark_read(folder, &out->mark)) {
        (void)snprintf(out->path, sizeof out->path, "%s", folder);
        return true;
    }
    DIR *entries = opendir(folder);
    bool found = entries != NULL && newest_of(entries, folder, out);
    if (entries != NULL) {
        closedir(entries);
    }
    return found;
}

bool vr_watch_wants(struct vr_folder_watch *watch, const struct vr_mark *offered, const struct vr_mark *serving)
{
    bool settled = is_set(offered) && vr_mark_equal(offered, &watch->last);
    watch->last = *offered;
    if (!settled || vr_mark_equal(offered, &watch->tried)) {
        return false;
    }
    watch->tried = *offered;
    return !vr_mark_equal(offered, serving);
}
