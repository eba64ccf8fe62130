/* See ivf.h: which lists a group of queries asks for, and the search in them. */
#include "ivf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "candidates.h"

#define ROOM(probes) (2u * (probes) + 32u) /* keys of a query while its lists are chosen */

/* A group of queries and the lists that it asks for. */
struct group {
    const struct vr_ivf *ivf;
    struct vr_candidates query[VR_CANDIDATES_QUERIES];
    uint32_t count;
    uint32_t nearest[VR_CANDIDATES_QUERIES]; /* each query's best list */
    struct vr_candidates_memory memory;
    uint64_t *asking; /* [lists], bit q: query q; zeros between searches */
    uint32_t *list;   /* [lists + 64]: those that are read next, in order */
};

static uint32_t lists_of(const struct vr_ivf *ivf)
{
    return ivf->clusters.count;
}

/* ---- which lists ---- */

static int32_t limit_of(const struct vr_select *select)
{
    const float low = ceilf(select->limit);
    return low >= 0x1p30f ? INT32_MAX : low > -0x1p30f ? (int32_t)low : INT32_MIN;
}

/* The sums of one query with the lists from `first` on. Lists come in ascending order. */
static void take_lists(struct vr_select *select, const struct vr_code_sums *sums, uint32_t first, uint32_t left)
{
    const uint32_t rows = left < VR_CODE_ROWS ? left : VR_CODE_ROWS;
    for (uint32_t t = 0; t * VR_CODE_LANES < rows; t++) {
        for (uint32_t lanes = sums->reaching[t]; lanes != 0; lanes &= lanes - 1) {
            const uint32_t at = t * VR_CODE_LANES + (uint32_t)__builtin_ctz(lanes);
            if (at < rows && (float)sums->sum[at] >= select->limit) {
                vr_select_push(select, (float)sums->sum[at], (int32_t)(first + at));
            }
        }
        if (select->room - select->count < VR_CODE_LANES) {
            vr_select_shrink(select);
        }
    }
}

/* Mark the lists that were chosen for query q, and note the best one. */
static void ask(struct group *group, uint32_t q, struct vr_select *select)
{
    const uint32_t found = select->count < select->k ? select->count : select->k;
    uint64_t best = 0;
    vr_select_keep(select->key, select->count, found);
    for (uint32_t i = 0; i < found; i++) {
        group->asking[vr_select_row(select->key[i])] |= (uint64_t)1 << q;
        best = select->key[i] > best ? select->key[i] : best;
    }
    group->nearest[q] = (uint32_t)vr_select_row(best);
}

