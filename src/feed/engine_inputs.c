/* From the columns of feature blocks to segments of a gather (vireo/backend.h). Neighbouring dense columns become one
 * segment; tables are uploaded once however many features share them. */
#include <stdlib.h>

#include "engine_parts.h"

static bool continues(const struct vr_segment *last, const struct vr_segment *next)
{
    return last->kind == VR_SEGMENT_DENSE && next->kind == VR_SEGMENT_DENSE &&
           last->offset + last->width == next->offset && last->source + last->width == next->source;
}

static enum vr_status add_segment(struct engine_inputs *inputs, struct vr_segment segment)
{
    if (inputs->segments > 0 && continues(&inputs->segment[inputs->segments - 1], &segment)) {
        inputs->segment[inputs->segments - 1].width += segment.width;
        return VR_OK;
    }
    if (inputs->segments == VR_SEGMENTS_MAX) {
        return vr_fail(VR_ERR_UNSUPPORTED, "a network reads more than %u runs of columns", VR_SEGMENTS_MAX);
    }
    inputs->segment[inputs->segments++] = segment;
    return VR_OK;
}

static enum vr_status table_segment(struct vr_engine *engine, const struct vr_column *column,
                                    struct vr_segment *segment)
{
    const struct vr_tensor *tensor = column->table;
    segment->kind = VR_SEGMENT_TABLE;
    segment->table.rows = (uint32_t)tensor->dim[0];
    segment->table.width = (uint32_t)tensor->dim[1];
    segment->table.dtype = tensor->dtype == VR_DTYPE_F16 ? VR_TABLE_F16 : VR_TABLE_F32;
    return engine_upload(&engine->resident, tensor->data, tensor->bytes, &segment->table.data);
}

/* The video's own vectors come from the resident tables by the row number, which takes an index column of its own. */
static void video_vector(const struct vr_engine *engine, struct engine_inputs *inputs, enum vr_vector vector,
                         struct vr_segment *segment)
{
    if (inputs->row_at == ENGINE_NONE) {
        inputs->row_at = inputs->index_stride++;
    }
    segment->kind = VR_SEGMENT_TABLE;
    segment->source = inputs->row_at;
    segment->table = vector == VR_VECTOR_TOWER ? engine->tower : engine->content;
}

/* A request's vectors have the same numbers here and among the features' vectors. */
_Static_assert((int)ENGINE_HIST_TOWER == (int)VR_VECTOR_HIST_TOWER, "hist_tower");
_Static_assert((int)ENGINE_HIST_CONTENT == (int)VR_VECTOR_HIST_CONTENT, "hist_content");
_Static_assert((int)ENGINE_USER_TOWER == (int)VR_VECTOR_USER_TOWER, "user_tower");

static void lone_vector(struct engine_inputs *inputs, enum engine_vector vector, struct vr_segment segment)
{
    inputs->vector_at[vector] = segment.offset;
    segment.kind = VR_SEGMENT_DENSE;
    inputs->vector_segment[vector] = segment; /* source 0: the first column of a matrix of its own */
}

static enum vr_status dense_vector(struct engine_inputs *inputs, enum engine_vector vector, struct vr_segment segment)
{
    if (inputs->vector_at[vector] == ENGINE_NONE) {
        inputs->vector_at[vector] = inputs->dense_stride;
        inputs->dense_stride += segment.width;
    }
    segment.kind = VR_SEGMENT_DENSE;
    segment.source = inputs->vector_at[vector];
    return add_segment(inputs, segment);
}

static enum vr_status add_column(struct vr_engine *engine, struct engine_inputs *inputs, uint32_t b, uint32_t first,
                                 const struct vr_column *column)
{
    struct vr_segment segment = {.offset = first + column->offset, .width = column->width};
    enum vr_status status = VR_OK;
    if (column->kind == VR_COLUMN_DENSE) {
        segment.source = inputs->dense_at[b] + column->slot;
    } else if (column->kind == VR_COLUMN_TABLE) {
        segment.source = inputs->index_at[b] + column->slot;
        status = table_segment(engine, column, &segment);
    } else if (column->vector == VR_VECTOR_TOWER || column->vector == VR_VECTOR_CONTENT) {
        video_vector(engine, inputs, column->vector, &segment);
    } else {
        if (inputs->dense_vectors) {
            return dense_vector(inputs, (enum engine_vector)column->vector, segment);
        }
        lone_vector(inputs, (enum engine_vector)column->vector, segment);
        return VR_OK;
    }
    return status == VR_OK ? add_segment(inputs, segment) : status;
}

static void place_blocks(const struct vr_feature_block *const *block, uint32_t blocks, struct engine_inputs *out)
{
    out->blocks = blocks;
    for (uint32_t b = 0; b < blocks; b++) {
        out->block[b] = block[b];
        out->dense_at[b] = out->dense_stride;
        out->index_at[b] = out->index_stride;
        out->dense_stride += block[b]->dense_count;
        out->index_stride += block[b]->index_count;
        out->width += block[b]->width;
    }
    out->row_at = out->reads_row ? out->index_stride++ : ENGINE_NONE;
    for (uint32_t v = 0; v < ENGINE_VECTORS; v++) {
        out->vector_at[v] = ENGINE_NONE;
    }
}

enum vr_status engine_inputs_create(struct vr_engine *engine, const struct vr_feature_block *const *block,
                                    uint32_t blocks, struct engine_inputs *out)
{
    place_blocks(block, blocks, out);
    out->segment = calloc(VR_SEGMENTS_MAX, sizeof *out->segment);
    if (out->segment == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the engine's inputs");
    }
    uint32_t first = 0;
    for (uint32_t b = 0; b < blocks; b++) {
        for (uint32_t c = 0; c < block[b]->count; c++) {
            const enum vr_status status = add_column(engine, out, b, first, &block[b]->column[c]);
            if (status != VR_OK) {
                return status;
            }
        }
        first += block[b]->width;
    }
    out->dense_stride += out->dense_stride == 0;
    out->index_stride += out->index_stride == 0;
    return VR_OK;
}

void engine_inputs_destroy(struct engine_inputs *inputs)
{
    free(inputs->segment);
}
