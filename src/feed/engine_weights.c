/* The ranker's weights on their way to the backend: where the bundle has each matrix, and what numbers it becomes.
 *
 * In halves (vireo/backend.h) rows begin at multiples of 16 bytes, so the request's columns of level 0, whose products
 * are hoisted, and the row's own become matrices apart, and experts' hidden and mixed outputs, which lie side by side,
 * must be multiples of 8 wide. Float32 takes the same layout without padding. A bias is stored as the output that it
 * goes to, so that either engine of the CUDA backend's linear can take it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"
#include "vireo/log.h"

#define HALF_MAX 65504.0

/* Rows of the bundle, `stride` floats apart. */
struct part {
    const float *data;
    uint32_t rows, width;
    size_t stride;
};

/* One matrix: parts of one width, one behind the other. */
struct source {
    struct part part[VR_HEAD_COUNT];
    uint32_t parts;
    bool float_only; /* whatever the ranker's element is */
    struct engine_matrix *out;
};

#define SOURCES_MAX (8u * VR_LEVELS_MAX + 4u)
struct sources {
    struct source item[SOURCES_MAX];
    uint32_t count;
};

/* ---- where they are ---- */

static void add(struct sources *sources, struct engine_matrix *out, bool float_only, struct part part)
{
    sources->item[sources->count++] = (struct source){{part}, 1, float_only, out};
}

/* The request's columns come first in a row. */
static void list_hoisted(struct sources *sources, struct vr_engine *engine)
{
    const struct vr_level *level = &engine->bundle->ranker.level[0];
    const uint32_t columns = engine->request.width;
    const uint32_t hidden = level->experts * level->hidden, logits = level->gates * level->experts;
    add(sources, &engine->hoisted_first.weight, false, (struct part){level->w1, hidden, columns, level->in});
    add(sources, &engine->hoisted_gate.weight, false, (struct part){level->gate_w, logits, columns, level->in});
    add(sources, &engine->hoisted_first.bias, true,
        (struct part){level->b1, level->experts, level->hidden, level->hidden});
    add(sources, &engine->hoisted_gate.bias, true,
        (struct part){level->gate_b, level->gates, level->experts, level->experts});
}

static void list_level(struct sources *sources, struct vr_engine *engine, uint32_t l)
{
    const struct vr_level *level = &engine->bundle->ranker.level[l];
    struct engine_level *out = &engine->level[l];
    const uint32_t skipped = l == 0 ? engine->request.width : 0, own = level->in - skipped;
    const uint32_t hidden = level->experts * level->hidden, width = level->experts * level->width;
    const uint32_t logits = level->gates * level->experts;
    add(sources, &out->first.weight, false, (struct part){level->w1 + skipped, hidden, own, level->in});
    add(sources, &out->gate.weight, false, (struct part){level->gate_w + skipped, logits, own, level->in});
    if (l > 0) {
        add(sources, &out->first.bias, false, (struct part){level->b1, level->experts, level->hidden, level->hidden});
        add(sources, &out->gate.bias, true, (struct part){level->gate_b, level->gates, level->experts, level->experts});
    }
    add(sources, &out->second.weight, false, (struct part){level->w2, width, level->hidden, level->hidden});
    add(sources, &out->second.bias, false, (struct part){level->b2, level->experts, level->width, level->width});
}

static struct part task_part(const struct vr_ranker *ranker, uint32_t t, uint32_t which)
{
    const struct vr_task *task = &ranker->task[t];
    const uint32_t hidden = ranker->tower_hidden, width = ranker->level[ranker->level_count - 1].width;
    const struct part part[] = {
        {task->w1, hidden, width, width},
        {task->b1, 1, hidden, hidden},
        {task->w2, task->outputs, hidden, hidden},
        {task->b2, task->outputs, 1, 1},
    };
    return part[which];
}

static void list_tasks(struct sources *sources, struct vr_engine *engine)
{
    struct engine_matrix *const out[] = {&engine->task_first.weight, &engine->task_first.bias,
                                         &engine->task_last.weight, &engine->task_last.bias};
    for (uint32_t which = 0; which < 4; which++) {
        struct source *source = &sources->item[sources->count++];
        *source = (struct source){.parts = VR_HEAD_COUNT, .float_only = which == 3, .out = out[which]};
        for (uint32_t t = 0; t < VR_HEAD_COUNT; t++) {
            source->part[t] = task_part(&engine->bundle->ranker, t, which);
        }
    }
}

static void list_all(struct sources *sources, struct vr_engine *engine)
{
    sources->count = 0;
    list_hoisted(sources, engine);
    for (uint32_t l = 0; l < engine->bundle->ranker.level_count; l++) {
        list_level(sources, engine, l);
    }
    list_tasks(sources, engine);
}

/* ---- what they become ---- */

static size_t rows_of(const struct source *source)
{
    size_t rows = 0;
    for (uint32_t p = 0; p < source->parts; p++) {
        rows += source->part[p].rows;
    }
    return rows;
}

/* The matrix of a source, without its data. */
static struct engine_matrix shape_of(const struct source *source, enum vr_element element)
{
    const enum vr_element own = source->float_only ? VR_ELEMENT_F32 : element;
    return (struct engine_matrix){{NULL, 0}, element_stride(own, source->part[0].width), own};
}

