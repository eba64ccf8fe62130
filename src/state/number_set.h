/* A bounded set of numbers that can be read in ascending order and forgets the one added longest ago: what a viewer has
 * seen, what was served to him. Not safe for two threads: its owner's lock guards it. */
#ifndef VIREO_STATE_NUMBER_SET_H
#define VIREO_STATE_NUMBER_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is an empty set; free with vr_number_set_clear. */
struct vr_number_set {
    uint32_t *sorted; /* [count], ascending */
    uint32_t *order;  /* [count], in the order of adding, the latest last */
    uint32_t count, capacity;
};

/* Memory for `more` further numbers, but never more than `limit` in all, so that vr_number_set_add cannot fail. False
 * when memory is short; the set is then as it was. */
bool vr_number_set_reserve(struct vr_number_set *set, uint32_t more, uint32_t limit);

/* Add a number, or make it the latest if it is there; at `limit` the oldest goes. Memory must be reserved. */
void vr_number_set_add(struct vr_number_set *set, uint32_t number, uint32_t limit);

size_t vr_number_set_bytes(const struct vr_number_set *set);
void vr_number_set_clear(struct vr_number_set *set);

/* sorted and order hold the same numbers, sorted rises strictly. */
bool vr_number_set_is_valid(const struct vr_number_set *set);

#endif
