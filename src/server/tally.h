/* Counters under names that come up while the server runs: reasons, versions. One thread counts, any may read. */
#ifndef VIREO_SERVER_TALLY_H
#define VIREO_SERVER_TALLY_H

#include "counter.h"

#define VR_TALLY_NAMES 48u
#define VR_TALLY_NAME_BYTES 72u /* with the NUL; longer names are cut */

struct vr_tally_entry {
    char name[VR_TALLY_NAME_BYTES];
    uint64_t count;
};

/* Zero-initialised memory is an empty tally. */
struct vr_tally {
    uint64_t names; /* a counter as well: entries before it do not change their names */
    struct vr_tally_entry entry[VR_TALLY_NAMES];
};

/* `by` more under `name`; once all places are taken, under the last one's: "other". */
void vr_tally_count(struct vr_tally *tally, const char *name, uint64_t by);

/* Add what `from` holds to `into`. */
void vr_tally_add(struct vr_tally *into, const struct vr_tally *from);

/* What stands under `name`; 0 where it never came up. */
uint64_t vr_tally_of(const struct vr_tally *tally, const char *name);

#endif
