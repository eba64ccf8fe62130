/* See candidates.h. */
#include "candidates.h"

#include <math.h>
#include <string.h>

#define NOTED(k) (4u * (k) + 1024u) /* room: few shrinkings, and a whole group in the second-level cache */
#define BEST(k) ((k) + 256u)
#define FOUR_TILES 64u                       /* slots that are noted before it is seen whether there is room for more */
#define SOFT(k) (2u * (k) + 2u * FOUR_TILES) /* keys of the first shrinking; at least k are noted then */

struct vr_candidates_memory vr_candidates_memory_of(uint32_t dim, void *scratch, size_t bytes)
{
    struct vr_candidates_memory memory;
    char *next = scratch;
    memory.turn = next;
    next += vr_codes_turn_bytes(dim);
    memory.code = (int8_t *)next;
    next += (size_t)VR_CANDIDATES_QUERIES * ((dim + 3) / 4 * 4);
    memory.key = (uint64_t *)(void *)next;
    memory.keys = (bytes - (size_t)(next - (char *)scratch)) / sizeof *memory.key;
    return memory;
}

uint32_t vr_candidates_queries(const struct vr_candidates_memory *memory, uint32_t k)
{
    const size_t queries = memory->keys / (NOTED(k) + BEST(k));
    return queries < VR_CANDIDATES_QUERIES ? (uint32_t)queries : VR_CANDIDATES_QUERIES;
}

void vr_candidates_open(const struct vr_codes *codes, const struct vr_search_at *at, uint32_t first, uint32_t count,
                        const struct vr_candidates_memory *memory, struct vr_candidates *out)
{
    const uint32_t k = at->k;
    for (uint32_t q = 0; q < count; q++) {
        uint64_t *key = memory->key + (size_t)q * (NOTED(k) + BEST(k));
        int8_t *code = memory->code + (size_t)q * codes->groups * 4;
        out[q] = (struct vr_candidates){
            .codes = codes,
            .query = vr_codes_query_make(codes->dim, at->query + (size_t)(first + q) * codes->dim, code),
            .out = vr_exclusion_of(at, first + q),
            .k = k,
            .threshold = -INFINITY,
            .noted = key,
            .room = NOTED(k),
            .soft = SOFT(k),
            .best = vr_select_open(key + NOTED(k), BEST(k), k, false),
            .turn = memory->turn,
        };
    }
}

/* ---- what is ruled out ---- */

static void raise(struct vr_candidates *c, float threshold)
{
    c->threshold = threshold > c->threshold ? threshold : c->threshold;
}

static uint32_t slot_of(uint64_t key)
{
    return (uint32_t)vr_select_row(key);
}

/* Of noted[from .. count), those whose upper bound may still reach the threshold move together. The widest bound of all
 * that is noted stands for each one's own: bounds of blocks are much alike. */
static void drop(struct vr_candidates *c, uint32_t from)
{
    const float low = c->threshold - 2.0f * c->widest;
    const uint64_t least = low > -INFINITY ? vr_select_key(low, -1) : 0; /* not so where nothing is known, or NaN */
    uint32_t kept = from;
    for (uint32_t i = from; i < c->count; i++) {
        const uint64_t key = c->noted[i];
        c->noted[kept] = key;
        kept += key >= least;
    }
    c->count = kept;
}

/* ---- true scores ---- */

/* Ask for the first lines of a row's values: rows lie anywhere. */
static void expect(const struct vr_codes *codes, uint32_t slot)
{
    const size_t bytes = codes->dim * vr_cpu_table_value_bytes(codes->exact.dtype);
    const char *row = codes->values + slot * bytes;
    for (size_t i = 0; i < bytes && i < 256; i += 64) {
        __builtin_prefetch(row + i);
    }
}

static void push(struct vr_select *best, float score, int32_t row)
{
    if (score >= best->limit) { /* NaN is not */
        vr_select_push(best, score, row);
        if (best->count == best->room) {
            vr_select_shrink(best);
        }
    }
}