static size_t bytes_of(const struct source *source, struct engine_matrix shape)
{
    return rows_of(source) * shape.stride * vr_element_bytes(shape.element);
}

static enum vr_status pack_part(const struct part *part, struct engine_matrix shape, void *to)
{
    if (shape.element == VR_ELEMENT_F16) {
        return vr_weights_pack_f16(part->data, part->rows, part->width, part->stride, to, shape.stride);
    }
    assert(to != NULL || part->rows == 0);
    for (size_t r = 0; r < part->rows; r++) {
        memcpy((float *)to + r * shape.stride, part->data + r * part->stride, part->width * sizeof(float));
    }
    return VR_OK;
}

/* A source's numbers in memory that the caller frees; NULL on failure. */
static enum vr_status pack(const struct source *source, struct engine_matrix shape, void **out)
{
    char *packed = malloc(bytes_of(source, shape) + 1);
    enum vr_status status = packed == NULL ? vr_fail(VR_ERR_NOMEM, "no memory to pack weights") : VR_OK;
    size_t row = 0;
    for (uint32_t p = 0; status == VR_OK && p < source->parts; p++) {
        const struct part *part = &source->part[p];
        status = pack_part(part, shape, packed + row * shape.stride * vr_element_bytes(shape.element));
        row += part->rows;
    }
    if (status != VR_OK) {
        free(packed);
        packed = NULL;
    }
    *out = packed;
    return status;
}

static enum vr_status upload(struct vr_engine *engine, const struct source *source)
{
    struct engine_matrix *out = source->out;
    void *packed = NULL;
    *out = shape_of(source, engine->element);
    enum vr_status status = engine->resident.counts_only ? VR_OK : pack(source, *out, &packed);
    if (status == VR_OK) {
        status = engine_put(&engine->resident, packed, bytes_of(source, *out), &out->view);
    }
    free(packed);
    return status;
}

/* ---- which numbers ---- */

static enum vr_status check_widths(const struct vr_ranker *ranker)
{
    for (uint32_t l = 0; l < ranker->level_count; l++) {
        const struct vr_level *level = &ranker->level[l];
        if (level->hidden % VR_HALF_ALIGNMENT != 0 || level->width % VR_HALF_ALIGNMENT != 0) {
            return vr_fail(VR_ERR_UNSUPPORTED, "level %u of the ranker is %u and %u wide, no multiples of %u", l,
                           level->hidden, level->width, VR_HALF_ALIGNMENT);
        }
    }
    return VR_OK;
}

/* A row's values become halves as they are gathered. */
static enum vr_status check_features(const struct vr_bundle *bundle)
{
    for (uint32_t e = 0; e < VR_ENTITY_COUNT; e++) {
        const double bound = vr_feature_block_bound(bundle->features, &bundle->ranker.block[e]);
        if (bound > HALF_MAX) {
            return vr_fail(VR_ERR_UNSUPPORTED, "features of the ranker reach %g, halves %g", bound, HALF_MAX);
        }
    }
    return VR_OK;
}

static enum vr_status check_range(const struct source *source)
{
    void *packed = NULL;
    const enum vr_status status = pack(source, shape_of(source, VR_ELEMENT_F16), &packed);
    free(packed);
    return status;
}

/* VR_ERR_UNSUPPORTED with what stands against halves. */
static enum vr_status check_halves(const struct vr_engine *engine, const struct sources *sources)
{
    enum vr_status status = engine->backend->ops->halves == VR_HALF_NONE
                                ? vr_fail(VR_ERR_UNSUPPORTED, "the backend has no halves")
                                : check_widths(&engine->bundle->ranker);
    if (status == VR_OK) {
        status = check_features(engine->bundle);
    }
    for (uint32_t i = 0; status == VR_OK && i < sources->count; i++) {
        status = check_range(&sources->item[i]);
    }
    return status;
}

/* Before anything is taken, so that memory can be told. */
static enum vr_status choose_element(struct vr_engine *engine, const struct sources *sources)
{
    const bool automatic = engine->precision == VR_PRECISION_AUTO;
    engine->element = VR_ELEMENT_F32;
    if (engine->precision == VR_PRECISION_F32 || (automatic && engine->backend->ops->halves != VR_HALF_FAST)) {
        return VR_OK;
    }
    const enum vr_status status = check_halves(engine, sources);
    if (automatic && status == VR_ERR_UNSUPPORTED) {
        if (!engine->resident.counts_only) {
            vr_log(VR_LOG_INFO, "ranker_in_float32", "reason=\"%s\"", vr_error_text());
        }
        return VR_OK;
    }
    engine->element = status == VR_OK ? VR_ELEMENT_F16 : VR_ELEMENT_F32;
    return status;
}

enum vr_status engine_upload_ranker(struct vr_engine *engine)
{
    struct sources sources;
    list_all(&sources, engine);
    enum vr_status status = choose_element(engine, &sources);
    for (uint32_t i = 0; status == VR_OK && i < sources.count; i++) {
        status = upload(engine, &sources.item[i]);
    }
    return status;
}
