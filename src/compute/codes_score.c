/* True scores of slots (codes.h): up to 16 rows are turned into a tile, which the exact scan's own kernel multiplies
 * (dot_tiles.h), so that a score has the very bits that the exact scan gives it. Rows of halves stay halves. */
#include <emmintrin.h>
#include <string.h>

#include "codes.h"

/* Eight components of 16 rows of halves, transposed 8 x 8 at a time by three perfect shuffles. */
static void turn_halves(const uint16_t *const row[VR_TILE_LANES], uint32_t first, uint16_t *tile)
{
    for (uint32_t side = 0; side < VR_TILE_LANES; side += 8) {
        __m128i a[8], b[8];
        for (uint32_t r = 0; r < 8; r++) {
            a[r] = _mm_loadu_si128((const __m128i *)(const void *)(row[side + r] + first));
        }
        for (uint32_t r = 0; r < 4; r++) {
            b[2 * r] = _mm_unpacklo_epi16(a[r], a[r + 4]);
            b[2 * r + 1] = _mm_unpackhi_epi16(a[r], a[r + 4]);
        }
        for (uint32_t r = 0; r < 4; r++) {
            a[2 * r] = _mm_unpacklo_epi16(b[r], b[r + 4]);
            a[2 * r + 1] = _mm_unpackhi_epi16(b[r], b[r + 4]);
        }
        for (uint32_t r = 0; r < 4; r++) {
            uint16_t *to = tile + (size_t)(first + 2 * r) * VR_TILE_LANES + side;
            _mm_storeu_si128((__m128i *)(void *)to, _mm_unpacklo_epi16(a[r], a[r + 4]));
            _mm_storeu_si128((__m128i *)(void *)(to + VR_TILE_LANES), _mm_unpackhi_epi16(a[r], a[r + 4]));
        }
    }
}

static void turn_rows_f16(const struct vr_codes *codes, const uint32_t *slot, uint32_t count, uint16_t *tile)
{
    const uint32_t dim = codes->dim, whole = dim / 8 * 8;
    const uint16_t *row[VR_TILE_LANES];
    for (uint32_t r = 0; r < VR_TILE_LANES; r++) { /* lanes without a row repeat the first one */
        row[r] = (const uint16_t *)(const void *)codes->values + (size_t)slot[r < count ? r : 0] * dim;
    }
    for (uint32_t i = 0; i < whole; i += 8) {
        turn_halves(row, i, tile);
    }
    for (uint32_t i = whole; i < dim; i++) {
        for (uint32_t r = 0; r < VR_TILE_LANES; r++) {
            tile[(size_t)i * VR_TILE_LANES + r] = row[r][i];
        }
    }
}

/* Four components of four rows of floats. */
static void turn_floats(const float *const row[4], uint32_t first, float *tile)
{
    __m128 a = _mm_loadu_ps(row[0] + first), b = _mm_loadu_ps(row[1] + first);
    __m128 c = _mm_loadu_ps(row[2] + first), d = _mm_loadu_ps(row[3] + first);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    float *to = tile + (size_t)first * VR_TILE_LANES;
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + VR_TILE_LANES, b);
    _mm_storeu_ps(to + (size_t)2 * VR_TILE_LANES, c);
    _mm_storeu_ps(to + (size_t)3 * VR_TILE_LANES, d);
}

static void turn_rows_f32(const struct vr_codes *codes, const uint32_t *slot, uint32_t count, float *tile)
{
    const uint32_t dim = codes->dim, whole = dim / 4 * 4;
    for (uint32_t side = 0; side < VR_TILE_LANES; side += 4) {
        const float *row[4];
        for (uint32_t r = 0; r < 4; r++) {
            row[r] = (const float *)(const void *)codes->values + (size_t)slot[side + r < count ? side + r : 0] * dim;
        }
        for (uint32_t i = 0; i < whole; i += 4) {
            turn_floats(row, i, tile + side);
        }
        for (uint32_t i = whole; i < dim; i++) {
            for (uint32_t r = 0; r < 4; r++) {
                tile[(size_t)i * VR_TILE_LANES + side + r] = row[r][i];
            }
        }
    }
}

/* Rows of int8 with scales, one at a time. */
static void turn_rows_i8(const struct vr_codes *codes, const uint32_t *slot, uint32_t count, float *tile)
{
    float vector[VR_DIM_MAX];
    for (uint32_t r = 0; r < count; r++) {
        vr_cpu_table_row(&codes->exact, slot[r], vector);
        for (uint32_t i = 0; i < codes->dim; i++) {
            tile[(size_t)i * VR_TILE_LANES + r] = vector[i];
        }
    }
}

void vr_codes_score(const struct vr_codes *codes, const float *query, const uint32_t *slot, uint32_t count, void *turn,
                    float score[VR_TILE_LANES])
{
    float dot[VR_DOT_ROWS][VR_BLOCK_LANES];
    switch (codes->exact.dtype) {
    case VR_TABLE_F16: turn_rows_f16(codes, slot, count, turn); break;
    case VR_TABLE_F32: turn_rows_f32(codes, slot, count, turn); break;
    case VR_TABLE_I8: turn_rows_i8(codes, slot, count, turn); break;
    }
    codes->dots(turn, 1, codes->dim, query, codes->dim, 1, dot);
    memcpy(score, dot[0], VR_TILE_LANES * sizeof *score);
}