/* Score noted[from .. end) truly. */
static void score(struct vr_candidates *c, uint32_t from, uint32_t end)
{
    const struct vr_codes *codes = c->codes;
    for (uint32_t i = from; i < end && i < from + VR_TILE_LANES; i++) {
        expect(codes, slot_of(c->noted[i]));
    }
    for (uint32_t i = from; i < end; i += VR_TILE_LANES) {
        uint32_t slot[VR_TILE_LANES];
        float dot[VR_TILE_LANES];
        const uint32_t count = end - i < VR_TILE_LANES ? end - i : VR_TILE_LANES;
        for (uint32_t j = 0; j < count; j++) {
            slot[j] = slot_of(c->noted[i + j]);
        }
        for (uint32_t j = i + VR_TILE_LANES; j < end && j < i + 2 * VR_TILE_LANES; j++) {
            expect(codes, slot_of(c->noted[j]));
        }
        vr_codes_score(codes, c->query.value, slot, count, c->turn, dot);
        for (uint32_t j = 0; j < count; j++) {
            push(&c->best, dot[j], vr_codes_row(codes, slot[j]));
        }
    }
}

/* All that is noted becomes true scores, as far as it may still enter. */
static void settle(struct vr_candidates *c)
{
    const uint32_t first = c->count < c->k ? c->count : c->k;
    vr_select_keep(c->noted, c->count, first);
    score(c, 0, first);
    if (c->best.count >= c->k) {
        vr_select_shrink(&c->best);
        raise(c, c->best.limit);
        drop(c, first);
    }
    score(c, first, c->count);
    if (c->best.count >= c->k) {
        vr_select_shrink(&c->best);
        raise(c, c->best.limit);
    }
    c->count = 0;
    c->widest = 0.0f;
    c->soft = SOFT(c->k);
}

/* The k-th largest lower bound is a threshold. The next shrinking comes when there is twice of what is left, so that a
 * threshold is there soon, and a key is looked at a few times. */
static void shrink(struct vr_candidates *c)
{
    vr_select_keep(c->noted, c->count, c->k);
    uint64_t worst = c->noted[0];
    for (uint32_t i = 1; i < c->k; i++) {
        worst = c->noted[i] < worst ? c->noted[i] : worst;
    }
    raise(c, vr_select_score(worst));
    drop(c, c->k);
    if (c->count > c->room / 2) {
        settle(c);
    } else {
        const uint32_t twice = 2 * c->count + FOUR_TILES;
        c->soft = twice < c->room ? twice : c->room;
    }
}

/* ---- a block ---- */

static uint32_t tiles_of(const struct vr_codes_block *block)
{
    return (block->rows + VR_CODE_LANES - 1) / VR_CODE_LANES;
}

/* A block as one query meets it. */
struct meeting {
    const struct vr_codes_block *block;
    float scale, bound; /* scores are sums * scale, and off by bound at most; 0 where that is infinity */
};

/* The least sum of codes that may be of interest, or up to two less, as one too high would cost a row: 2^-20 is for the
 * rounding of this very number, 1 for the cut to a whole one. */
static int32_t limit_of(const struct vr_candidates *c, const struct meeting *meeting)
{
    const float steps = (c->threshold - meeting->bound) * (meeting->block->inverse * c->query.inverse);
    const float low = steps - fabsf(steps) * 0x1p-20f - 1.0f;
    return low >= 0x1p30f ? INT32_MAX : low > -0x1p30f ? (int32_t)low : INT32_MIN; /* also where it is NaN */
}

/* The sums of the set lanes of four tiles, whose first slot is `slot`. A row is written before it is known whether it
 * counts: a branch would be mispredicted every second time. */
