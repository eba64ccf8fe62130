/* The second dense step of a batch: features of every candidate, then the ranker (engine_network.c) in chunks of rows.
 */
#include <assert.h>
#include <string.h>

#include "engine_parts.h"
#include "vireo/clock.h"
#include "vireo/half.h"

/* A batch on its way; rows are numbered as in the slot. */
struct ranking {
    struct vr_engine_slot *slot;
    const struct vr_engine_rank *request; /* [requests] */
    uint32_t requests, rows;
    uint32_t first;      /* of the batch's rows */
    uint32_t tail, room; /* rows that fill no chunk: they end where the first full chunk begins; with padding before */
    bool want_gates;
};

/* ---- requests ---- */

static void fill_request(struct vr_engine_slot *slot, uint32_t r, const struct vr_engine_rank *request)
{
    const struct engine_inputs *inputs = &slot->engine->request;
    const struct engine_ranking *at = &slot->ranking;
    float *dense = (float *)at->request_dense.host + (size_t)r * inputs->dense_stride;
    const double *raw[2];
    inputs_raw(inputs, request->viewer_raw, request->context_raw, raw);
    inputs_fill(slot->engine, inputs, r, 1, raw, &at->request_dense, &at->request_index);
    for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
        if (inputs->vector_at[v] != ENGINE_NONE) {
            memcpy(dense + inputs->vector_at[v], slot_vector(slot, request, r, (enum engine_vector)v),
                   engine_vector_dim(slot->engine, (enum engine_vector)v) * sizeof(float));
        }
    }
}

/* They go first: the device works on them while the host fills rows. */
static enum vr_status send_requests(const struct ranking *batch)
{
    struct vr_engine_slot *slot = batch->slot;
    const struct engine_ranking *at = &slot->ranking;
    for (uint32_t r = 0; r < batch->requests; r++) {
        fill_request(slot, r, &batch->request[r]);
    }
    inputs_clear(&slot->engine->request, batch->requests, at->room, &at->request_dense, &at->request_index);
    const enum vr_status status = slot_copy(slot, slot->request_in.device, slot->request_in.staging, at->in_bytes);
    return status == VR_OK ? slot_step(slot, ENGINE_STEP_HOIST) : status;
}

/* ---- rows ---- */

