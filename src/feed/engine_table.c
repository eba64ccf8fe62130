/* The video table: what a video's own columns add to level 0 of the ranker, worked out once for every video of the
 * bundle. What is left for a row are the columns that change: counters, and those of the pair.
 *
 * Columns of level 0's weights, as the bundle has them:   request | video: still and counters | pair
 *   hoisted_first, hoisted_gate                           xxxxxxx
 *   level[0].first, level[0].gate: rows                                         xxxxxxxx        xxxx
 *   the table                                                       xxxxx
 *
 * table [videos + 1, width]: halves; the hidden units of all experts, then the logits of all gates, then padding to
 * whole cache lines. The last row is that of a video which the bundle does not know. A row costs two bytes a hidden
 * unit; docs/benchmarks.md has what it gains. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"
#include "vireo/clock.h"
#include "vireo/half.h"
#include "vireo/log.h"

#define LINE 32u  /* halves of a cache line */
#define ROWS 512u /* videos that are worked out at a time */
#define LIMIT_US 60000000u

/* ---- whether ---- */

static uint32_t table_outputs(const struct vr_engine *engine)
{
    const struct vr_level *level = &engine->bundle->ranker.level[0];
    return level->experts * level->hidden + level->gates * level->experts;
}

static uint32_t table_width(const struct vr_engine *engine)
{
    return (table_outputs(engine) + LINE - 1) / LINE * LINE;
}

static uint64_t table_bytes(const struct vr_engine *engine)
{
    return (engine->bundle->videos.count + UINT64_C(1)) * table_width(engine) * sizeof(uint16_t);
}

static bool fits(const struct vr_engine *engine)
{
    const uint64_t bytes = table_bytes(engine), most = engine->options.video_table_bytes;
    if (bytes > most && !engine->resident.counts_only) {
        vr_log(VR_LOG_WARN, "no_video_table", "needs_mb=%.0f video_table_mb=%.0f", ceil((double)bytes / 1048576.0),
               (double)most / 1048576.0);
    }
    return bytes <= most;
}

enum vr_status engine_table_plan(struct vr_engine *engine)
{
    const struct vr_bundle *bundle = engine->bundle;
    const struct vr_feature_block *whole = &bundle->ranker.block[VR_ENTITY_VIDEO];
    struct engine_table *table = &engine->table;
    if (engine->options.video_table_bytes == 0 || !engine->backend->ops->linear_tables || !fits(engine)) {
        return VR_OK;
    }
    enum vr_status status = vr_feature_block_part(bundle->features, whole, true, &table->still);
    if (status == VR_OK) {
        status = vr_feature_block_part(bundle->features, whole, false, &table->counters);
    }
    if (status != VR_OK || table->still.width == 0) {
        return status;
    }
    const struct vr_feature_block *block[] = {&table->still};
    table->rows =
        (struct vr_table){.rows = bundle->videos.count + 1, .width = table_width(engine), .dtype = VR_TABLE_F16};
    return engine_inputs_create(engine, block, 1, &table->inputs);
}

void engine_table_destroy(struct engine_table *table)
{
    vr_feature_block_destroy(&table->still);
    vr_feature_block_destroy(&table->counters);
    engine_inputs_destroy(&table->inputs);
}

/* ---- columns of weights ---- */

/* A run of columns of level 0. */
struct run {
    uint32_t first, width;
};

/* The video block's columns that are `still`, or not. Returns how many runs there are. */
static uint32_t video_runs(const struct vr_engine *engine, bool still, struct run *run)
{
    const struct vr_feature_block *whole = &engine->bundle->ranker.block[VR_ENTITY_VIDEO];
    const struct vr_feature_block *part = still ? &engine->table.still : &engine->table.counters;
    uint32_t runs = 0;
    for (uint32_t i = 0; i < whole->count && runs < part->count; i++) {
        if (whole->feature[i] == part->feature[runs]) {
            run[runs++] = (struct run){engine->request.width + whole->column[i].offset, whole->column[i].width};
        }
    }
    return runs;
}

/* Rows of `weight`, `stride` apart, with the columns of the runs alone. */
static void take_columns(const float *weight, size_t rows, size_t stride, const struct run *run, uint32_t runs,
                         float *to)
{
    for (size_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < runs; i++) {
            memcpy(to, weight + r * stride + run[i].first, run[i].width * sizeof *to);
            to += run[i].width;
        }
    }
}

/* Level 0's first layers and gates, one under the other: [table_outputs, the part's columns]. The pair's columns belong
 * to those that are not still. */
