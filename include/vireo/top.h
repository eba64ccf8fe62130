/* The best n of a stream: a bounded heap over the caller's memory, largest key first, ties by smaller id. Give it an
 * array, push every candidate, finish once; the array then stands best first. */
#ifndef VIREO_TOP_H
#define VIREO_TOP_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vr_top_entry {
    double key; /* never NaN */
    uint32_t id;
};
struct vr_top {
    struct vr_top_entry *entry; /* [capacity], the caller's */
    uint32_t capacity, count;
};

/* Keep (key, id) if it is among the best `capacity` so far. False: it is not, and no later push of the same or a
 * smaller key with a larger id will be. */
bool vr_top_push(struct vr_top *top, double key, uint32_t id);

/* Sort entry[0 .. count) best first. No push may follow. */
void vr_top_finish(struct vr_top *top);

#ifdef __cplusplus
}
#endif
#endif
