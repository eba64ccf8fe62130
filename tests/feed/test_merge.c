/* The merge against a plain quadratic recomputation on random source results, and its edges. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "feed/merge.h"

#define ROWS_MAX 120
#define MAX_FOUND (VR_SOURCE_COUNT * ROWS_MAX)

struct input {
    int32_t row[VR_SOURCE_COUNT][ROWS_MAX];
    float score[VR_SOURCE_COUNT][ROWS_MAX];
    struct vr_source_result result[VR_SOURCE_COUNT];
};

/* Each source gets a random number of distinct rows below `universe`. */
static void make_input(struct input *input, int universe)
{
    int32_t shuffled[1000];
    for (int s = 0; s < (int)VR_SOURCE_COUNT; s++) {
        for (int i = 0; i < universe; i++) {
            int k = rand() % (i + 1);
            shuffled[i] = shuffled[k];
            shuffled[k] = i;
        }
        uint32_t count = (uint32_t)(rand() % 4 == 0 ? 0 : rand() % ROWS_MAX);
        count = count < (uint32_t)universe ? count : (uint32_t)universe;
        for (uint32_t i = 0; i < count; i++) {
            input->row[s][i] = shuffled[i];
            input->score[s][i] = (float)rand() / (float)RAND_MAX;
        }
        input->result[s] = (struct vr_source_result){input->row[s], input->score[s], count};
    }
}

/* Place of a row in a source, or -1. */
static int place_of(const struct vr_source_result *result, int32_t row)
{
    for (uint32_t i = 0; i < result->count; i++) {
        if (result->row[i] == row) {
            return (int)i;
        }
    }
    return -1;
}

/* The order that merge.h promises: by best rank over the sources, then by the first source that has it there. */
static uint32_t expected_order(const struct input *input, int universe, int32_t *order)
{
    uint32_t count = 0;
    for (int rank = 0; rank < ROWS_MAX; rank++) {
        for (int s = 0; s < (int)VR_SOURCE_COUNT; s++) {
            for (int32_t row = 0; row < universe; row++) {
                bool listed = false;
                for (uint32_t i = 0; i < count; i++) {
                    listed |= order[i] == row;
                }
                if (!listed && place_of(&input->result[s], row) == rank) {
                    order[count++] = row;
                }
            }
        }
    }
    return count;
}

static void check_finds(const struct input *input, const struct vr_candidates *merged, uint32_t candidate)
{
    uint32_t at = merged->found_offset[candidate];
    for (int s = 0; s < (int)VR_SOURCE_COUNT; s++) {
        int place = place_of(&input->result[s], merged->row[candidate]);
        if (place >= 0) {
            cr_assert_lt(at, merged->found_offset[candidate + 1]);
            cr_assert_eq(merged->found[at].source, (enum vr_source)s);
            cr_assert_eq(merged->found[at].rank, (uint32_t)place + 1);
            cr_assert_eq(merged->found[at].score, input->score[s][place]);
            at++;
        }
    }
    cr_assert_eq(at, merged->found_offset[candidate + 1]);
}

Test(merge, equals_a_plain_recomputation)
{
    static struct input input;
    struct vr_merge_scratch *scratch;
    struct vr_arena *arena;
    cr_assert_eq(vr_merge_scratch_create(MAX_FOUND, &scratch), VR_OK);
    cr_assert_eq(vr_arena_create(65536, &arena), VR_OK);
    srand(7);
    for (int round = 0; round < 150; round++) {
        int32_t order[1000];
        int universe = 1 + rand() % (round % 3 == 0 ? 60 : 400);
        uint32_t cut = round % 2 == 0 ? 1000 : (uint32_t)rand() % 100;
        struct vr_candidates merged;
        make_input(&input, universe);
        uint32_t count = expected_order(&input, universe, order);
        cr_assert_eq(vr_merge(scratch, input.result, cut, arena, &merged), VR_OK);
        cr_assert_eq(merged.count, count < cut ? count : cut);
        cr_assert_arr_eq(merged.row, order, merged.count * sizeof *order);
        cr_assert_eq(merged.found_offset[0], 0);
        for (uint32_t c = 0; c < merged.count; c++) {
            check_finds(&input, &merged, c);
        }
        cr_assert(merged.heads == NULL && merged.gates == NULL && merged.term == NULL && merged.score == NULL);
        vr_arena_reset(arena);
    }
    vr_arena_destroy(arena);
    vr_merge_scratch_destroy(scratch);
}

Test(merge, of_nothing_is_nothing)
{
    struct vr_source_result nothing[VR_SOURCE_COUNT] = {{NULL, NULL, 0}};
    struct vr_merge_scratch *scratch;
    struct vr_arena *arena;
    struct vr_candidates merged;
    cr_assert_eq(vr_merge_scratch_create(1, &scratch), VR_OK);
    cr_assert_eq(vr_arena_create(1024, &arena), VR_OK);
    cr_assert_eq(vr_merge(scratch, nothing, 300, arena, &merged), VR_OK);
    cr_assert_eq(merged.count, 0);
    cr_assert_eq(merged.found_offset[0], 0);
    vr_arena_destroy(arena);
    vr_merge_scratch_destroy(scratch);
    vr_merge_scratch_destroy(NULL);
}

Test(merge, refuses_more_than_its_scratch_holds)
{
    const int32_t row[3] = {1, 2, 3};
    const float score[3] = {3, 2, 1};
    struct vr_source_result result[VR_SOURCE_COUNT] = {{row, score, 3}, {row, score, 2}};
    struct vr_merge_scratch *scratch = NULL;
    struct vr_arena *arena;
    struct vr_candidates merged;
    cr_assert_eq(vr_merge_scratch_create(0, &scratch), VR_ERR_INVALID);
    cr_assert_eq(vr_merge_scratch_create(4, &scratch), VR_OK);
    cr_assert_eq(vr_arena_create(1024, &arena), VR_OK);
    cr_assert_eq(vr_merge(scratch, result, 300, arena, &merged), VR_ERR_TOO_LARGE);
    result[1].count = 1;
    cr_assert_eq(vr_merge(scratch, result, 300, arena, &merged), VR_OK);
    cr_assert_eq(merged.count, 3);
    cr_assert_eq(merged.found_offset[1], 2, "row 1 was found twice");
    vr_arena_destroy(arena);
    vr_merge_scratch_destroy(scratch);
}