/* Queries q .. q + count of the group. The memory of what is noted is free yet. */
static void choose_lists(struct group *group, uint32_t q, uint32_t count)
{
    const struct vr_clusters *clusters = &group->ivf->clusters;
    const uint32_t probes = group->ivf->probes, room = ROOM(probes);
    struct vr_select select[VR_CODE_QUERIES];
    struct vr_code_query code[VR_CODE_QUERIES];
    struct vr_code_sums sums[VR_CODE_QUERIES];
    for (uint32_t i = 0; i < count; i++) {
        const struct vr_codes_query *query = &group->query[q + i].query;
        select[i] = vr_select_open(group->memory.key + (size_t)i * room, room, probes, true);
        code[i] = (struct vr_code_query){query->code, query->start, INT32_MIN};
    }
    for (uint32_t first = 0; first < clusters->count; first += VR_CODE_ROWS) {
        vr_clusters_sums(clusters, first, code, count, sums);
        for (uint32_t i = 0; i < count; i++) {
            take_lists(&select[i], &sums[i], first, clusters->count - first);
            code[i].limit = limit_of(&select[i]);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        ask(group, q + i, &select[i]);
    }
}

/* ---- the search ---- */

static void scan_list(struct group *group, uint32_t list, uint32_t next)
{
    const struct vr_codes *codes = &group->ivf->codes;
    struct vr_candidates *query[VR_CANDIDATES_QUERIES];
    uint32_t count = 0;
    for (uint64_t left = group->asking[list]; left != 0; left &= left - 1) {
        query[count++] = &group->query[__builtin_ctzll(left)];
    }
    const uint32_t end = codes->list[list + 1];
    for (uint32_t b = codes->list[list]; b < end; b++) {
        vr_candidates_scan(codes, b, b + 1 < end ? b + 1 : next, query, count);
    }
    group->asking[list] = 0;
}

/* Lists list[0 .. count), while the next one's codes are on their way. Nobody asks for them afterwards. */
static void scan_lists(struct group *group, uint32_t count)
{
    const struct vr_codes *codes = &group->ivf->codes;
    for (uint32_t i = 0; i < count; i++) {
        scan_list(group, group->list[i], i + 1 < count ? codes->list[group->list[i + 1]] : codes->blocks);
    }
}

/* Each query's nearest list first, as what is found there rules out most of the rest; then all the others as they lie
 * in memory. */
static void search_group(struct group *group)
{
    const size_t together = group->memory.keys / ROOM(group->ivf->probes);
    const uint32_t step = together < VR_CODE_QUERIES ? (uint32_t)together : VR_CODE_QUERIES;
    for (uint32_t q = 0; q < group->count; q += step) {
        choose_lists(group, q, group->count - q < step ? group->count - q : step);
    }
    memcpy(group->list, group->nearest, group->count * sizeof *group->list); /* one that comes again is empty then */
    scan_lists(group, group->count);
    uint32_t count = 0;
    for (uint32_t l = 0; l < lists_of(group->ivf); l++) {
        group->list[count] = l;
        count += group->asking[l] != 0;
    }
    scan_lists(group, count);
}

static void open_memory(const struct vr_ivf *ivf, void *scratch, struct group *group)
{
    char *next = scratch;
    group->ivf = ivf;
    group->asking = (uint64_t *)(void *)next;
    next += ((size_t)lists_of(ivf) + 7) / 8 * 8 * sizeof *group->asking;
    group->list = (uint32_t *)(void *)next;
    next += ((size_t)lists_of(ivf) + VR_CANDIDATES_QUERIES + 15) / 16 * 16 * sizeof *group->list;
    memset(group->asking, 0, lists_of(ivf) * sizeof *group->asking);
    group->memory = vr_candidates_memory_of(ivf->codes.dim, next, VR_SCRATCH_BYTES - (size_t)(next - (char *)scratch));
}

static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_search_at *at)
{
    const struct vr_ivf *ivf = index->state;
    struct group group;
    if (index->rows == 0) {
        memset(at->row, 0xff, (size_t)at->queries * at->k * sizeof *at->row);
        memset(at->score, 0, (size_t)at->queries * at->k * sizeof *at->score);
        return VR_OK;
    }
    open_memory(ivf, stream->scratch, &group);
    const uint32_t most = vr_candidates_queries(&group.memory, at->k);
    for (uint32_t first = 0; first < at->queries; first += most) {
        group.count = at->queries - first < most ? at->queries - first : most;
        vr_candidates_open(&ivf->codes, at, first, group.count, &group.memory, group.query);
        search_group(&group);
        for (uint32_t q = 0; q < group.count; q++) {
            const size_t place = (size_t)(first + q) * at->k;
            vr_candidates_finish(&group.query[q], at->score + place, at->row + place);
        }
    }
    return VR_OK;
}

static void destroy(void *state)
{
    vr_ivf_free(state);
    free(state);
}

void vr_ivf_set_probes(struct vr_index *index, uint32_t probes)
{
    struct vr_ivf *ivf = index->state;
    const uint32_t lists = lists_of(ivf);
    ivf->probes = probes < lists ? probes : lists;
}

enum vr_status vr_ivf_index_create(const struct vr_index_spec *spec, struct vr_index **out)
{
    struct vr_cpu_table table;
    enum vr_status status = vr_cpu_table_at(&spec->vectors, &table);
    if (status != VR_OK) {
        return status;
    }
    struct vr_ivf *ivf = calloc(1, sizeof *ivf);
    if (ivf == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    status = vr_ivf_make(spec, &table, ivf);
    if (status == VR_OK) {
        struct vr_index_kind_ops ops = {search, destroy};
        status = vr_cpu_index_wrap(spec, ops, ivf, out);
    }
    if (status != VR_OK) {
        destroy(ivf);
        return status;
    }
    vr_ivf_set_probes(*out, spec->config.ivf_probes > 0 ? spec->config.ivf_probes : 1);
    return VR_OK;
}
