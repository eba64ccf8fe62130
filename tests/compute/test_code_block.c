/* Sums of int8 codes (compute/code_block.h): every form that this processor runs gives the plain one's very numbers, at
 * the largest codes, for each count of tiles and queries. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "compute/code_block.h"
#include "support_ops.h"

#define GROUPS_MAX 1024u /* 4,096 dimensions */

struct block {
    uint8_t *tile;
    int8_t *code;
    struct vr_code_query query[VR_CODE_QUERIES];
    struct vr_code_sums want[VR_CODE_QUERIES], got[VR_CODE_QUERIES];
};

/* Codes of -127 and 127 only, or any. */
static int8_t draw(struct dice *dice, bool extreme)
{
    return extreme ? (dice_below(dice, 2) != 0 ? 127 : -127) : (int8_t)((int32_t)dice_below(dice, 255) - 127);
}

static void fill(struct block *b, struct dice *dice, uint32_t groups, bool extreme)
{
    for (size_t i = 0; i < (size_t)VR_CODE_ROWS * groups * 4; i++) {
        b->tile[i] = (uint8_t)(draw(dice, extreme) + 128);
    }
    for (uint32_t q = 0; q < VR_CODE_QUERIES; q++) {
        int8_t *code = b->code + (size_t)q * groups * 4;
        int32_t sum = 0;
        for (uint32_t i = 0; i < groups * 4; i++) {
            code[i] = draw(dice, extreme);
            sum += code[i];
        }
        const int32_t spread = (int32_t)groups * 4096;
        b->query[q] = (struct vr_code_query){code, -128 * sum, (int32_t)dice_below(dice, 2 * spread) - spread};
    }
    b->query[0].limit = INT32_MIN;
    b->query[1].limit = INT32_MAX;
}

static void check(struct block *b, vr_code_block *form, uint32_t tiles, uint32_t groups, uint32_t queries)
{
    memset(b->got, 0x5a, sizeof b->got);
    memset(b->want, 0x5a, sizeof b->want);
    vr_code_block_plain(b->tile, tiles, groups, b->query, queries, b->want);
    form(b->tile, tiles, groups, b->query, queries, b->got);
    cr_assert_eq(memcmp(b->got, b->want, sizeof b->got), 0, "%u tiles, %u groups, %u queries", tiles, groups, queries);
}

static void check_form(vr_code_block *form)
{
    static const uint32_t groups[] = {1, 2, 3, 16, 33, GROUPS_MAX};
    struct block *b = malloc(sizeof *b);
    b->tile = malloc((size_t)VR_CODE_ROWS * GROUPS_MAX * 4);
    b->code = malloc((size_t)VR_CODE_QUERIES * GROUPS_MAX * 4);
    struct dice dice = {11};
    for (uint32_t i = 0; i < sizeof groups / sizeof groups[0] * 2; i++) {
        fill(b, &dice, groups[i / 2], i % 2 != 0);
        for (uint32_t n = 1; n <= VR_CODE_TILES; n++) {
            check(b, form, n, groups[i / 2], 1 + n % VR_CODE_QUERIES);
        }
    }
    free(b->tile);
    free(b->code);
    free(b);
}

Test(code_block, forms)
{
    vr_code_block *const forms[] = {vr_code_block_avx2, vr_code_block_avx_vnni, vr_code_block_avx512_vnni};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (vr_code_block_runs(forms[i])) {
            check_form(forms[i]);
        }
    }
    cr_assert(vr_code_block_runs(vr_code_block_choose()));
}

/* The plain form against the sums as they are defined. */
Test(code_block, plain)
{
    static uint8_t tile[2 * 16 * 4 * 3];
    static struct vr_code_sums sums;
    const int8_t code[12] = {1, -2, 3, -4, 127, -127, 0, 5, 6, 0, 0, 0};
    int32_t start = 0;
    for (uint32_t i = 0; i < 12; i++) {
        start -= 128 * code[i];
    }
    for (uint32_t row = 0; row < 32; row++) {
        for (uint32_t i = 0; i < 12; i++) {
            const int32_t value = (int32_t)(row * 7 + i * 31) % 255 - 127;
            tile[row / 16 * 192 + i / 4 * 64 + row % 16 * 4 + i % 4] = (uint8_t)(value + 128);
        }
    }
    const struct vr_code_query query = {code, start, 1000};
    vr_code_block_plain(tile, 2, 3, &query, 1, &sums);
    for (uint32_t row = 0; row < 32; row++) {
        int32_t want = 0;
        for (uint32_t i = 0; i < 12; i++) {
            want += ((int32_t)(row * 7 + i * 31) % 255 - 127) * code[i];
        }
        cr_assert_eq(sums.sum[row], want);
        cr_assert_eq(sums.reaching[row / 16] >> row % 16 & 1, want >= 1000);
    }
}
