/* The index "exact" of the CUDA backend: its making and its search. The device's part is in scan*.cu (scan.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "scan.h"
#include "vireo/clock.h"

#define BUILD_LIMIT_US 60000000u
#define NORM_FLOOR 0x1p-60f /* a dimension: squares of smaller values are lost in float32 */
#define SHUFFLE_SEED 0x5eedu

struct scan_state {
    struct vr_scan_index index;
    void *tile, *row_of_slot, *slot_of_row, *counts; /* device memory, owned */
};

static void destroy(void *held)
{
    struct scan_state *state = held;
    vr_seam_memory_destroy(false, state->tile);
    vr_seam_memory_destroy(false, state->row_of_slot);
    vr_seam_memory_destroy(false, state->slot_of_row);
    vr_seam_memory_destroy(false, state->counts);
    vr_scan_free_table(&state->index.vectors.exact);
    free(state);
}

/* The mma takes 32 bytes and loads them by two steps; rows are shared out by powers of two. */
uint32_t vr_scan_row_bytes(uint32_t dim, enum vr_scan_coding coding)
{
    const uint32_t bytes = dim * (coding == VR_SCAN_F16 ? 2 : 1);
    uint32_t whole = 64;
    while (whole < bytes) {
        whole *= 2;
    }
    return whole;
}

/* ---- build ---- */

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Fisher and Yates' shuffle. */
void vr_scan_shuffle(int32_t *row_of_slot, uint32_t rows)
{
    uint64_t state = SHUFFLE_SEED;
    for (uint32_t i = 0; i < rows; i++) {
        row_of_slot[i] = (int32_t)i;
    }
    for (uint32_t i = rows; i > 1; i--) {
        const uint32_t j = (uint32_t)(next_random(&state) % i);
        const int32_t other = row_of_slot[j];
        row_of_slot[j] = row_of_slot[i - 1];
        row_of_slot[i - 1] = other;
    }
}

/* What the build alone needs: a stream, and staging for the shuffled rows and for what comes back. */
struct build {
    struct vr_backend *backend;
    struct vr_stream *stream;
    void *staging, *found; /* pinned: [rows] row numbers, then struct vr_scan_found; device */
};

static enum vr_status take_build_memory(struct build *build, uint32_t rows)
{
    enum vr_status status = build->backend->ops->stream_create(build->backend, &build->stream);
    if (status == VR_OK) {
        status = vr_seam_memory_create(true, rows * sizeof(int32_t) + sizeof(struct vr_scan_found), &build->staging);
    }
    return status == VR_OK ? vr_seam_memory_create(false, sizeof(struct vr_scan_found), &build->found) : status;
}

static void close_build(struct build *build)
{
    if (build->stream != NULL) {
        build->backend->ops->stream_destroy(build->stream);
    }
    vr_seam_memory_destroy(true, build->staging);
    vr_seam_memory_destroy(false, build->found);
}

static enum vr_status take_memory(struct scan_state *state)
{
    const struct vr_scan_vectors *vectors = &state->index.vectors;
    const size_t bytes = (size_t)vectors->tiles * VR_SCAN_TILE * vectors->row_bytes;
    enum vr_status status = vr_seam_memory_create(false, bytes, &state->tile);
    if (status == VR_OK) {
        status = vr_seam_memory_create(false, sizeof(struct vr_scan_counts), &state->counts);
    }
    if (status == VR_OK) {
        status = vr_seam_memory_create(false, vectors->rows * sizeof(int32_t), &state->row_of_slot);
    }
    if (status == VR_OK) {
        status = vr_seam_memory_create(false, vectors->rows * sizeof(int32_t), &state->slot_of_row);
    }
    state->index.counts = state->counts;
    state->index.vectors.tile = state->tile;
    state->index.vectors.row_of_slot = state->row_of_slot;
    state->index.vectors.slot_of_row = state->slot_of_row;
    return status;
}

static bool is_coded_exactly(enum vr_table_dtype dtype, enum vr_scan_coding coding)
{
    return dtype == VR_TABLE_F16 && coding == VR_SCAN_F16;
}

/* Of the values; scales are apart. */
static size_t value_bytes(enum vr_table_dtype dtype, uint32_t rows, uint32_t width)
{
    static const size_t element_bytes[] = {[VR_TABLE_F32] = 4, [VR_TABLE_F16] = 2, [VR_TABLE_I8] = 1};
    return (size_t)rows * width * element_bytes[dtype];
}

