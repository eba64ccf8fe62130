/* The arena: alignment, no overlap, reuse after a reset, overflow. */
#include "vireo/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include <criterion/criterion.h>

static struct vr_arena *make(size_t chunk_bytes)
{
    struct vr_arena *arena = NULL;
    cr_assert_eq(vr_arena_create(chunk_bytes, &arena), VR_OK);
    return arena;
}

/* Allocate 300 blocks of sizes from `seed`, fill each, and check at the end that none was overwritten. */
static void fill_and_check(struct vr_arena *arena, unsigned seed)
{
    enum { BLOCKS = 300 };
    unsigned char *block[BLOCKS];
    size_t size[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        seed = seed * 1103515245u + 12345u;
        size[i] = (seed >> 16) % (i % 50 == 0 ? 5000 : 200);
        block[i] = vr_arena_alloc(arena, size[i]);
        cr_assert_not_null(block[i]);
        cr_assert_eq((uintptr_t)block[i] % 64, 0);
        memset(block[i], i & 0xff, size[i]);
    }
    for (int i = 0; i < BLOCKS; i++) {
        for (size_t k = 0; k < size[i]; k++) {
            cr_assert_eq(block[i][k], i & 0xff, "block %d was overwritten", i);
        }
    }
}

Test(arena, blocks_are_aligned_and_apart)
{
    struct vr_arena *arena = make(1000);
    fill_and_check(arena, 1);
    vr_arena_destroy(arena);
}

Test(arena, warm_arena_takes_nothing)
{
    struct vr_arena *arena = make(512);
    fill_and_check(arena, 7);
    size_t warm = vr_arena_capacity(arena);
    for (int i = 0; i < 20; i++) {
        vr_arena_reset(arena);
        fill_and_check(arena, 7);
    }
    cr_assert_eq(vr_arena_capacity(arena), warm);
    vr_arena_destroy(arena);
}

/* Chunks of other sizes than the current cycle's order are used, not skipped for good. */
Test(arena, capacity_stays_bounded_whatever_the_order)
{
    struct vr_arena *arena = make(512);
    for (unsigned seed = 0; seed < 50; seed++) {
        vr_arena_reset(arena);
        fill_and_check(arena, seed);
    }
    cr_assert_lt(vr_arena_capacity(arena), 400000); /* one fill takes about 60 KB */
    vr_arena_destroy(arena);
}

Test(arena, overflow_gives_null)
{
    struct vr_arena *arena = make(64);
    cr_assert_null(vr_arena_alloc(arena, SIZE_MAX));
    cr_assert_null(vr_arena_alloc(arena, SIZE_MAX - 63));
    cr_assert_null(vr_arena_calloc(arena, SIZE_MAX / 2, 3));
    cr_assert_str_neq(vr_error_text(), "");
    cr_assert_not_null(vr_arena_alloc(arena, 0));
    cr_assert_not_null(vr_arena_calloc(arena, 0, 8));
    cr_assert_not_null(vr_arena_calloc(arena, 8, 0));
    vr_arena_destroy(arena);
    cr_assert_eq(vr_arena_create(0, &arena), VR_ERR_INVALID);
    vr_arena_destroy(NULL);
}

Test(arena, calloc_clears_reused_memory)
{
    struct vr_arena *arena = make(4096);
    memset(vr_arena_alloc(arena, 4000), 0xff, 4000);
    vr_arena_reset(arena);
    const unsigned char *zero = vr_arena_calloc(arena, 1000, 4);
    for (size_t i = 0; i < 4000; i++) {
        cr_assert_eq(zero[i], 0);
    }
    vr_arena_destroy(arena);
}

Test(arena, copies_end_in_nul)
{
    struct vr_arena *arena = make(64);
    struct vr_str text = {"ab\0cd-not-this", 5};
    struct vr_str copy = vr_arena_copy(arena, text);
    cr_assert(vr_str_equal(copy, text));
    cr_assert_eq(copy.data[5], '\0');
    struct vr_str none = {NULL, 0};
    copy = vr_arena_copy(arena, none);
    cr_assert_str_eq(copy.data, "");
    vr_arena_destroy(arena);
}
