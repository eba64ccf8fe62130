/* See select.h. Keys are all different, as rows are, so that a partition never meets a run of equal keys. */
#include "select.h"

#include <math.h>

#define FEW 16u /* keys that are sorted by insertion */

static void swap(uint64_t *a, uint64_t *b)
{
    const uint64_t held = *a;
    *a = *b;
    *b = held;
}

/* The middle one of the first, the middle and the last key becomes the last. */
static void choose_pivot(uint64_t *key, uint32_t count)
{
    uint64_t *first = key, *middle = key + count / 2, *last = key + count - 1;
    if (*first < *middle) {
        swap(first, middle);
    }
    if (*last > *first) {
        swap(last, first);
    } else if (*last < *middle) {
        swap(last, middle);
    }
}

/* Larger keys before the pivot, smaller ones after it; returns its place. The swap is unconditional, as a branch on
 * random keys would be mispredicted every second time. */
static uint32_t partition(uint64_t *key, uint32_t count)
{
    choose_pivot(key, count);
    const uint64_t pivot = key[count - 1];
    uint32_t place = 0;
    for (uint32_t i = 0; i < count - 1; i++) {
        const uint64_t held = key[i];
        key[i] = key[place];
        key[place] = held;
        place += held > pivot;
    }
    swap(&key[place], &key[count - 1]);
    return place;
}

void vr_select_keep(uint64_t *key, uint32_t count, uint32_t best)
{
    uint32_t first = 0, end = count; /* keys before `first` are in, keys from `end` on are out */
    while (first < best && best < end) {
        const uint32_t place = first + partition(key + first, end - first);
        if (place < best) {
            first = place + 1;
        } else {
            end = place;
        }
    }
}

static void insertion_sort(uint64_t *key, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const uint64_t held = key[i];
        uint32_t place = i;
        for (; place > 0 && key[place - 1] < held; place--) {
            key[place] = key[place - 1];
        }
        key[place] = held;
    }
}

/* Largest first. The shorter side recurses, so that the depth is at most the logarithm of the count. */
static void sort(uint64_t *key, uint32_t count)
{
    while (count > FEW) {
        const uint32_t place = partition(key, count), after = count - place - 1;
        if (place < after) {
            sort(key, place);
            key += place + 1;
            count = after;
        } else {
            sort(key + place + 1, after);
            count = place;
        }
    }
    insertion_sort(key, count);
}

void vr_select_shrink(struct vr_select *select)
{
    if (select->count < select->k) {
        return;
    }
    vr_select_keep(select->key, select->count, select->k);
    select->count = select->k;
    uint64_t worst = select->key[0];
    for (uint32_t i = 1; i < select->k; i++) {
        worst = select->key[i] < worst ? select->key[i] : worst;
    }
    const float least = vr_select_score(worst);
    select->limit = select->ascending ? nextafterf(least, INFINITY) : least;
}

void vr_select_finish(struct vr_select *select, float *score, int32_t *row)
{
    const uint32_t found = select->count < select->k ? select->count : select->k;
    vr_select_keep(select->key, select->count, found);
    sort(select->key, found);
    for (uint32_t i = 0; i < found; i++) {
        score[i] = vr_select_score(select->key[i]);
        row[i] = vr_select_row(select->key[i]);
    }
    for (uint32_t i = found; i < select->k; i++) {
        score[i] = 0.0f;
        row[i] = -1;
    }
}
