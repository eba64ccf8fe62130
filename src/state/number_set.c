/* The set of number_set.h: two arrays of the same numbers. Sets are small (hundreds, seldom thousands) and read whole
 * far more often than they change, so moves in flat arrays beat a tree. */
#include "number_set.h"

#include <stdlib.h>
#include <string.h>

static bool grow(uint32_t **array, uint32_t capacity)
{
    uint32_t *larger = realloc(*array, (size_t)capacity * sizeof *larger);
    if (larger == NULL) {
        return false;
    }
    *array = larger;
    return true;
}

bool vr_number_set_reserve(struct vr_number_set *set, uint32_t more, uint32_t limit)
{
    uint32_t needed = more < limit - set->count ? set->count + more : limit;
    if (needed <= set->capacity) {
        return true;
    }
    uint32_t capacity = set->capacity < limit / 2 ? set->capacity * 2 : limit;
    capacity = capacity > needed ? capacity : needed;
    if (!grow(&set->sorted, capacity) || !grow(&set->order, capacity)) {
        return false;
    }
    set->capacity = capacity;
    return true;
}

/* The first place in `sorted` whose number is not below `number`. */
static uint32_t lower_bound(const struct vr_number_set *set, uint32_t number)
{
    uint32_t low = 0;
    uint32_t high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->sorted[middle] < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void remove_at(uint32_t *array, uint32_t count, uint32_t i)
{
    memmove(&array[i], &array[i + 1], (size_t)(count - i - 1) * sizeof *array);
}

static void make_latest(struct vr_number_set *set, uint32_t number)
{
    uint32_t i = set->count - 1;
    while (set->order[i] != number) {
        i--;
    }
    remove_at(set->order, set->count, i);
    set->order[set->count - 1] = number;
}

static void drop_oldest(struct vr_number_set *set)
{
    remove_at(set->sorted, set->count, lower_bound(set, set->order[0]));
    remove_at(set->order, set->count, 0);
    set->count--;
}

void vr_number_set_add(struct vr_number_set *set, uint32_t number, uint32_t limit)
{
    uint32_t place = lower_bound(set, number);
    if (place < set->count && set->sorted[place] == number) {
        make_latest(set, number);
        return;
    }
    if (set->count == limit) {
        drop_oldest(set);
        place = lower_bound(set, number);
    }
    memmove(&set->sorted[place + 1], &set->sorted[place], (size_t)(set->count - place) * sizeof *set->sorted);
    set->sorted[place] = number;
    set->order[set->count++] = number;
}

size_t vr_number_set_bytes(const struct vr_number_set *set)
{
    return (size_t)set->capacity * (sizeof *set->sorted + sizeof *set->order);
}

void vr_number_set_clear(struct vr_number_set *set)
{
    free(set->sorted);
    free(set->order);
    memset(set, 0, sizeof *set);
}

bool vr_number_set_is_valid(const struct vr_number_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t place = lower_bound(set, set->order[i]);
        if ((i > 0 && set->sorted[i - 1] >= set->sorted[i]) || place == set->count ||
            set->sorted[place] != set->order[i]) {
            return false;
        }
    }
    return set->count <= set->capacity;
}
