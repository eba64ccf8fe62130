/* The list of tally.h. Names are few and come up again and again, so a search from the first on is short. */
#include "tally.h"

#include <string.h>

static uint64_t find(const struct vr_tally *tally, const char *name)
{
    uint64_t names = vr_counted(&tally->names);
    uint64_t i = 0;
    while (i < names && strncmp(tally->entry[i].name, name, VR_TALLY_NAME_BYTES - 1) != 0) {
        i++;
    }
    return i;
}

/* A reader sees an entry once `names` counts it, which is after its name is there. */
static void append(struct vr_tally *tally, const char *name)
{
    struct vr_tally_entry *entry = &tally->entry[tally->names];
    size_t len = strnlen(name, VR_TALLY_NAME_BYTES - 1);
    memcpy(entry->name, name, len);
    entry->name[len] = '\0';
    vr_count(&tally->names, 1);
}

void vr_tally_count(struct vr_tally *tally, const char *name, uint64_t by)
{
    uint64_t at = find(tally, name);
    if (at == tally->names && at < VR_TALLY_NAMES) {
        append(tally, at == VR_TALLY_NAMES - 1 ? "other" : name);
    }
    at = at < VR_TALLY_NAMES ? at : VR_TALLY_NAMES - 1;
    vr_count(&tally->entry[at].count, (int64_t)by);
}

void vr_tally_add(struct vr_tally *into, const struct vr_tally *from)
{
    uint64_t names = vr_counted(&from->names);
    for (uint64_t i = 0; i < names; i++) {
        vr_tally_count(into, from->entry[i].name, vr_counted(&from->entry[i].count));
    }
}

uint64_t vr_tally_of(const struct vr_tally *tally, const char *name)
{
    uint64_t at = find(tally, name);
    return at < vr_counted(&tally->names) ? vr_counted(&tally->entry[at].count) : 0;
}