float *engine_table_columns(const struct vr_engine *engine, bool still)
{
    const struct vr_level *level = &engine->bundle->ranker.level[0];
    const struct vr_feature_block *video = &engine->bundle->ranker.block[VR_ENTITY_VIDEO];
    const uint32_t hidden = level->experts * level->hidden, logits = level->gates * level->experts;
    const uint32_t pair = still ? 0 : engine->bundle->ranker.block[VR_ENTITY_PAIR].width;
    const size_t width = (still ? engine->table.still.width : engine->table.counters.width) + pair;
    struct run *run = calloc(video->count + 1, sizeof *run);
    float *weight = calloc((hidden + logits) * width + 1, sizeof *weight);
    if (run == NULL || weight == NULL) {
        free(run);
        free(weight);
        vr_fail(VR_ERR_NOMEM, "no memory for weights");
        return NULL;
    }
    uint32_t runs = video_runs(engine, still, run);
    if (pair > 0) {
        run[runs++] = (struct run){level->in - pair, pair};
    }
    take_columns(level->w1, hidden, level->in, run, runs, weight);
    take_columns(level->gate_w, logits, level->in, run, runs, weight + hidden * width);
    free(run);
    return weight;
}

/* ---- the table's rows ---- */

/* Some videos on their way: the same places in staging and on the device. */
struct works {
    struct vr_engine *engine;
    struct vr_buffer *staging, *device;
    struct engine_pair dense, index, y; /* [ROWS, the inputs' strides], [ROWS, outputs] */
    struct vr_view x, weight;           /* on the device: [ROWS, still.width], [outputs, still.width] */
    double *raw;                        /* [ROWS, video fields] */
    uint16_t *half;                     /* [videos, table width] */
};

static struct engine_pair place(struct works *works, size_t *at, size_t floats)
{
    const struct engine_pair pair = {{works->device, *at},
                                     {works->staging, *at},
                                     (char *)works->engine->backend->ops->buffer_host(works->staging) + *at};
    *at += (floats * sizeof(float) + 63) / 64 * 64;
    return pair;
}

static enum vr_status works_open(struct works *works, struct vr_engine *engine)
{
    const struct vr_backend_ops *ops = engine->backend->ops;
    const struct engine_inputs *inputs = &engine->table.inputs;
    const size_t outputs = table_outputs(engine), width = engine->table.still.width;
    const size_t numbers = ROWS * (inputs->dense_stride + inputs->index_stride + outputs + width) + outputs * width;
    const size_t bytes = (numbers + 5 * 16) * sizeof(float);
    *works = (struct works){.engine = engine};
    works->raw =
        calloc((size_t)ROWS * vr_feature_field_count(engine->bundle->features, VR_ENTITY_VIDEO), sizeof *works->raw);
    works->half = calloc((size_t)engine->table.rows.rows * engine->table.rows.width, sizeof *works->half);
    if (works->raw == NULL || works->half == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the video table");
    }
    enum vr_status status = ops->buffer_create(engine->backend, VR_MEMORY_STAGING, bytes, &works->staging);
    if (status == VR_OK) {
        status = ops->buffer_create(engine->backend, VR_MEMORY_DEVICE, bytes, &works->device);
    }
    if (status == VR_OK) {
        size_t at = 0;
        works->dense = place(works, &at, (size_t)ROWS * inputs->dense_stride);
        works->index = place(works, &at, (size_t)ROWS * inputs->index_stride);
        works->y = place(works, &at, ROWS * outputs);
        works->x = place(works, &at, ROWS * width).device;
        works->weight = (struct vr_view){works->device, at};
    }
    return status;
}

static void works_close(struct works *works)
{
    struct vr_buffer *const buffer[] = {works->staging, works->device};
    for (size_t i = 0; i < 2; i++) {
        if (buffer[i] != NULL) {
            works->engine->backend->ops->buffer_destroy(buffer[i]);
        }
    }
    free(works->raw);
    free(works->half);
}

static enum vr_status send_weights(struct works *works)
{
    const struct vr_engine *engine = works->engine;
    const struct vr_backend_ops *ops = engine->backend->ops;
    const size_t bytes = (size_t)table_outputs(engine) * engine->table.still.width * sizeof(float);
    const struct vr_view from = {works->staging, works->weight.offset};
    float *weight = engine_table_columns(engine, true);
    if (weight == NULL) {
        return VR_ERR_NOMEM;
    }
    memcpy((char *)ops->buffer_host(works->staging) + from.offset, weight, bytes);
    free(weight);
    return ops->copy(engine->resident.stream, works->weight, from, bytes);
}