#define LANES 8u
#define DIM_MAX 256u       /* of tower and content vectors (docs/bundle.md), a multiple of LANES */
#define ROWS_AT_A_TIME 64u /* whose features are made together */
#define PREFETCH_AHEAD 6u  /* rows */

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Eight sums side by side, then added in a fixed order. */
static float dot(const float *a, const float *b, uint32_t dim)
{
    float sum[LANES] = {0};
    for (uint32_t i = 0; i + LANES <= dim; i += LANES) {
        for (uint32_t lane = 0; lane < LANES; lane++) {
            sum[lane] += a[i + lane] * b[i + lane];
        }
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* The vectors that a request's rows are multiplied with. */
struct query {
    const float *user_tower, *hist_content;
};

static void pair_dots(const struct vr_engine *engine, const struct query *query, int32_t row, double *pair_raw)
{
    const struct vr_bundle *bundle = engine->bundle;
    float vector[DIM_MAX];
    pair_raw[VR_PAIR_DOT_TOWER] = 0.0;
    pair_raw[VR_PAIR_DOT_CONTENT] = 0.0;
    if (row < 0 || (uint32_t)row >= bundle->videos.count) {
        return;
    }
    vr_half_to_floats(bundle->videos.tower + (size_t)row * bundle->tower_dim, bundle->tower_dim, vector);
    pair_raw[VR_PAIR_DOT_TOWER] = (double)dot(query->user_tower, vector, bundle->tower_dim);
    vr_engine_content_vector(engine, row, vector);
    pair_raw[VR_PAIR_DOT_CONTENT] = (double)dot(query->hist_content, vector, bundle->content_dim);
}

/* The chunk that holds row `at`, which is row *within of it, and how many rows follow that one in the chunk. */
static struct engine_rows chunk_of(const struct ranking *batch, uint32_t at, uint32_t *within, uint32_t *left)
{
    const struct vr_engine_slot *slot = batch->slot;
    assert(slot->chunk > 0);
    const bool in_tail = at < slot->chunk;
    const uint32_t first = in_tail ? slot->chunk - batch->room : at / slot->chunk * slot->chunk;
    const uint32_t room = in_tail ? batch->room : slot->chunk;
    *within = at - first;
    *left = room - *within;
    return slot_rows(slot, first, room);
}

/* The videos' vectors lie anywhere in tables larger than the caches. */
static void prefetch(const struct vr_engine *engine, int32_t row)
{
    const struct vr_bundle *bundle = engine->bundle;
    if (row >= 0 && (uint32_t)row < bundle->videos.count) {
        __builtin_prefetch(bundle->videos.tower + (size_t)row * bundle->tower_dim);
        __builtin_prefetch(bundle->videos.tower + (size_t)(row + 1) * bundle->tower_dim - 1);
        __builtin_prefetch(bundle->videos.content + (size_t)row * bundle->content_dim);
    }
}

/* `count` candidates of a request, from c on, as rows `within` and after it of a chunk. */
static void fill_rows(const struct vr_engine *engine, const struct vr_engine_rank *request, uint32_t c, uint32_t count,
                      const struct query *query, const struct engine_rows *rows, uint32_t within)
{
    const struct engine_inputs *inputs = &engine->video;
    const uint32_t video_fields = vr_feature_field_count(engine->bundle->features, VR_ENTITY_VIDEO);
    double pair_raw[ROWS_AT_A_TIME][VR_PAIR_FIELDS];
    memcpy(pair_raw, request->pair_raw + (size_t)c * VR_PAIR_FIELDS, count * sizeof pair_raw[0]);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t ahead = c + i + PREFETCH_AHEAD;
        prefetch(engine, ahead < request->candidates ? request->row[ahead] : -1);
        pair_dots(engine, query, request->row[c + i], pair_raw[i]);
    }
    const double *raw[2] = {request->video_raw + (size_t)c * video_fields, pair_raw[0]};
    inputs_fill(engine, inputs, within, count, raw, &rows->dense, &rows->index);
    int32_t *index = (int32_t *)rows->index.host + (size_t)within * inputs->index_stride;
    const uint32_t videos = engine->bundle->videos.count;
    for (uint32_t i = 0; i < count && inputs->row_at != ENGINE_NONE; i++) {
        const int32_t row = request->row[c + i];
        const bool known = row >= 0 && (uint32_t)row < videos;
        index[(size_t)i * inputs->index_stride + inputs->row_at] = known ? row : (int32_t)videos;
    }
}

/* Candidates of request r as rows `at` and after it. */
static void fill_candidates(const struct ranking *batch, uint32_t r, uint32_t at)
{
    const struct vr_engine_rank *request = &batch->request[r];
    const struct query query = {slot_vector(batch->slot, request, r, ENGINE_USER_TOWER),
                                slot_vector(batch->slot, request, r, ENGINE_HIST_CONTENT)};
    uint32_t count = 0;
    for (uint32_t c = 0; c < request->candidates; c += count) {
        uint32_t within = 0, left = 0;
        const struct engine_rows rows = chunk_of(batch, at + c, &within, &left);
        count = smaller(smaller(request->candidates - c, left), ROWS_AT_A_TIME);
        fill_rows(batch->slot->engine, request, c, count, &query, &rows, within);
        for (uint32_t i = 0; i < count; i++) {
            ((int32_t *)rows.request_of.host)[within + i] = (int32_t)r;
        }
    }
}

static void pad_tail(const struct ranking *batch)
{
    const struct engine_rows rows = slot_rows(batch->slot, batch->slot->chunk - batch->room, batch->room);
    const uint32_t padding = batch->room - batch->tail;
    inputs_clear(&batch->slot->engine->video, 0, padding, &rows.dense, &rows.index);
    memset(rows.request_of.host, 0, padding * sizeof(int32_t));
}

static enum vr_status send_rows(const struct ranking *batch)
{
    struct vr_engine_slot *slot = batch->slot;
    uint32_t at = batch->first;
    for (uint32_t r = 0; r < batch->requests; r++) {
        fill_candidates(batch, r, at);
        at += batch->request[r].candidates;
    }
    if (batch->tail > 0) {
        pad_tail(batch);
    }
    const uint32_t first = slot->chunk - batch->room, rows = batch->rows - batch->tail + batch->room;
    const struct engine_rows all = slot_rows(slot, first, rows);
    return slot_copy(slot, all.dense.device, all.dense.staging, rows * slot_row_bytes(slot));
}

static enum vr_status run_chunk(const struct ranking *batch, uint32_t first, uint32_t room, uint64_t deadline_us)
{
    return vr_clock_mono_us() > deadline_us ? vr_fail(VR_ERR_TIMEOUT, "the ranker was not done at the deadline")
                                            : slot_chunk(batch->slot, first, room);
}

static enum vr_status run_chunks(const struct ranking *batch, uint64_t deadline_us)
{
    const uint32_t chunk = batch->slot->chunk;
    enum vr_status status = VR_OK;
    if (batch->tail > 0) {
        status = run_chunk(batch, chunk - batch->room, batch->room, deadline_us);
    }
    for (uint32_t c = 1; status == VR_OK && c <= batch->rows / chunk; c++) {
        status = run_chunk(batch, c * chunk, chunk, deadline_us);
    }
    return status;
}

/* ---- the call ---- */

static enum vr_status count_rows(struct ranking *batch)
{
    const struct vr_engine_slot *slot = batch->slot;
    if (batch->requests > slot->max_requests) {
        return vr_fail(VR_ERR_INVALID, "%u requests in a slot for %u", batch->requests, slot->max_requests);
    }
    for (uint32_t r = 0; r < batch->requests; r++) {
        if (batch->request[r].candidates > slot->max_rows - batch->rows) {
            return vr_fail(VR_ERR_INVALID, "more than %u candidates in a slot", slot->max_rows);
        }
        batch->rows += batch->request[r].candidates;
        batch->want_gates = batch->want_gates || batch->request[r].want_gates;
    }
    batch->tail = batch->rows % slot->chunk;
    batch->room = slot_tail_room(slot, batch->tail);
    batch->first = slot->chunk - batch->tail;
    return VR_OK;
}

/* In a plan gate weights are always made: 4 gates of 8 experts are 128 bytes a row, a thousandth of its work, and a
 * second set of plans would cost more. They are copied where they are wanted. */
static void lay(const struct ranking *batch)
{
    slot_lay_ranking(batch->slot, slot_room(batch->slot, batch->requests));
    batch->slot->ranking.want_gates = batch->want_gates || slot_has_plans(batch->slot);
}

static enum vr_status pull(const struct ranking *batch, const struct engine_pair *pair, size_t width)
{
    return slot_copy(batch->slot, view_at(pair->staging, batch->first * width),
                     view_at(pair->device, batch->first * width), batch->rows * width * sizeof(float));
}

static enum vr_status pull_results(const struct ranking *batch)
{
    const struct vr_engine_slot *slot = batch->slot;
    const enum vr_status status = pull(batch, &slot->heads, VR_HEAD_COUNT);
    return status == VR_OK && batch->want_gates ? pull(batch, &slot->gates, slot_gate_floats(slot)) : status;
}

static void report(const struct ranking *batch, struct vr_engine_ranked *result)
{
    const struct vr_engine_slot *slot = batch->slot;
    size_t at = batch->first;
    for (uint32_t r = 0; r < batch->requests; r++) {
        const bool gates = batch->request[r].want_gates;
        result[r].heads = (const float *)slot->heads.host + at * VR_HEAD_COUNT;
        result[r].gates = gates ? (const float *)slot->gates.host + at * slot_gate_floats(slot) : NULL;
        at += batch->request[r].candidates;
    }
}

static enum vr_status run(const struct ranking *batch, uint64_t deadline_us)
{
    lay(batch);
    enum vr_status status = slot_settle(batch->slot, batch->requests, batch->request, deadline_us);
    if (status == VR_OK) {
        status = send_requests(batch);
    }
    if (status == VR_OK) {
        status = send_rows(batch);
    }
    if (status == VR_OK) {
        status = run_chunks(batch, deadline_us);
    }
    if (status == VR_OK) {
        status = pull_results(batch);
    }
    return status == VR_OK ? slot_wait(batch->slot, deadline_us) : status;
}

enum vr_status vr_engine_score(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                               uint64_t deadline_us, struct vr_engine_ranked *result)
{
    struct ranking batch = {.slot = slot, .request = request, .requests = requests};
    enum vr_status status = count_rows(&batch);
    if (status == VR_OK) {
        status = slot_begin(slot, deadline_us);
    }
    if (status == VR_OK && batch.rows > 0) {
        status = run(&batch, deadline_us);
    }
    if (status == VR_OK) {
        report(&batch, result);
    }
    return status;
}