enum vr_status vr_scan_copy_table(struct vr_stream *stream, const struct vr_cuda_table *table,
                                  enum vr_scan_coding coding, struct vr_cuda_table *copy)
{
    if (is_coded_exactly(table->dtype, coding)) {
        return VR_OK;
    }
    const size_t bytes = value_bytes(table->dtype, table->rows, table->width);
    void *data = NULL, *scale = NULL;
    enum vr_status status = vr_seam_memory_create(false, bytes, &data);
    if (status == VR_OK && table->dtype == VR_TABLE_I8) {
        status = vr_seam_memory_create(false, table->rows * sizeof(float), &scale);
    }
    *copy = *table;
    copy->data = data;
    copy->scale = scale;
    if (status == VR_OK) {
        status = vr_seam_copy(stream->seam, data, table->data, bytes);
    }
    if (status == VR_OK && table->dtype == VR_TABLE_I8) {
        status = vr_seam_copy(stream->seam, scale, table->scale, table->rows * sizeof(float));
    }
    return status;
}

void vr_scan_free_table(struct vr_cuda_table *copy)
{
    vr_seam_memory_destroy(false, (void *)copy->data);
    vr_seam_memory_destroy(false, (void *)copy->scale);
}

static float root_of_bits(uint32_t bits)
{
    float squares;
    memcpy(&squares, &bits, sizeof squares);
    return sqrtf(squares);
}

void vr_scan_take_found(struct vr_scan_vectors *vectors, const struct vr_scan_found *found)
{
    const float floor = NORM_FLOOR * (float)vectors->dim;
    memcpy(&vectors->unit, &found->unit, sizeof vectors->unit);
    vectors->largest_norm = root_of_bits(found->norm) + floor;
    vectors->largest_residual = root_of_bits(found->residual) + floor;
}

/* Copy to pinned memory and wait for it. */
static enum vr_status fetch(struct build *build, void *to, const void *from, size_t bytes)
{
    const enum vr_status status = vr_seam_copy(build->stream->seam, to, from, bytes);
    return status == VR_OK ? vr_stream_wait(build->backend, build->stream, vr_clock_mono_us() + BUILD_LIMIT_US)
                           : status;
}

/* Slots in random order, those of the rows in list[0 .. apart) last: staged [rows], which may be `list` itself. */
static enum vr_status order_slots(int32_t *staged, uint32_t rows, const int32_t *list, uint32_t apart)
{
    bool *is_apart = calloc(rows, sizeof *is_apart);
    int32_t *order = malloc(rows * sizeof *order);
    uint32_t first = 0, last = rows - apart;
    if (is_apart == NULL || order == NULL) {
        free(is_apart);
        free(order);
        return vr_fail(VR_ERR_NOMEM, "no memory for an index of %u rows", rows);
    }
    for (uint32_t i = 0; i < apart; i++) {
        is_apart[list[i]] = true;
    }
    vr_scan_shuffle(order, rows);
    for (uint32_t i = 0; i < rows; i++) {
        staged[is_apart[order[i]] ? last++ : first++] = order[i];
    }
    free(is_apart);
    free(order);
    return VR_OK;
}

/* Which rows lie apart is known before slots are given out; slot_of_row, which is filled later, holds them meanwhile.
 */
static enum vr_status give_slots(struct scan_state *state, struct build *build, const struct vr_cuda_table *table)
{
    struct vr_scan_vectors *vectors = &state->index.vectors;
    int32_t *staged = build->staging;
    struct vr_scan_found *found = (struct vr_scan_found *)(staged + vectors->rows);
    const uint32_t rows = vectors->rows;
    enum vr_status status = VR_OK;
    if (vectors->coding == VR_SCAN_S8) {
        status = vr_scan_survey(build->stream, vectors, table, build->found, state->slot_of_row);
        status = status == VR_OK ? fetch(build, found, build->found, sizeof *found) : status;
        vectors->apart = status == VR_OK ? found->apart : 0;
    }
    if (status == VR_OK && vectors->apart > 0) {
        status = fetch(build, staged, state->slot_of_row, vectors->apart * sizeof *staged);
    }
    if (status == VR_OK) {
        status = order_slots(staged, rows, staged, vectors->apart);
    }
    vectors->rows = rows - vectors->apart;
    state->index.sample = vr_scan_sample_of(vectors->rows);
    return status == VR_OK ? vr_seam_copy(build->stream->seam, state->row_of_slot, staged, rows * sizeof *staged)
                           : status;
}

