/* The window of event_window.h: a ring of hashes in the order of arrival, and a table with linear probing of the same
 * hashes, at most half full. One lock, held for a few cache misses. */
#include "event_window.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "vireo/hash.h"

struct vr_event_window {
    pthread_mutex_t lock;
    struct vr_hash_key key; /* nobody can choose ids that collide with another's or with many */
    uint64_t *ring;         /* [capacity], 0 where an id was taken back */
    uint64_t *slot;         /* [mask + 1], 0 free */
    size_t capacity, mask;
    size_t next; /* place of the next id in the ring; the id there now is the oldest */
};

static uint64_t hash_of(const struct vr_event_window *window, struct vr_str id)
{
    uint64_t hash = vr_hash_keyed(&window->key, id.data, id.len);
    return hash != 0 ? hash : 1;
}

enum vr_status vr_event_window_create(size_t capacity, struct vr_event_window **out)
{
    struct vr_event_window *window = calloc(1, sizeof *window);
    if (window == NULL) {
        return vr_fail(VR_ERR_NOMEM, "event window: no memory");
    }
    pthread_mutex_init(&window->lock, NULL);
    vr_hash_key_draw(&window->key);
    size_t size = 2;
    while (size / 2 < capacity) {
        size *= 2;
    }
    window->capacity = capacity;
    window->mask = size - 1;
    window->ring = calloc(capacity, sizeof *window->ring);
    window->slot = calloc(size, sizeof *window->slot);
    if (window->ring == NULL || window->slot == NULL) {
        vr_event_window_destroy(window);
        return vr_fail(VR_ERR_NOMEM, "event window: no memory for %zu ids", capacity);
    }
    *out = window;
    return VR_OK;
}

/* The slot that holds `hash`, or the free one where it belongs. */
static size_t probe(const struct vr_event_window *window, uint64_t hash)
{
    size_t i = (size_t)hash & window->mask;
    while (window->slot[i] != 0 && window->slot[i] != hash) {
        i = (i + 1) & window->mask;
    }
    return i;
}

/* Free the slot of `hash` and close the gap: later entries of the run move back unless they would pass their home. */
static void erase(struct vr_event_window *window, uint64_t hash)
{
    size_t gap = probe(window, hash);
    for (size_t i = (gap + 1) & window->mask; window->slot[i] != 0; i = (i + 1) & window->mask) {
        size_t home = (size_t)window->slot[i] & window->mask;
        if (((i - home) & window->mask) >= ((i - gap) & window->mask)) {
            window->slot[gap] = window->slot[i];
            gap = i;
        }
    }
    window->slot[gap] = 0;
}

static void push(struct vr_event_window *window, uint64_t hash)
{
    uint64_t oldest = window->ring[window->next];
    if (oldest != 0) {
        erase(window, oldest);
    }
    window->ring[window->next] = hash;
    window->next = (window->next + 1) % window->capacity;
    window->slot[probe(window, hash)] = hash;
}

bool vr_event_window_add(struct vr_event_window *window, struct vr_str id)
{
    uint64_t hash = hash_of(window, id);
    pthread_mutex_lock(&window->lock);
    bool is_new = window->slot[probe(window, hash)] == 0;
    if (is_new) {
        push(window, hash);
    }
    pthread_mutex_unlock(&window->lock);
    return is_new;
}

void vr_event_window_forget(struct vr_event_window *window, struct vr_str id)
{
    uint64_t hash = hash_of(window, id);
    pthread_mutex_lock(&window->lock);
    if (window->slot[probe(window, hash)] != 0) {
        size_t i = window->next;
        do { /* backwards: it came lately */
            i = (i + window->capacity - 1) % window->capacity;
        } while (window->ring[i] != hash);
        window->ring[i] = 0;
        erase(window, hash);
    }
    pthread_mutex_unlock(&window->lock);
}

size_t vr_event_window_bytes(const struct vr_event_window *window)
{
    return sizeof *window + (window->capacity + window->mask + 1) * sizeof(uint64_t);
}

void vr_event_window_destroy(struct vr_event_window *window)
{
    if (window == NULL) {
        return;
    }
    pthread_mutex_destroy(&window->lock);
    free(window->ring);
    free(window->slot);
    free(window);
}
