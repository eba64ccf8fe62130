/* The ranker's weights on their way to the backend: where the bundle has each matrix, and what numbers it becomes.
 *
 * A backend that packs weights (vireo/backend.h) gets each layer packed by itself, or layers that read one input as
 * one; so float32, bfloat16 and int8 on the CPU. Gates and the tasks' last layers, a hundredth of the work, stay
 * float32 there, and so do all biases.
 *
 * In halves rows begin at multiples of 16 bytes, so the request's columns of level 0, whose products are hoisted, and
 * the row's own become matrices apart, and experts' hidden and mixed outputs, which lie side by side, must be multiples
 * of 8 wide. Float32 rows take the same layout without padding. A bias is stored as the output that it goes to, so that
 * either engine of the CUDA backend's linear can take it. */
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

enum source_kind {
    SOURCE_LAYER = 0, /* weights of a layer that is worth a lower precision */
    SOURCE_SMALL,     /* weights of a gate or a last layer: float32 where weights are packed */
    SOURCE_BIAS,      /* as the output that it goes to; float32 where weights are packed */
    SOURCE_BIAS_F32,  /* always float32 */
};

/* One matrix: parts of one width, one behind the other. Packed, each part is cut into `layers` of so many rows. */
struct source {
    struct part part[VR_HEAD_COUNT];
    uint32_t parts, layers;
    enum source_kind kind;
    struct engine_matrix *out;
};

#define SOURCES_MAX (8u * VR_LEVELS_MAX + 4u)
struct sources {
    struct source item[SOURCES_MAX];
    uint32_t count;
    float *first; /* with a video table: level 0's weights for the columns that are not in it */
};

/* ---- where they are ---- */

static void add(struct sources *sources, struct engine_matrix *out, enum source_kind kind, uint32_t layers,
                struct part part)
{
    sources->item[sources->count++] = (struct source){{part}, 1, layers, kind, out};
}

/* The request's columns come first in a row. */
static void list_hoisted(struct sources *sources, struct vr_engine *engine)
{
    const struct vr_level *level = &engine->bundle->ranker.level[0];
    const uint32_t columns = engine->request.width;
    const uint32_t hidden = level->experts * level->hidden, logits = level->gates * level->experts;
    add(sources, &engine->hoisted_first.weight, SOURCE_LAYER, 1, (struct part){level->w1, hidden, columns, level->in});
    add(sources, &engine->hoisted_gate.weight, SOURCE_SMALL, 1,
        (struct part){level->gate_w, logits, columns, level->in});
    add(sources, &engine->hoisted_first.bias, SOURCE_BIAS_F32, 1,
        (struct part){level->b1, level->experts, level->hidden, level->hidden});
    add(sources, &engine->hoisted_gate.bias, SOURCE_BIAS_F32, 1,
        (struct part){level->gate_b, level->gates, level->experts, level->experts});
}

static bool gates_read_one_input(const struct vr_level *level)
{
    for (uint32_t g = 1; g < level->gates; g++) {
        if (level->gate[g].input != level->gate[0].input) {
            return false;
        }
    }
    return true;
}

/* A level's weights of what is worked out for each row: of first layers, and of gates. */
static void own_parts(const struct sources *sources, const struct vr_engine *engine, uint32_t l, struct part *first,
                      struct part *gate)
{
    const struct vr_level *level = &engine->bundle->ranker.level[l];
    const uint32_t skipped = l == 0 ? engine->request.width : 0, own = l == 0 ? engine->video.width : level->in;
    const uint32_t hidden = level->experts * level->hidden, logits = level->gates * level->experts;
    *first = (struct part){level->w1 + skipped, hidden, own, level->in};
    *gate = (struct part){level->gate_w + skipped, logits, own, level->in};
    if (l == 0 && sources->first != NULL) {
        *first = (struct part){sources->first, hidden, own, own};
        *gate = (struct part){sources->first + (size_t)hidden * own, logits, own, own};
    }
}

static void list_level(struct sources *sources, struct vr_engine *engine, uint32_t l)
{
    const struct vr_level *level = &engine->bundle->ranker.level[l];
    struct engine_level *out = &engine->level[l];
    const uint32_t width = level->experts * level->width;
    struct part first, gate;
    own_parts(sources, engine, l, &first, &gate);
    out->gate.whole = gates_read_one_input(level);
    add(sources, &out->first.weight, SOURCE_LAYER, level->experts, first);
    add(sources, &out->gate.weight, SOURCE_SMALL, out->gate.whole ? 1 : level->gates, gate);
    if (l > 0) {
        add(sources, &out->first.bias, SOURCE_BIAS, 1,
            (struct part){level->b1, level->experts, level->hidden, level->hidden});
        add(sources, &out->gate.bias, SOURCE_BIAS_F32, 1,
            (struct part){level->gate_b, level->gates, level->experts, level->experts});
    }
    add(sources, &out->second.weight, SOURCE_LAYER, level->experts,
        (struct part){level->w2, width, level->hidden, level->hidden});
    add(sources, &out->second.bias, SOURCE_BIAS, 1,
        (struct part){level->b2, level->experts, level->width, level->width});
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
    static const enum source_kind kind[] = {SOURCE_LAYER, SOURCE_BIAS, SOURCE_SMALL, SOURCE_BIAS_F32};
    for (uint32_t which = 0; which < 4; which++) {
        struct source *source = &sources->item[sources->count++];
        *source = (struct source){.parts = VR_HEAD_COUNT, .layers = 1, .kind = kind[which], .out = out[which]};
        for (uint32_t t = 0; t < VR_HEAD_COUNT; t++) {
            source->part[t] = task_part(&engine->bundle->ranker, t, which);
        }
    }
}

