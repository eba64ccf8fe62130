/* The engine's making and its look-ups (vireo/engine.h). The steps of a batch are in engine_retrieve.c and
 * engine_rank.c, a lane's memory in engine_slot.c, the self-test in engine_golden.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"
#include "vireo/log.h"

uint32_t engine_vector_dim(const struct vr_engine *engine, enum engine_vector vector)
{
    return vector == ENGINE_HIST_CONTENT ? engine->bundle->content_dim : engine->bundle->tower_dim;
}

static enum vr_status upload_floats(struct vr_engine *engine, const float *data, size_t count, struct vr_view *out)
{
    return engine_upload(&engine->resident, data, count * sizeof(float), out);
}

static enum vr_status upload_videos(struct vr_engine *engine)
{
    const struct vr_bundle_videos *videos = &engine->bundle->videos;
    const uint32_t tower_dim = engine->bundle->tower_dim, content_dim = engine->bundle->content_dim;
    engine->tower = (struct vr_table){.rows = videos->count, .width = tower_dim, .dtype = VR_TABLE_F16};
    engine->content = (struct vr_table){.rows = videos->count, .width = content_dim, .dtype = VR_TABLE_I8};
    enum vr_status status = engine_upload(&engine->resident, videos->tower,
                                          (size_t)videos->count * tower_dim * sizeof(uint16_t), &engine->tower.data);
    if (status == VR_OK) {
        status = engine_upload(&engine->resident, videos->content, (size_t)videos->count * content_dim,
                               &engine->content.data);
    }
    return status != VR_OK ? status
                           : upload_floats(engine, videos->content_scale, videos->count, &engine->content.scale);
}

static enum vr_status upload_user_tower(struct vr_engine *engine)
{
    const struct vr_tower *tower = &engine->bundle->user_tower;
    enum vr_status status = VR_OK;
    for (uint32_t l = 0; status == VR_OK && l < tower->layer_count; l++) {
        const struct vr_layer *layer = &tower->layer[l];
        status = upload_floats(engine, layer->weight, (size_t)layer->out * layer->in, &engine->layer[l].weight);
        if (status == VR_OK) {
            status = upload_floats(engine, layer->bias, layer->out, &engine->layer[l].bias);
        }
    }
    return status;
}

static enum vr_status upload_widths(struct vr_engine *engine)
{
    float widths[VR_HEAD_COUNT * VR_WIDTHS_MAX];
    for (uint32_t t = 0; t < VR_HEAD_COUNT; t++) {
        const struct vr_task *task = &engine->bundle->ranker.task[t];
        memcpy(widths + engine->z_width, task->widths, task->outputs * sizeof(float));
        engine->z_width += task->outputs;
    }
    return upload_floats(engine, widths, engine->z_width, &engine->widths);
}

static enum vr_status make_inputs(struct vr_engine *engine)
{
    const struct vr_tower *tower = &engine->bundle->user_tower;
    const struct vr_ranker *ranker = &engine->bundle->ranker;
    const struct vr_feature_block *user[2];
    for (uint32_t b = 0; b < tower->block_count; b++) {
        user[b] = &tower->block[b];
    }
    const struct vr_feature_block *request[] = {&ranker->block[VR_ENTITY_VIEWER], &ranker->block[VR_ENTITY_CONTEXT]};
    const bool table = engine_has_table(engine);
    const struct vr_feature_block *video[] = {table ? &engine->table.counters : &ranker->block[VR_ENTITY_VIDEO],
                                              &ranker->block[VR_ENTITY_PAIR]};
    engine->request.dense_vectors = true;
    engine->video.reads_row = table;
    enum vr_status status = engine_inputs_create(engine, user, tower->block_count, &engine->user);
    if (status == VR_OK) {
        status = engine_inputs_create(engine, request, 2, &engine->request);
    }
    return status == VR_OK ? engine_inputs_create(engine, video, 2, &engine->video) : status;
}

enum vr_status engine_fill(struct vr_engine *engine)
{
    enum vr_status (*const step[])(struct vr_engine *) = {upload_videos, upload_user_tower,    engine_table_plan,
                                                          make_inputs,   engine_upload_ranker, engine_upload_table,
                                                          upload_widths};
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof step / sizeof step[0]; i++) {
        status = step[i](engine);
    }
    return status;
}

struct vr_index_spec engine_index_spec(const struct vr_engine *engine, const struct vr_index_config *config,
                                       bool content)
{
    const struct vr_table *table = content ? &engine->content : &engine->tower;
    struct vr_index_spec spec = {*config, table->rows, table->width, *table};
    spec.config.kind = vr_index_kind_on(engine->backend, config->kind);
    return spec;
}

static enum vr_status make_indexes(struct vr_engine *engine, const struct vr_index_config *config)
{
    const struct vr_backend_ops *ops = engine->backend->ops;
    const struct vr_index_spec tower = engine_index_spec(engine, config, false);
    const struct vr_index_spec content = engine_index_spec(engine, config, true);
    if (tower.config.kind != config->kind) {
        vr_log(VR_LOG_INFO, "index_stands_in", "backend=%s wanted=%s is=%s", ops->name,
               vr_index_kind_name(config->kind), vr_index_kind_name(tower.config.kind));
    }
    const enum vr_status status = ops->index_create(engine->backend, &tower, &engine->tower_index);
    return status == VR_OK ? ops->index_create(engine->backend, &content, &engine->content_index) : status;
}

struct vr_engine_options vr_engine_options_of(const struct vr_config *config, const struct vr_backend *backend)
{
    const bool stands_in = strcmp(backend->ops->name, "cpu") == 0 && vr_device_is_wanted(&config->compute);
    return (struct vr_engine_options){
        .index = config->retrieval,
        .precision = stands_in ? VR_PRECISION_AUTO : config->compute.precision,
        .video_table_bytes = (uint64_t)config->compute.video_table_mb << 20,
    };
}

enum vr_status vr_engine_create_with(struct vr_backend *backend, const struct vr_bundle *bundle,
                                     const struct vr_engine_options *options, struct vr_engine **out)
{
    struct vr_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the engine");
    }
    engine->backend = backend;
    engine->bundle = bundle;
    engine->options = *options;
    enum vr_status status = engine_resident_open(&engine->resident, backend);
    if (status == VR_OK) {
        status = engine_fill(engine);
    }
    if (status == VR_OK) {
        status = make_indexes(engine, &options->index);
    }
    engine_resident_finish(&engine->resident);
    if (status != VR_OK) {
        vr_engine_destroy(engine);
        return status;
    }
    *out = engine;
    return VR_OK;
}

enum vr_status vr_engine_create(struct vr_backend *backend, const struct vr_bundle *bundle,
                                const struct vr_index_config *index, struct vr_engine **out)
{
    const struct vr_engine_options options = {.index = *index, .precision = VR_PRECISION_F32};
    return vr_engine_create_with(backend, bundle, &options, out);
}

void vr_engine_destroy(struct vr_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    struct vr_index *index[] = {engine->tower_index, engine->content_index};
    for (size_t i = 0; i < 2; i++) {
        if (index[i] != NULL) {
            engine->backend->ops->index_destroy(index[i]);
        }
    }
    engine_inputs_destroy(&engine->user);
    engine_inputs_destroy(&engine->request);
    engine_inputs_destroy(&engine->video);
    engine_table_destroy(&engine->table);
    engine_resident_close(&engine->resident);
    free(engine);
}

enum vr_status vr_engine_remove(struct vr_engine *engine, const int32_t *row, uint32_t count, uint64_t deadline_us)
{
    const struct vr_backend_ops *ops = engine->backend->ops;
    const enum vr_status status = ops->index_remove(engine->tower_index, row, count, deadline_us);
    return status == VR_OK ? ops->index_remove(engine->content_index, row, count, deadline_us) : status;
}

enum vr_precision vr_engine_precision(const struct vr_engine *engine)
{
    return engine->runs_in;
}

const struct vr_bundle *vr_engine_bundle(const struct vr_engine *engine)
{
    return engine->bundle;
}

static double declared_value(const struct vr_tensor *tensor, int32_t row)
{
    return tensor->dtype == VR_DTYPE_I32 ? (double)((const int32_t *)tensor->data)[row]
                                         : (double)((const float *)tensor->data)[row];
}

void vr_engine_video_raw(const struct vr_engine *engine, int32_t row, double *video_raw)
{
    const struct vr_bundle_videos *videos = &engine->bundle->videos;
    const uint32_t fields = vr_feature_field_count(engine->bundle->features, VR_ENTITY_VIDEO);
    const bool known = row >= 0 && (uint32_t)row < videos->count;
    for (uint32_t f = 0; f < fields; f++) {
        video_raw[f] = 0.0;
    }
    video_raw[VR_VIDEO_DURATION_S] = NAN;
    for (uint32_t f = VR_VIDEO_FIELDS; f < fields; f++) {
        const bool text = vr_feature_field(engine->bundle->features, VR_ENTITY_VIDEO, f).type == VR_FIELD_STRING;
        video_raw[f] = known ? declared_value(videos->field[f - VR_VIDEO_FIELDS], row) : text ? 0.0 : NAN;
    }
    if (known) {
        video_raw[VR_VIDEO_ROW] = row + 1.0;
        video_raw[VR_VIDEO_CREATOR] = videos->creator[row] + 1.0;
        video_raw[VR_VIDEO_TOPIC] = videos->topic[row] + 1.0;
        video_raw[VR_VIDEO_DURATION_S] = videos->duration_s[row] > 0.0f ? (double)videos->duration_s[row] : NAN;
    }
}

void vr_engine_content_vector(const struct vr_engine *engine, int32_t row, float *vector)
{
    const struct vr_bundle_videos *videos = &engine->bundle->videos;
    const uint32_t dim = engine->bundle->content_dim;
    const bool known = row >= 0 && (uint32_t)row < videos->count;
    for (uint32_t i = 0; i < dim; i++) {
        vector[i] = known ? (float)videos->content[(size_t)row * dim + i] / 127.0f * videos->content_scale[row] : 0.0f;
    }
}