static void note(struct vr_candidates *c, const struct meeting *meeting, uint64_t lanes, uint32_t slot,
                 const int32_t *sum)
{
    const bool filters = !vr_exclusion_is_empty(c->out);
    for (; lanes != 0; lanes &= lanes - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctzll(lanes);
        const float approximate = (float)sum[lane] * meeting->scale;
        const bool excluded = filters && vr_exclusion_has(c->out, vr_codes_row(c->codes, slot + lane));
        c->noted[c->count] = vr_select_key(approximate - meeting->bound, (int32_t)(slot + lane));
        c->count += !(approximate + meeting->bound < c->threshold) & !excluded;
    }
    c->widest = meeting->bound > c->widest ? meeting->bound : c->widest;
    if (c->count + FOUR_TILES > c->soft) {
        shrink(c);
    }
}

/* Bit i of the word for slots first .. first + 64 is set where there is a row. */
static uint64_t rows_from(const struct vr_codes_block *block, uint32_t first)
{
    const uint32_t left = block->rows - first;
    return left < FOUR_TILES ? ((uint64_t)1 << left) - 1 : UINT64_MAX;
}

static void take_block(struct vr_candidates *c, const struct meeting *meeting, const struct vr_code_sums *sums)
{
    for (uint32_t first = 0; first < meeting->block->rows; first += FOUR_TILES) {
        uint64_t lanes;
        memcpy(&lanes, &sums->reaching[first / VR_CODE_LANES], sizeof lanes);
        lanes &= rows_from(meeting->block, first);
        if (lanes != 0) {
            note(c, meeting, lanes, meeting->block->slot + first, sums->sum + first);
        }
    }
}

/* Part `part` of `parts` of a block's codes to the second-level cache. */
static void fetch(const struct vr_codes *codes, const struct vr_codes_block *block, uint32_t part, uint32_t parts)
{
    const uint8_t *tile = codes->tile + (size_t)block->slot * codes->groups * 4;
    const size_t lines = (size_t)tiles_of(block) * codes->groups, step = (lines + parts - 1) / parts;
    for (size_t i = part * step; i < lines && i < (part + 1) * step; i++) {
        __builtin_prefetch(tile + i * 64, 0, 2);
    }
}

static void scan_some(const struct vr_codes *codes, const struct vr_codes_block *block,
                      struct vr_candidates *const *query, uint32_t count)
{
    struct vr_code_query code[VR_CODE_QUERIES];
    struct vr_code_sums sums[VR_CODE_QUERIES];
    struct meeting meeting[VR_CODE_QUERIES];
    for (uint32_t q = 0; q < count; q++) {
        const struct vr_codes_query *one = &query[q]->query;
        const float bound = vr_codes_bound(block, one);
        meeting[q] = (struct meeting){block, bound < INFINITY ? block->unit * one->unit : 0.0f, bound};
        code[q] = (struct vr_code_query){one->code, one->start, limit_of(query[q], &meeting[q])};
    }
    const uint8_t *tile = codes->tile + (size_t)block->slot * codes->groups * 4;
    codes->sums(tile, tiles_of(block), codes->groups, code, count, sums);
    for (uint32_t q = 0; q < count; q++) {
        take_block(query[q], &meeting[q], &sums[q]);
    }
}

void vr_candidates_scan(const struct vr_codes *codes, uint32_t block, uint32_t next, struct vr_candidates *const *query,
                        uint32_t count)
{
    const uint32_t parts = (count + VR_CODE_QUERIES - 1) / VR_CODE_QUERIES;
    for (uint32_t q = 0; q < count; q += VR_CODE_QUERIES) {
        if (next < codes->blocks) {
            fetch(codes, &codes->block[next], q / VR_CODE_QUERIES, parts);
        }
        scan_some(codes, &codes->block[block], query + q, count - q < VR_CODE_QUERIES ? count - q : VR_CODE_QUERIES);
    }
}

void vr_candidates_finish(struct vr_candidates *query, float *score, int32_t *row)
{
    settle(query);
    vr_select_finish(&query->best, score, row);
}