static void list_all(struct sources *sources, struct vr_engine *engine)
{
    list_hoisted(sources, engine);
    for (uint32_t l = 0; l < engine->bundle->ranker.level_count; l++) {
        list_level(sources, engine, l);
    }
    list_tasks(sources, engine);
}

/* ---- what they become ---- */

/* The numbers of one precision. */
struct numbers {
    enum vr_element between; /* layers */
    enum vr_element weight;  /* of layers that are worth it */
    bool packed;             /* by the backend */
};

static struct numbers numbers_of(const struct vr_engine *engine, enum vr_precision precision)
{
    const bool packed = engine->backend->ops->weights_bytes != NULL;
    switch (precision) {
    case VR_PRECISION_F16: return (struct numbers){VR_ELEMENT_F16, VR_ELEMENT_F16, false};
    case VR_PRECISION_BF16: return (struct numbers){VR_ELEMENT_BF16, VR_ELEMENT_BF16, packed};
    case VR_PRECISION_INT8: return (struct numbers){VR_ELEMENT_BF16, VR_ELEMENT_I8, packed};
    case VR_PRECISION_F32:
    case VR_PRECISION_AUTO: break;
    }
    return (struct numbers){VR_ELEMENT_F32, VR_ELEMENT_F32, packed};
}

static bool is_bias(const struct source *source)
{
    return source->kind == SOURCE_BIAS || source->kind == SOURCE_BIAS_F32;
}

static enum vr_element element_of(const struct source *source, const struct numbers *numbers)
{
    const bool small = numbers->packed && source->kind != SOURCE_LAYER;
    return small || source->kind == SOURCE_BIAS_F32 ? VR_ELEMENT_F32 : numbers->weight;
}

/* The matrix of a source, without its data, and its bytes. */
static enum vr_status shape_of(const struct vr_engine *engine, const struct source *source,
                               const struct numbers *numbers, struct engine_matrix *shape, size_t *bytes)
{
    const enum vr_element element = element_of(source, numbers);
    *shape = (struct engine_matrix){{NULL, 0}, element_stride(element, source->part[0].width), element, 0};
    *bytes = 0;
    for (uint32_t p = 0; p < source->parts; p++) {
        const struct part *part = &source->part[p];
        if (is_bias(source) || !numbers->packed || engine->backend->ops->weights_bytes == NULL) {
            *bytes += (size_t)part->rows * shape->stride * vr_element_bytes(element);
            continue;
        }
        size_t layer = 0;
        const enum vr_status status = engine->backend->ops->weights_bytes(
            engine->backend, element, part->rows / source->layers, part->width, &layer);
        if (status != VR_OK) {
            return status;
        }
        shape->packed = layer > shape->packed ? layer : shape->packed; /* the tasks' last layers are not of one size */
    }
    *bytes += shape->packed * source->parts * source->layers;
    return VR_OK;
}

