/* The exact index: every row is scored, in blocks of 256 rows that all queries of the batch share while the block is
 * in the cache; scores that can still enter go to the query's selection (select.h), after a look at its exclusions.
 * Vectors that were halves stay halves, others are floats: halves measured 15.1 against 17.6 ms for one query over
 * 1,000,000 rows of 64, and a fifth less over 20,000 (Zen 4, one thread). */
#include <emmintrin.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "dot_tiles.h"
#include "exclusion.h"
#include "select.h"

#define GROUP 64u       /* queries that walk over the blocks together */
#define SLACK_KEYS 256u /* keys beyond k between two shrinkings of a selection */
_Static_assert((VR_K_MAX + SLACK_KEYS) * GROUP * sizeof(uint64_t) <= VR_SCRATCH_BYTES, "selections fit the scratch");

struct scan {
    vr_dot_block *block;
    size_t tile_bytes;
    uint32_t tiles;
    char *tile; /* [tiles, dim, 16]; rows past the end are zeros */
};

/* Bit `lane` of a tile is set where its score reaches the limit; NaN does not. SSE2 is in every x86-64. */
static uint32_t reaching(const float *score, float limit)
{
    uint32_t lanes = 0;
    for (uint32_t lane = 0; lane < VR_TILE_LANES; lane += 4) {
        const __m128 reaches = _mm_cmpge_ps(_mm_loadu_ps(score + lane), _mm_set1_ps(limit));
        lanes |= (uint32_t)_mm_movemask_ps(reaches) << lane;
    }
    return lanes;
}

/* The scores of the set lanes; the tile begins at row `first`. */
static void take_lanes(struct vr_select *select, const float *score, uint32_t lanes, uint32_t first,
                       struct vr_exclusion out)
{
    for (; lanes != 0; lanes &= lanes - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctz(lanes);
        const int32_t row = (int32_t)(first + lane);
        if (!vr_exclusion_has(out, row)) {
            vr_select_push(select, score[lane], row);
        }
    }
}

/* Scores of one block, which begins at row `first`, into one query's selection. */
static void take_scores(struct vr_select *select, const float *score, uint32_t rows, uint32_t first,
                        struct vr_exclusion out)
{
    for (uint32_t r = 0; r < rows; r += VR_TILE_LANES) {
        const uint32_t past = rows - r < VR_TILE_LANES ? UINT32_MAX << (rows - r) : 0; /* lanes that are no rows */
        const uint32_t lanes = reaching(score + r, select->limit) & ~past;
        if (lanes == 0) {
            continue;
        }
        take_lanes(select, score + r, lanes, first + r, out);
        if (select->room - select->count < VR_TILE_LANES) {
            vr_select_shrink(select);
        }
    }
}

/* One block, which begins at tile `first_tile`, for a group of queries. */
static void scan_block(const struct vr_index *index, const struct vr_search_at *at, uint32_t first_tile,
                       uint32_t first_query, uint32_t queries, struct vr_select *select)
{
    const struct scan *scan = index->state;
    float score[VR_DOT_ROWS][VR_BLOCK_LANES];
    const uint32_t tiles = scan->tiles - first_tile < VR_BLOCK_TILES ? scan->tiles - first_tile : VR_BLOCK_TILES;
    const uint32_t first_row = first_tile * VR_TILE_LANES;
    const uint32_t rows = index->rows - first_row < VR_BLOCK_LANES ? index->rows - first_row : VR_BLOCK_LANES;
    for (uint32_t q = 0; q < queries; q += VR_DOT_ROWS) {
        const uint32_t group = queries - q < VR_DOT_ROWS ? queries - q : VR_DOT_ROWS;
        const float *query = at->query + (size_t)(first_query + q) * index->dim;
        scan->block(scan->tile + first_tile * scan->tile_bytes, tiles, index->dim, query, index->dim, group, score);
        for (uint32_t i = 0; i < group; i++) {
            take_scores(&select[q + i], score[i], rows, first_row, vr_exclusion_of(at, first_query + q + i));
        }
    }
}

