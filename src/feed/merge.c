/* The merge of merge.h. One pass walks the ranks and numbers the candidates through the table; it notes for each place
 * of each source which candidate stands there. The second pass spreads those notes out by candidate, source by source,
 * so that every candidate's finds come in source order without sorting. */
#include "merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NOT_TAKEN UINT32_MAX /* a row past max_candidates */

struct slot {
    uint32_t stamp; /* of the merge that wrote it; another stamp means free */
    int32_t row;
    uint32_t candidate;
};

struct vr_merge_scratch {
    uint32_t max_found;
    uint32_t mask;      /* of the table, whose size is a power of two, at least twice max_found */
    uint32_t stamp;     /* of the merge at hand */
    struct slot *slot;  /* [mask + 1] */
    uint32_t *standing; /* [max_found], candidate at each place, source after source */
};

enum vr_status vr_merge_scratch_create(uint32_t max_found, struct vr_merge_scratch **out)
{
    if (max_found == 0 || max_found > UINT32_MAX / 4) {
        return vr_fail(VR_ERR_INVALID, "merge: scratch for %u places", max_found);
    }
    struct vr_merge_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL) {
        return vr_fail(VR_ERR_NOMEM, "merge: no memory");
    }
    uint32_t size = 2;
    while (size / 2 < max_found) {
        size *= 2;
    }
    scratch->max_found = max_found;
    scratch->mask = size - 1;
    scratch->slot = calloc(size, sizeof *scratch->slot);
    scratch->standing = calloc(max_found, sizeof *scratch->standing);
    if (scratch->slot == NULL || scratch->standing == NULL) {
        vr_merge_scratch_destroy(scratch);
        return vr_fail(VR_ERR_NOMEM, "merge: no memory for %u places", max_found);
    }
    *out = scratch;
    return VR_OK;
}

void vr_merge_scratch_destroy(struct vr_merge_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    free(scratch->slot);
    free(scratch->standing);
    free(scratch);
}

/* A new stamp frees the whole table; once in 2^32 merges it has to be cleared. */
static void begin(struct vr_merge_scratch *scratch)
{
    if (++scratch->stamp == 0) {
        memset(scratch->slot, 0, ((size_t)scratch->mask + 1) * sizeof *scratch->slot);
        scratch->stamp = 1;
    }
}

/* The slot of a row, claimed with NOT_TAKEN if it is new. */
static struct slot *claim(struct vr_merge_scratch *scratch, int32_t row)
{
    uint32_t i = (uint32_t)row * 0x9e3779b1u; /* Knuth's multiplicative hash; its high bits are the mixed ones */
    for (i = (i ^ (i >> 15)) & scratch->mask;; i = (i + 1) & scratch->mask) {
        struct slot *slot = &scratch->slot[i];
        if (slot->stamp != scratch->stamp) {
            slot->stamp = scratch->stamp;
            slot->row = row;
            slot->candidate = NOT_TAKEN;
            return slot;
        }
        if (slot->row == row) {
            return slot;
        }
    }
}

struct places {
    uint32_t total, longest; /* of all sources; of one */
    uint32_t first[VR_SOURCE_COUNT];
};

static struct places measure(const struct vr_source_result *result)
{
    struct places places = {0};
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        places.first[s] = places.total;
        places.total += result[s].count;
        places.longest = result[s].count > places.longest ? result[s].count : places.longest;
    }
    return places;
}

/* Candidates and their finds for `places`, of which at most `capacity` become candidates. False: no memory. */
static bool allocate(struct vr_arena *arena, uint32_t places, uint32_t capacity, struct vr_candidates *out)
{
    memset(out, 0, sizeof *out);
    out->row = vr_arena_alloc(arena, (size_t)capacity * sizeof *out->row);
    out->found_offset = vr_arena_calloc(arena, (size_t)capacity + 2, sizeof *out->found_offset);
    out->found = vr_arena_alloc(arena, (size_t)places * sizeof *out->found);
    return out->row != NULL && out->found_offset != NULL && out->found != NULL;
}

/* First pass. Finds of candidate c are counted in found_offset[c + 2]. */
static void number_rows(struct vr_merge_scratch *scratch, const struct vr_source_result *result,
                        const struct places *places, uint32_t capacity, struct vr_candidates *out)
{
    for (uint32_t rank = 0; rank < places->longest; rank++) {
        for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
            if (rank >= result[s].count) {
                continue;
            }
            assert(result[s].row[rank] >= 0);
            struct slot *slot = claim(scratch, result[s].row[rank]);
            if (slot->candidate == NOT_TAKEN && out->count < capacity) {
                slot->candidate = out->count++;
                out->row[slot->candidate] = slot->row;
            }
            scratch->standing[places->first[s] + rank] = slot->candidate;
            if (slot->candidate != NOT_TAKEN) {
                out->found_offset[slot->candidate + 2]++;
            }
        }
    }
}

/* Second pass: after the sums found_offset[c + 1] is where candidate c's next find goes, and at the end its end. */
static void spread_finds(const struct vr_merge_scratch *scratch, const struct vr_source_result *result,
                         const struct places *places, struct vr_candidates *out)
{
    for (uint32_t c = 1; c < out->count; c++) {
        out->found_offset[c + 1] += out->found_offset[c];
    }
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        const uint32_t *standing = scratch->standing + places->first[s];
        for (uint32_t i = 0; i < result[s].count; i++) {
            if (standing[i] != NOT_TAKEN) {
                struct vr_found_at found = {(enum vr_source)s, i + 1, result[s].score[i]};
                out->found[out->found_offset[standing[i] + 1]++] = found;
            }
        }
    }
}

enum vr_status vr_merge(struct vr_merge_scratch *scratch, const struct vr_source_result result[VR_SOURCE_COUNT],
                        uint32_t max_candidates, struct vr_arena *arena, struct vr_candidates *out)
{
    struct places places = measure(result);
    if (places.total > scratch->max_found) {
        return vr_fail(VR_ERR_TOO_LARGE, "merge: %u places, the scratch is for %u", places.total, scratch->max_found);
    }
    uint32_t capacity = places.total < max_candidates ? places.total : max_candidates;
    if (!allocate(arena, places.total, capacity, out)) {
        return VR_ERR_NOMEM;
    }
    begin(scratch);
    number_rows(scratch, result, &places, capacity, out);
    spread_finds(scratch, result, &places, out);
    return VR_OK;
}
