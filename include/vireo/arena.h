/* Memory of one lifetime: a bump allocator that is freed at once. The feed uses one arena a request (reset when the
 * answer has gone) and one a lane slot. Not safe for use from two threads at a time; ownership of an arena moves with
 * the request that holds it. Also the two views used everywhere: a borrowed string and a borrowed byte range. */
#ifndef VIREO_ARENA_H
#define VIREO_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A borrowed string: not NUL-terminated, may hold any byte, owner stated where it is made. */
struct vr_str {
    const char *data;
    size_t len; /* bytes */
};

/* A borrowed string from a C literal or NUL-terminated text. */
static inline struct vr_str vr_str_of(const char *text)
{
    struct vr_str s = {text, strlen(text)};
    return s;
}

static inline bool vr_str_equal(struct vr_str a, struct vr_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

struct vr_arena;

/* An arena that takes memory in chunks of at least `chunk_bytes` (> 0). The caller frees it with vr_arena_destroy.
 * VR_ERR_NOMEM. */
enum vr_status vr_arena_create(size_t chunk_bytes, struct vr_arena **out);

/* `bytes` of uninitialised memory aligned to 64 bytes, valid until reset or destroy; NULL when memory is short (the
 * error text is set) or bytes overflow. Zero bytes give a valid pointer that must not be read. */
void *vr_arena_alloc(struct vr_arena *arena, size_t bytes);

/* The same for `count` elements of `size` bytes, zeroed; NULL as well when count * size overflows. */
void *vr_arena_calloc(struct vr_arena *arena, size_t count, size_t size);

/* A copy of `s` with a NUL behind it (not counted in len); data is NULL when memory is short. */
struct vr_str vr_arena_copy(struct vr_arena *arena, struct vr_str s);

/* Forget every allocation but keep the chunks, so that a warm arena takes nothing from the system. */
void vr_arena_reset(struct vr_arena *arena);

/* Bytes taken from the system; for the tests that count allocations and for metrics. */
size_t vr_arena_capacity(const struct vr_arena *arena);

/* NULL is accepted. */
void vr_arena_destroy(struct vr_arena *arena);

#ifdef __cplusplus
}
#endif
#endif