static void pack_layers(const struct vr_engine *engine, const struct source *source, struct engine_matrix shape,
                        char *to)
{
    for (uint32_t p = 0; p < source->parts; p++) {
        const struct part *part = &source->part[p];
        const uint32_t rows = part->rows / source->layers;
        for (size_t layer = 0; layer < source->layers; layer++, to += shape.packed) {
            engine->backend->ops->weights_pack(shape.element, rows, part->width,
                                               part->data + layer * rows * part->stride, part->stride, to);
        }
    }
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

static enum vr_status pack_rows(const struct source *source, struct engine_matrix shape, char *to)
{
    enum vr_status status = VR_OK;
    size_t row = 0;
    for (uint32_t p = 0; status == VR_OK && p < source->parts; p++) {
        const struct part *part = &source->part[p];
        status = pack_part(part, shape, to + row * shape.stride * vr_element_bytes(shape.element));
        row += part->rows;
    }
    return status;
}

/* A source's numbers in memory that the caller frees; NULL on failure. */
static enum vr_status pack(const struct vr_engine *engine, const struct source *source, struct engine_matrix shape,
                           size_t bytes, void **out)
{
    char *packed = calloc(bytes + 1, 1);
    enum vr_status status = packed == NULL ? vr_fail(VR_ERR_NOMEM, "no memory to pack weights") : VR_OK;
    if (status == VR_OK && shape.packed > 0) {
        pack_layers(engine, source, shape, packed);
    } else if (status == VR_OK) {
        status = pack_rows(source, shape, packed);
    }
    if (status != VR_OK) {
        free(packed);
        packed = NULL;
    }
    *out = packed;
    return status;
}

static enum vr_status upload(struct vr_engine *engine, const struct source *source, const struct numbers *numbers)
{
    struct engine_matrix *out = source->out;
    void *packed = NULL;
    size_t bytes = 0;
    enum vr_status status = shape_of(engine, source, numbers, out, &bytes);
    if (status == VR_OK && !engine->resident.counts_only) {
        status = pack(engine, source, *out, bytes, &packed);
    }
    if (status == VR_OK) {
        status = engine_put(&engine->resident, packed, bytes, &out->view);
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

/* Every weight has a finite half. */
static enum vr_status check_range(const struct vr_engine *engine, const struct source *source)
{
    const struct numbers halves = numbers_of(engine, VR_PRECISION_F16);
    struct engine_matrix shape;
    void *packed = NULL;
    size_t bytes = 0;
    enum vr_status status = shape_of(engine, source, &halves, &shape, &bytes);
    status = status == VR_OK ? pack(engine, source, shape, bytes, &packed) : status;
    free(packed);
    return status;
}

static enum vr_status check_halves(const struct vr_engine *engine, const struct sources *sources)
{
    enum vr_status status = engine->backend->ops->halves == VR_HALF_NONE
                                ? vr_fail(VR_ERR_UNSUPPORTED, "the backend has no halves")
                                : check_widths(&engine->bundle->ranker);
    if (status == VR_OK) {
        status = check_features(engine->bundle);
    }
    for (uint32_t i = 0; status == VR_OK && i < sources->count; i++) {
        status = check_range(engine, &sources->item[i]);
    }
    return status;
}

static enum vr_status check_packed(const struct vr_engine *engine, const struct sources *sources,
                                   enum vr_precision precision)
{
    const struct numbers numbers = numbers_of(engine, precision);
    enum vr_status status =
        !numbers.packed ? vr_fail(VR_ERR_UNSUPPORTED, "the backend has no bfloat16 and no int8") : VR_OK;
    for (uint32_t i = 0; status == VR_OK && i < sources->count; i++) {
        struct engine_matrix shape;
        size_t bytes = 0;
        status = shape_of(engine, &sources->item[i], &numbers, &shape, &bytes);
    }
    return status;
}

/* VR_ERR_UNSUPPORTED with what stands against a precision. */
static enum vr_status check(const struct vr_engine *engine, const struct sources *sources, enum vr_precision precision)
{
    return precision == VR_PRECISION_F16 ? check_halves(engine, sources) : check_packed(engine, sources, precision);
}

/* Before anything is taken, so that memory can be told. AUTO takes no bfloat16 and no int8: they move probabilities by
 * thousandths, and answers should not depend on which processor a server was started on until somebody asks for it. */
static enum vr_status choose_precision(struct vr_engine *engine, const struct sources *sources)
{
    const bool automatic = engine->options.precision == VR_PRECISION_AUTO;
    const bool halves = engine->backend->ops->halves == VR_HALF_FAST;
    const enum vr_precision wanted = !automatic ? engine->options.precision
                                     : halves   ? VR_PRECISION_F16
                                                : VR_PRECISION_F32;
    engine->runs_in = VR_PRECISION_F32;
    if (wanted == VR_PRECISION_F32) {
        return VR_OK;
    }
    const enum vr_status status = check(engine, sources, wanted);
    if (automatic && status == VR_ERR_UNSUPPORTED) {
        if (!engine->resident.counts_only) {
            vr_log(VR_LOG_INFO, "ranker_in_float32", "reason=\"%s\"", vr_error_text());
        }
        return VR_OK;
    }
    engine->runs_in = status == VR_OK ? wanted : VR_PRECISION_F32;
    return status;
}

enum vr_status engine_upload_ranker(struct vr_engine *engine)
{
    struct sources sources = {.count = 0, .first = NULL};
    if (engine_has_table(engine)) {
        sources.first = engine_table_columns(engine, false);
        if (sources.first == NULL) {
            return VR_ERR_NOMEM;
        }
    }
    list_all(&sources, engine);
    enum vr_status status = choose_precision(engine, &sources);
    struct numbers numbers = numbers_of(engine, engine->runs_in);
    const bool optional = status == VR_OK && engine->runs_in == VR_PRECISION_F32 && numbers.packed;
    if (optional && check_packed(engine, &sources, VR_PRECISION_F32) != VR_OK) {
        numbers.packed = false; /* too wide a layer: rows serve as well, only slower */
    }
    engine->element = numbers.between;
    for (uint32_t i = 0; status == VR_OK && i < sources.count; i++) {
        status = upload(engine, &sources.item[i], &numbers);
    }
    free(sources.first);
    return status;
}