/* The features of videos first .. first + rows. */
static enum vr_status send_features(struct works *works, uint32_t first, uint32_t rows)
{
    const struct vr_engine *engine = works->engine;
    const struct vr_backend_ops *ops = engine->backend->ops;
    const struct engine_inputs *inputs = &engine->table.inputs;
    const uint32_t fields = vr_feature_field_count(engine->bundle->features, VR_ENTITY_VIDEO);
    for (uint32_t r = 0; r < rows; r++) {
        vr_engine_video_raw(engine, (int32_t)(first + r), works->raw + (size_t)r * fields);
    }
    const double *raw[2] = {works->raw, NULL};
    inputs_fill(engine, inputs, 0, rows, raw, &works->dense, &works->index);
    int32_t *index = works->index.host;
    assert(index != NULL); /* staging has an address */
    for (uint32_t r = 0; r < rows && inputs->row_at != ENGINE_NONE; r++) {
        index[(size_t)r * inputs->index_stride + inputs->row_at] = (int32_t)(first + r);
    }
    return ops->copy(engine->resident.stream, works->dense.device, works->dense.staging,
                     works->y.device.offset - works->dense.device.offset);
}

static enum vr_status multiply(struct works *works, uint32_t rows)
{
    const struct vr_engine *engine = works->engine;
    const struct vr_backend_ops *ops = engine->backend->ops;
    const uint32_t outputs = table_outputs(engine), width = engine->table.still.width;
    const struct engine_matrix x = {.view = works->x, .stride = width, .element = VR_ELEMENT_F32};
    const struct vr_linear linear = {
        .rows = rows,
        .in = width,
        .out = outputs,
        .x = works->x,
        .x_stride = width,
        .weight = works->weight,
        .weight_stride = width,
        .y = works->y.device,
        .y_stride = outputs,
    };
    enum vr_status status = inputs_gather(engine, engine->resident.stream, &engine->table.inputs, rows,
                                          works->dense.device, works->index.device, x);
    if (status == VR_OK) {
        status = ops->linear(engine->resident.stream, &linear);
    }
    if (status == VR_OK) {
        status = ops->copy(engine->resident.stream, works->y.staging, works->y.device,
                           (size_t)rows * outputs * sizeof(float));
    }
    return status == VR_OK ? vr_stream_wait(engine->backend, engine->resident.stream, vr_clock_mono_us() + LIMIT_US)
                           : status;
}

static enum vr_status to_halves(struct works *works, uint32_t first, uint32_t rows)
{
    const uint32_t outputs = table_outputs(works->engine);
    const float *y = works->y.host;
    uint16_t *to = works->half + (size_t)first * works->engine->table.rows.width;
    for (uint32_t r = 0; r < rows; r++, y += outputs, to += works->engine->table.rows.width) {
        for (uint32_t o = 0; o < outputs; o++) {
            to[o] = vr_half_from_float(y[o]);
            if ((to[o] & 0x7c00u) == 0x7c00u) {
                return vr_fail(VR_ERR_UNSUPPORTED,
                               "video %u's part of the first layers, %g, is out of the range of halves: the bundle has "
                               "no video table",
                               first + r, (double)y[o]);
            }
        }
    }
    return VR_OK;
}

static enum vr_status fill(struct works *works)
{
    const uint32_t videos = works->engine->table.rows.rows;
    enum vr_status status = send_weights(works);
    for (uint32_t first = 0; status == VR_OK && first < videos; first += ROWS) {
        const uint32_t rows = videos - first < ROWS ? videos - first : ROWS;
        status = send_features(works, first, rows);
        status = status == VR_OK ? multiply(works, rows) : status;
        status = status == VR_OK ? to_halves(works, first, rows) : status;
    }
    return status;
}

enum vr_status engine_upload_table(struct vr_engine *engine)
{
    struct vr_table *rows = &engine->table.rows;
    const size_t bytes = vr_engine_table_bytes(engine);
    if (!engine_has_table(engine)) {
        return VR_OK;
    }
    if (engine->resident.counts_only) {
        return engine_put(&engine->resident, NULL, bytes, &rows->data);
    }
    struct works works;
    enum vr_status status = works_open(&works, engine);
    if (status == VR_OK) {
        status = fill(&works);
    }
    if (status == VR_OK) {
        status = engine_put(&engine->resident, works.half, bytes, &rows->data);
    }
    works_close(&works);
    return status;
}

uint64_t vr_engine_table_bytes(const struct vr_engine *engine)
{
    return (uint64_t)engine->table.rows.rows * engine->table.rows.width * sizeof(uint16_t);
}
