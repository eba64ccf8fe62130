/* Vectors coded as int8 for a first look, with their true values beside them: what the int8 scan (scan_int8.c) and the
 * lists of IVF (ivf.c) look through.
 *
 * Slots are places of rows; a block is up to 256 slots of one list, in tiles of 16 (code_block.h). A block's codes are
 * its values divided by one unit, the largest of them / 127. One unit a block and not one a row: a threshold is then
 * one whole number for 256 rows, and a row costs one comparison. Not one for all: a single large vector would make
 * every other one's codes coarse.
 *
 * With q, x as they are and Q, X as they are coded, q.x - Q.X = (q - Q).X + q.(x - X), so by Cauchy and Schwarz
 *   |q.x - Q.X| <= |q - Q| max|X| + |q| max|x - X|,
 * the block's norms being known since it was made. To that comes what float32 sums lose: of the products' absolute sum
 * a chain of dim multiply-adds rounds by 2^-24 at most each time (twice that without fused ones), a score of codes
 * three times more. So a score of codes plus that bound is never below the true score: rows which cannot be among the
 * best are told by their codes alone, and the rest is scored truly. True scores are the bits of the exact scan: one
 * chain of multiply-adds over the values as they were given. */
#ifndef VIREO_COMPUTE_CODES_H
#define VIREO_COMPUTE_CODES_H

#include "code_block.h"
#include "cpu.h"
#include "dot_tiles.h"

struct vr_codes_block {
    uint32_t slot; /* the first, a multiple of 16 */
    uint32_t rows;
    float unit, inverse; /* and 1 / unit */
    float by_lost;       /* of the bound, times what a query's coding lost; infinity: a row is not finite */
    float by_norm;       /* times a query's norm */
};

struct vr_codes {
    uint32_t dim, groups; /* groups of 4 dimensions */
    uint32_t rows, slots, blocks;
    bool is_finite;               /* all rows are */
    uint8_t *tile;                /* [slots / 16, groups, 16, 4] */
    struct vr_codes_block *block; /* [blocks] */
    uint32_t *block_of_tile;      /* [slots / 16] */
    uint32_t *list;               /* [lists + 1]: the first block of each list */
    int32_t *row_of_slot;         /* [slots], -1: none; NULL: slot i is row i */
    char *values;                 /* [slots, dim], as they were given */
    float *scales;                /* [slots], of a table of int8 */
    struct vr_cpu_table exact;    /* these as a table */
    vr_code_block *sums;
    vr_dot_block *dots;
};

/* Rows of `table`, list after list: list l is row[offset[l] .. offset[l + 1]). `row` NULL: one list of rows 0 .. rows -
 * 1 in their order. Vectors are copied. After a failure too vr_codes_free frees what was taken. */
struct vr_codes_lists {
    uint32_t lists;
    const uint32_t *offset; /* [lists + 1] */
    const int32_t *row;
};
enum vr_status vr_codes_make(const struct vr_cpu_table *table, const struct vr_codes_lists *lists,
                             struct vr_codes *codes);
void vr_codes_free(struct vr_codes *codes);

/* What it will take at most: the last tile of each list is not full, nor is the last block. 0 lists: one, whose slots
 * are rows. */
uint64_t vr_codes_bytes(const struct vr_table *table, uint64_t rows, uint64_t lists);

/* value / unit, rounded to the nearest, for `count` values; what is not finite gives something from -127 to 127. */
void vr_codes_encode(const float *value, uint32_t count, float unit, int8_t *code);
float vr_codes_unit(float largest);

/* A coded row to its slot of tiles (code_block.h). */
static inline void vr_codes_put(uint8_t *tile, uint32_t slot, uint32_t groups, const int8_t *code, uint32_t dim)
{
    uint8_t *to = tile + ((size_t)(slot / VR_CODE_LANES) * groups * VR_CODE_LANES + slot % VR_CODE_LANES) * 4;
    for (uint32_t i = 0; i < dim; i++) {
        to[(size_t)(i / 4) * VR_CODE_LANES * 4 + i % 4] = (uint8_t)(code[i] + 128);
    }
}

static inline int32_t vr_codes_row(const struct vr_codes *codes, uint32_t slot)
{
    return codes->row_of_slot != NULL ? codes->row_of_slot[slot] : (int32_t)slot;
}

/* A query as it meets coded rows. */
struct vr_codes_query {
    const float *value; /* [dim] */
    const int8_t *code; /* [groups, 4] */
    int32_t start;      /* see vr_code_query */
    float unit, inverse;
    float norm; /* infinity: not finite, and all rows are scored truly */
    float lost; /* norm of (query - coded query) */
};

/* code: memory for vr_codes_query.code, kept by the caller. */
struct vr_codes_query vr_codes_query_make(uint32_t dim, const float *value, int8_t *code);

/* What a score of codes may lie from the true score in a block; infinity where nothing is known. Sums that float32 does
 * not hold are bounded by nothing, and those that are so small that it loses bits of them by more than they are. */
static inline float vr_codes_bound(const struct vr_codes_block *block, const struct vr_codes_query *query)
{
    const float bound = query->lost * block->by_lost + query->norm * block->by_norm + 0x1p-90f;
    return bound < 0x1p80f ? bound : __builtin_inff();
}

/* codes_score.c: true scores of up to 16 slots. turn: memory for vr_codes_turn_bytes(dim). */
void vr_codes_score(const struct vr_codes *codes, const float *query, const uint32_t *slot, uint32_t count, void *turn,
                    float score[VR_TILE_LANES]);
static inline size_t vr_codes_turn_bytes(uint32_t dim)
{
    return (size_t)dim * VR_TILE_LANES * sizeof(float);
}

#endif
