/* The bump allocator of vireo/arena.h: a list of chunks, of which those up to `current` are in use. A reset goes back
 * to the first chunk and keeps all; a chunk that is needed later is moved behind `current`, so that none is skipped. */
#include "vireo/arena.h"

#include <stdint.h>
#include <stdlib.h>

#define ALIGNMENT 64u

/* The header sits in the first ALIGNMENT bytes of its own block; the payload follows. */
struct chunk {
    struct chunk *next;
    size_t capacity; /* payload bytes, a multiple of ALIGNMENT */
};

struct vr_arena {
    size_t chunk_bytes;
    size_t taken; /* bytes from the system, headers included */
    size_t used;  /* payload bytes in use of `current` */
    struct chunk *first;
    struct chunk *current;
};

static bool round_up(size_t bytes, size_t *out)
{
    if (bytes > SIZE_MAX / 2) {
        return false;
    }
    *out = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    return true;
}

static struct chunk *chunk_new(struct vr_arena *arena, size_t capacity)
{
    struct chunk *chunk = aligned_alloc(ALIGNMENT, ALIGNMENT + capacity);
    if (chunk == NULL) {
        vr_fail(VR_ERR_NOMEM, "arena: no memory for %zu bytes", capacity);
        return NULL;
    }
    chunk->next = NULL;
    chunk->capacity = capacity;
    arena->taken += ALIGNMENT + capacity;
    return chunk;
}

/* Unlink the first unused chunk of at least `bytes`; NULL when there is none. */
static struct chunk *take_spare(struct vr_arena *arena, size_t bytes)
{
    for (struct chunk **link = &arena->current->next; *link != NULL; link = &(*link)->next) {
        struct chunk *chunk = *link;
        if (chunk->capacity >= bytes) {
            *link = chunk->next;
            return chunk;
        }
    }
    return NULL;
}

/* Make `current` a fresh chunk of at least `bytes`; false when memory is short. */
static bool advance(struct vr_arena *arena, size_t bytes)
{
    struct chunk *chunk = take_spare(arena, bytes);
    if (chunk == NULL) {
        chunk = chunk_new(arena, bytes > arena->chunk_bytes ? bytes : arena->chunk_bytes);
    }
    if (chunk == NULL) {
        return false;
    }
    chunk->next = arena->current->next;
    arena->current->next = chunk;
    arena->current = chunk;
    arena->used = 0;
    return true;
}

enum vr_status vr_arena_create(size_t chunk_bytes, struct vr_arena **out)
{
    size_t rounded;
    if (chunk_bytes == 0 || !round_up(chunk_bytes, &rounded)) {
        return vr_fail(VR_ERR_INVALID, "arena: a chunk of %zu bytes", chunk_bytes);
    }
    struct vr_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL) {
        return vr_fail(VR_ERR_NOMEM, "arena: no memory");
    }
    arena->chunk_bytes = rounded;
    arena->first = chunk_new(arena, rounded);
    if (arena->first == NULL) {
        free(arena);
        return VR_ERR_NOMEM;
    }
    arena->current = arena->first;
    *out = arena;
    return VR_OK;
}

void *vr_arena_alloc(struct vr_arena *arena, size_t bytes)
{
    size_t rounded;
    if (!round_up(bytes, &rounded)) {
        vr_fail(VR_ERR_NOMEM, "arena: no memory for %zu bytes", bytes);
        return NULL;
    }
    if (rounded > arena->current->capacity - arena->used && !advance(arena, rounded)) {
        return NULL;
    }
    char *payload = (char *)arena->current + ALIGNMENT;
    void *block = payload + arena->used;
    arena->used += rounded;
    return block;
}

void *vr_arena_calloc(struct vr_arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        vr_fail(VR_ERR_NOMEM, "arena: %zu elements of %zu bytes overflow", count, size);
        return NULL;
    }
    void *block = vr_arena_alloc(arena, count * size);
    if (block != NULL && count * size > 0) {
        memset(block, 0, count * size);
    }
    return block;
}

struct vr_str vr_arena_copy(struct vr_arena *arena, struct vr_str s)
{
    struct vr_str copy = {NULL, 0};
    char *text = s.len < SIZE_MAX ? vr_arena_alloc(arena, s.len + 1) : NULL;
    if (text == NULL) {
        return copy;
    }
    if (s.len > 0) {
        memcpy(text, s.data, s.len);
    }
    text[s.len] = '\0';
    copy.data = text;
    copy.len = s.len;
    return copy;
}

void vr_arena_reset(struct vr_arena *arena)
{
    arena->current = arena->first;
    arena->used = 0;
}

size_t vr_arena_capacity(const struct vr_arena *arena)
{
    return arena->taken;
}

void vr_arena_destroy(struct vr_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    for (struct chunk *chunk = arena->first; chunk != NULL;) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(arena);
}
