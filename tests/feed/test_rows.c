/* Row sets: made from numbers and ids, united and looked up, against membership told by a plain table. */
#include <criterion/criterion.h>
#include <string.h>

#include "feed/rows.h"
#include "support_rerank.h"

#define ROWS 64

static struct vr_arena *arena;

static void open_arena(void)
{
    cr_assert_eq(vr_arena_create(4096, &arena), VR_OK);
}

static void close_arena(void)
{
    vr_arena_destroy(arena);
}

TestSuite(rows, .init = open_arena, .fini = close_arena);

static void expect_set(const struct vr_rows *rows, const bool member[ROWS])
{
    uint32_t members = 0;
    for (int32_t row = 0; row < ROWS; row++) {
        cr_assert_eq(vr_rows_hold(rows, row), member[row]);
        members += member[row] ? 1u : 0u;
    }
    cr_assert_eq(rows->count, members);
    for (uint32_t i = 1; i < rows->count; i++) {
        cr_assert_lt(rows->row[i - 1], rows->row[i]);
    }
}

/* A catalogue in which number 3 * r is row r, and every other number belongs to another bundle. */
static void make_catalogue(struct vr_catalogue *catalogue, int32_t row_of[3 * ROWS])
{
    for (int32_t n = 0; n < 3 * ROWS; n++) {
        row_of[n] = n % 3 == 0 ? n / 3 : -1;
    }
    *catalogue = (struct vr_catalogue){.row = row_of, .numbers = 3 * ROWS};
}

static void random_set(struct random *r, const struct vr_catalogue *catalogue, struct vr_rows *out, bool member[ROWS])
{
    uint32_t number[40];
    uint32_t count = random_below(r, 41);
    memset(member, 0, ROWS * sizeof *member);
    for (uint32_t i = 0; i < count; i++) {
        number[i] = random_below(r, 4 * ROWS); /* repeated, unknown and later numbers among them */
        if (number[i] < 3 * ROWS && number[i] % 3 == 0) {
            member[number[i] / 3] = true;
        }
    }
    cr_assert_eq(vr_rows_of_numbers(catalogue, number, count, arena, out), VR_OK);
}

Test(rows, random_sets_and_their_unions_hold_what_they_should)
{
    struct random r = {31};
    struct vr_catalogue catalogue;
    int32_t row_of[3 * ROWS];
    make_catalogue(&catalogue, row_of);
    for (int n = 0; n < 500; n++) {
        struct vr_rows a, b, both;
        bool in_a[ROWS], in_b[ROWS];
        random_set(&r, &catalogue, &a, in_a);
        random_set(&r, &catalogue, &b, in_b);
        expect_set(&a, in_a);
        cr_assert_eq(vr_rows_unite(&a, &b, arena, &both), VR_OK);
        for (int32_t row = 0; row < ROWS; row++) {
            in_a[row] = in_a[row] || in_b[row];
        }
        expect_set(&both, in_a);
        vr_arena_reset(arena);
    }
}

Test(rows, ids_that_the_bundle_does_not_know_are_passed_over)
{
    struct vr_bundle bundle = {.tower_dim = 8};
    const struct vr_str id[] = {vr_str_of("c"), vr_str_of("zzz"), vr_str_of("a"), vr_str_of("c")};
    struct vr_rows rows;
    uint32_t number;
    cr_assert_eq(vr_dict_create(4, &bundle.video_rows), VR_OK);
    for (const char *name = "abc"; *name != '\0'; name++) {
        cr_assert_eq(vr_dict_intern(bundle.video_rows, (struct vr_str){name, 1}, &number), VR_OK);
    }
    cr_assert_eq(vr_rows_of_ids(&bundle, id, 4, arena, &rows), VR_OK);
    cr_assert_eq(rows.count, 2u);
    cr_expect_eq(rows.row[0], 0);
    cr_expect_eq(rows.row[1], 2);
    vr_dict_destroy(bundle.video_rows);
}
