/* A watched folder: which bundle it offers, and when one is to be loaded. The folder is a bundle itself (a symbolic
 * link that is swapped, a folder that is renamed into place), or holds bundles, of which the one with the newest
 * bundle.json counts. A bundle is there once its bundle.json is, which whoever writes it writes last. */
#ifndef VIREO_SERVER_WATCH_H
#define VIREO_SERVER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define VR_PATH_MAX 4096u /* bytes of a path with its NUL */

/* What tells one bundle.json from another; all zero: none. */
struct vr_mark {
    uint64_t device, inode;
    int64_t mtime_ns, bytes;
};
bool vr_mark_equal(const struct vr_mark *a, const struct vr_mark *b);

/* The mark of a folder's bundle.json. False where there is none. */
bool vr_mark_read(const char *folder, struct vr_mark *out);

struct vr_offer {
    char path[VR_PATH_MAX];
    struct vr_mark mark;
};

/* The bundle that `folder` offers now; false: none. Names that begin with a dot are passed over. */
bool vr_watch_look(const char *folder, struct vr_offer *out);

struct vr_folder_watch {
    struct vr_mark tried; /* the latest that was loaded or refused: it is not tried again */
    struct vr_mark last;  /* of the look before */
};

/* Whether what was offered in this look (all zero: nothing) is to be loaded: it neither serves nor was tried, and has
 * not changed since the look before. It counts as tried then. */
bool vr_watch_wants(struct vr_folder_watch *watch, const struct vr_mark *offered, const struct vr_mark *serving);

#endif
