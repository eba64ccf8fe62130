/* The bounded heap of vireo/top.h: the worst entry kept stands at the root, so that most candidates are turned away by
 * one comparison. */
#include "vireo/top.h"

#include <stddef.h>

static bool is_worse(struct vr_top_entry a, struct vr_top_entry b)
{
    return a.key < b.key || (a.key == b.key && a.id > b.id);
}

static void swap(struct vr_top_entry *a, struct vr_top_entry *b)
{
    struct vr_top_entry keep = *a;
    *a = *b;
    *b = keep;
}

static void sift_up(struct vr_top_entry *entry, size_t i)
{
    for (; i > 0 && is_worse(entry[i], entry[(i - 1) / 2]); i = (i - 1) / 2) {
        swap(&entry[i], &entry[(i - 1) / 2]);
    }
}

static void sift_down(struct vr_top_entry *entry, size_t count, size_t i)
{
    for (size_t child = 2 * i + 1; child < count; child = 2 * i + 1) {
        if (child + 1 < count && is_worse(entry[child + 1], entry[child])) {
            child++;
        }
        if (!is_worse(entry[child], entry[i])) {
            return;
        }
        swap(&entry[child], &entry[i]);
        i = child;
    }
}

bool vr_top_push(struct vr_top *top, double key, uint32_t id)
{
    struct vr_top_entry entry = {key, id};
    if (top->count < top->capacity) {
        top->entry[top->count] = entry;
        sift_up(top->entry, top->count++);
        return true;
    }
    if (top->capacity == 0 || !is_worse(top->entry[0], entry)) {
        return false;
    }
    top->entry[0] = entry;
    sift_down(top->entry, top->count, 0);
    return true;
}

/* Each step moves the worst of what is left behind it: the order that remains is best first. */
void vr_top_finish(struct vr_top *top)
{
    for (size_t left = top->count; left > 1; left--) {
        swap(&top->entry[0], &top->entry[left - 1]);
        sift_down(top->entry, left - 1, 0);
    }
}