static enum vr_status fill(struct scan_state *state, struct build *build, const struct vr_cuda_table *table)
{
    struct vr_scan_index *index = &state->index;
    struct vr_scan_found *found = (struct vr_scan_found *)((int32_t *)build->staging + index->vectors.rows);
    enum vr_status status = give_slots(state, build, table);
    if (status == VR_OK) {
        status = vr_scan_copy_table(build->stream, table, index->vectors.coding, &index->vectors.exact);
    }
    if (status == VR_OK) {
        status = vr_scan_build(build->stream, &index->vectors, table, build->found);
    }
    if (status == VR_OK) {
        status = fetch(build, found, build->found, sizeof *found);
    }
    if (status == VR_OK) {
        vr_scan_take_found(&index->vectors, found);
        index->vectors.all_finite = found->odd == 0 && index->vectors.apart == 0;
    }
    return status;
}

static enum vr_status build_index(struct vr_backend *backend, const struct vr_cuda_table *table,
                                  struct scan_state *state)
{
    struct build build = {.backend = backend};
    enum vr_status status = take_build_memory(&build, state->index.vectors.rows);
    if (status == VR_OK) {
        status = take_memory(state);
    }
    if (status == VR_OK && state->index.vectors.rows > 0) {
        status = fill(state, &build, table);
    }
    close_build(&build);
    return status;
}

/* ---- search ---- */

/* The scratch of a pass, one after the other in one block of the stream's memory. */
static size_t lay_out(const struct vr_scan_index *index, char *memory, struct vr_scan_pass *pass)
{
    const struct {
        void **at;
        size_t bytes;
    } part[] = {
        {(void **)&pass->code, (size_t)VR_SCAN_QUERIES * index->vectors.row_bytes},
        {(void **)&pass->state, VR_SCAN_QUERIES * sizeof *pass->state},
        {(void **)&pass->sampled, (size_t)VR_SCAN_QUERIES * index->sample * sizeof *pass->sampled},
        {(void **)&pass->noted, (size_t)VR_SCAN_QUERIES * VR_SCAN_CAPACITY * sizeof *pass->noted},
        {(void **)&pass->part, (size_t)VR_SCAN_QUERIES * VR_SCAN_CAPACITY * sizeof *pass->part},
    };
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        if (memory != NULL) {
            *part[i].at = memory + bytes;
        }
        bytes += (part[i].bytes + 255) / 256 * 256;
    }
    return bytes;
}

static enum vr_status run_pass(struct vr_stream *stream, const struct vr_scan_pass *pass)
{
    const bool small = pass->sample == 0; /* all slots fit what can be noted: no threshold is needed */
    enum vr_status status = vr_scan_prepare(stream, pass);
    if (status == VR_OK && !small) {
        status = vr_scan_sample(stream, pass);
    }
    if (status == VR_OK && !small) {
        status = vr_scan_threshold(stream, pass);
    }
    if (status == VR_OK) {
        status = vr_scan_collect(stream, pass);
    }
    if (status == VR_OK) {
        status = vr_scan_select(stream, pass);
    }
    return status == VR_OK ? vr_scan_safe(stream, pass) : status;
}

static enum vr_status search(struct vr_stream *stream, const struct vr_index *index, const struct vr_search_at *at)
{
    const struct scan_state *state = index->state;
    struct vr_scan_pass pass = {
        .vectors = state->index.vectors,
        .exclude = {at->exclude_offset, at->exclude, at->exclude_bound},
        .k = at->k,
        .sample = state->index.sample,
        .rank = vr_scan_rank(state->index.vectors.rows, state->index.sample, at->k),
        .counts = state->index.counts,
    };
    if (index->rows == 0) {
        return vr_index_answer_nothing(stream, at);
    }
    char *memory = NULL;
    enum vr_status status = vr_stream_scratch(stream, lay_out(&state->index, NULL, &pass), &memory);
    lay_out(&state->index, memory, &pass);
    for (uint32_t first = 0; status == VR_OK && first < at->queries; first += VR_SCAN_QUERIES) {
        const uint32_t left = at->queries - first;
        pass.first = first;
        pass.queries = left < VR_SCAN_QUERIES ? left : VR_SCAN_QUERIES;
        pass.query = at->query + (size_t)first * index->dim;
        pass.row = at->row + (size_t)first * at->k;
        pass.score = at->score + (size_t)first * at->k;
        status = run_pass(stream, &pass);
    }
    return status;
}