static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_search_at *at)
{
    const struct scan *scan = index->state;
    const uint32_t room = at->k + SLACK_KEYS;
    for (uint32_t first = 0; first < at->queries; first += GROUP) {
        struct vr_select select[GROUP];
        const uint32_t queries = at->queries - first < GROUP ? at->queries - first : GROUP;
        for (uint32_t q = 0; q < queries; q++) {
            select[q] = vr_select_open((uint64_t *)stream->scratch + (size_t)q * room, room, at->k, true);
        }
        for (uint32_t tile = 0; tile < scan->tiles; tile += VR_BLOCK_TILES) {
            scan_block(index, at, tile, first, queries, select);
        }
        for (uint32_t q = 0; q < queries; q++) {
            const size_t place = (size_t)(first + q) * at->k;
            vr_select_finish(&select[q], at->score + place, at->row + place);
        }
    }
    return VR_OK;
}

static void scan_destroy(void *state)
{
    struct scan *scan = state;
    if (scan != NULL) {
        free(scan->tile);
        free(scan);
    }
}

static void fill_half(const struct vr_cpu_table *table, const struct vr_index_spec *spec, uint16_t *tile)
{
    const uint16_t *source = table->data;
    for (size_t r = 0; r < spec->rows; r++) {
        uint16_t *lane = tile + r / VR_TILE_LANES * spec->dim * VR_TILE_LANES + r % VR_TILE_LANES;
        for (size_t i = 0; i < spec->dim; i++) {
            lane[i * VR_TILE_LANES] = source[r * spec->dim + i];
        }
    }
}

static void fill_float(const struct vr_cpu_table *table, const struct vr_index_spec *spec, float *vector, float *tile)
{
    for (size_t r = 0; r < spec->rows; r++) {
        float *lane = tile + r / VR_TILE_LANES * spec->dim * VR_TILE_LANES + r % VR_TILE_LANES;
        vr_cpu_table_row(table, (int64_t)r, vector);
        for (size_t i = 0; i < spec->dim; i++) {
            lane[i * VR_TILE_LANES] = vector[i];
        }
    }
}

static enum vr_status scan_fill(const struct vr_index_spec *spec, const struct vr_cpu_table *table, struct scan *scan)
{
    const bool half = table->dtype == VR_TABLE_F16;
    scan->block = vr_dot_block_choose(half);
    scan->tiles = (spec->rows + VR_TILE_LANES - 1) / VR_TILE_LANES;
    scan->tile_bytes = (size_t)spec->dim * VR_TILE_LANES * (half ? sizeof(uint16_t) : sizeof(float));
    const size_t bytes = scan->tiles * scan->tile_bytes;
    scan->tile = aligned_alloc(64, bytes > 0 ? (bytes + 63) / 64 * 64 : 64);
    float *vector = malloc(spec->dim * sizeof(float));
    if (scan->tile == NULL || vector == NULL) {
        free(vector);
        return vr_fail(VR_ERR_NOMEM, "no memory for an index of %u rows", spec->rows);
    }
    memset(scan->tile, 0, bytes);
    if (half) {
        fill_half(table, spec, (uint16_t *)(void *)scan->tile);
    } else {
        fill_float(table, spec, vector, (float *)(void *)scan->tile);
    }
    free(vector);
    return VR_OK;
}

enum vr_status vr_scan_index_create(const struct vr_index_spec *spec, struct vr_index **out)
{
    struct vr_cpu_table table;
    enum vr_status status = vr_cpu_table_at(&spec->vectors, &table);
    if (status != VR_OK) {
        return status;
    }
    struct scan *scan = calloc(1, sizeof *scan);
    if (scan == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    status = scan_fill(spec, &table, scan);
    if (status == VR_OK) {
        struct vr_index_kind_ops ops = {search, scan_destroy};
        status = vr_cpu_index_wrap(spec, ops, scan, out);
    }
    if (status != VR_OK) {
        scan_destroy(scan);
    }
    return status;
}
