/* Sums of products of int8 codes: the inner loop of the int8 scan, of the lists of IVF and of their making. A few
 * queries meet a block of coded rows; each score is a whole number, the same in every form and any batch.
 *
 * Rows are stored in tiles of 16, four components of a row side by side, because that is what one lane of VPDPBUSD
 * multiplies and adds up: tile[group][lane][4]. That instruction takes unsigned times signed bytes, so a row's code c
 * (-127 .. 127) is stored as c + 128, and a query begins at -128 times the sum of its own codes, which takes the 128
 * out again: nothing has to be known about a row.
 *
 * Sums are at most 127 * 127 * 4096 < 2^26 in absolute value, with the 128 still in them 255 * 127 * 4096 < 2^27: exact
 * in int32 for every dimension that an index takes. */
#ifndef VIREO_COMPUTE_CODE_BLOCK_H
#define VIREO_COMPUTE_CODE_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define VR_CODE_LANES 16u
#define VR_CODE_TILES 16u /* of one call at most */
#define VR_CODE_ROWS (VR_CODE_LANES * VR_CODE_TILES)
#define VR_CODE_QUERIES 8u /* of one call at most */

struct vr_code_query {
    const int8_t *code; /* [groups, 4], from -127 to 127, zeros behind the last dimension */
    int32_t start;      /* -128 * the sum of the codes */
    int32_t limit;      /* the least sum that is of interest */
};

struct vr_code_sums {
    _Alignas(64) int32_t sum[VR_CODE_ROWS]; /* [tiles * 16] */
    uint16_t reaching[VR_CODE_TILES];       /* [tiles], bit `lane` is set where the sum is at or above the limit */
};

/* tile: `tiles` tiles of [groups, 16, 4]. out [queries]: written for all lanes of all tiles. */
typedef void vr_code_block(const uint8_t *tile, uint32_t tiles, uint32_t groups, const struct vr_code_query *query,
                           uint32_t queries, struct vr_code_sums *out);

vr_code_block vr_code_block_plain, vr_code_block_avx2, vr_code_block_avx_vnni, vr_code_block_avx512_vnni;

/* Whether this processor runs a form, and the best that it runs. */
bool vr_code_block_runs(vr_code_block *form);
vr_code_block *vr_code_block_choose(void);

#endif
