/* The index "ivf" of the CUDA backend: its object and its search (ivf.h). */
#include <stdlib.h>

#include "index.h"
#include "ivf.h"
#include "kmeans.h"

static void destroy(void *held)
{
    vr_ivf_index_free(held);
    free(held);
}

/* One after the other in one block of the stream's memory, what has to be zeroed first. */
size_t vr_ivf_lay_out(const struct vr_ivf_index *index, char *memory, struct vr_ivf_pass *pass, size_t *zeroed)
{
    struct vr_scan_pass *scan = &pass->scan;
    const size_t queries = VR_SCAN_QUERIES, tiles = index->vectors.tiles;
    const struct {
        void **at;
        size_t bytes;
        bool zero;
    } part[] = {
        {(void **)&pass->query, queries * sizeof *pass->query, true},
        {(void **)&pass->asked, (size_t)index->lists * VR_IVF_WORDS * sizeof *pass->asked, true},
        {(void **)&pass->works, 2 * sizeof *pass->works, true},
        {(void **)&scan->code, queries * index->vectors.row_bytes, false},
        {(void **)&scan->state, queries * sizeof *scan->state, false},
        {(void **)&scan->sampled, queries * index->sample_room * sizeof *scan->sampled, false},
        {(void **)&scan->noted, queries * VR_SCAN_CAPACITY * sizeof *scan->noted, false},
        {(void **)&scan->part, queries * VR_SCAN_CAPACITY * sizeof *scan->part, false},
        {(void **)&pass->coarse, queries * index->lists * sizeof *pass->coarse, false},
        {(void **)&pass->sample_work, tiles * sizeof *pass->sample_work, false},
        {(void **)&pass->work, tiles * sizeof *pass->work, false},
    };
    size_t bytes = 0;
    *zeroed = 0;
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        if (memory != NULL) {
            *part[i].at = memory + bytes;
        }
        bytes += (part[i].bytes + 255) / 256 * 256;
        *zeroed = part[i].zero ? bytes : *zeroed;
    }
    return bytes;
}

static enum vr_status run_pass(struct vr_stream *stream, const struct vr_ivf_pass *pass, size_t zeroed)
{
    const bool samples = pass->sample_room > 0;
    enum vr_status status = vr_seam_fill(stream->seam, pass->query, 0, zeroed);
    if (status == VR_OK) {
        status = vr_scan_prepare(stream, &pass->scan);
    }
    if (status == VR_OK) {
        status = vr_ivf_probe(stream, pass);
    }
    if (status == VR_OK && samples) {
        status = vr_ivf_sample(stream, pass);
    }
    if (status == VR_OK && samples) {
        status = vr_ivf_threshold(stream, pass);
    }
    if (status == VR_OK) {
        status = vr_ivf_collect(stream, pass);
    }
    if (status == VR_OK) {
        status = vr_scan_select(stream, &pass->scan);
    }
    return status == VR_OK ? vr_ivf_safe(stream, pass) : status;
}

static struct vr_ivf_pass open_pass(const struct vr_ivf_index *index, const struct vr_search_at *at)
{
    return (struct vr_ivf_pass){
        .scan = {.vectors = index->vectors,
                 .exclude = {at->exclude_offset, at->exclude, at->exclude_bound},
                 .k = at->k,
                 .rank = vr_scan_rank(1u << index->sample_shift, 1, at->k),
                 .counts = index->counts},
        .list = index->list,
        .centroid = index->centroid,
        .lists = index->lists,
        .probes = index->probes,
        .sample_room = index->sample_room,
    };
}

static enum vr_status search(struct vr_stream *stream, const struct vr_index *index, const struct vr_search_at *at)
{
    const struct vr_ivf_index *ivf = index->state;
    if (index->rows == 0) {
        return vr_index_answer_nothing(stream, at);
    }
    struct vr_ivf_pass pass = open_pass(ivf, at);
    char *memory = NULL;
    size_t zeroed = 0;
    enum vr_status status = vr_stream_scratch(stream, vr_ivf_lay_out(ivf, NULL, &pass, &zeroed), &memory);
    if (status == VR_OK) {
        vr_ivf_lay_out(ivf, memory, &pass, &zeroed);
    }
    for (uint32_t first = 0; status == VR_OK && first < at->queries; first += VR_SCAN_QUERIES) {
        const uint32_t left = at->queries - first;
        pass.scan.first = first;
        pass.scan.queries = left < VR_SCAN_QUERIES ? left : VR_SCAN_QUERIES;
        pass.scan.query = at->query + (size_t)first * index->dim;
        pass.scan.row = at->row + (size_t)first * at->k;
        pass.scan.score = at->score + (size_t)first * at->k;
        status = run_pass(stream, &pass, zeroed);
    }
    return status;
}

static enum vr_status remove_rows(struct vr_stream *stream, const struct vr_index *index, const int32_t *row,
                                  uint32_t count)
{
    const struct vr_ivf_index *ivf = index->state;
    return vr_scan_remove(stream, &ivf->vectors, ivf->counts, row, count);
}

void vr_ivf_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes)
{
    uint32_t lists = 0;
    if (vr_ivf_choose_lists(spec, &lists) != VR_OK) {
        lists = VR_IVF_LISTS_MAX; /* the build will refuse it */
    }
    const uint32_t probes = spec->config.ivf_probes < lists ? spec->config.ivf_probes : lists;
    struct vr_ivf_index index = {.lists = lists, .probes = probes};
    index.sample_room = VR_SCAN_SAMPLE > 2 * probes ? VR_SCAN_SAMPLE : 2 * probes;
    index.vectors.tiles = spec->rows / VR_SCAN_TILE + lists; /* each list's last tile may be short */
    index.vectors.row_bytes = vr_scan_row_bytes(spec->dim, VR_SCAN_F16);
    const uint64_t slots = (uint64_t)index.vectors.tiles * VR_SCAN_TILE;
    *index_bytes = slots * (index.vectors.row_bytes + sizeof(int32_t)) + spec->rows * sizeof(int32_t) +
                   sizeof *index.counts + lists * (sizeof *index.list + spec->dim * sizeof(float)) +
                   vr_scan_table_bytes(spec, VR_SCAN_F16);
    struct vr_ivf_pass pass;
    size_t zeroed;
    *stream_bytes = vr_ivf_lay_out(&index, NULL, &pass, &zeroed);
}

enum vr_status vr_ivf_index_open(struct vr_backend *backend, const struct vr_index_spec *spec,
                                 const struct vr_cuda_table *table, struct vr_index *index)
{
    if (spec->dim > VR_SCAN_DIM_MAX) {
        return vr_fail(VR_ERR_UNSUPPORTED, "index ivf takes up to %u dimensions, not %u", VR_SCAN_DIM_MAX, spec->dim);
    }
    struct vr_ivf_index *ivf = calloc(1, sizeof *ivf);
    if (ivf == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    ivf->vectors.dim = spec->dim;
    ivf->vectors.coding = VR_SCAN_F16;
    ivf->vectors.row_bytes = vr_scan_row_bytes(spec->dim, VR_SCAN_F16);
    const enum vr_status status = vr_ivf_index_build(backend, spec, table, ivf);
    if (status != VR_OK) {
        destroy(ivf);
        return status;
    }
    index->search = search;
    index->remove = remove_rows;
    index->destroy = destroy;
    index->state = ivf;
    return VR_OK;
}