static enum vr_status remove_rows(struct vr_stream *stream, const struct vr_index *index, const int32_t *row,
                                  uint32_t count)
{
    const struct vr_scan_index *scan = vr_scan_index_of(index);
    return vr_scan_remove(stream, &scan->vectors, scan->counts, row, count);
}

/* ---- the index ---- */

static void size_up(const struct vr_index_spec *spec, struct vr_scan_index *index)
{
    struct vr_scan_vectors *vectors = &index->vectors;
    vectors->rows = spec->rows;
    vectors->tiles = (spec->rows + VR_SCAN_TILE - 1) / VR_SCAN_TILE;
    vectors->dim = spec->dim;
    vectors->coding = spec->config.kind == VR_INDEX_EXACT_INT8 ? VR_SCAN_S8 : VR_SCAN_F16;
    vectors->row_bytes = vr_scan_row_bytes(spec->dim, vectors->coding);
    index->sample = vr_scan_sample_of(spec->rows);
}

uint64_t vr_scan_table_bytes(const struct vr_index_spec *spec, enum vr_scan_coding coding)
{
    const struct vr_table *table = &spec->vectors;
    const uint64_t scales = table->dtype == VR_TABLE_I8 ? table->rows * sizeof(float) : 0;
    return is_coded_exactly(table->dtype, coding) ? 0 : value_bytes(table->dtype, table->rows, table->width) + scales;
}

void vr_scan_index_memory(const struct vr_index_spec *spec, uint64_t *index_bytes, uint64_t *stream_bytes)
{
    struct vr_scan_index index = {0};
    struct vr_scan_pass pass;
    size_up(spec, &index);
    const uint64_t tile = (uint64_t)VR_SCAN_TILE * index.vectors.row_bytes;
    *index_bytes = index.vectors.tiles * tile + spec->rows * 2 * sizeof(int32_t) + sizeof(struct vr_scan_counts);
    *index_bytes += vr_scan_table_bytes(spec, index.vectors.coding);
    *stream_bytes = lay_out(&index, NULL, &pass);
}

enum vr_status vr_scan_index_open(struct vr_backend *backend, const struct vr_index_spec *spec,
                                  const struct vr_cuda_table *table, struct vr_index *index)
{
    if (spec->dim > VR_SCAN_DIM_MAX) {
        return vr_fail(VR_ERR_UNSUPPORTED, "exact search takes up to %u dimensions, not %u", VR_SCAN_DIM_MAX,
                       spec->dim);
    }
    struct scan_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    size_up(spec, &state->index);
    const enum vr_status status = build_index(backend, table, state);
    if (status != VR_OK) {
        destroy(state);
        return status;
    }
    index->search = search;
    index->remove = remove_rows;
    index->destroy = destroy;
    index->state = state;
    return VR_OK;
}

struct vr_scan_index *vr_scan_index_of(const struct vr_index *index)
{
    struct scan_state *state = index->state;
    return &state->index;
}

enum vr_status vr_scan_index_counts(struct vr_backend *backend, const struct vr_index *index,
                                    struct vr_scan_counts *out)
{
    struct vr_stream *stream = NULL;
    void *staging = NULL;
    enum vr_status status = backend->ops->stream_create(backend, &stream);
    if (status == VR_OK) {
        status = vr_seam_memory_create(true, sizeof *out, &staging);
    }
    if (status == VR_OK) {
        status = vr_seam_copy(stream->seam, staging, vr_scan_index_of(index)->counts, sizeof *out);
    }
    if (status == VR_OK) {
        status = vr_stream_wait(backend, stream, vr_clock_mono_us() + BUILD_LIMIT_US);
    }
    if (status == VR_OK) {
        memcpy(out, staging, sizeof *out);
    }
    if (stream != NULL) {
        backend->ops->stream_destroy(stream);
    }
    vr_seam_memory_destroy(true, staging);
    return status;
}
