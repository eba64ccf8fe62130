/* Plain C of the operations that move rows: gather, pool_rows, normalize. The reference is installed in every table
 * first and is the oracle of the tests, so it is written to be read, not to be quick. */
#include <math.h>
#include <string.h>

#include "cpu.h"

#define POOL_WIDTH_MAX 4096u

/* table[s]: the addresses of segment s, where it looks rows up. */
static enum vr_status check_segments(const struct vr_gather *args, struct vr_cpu_table *table)
{
    if (args->segments > VR_SEGMENTS_MAX) {
        return vr_fail(VR_ERR_INVALID, "gather: %u segments, at most %u", args->segments, VR_SEGMENTS_MAX);
    }
    for (uint32_t s = 0; s < args->segments; s++) {
        const struct vr_segment *segment = &args->segment[s];
        if (segment->width > args->y_stride || segment->offset > args->y_stride - segment->width) {
            return vr_fail(VR_ERR_INVALID, "gather: segment %u ends past the row", s);
        }
        if (segment->kind == VR_SEGMENT_DENSE) {
            if (segment->width > args->dense_stride || segment->source > args->dense_stride - segment->width) {
                return vr_fail(VR_ERR_INVALID, "gather: segment %u reads past the dense columns", s);
            }
            continue;
        }
        if (segment->source >= args->index_stride || segment->width != segment->table.width) {
            return vr_fail(VR_ERR_INVALID, "gather: segment %u does not fit its table", s);
        }
        const enum vr_status status = vr_cpu_table_at(&segment->table, &table[s]);
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

static float table_value(const struct vr_cpu_table *table, int64_t row, uint32_t column)
{
    if (row < 0 || row >= table->rows) {
        return 0.0f;
    }
    const size_t at = (size_t)row * table->width + column;
    switch (table->dtype) {
    case VR_TABLE_F32: return ((const float *)table->data)[at];
    case VR_TABLE_F16: return vr_half_to_float(((const uint16_t *)table->data)[at]);
    case VR_TABLE_I8: return (float)((const int8_t *)table->data)[at] / 127.0f * table->scale[row];
    }
    return 0.0f;
}

struct gather_at {
    const float *dense;
    const int32_t *index;
    void *y;
};

static void segment_as_floats(const struct vr_gather *args, const struct gather_at *at, uint32_t s,
                              const struct vr_cpu_table *table, size_t r)
{
    const struct vr_segment *segment = &args->segment[s];
    float *out = (float *)at->y + r * args->y_stride + segment->offset;
    if (segment->kind == VR_SEGMENT_DENSE) {
        memcpy(out, at->dense + r * args->dense_stride + segment->source, segment->width * sizeof(float));
    } else {
        vr_cpu_table_row(table, at->index[r * args->index_stride + segment->source], out);
    }
}

static void segment_as_halves(const struct vr_gather *args, const struct gather_at *at, uint32_t s,
                              const struct vr_cpu_table *table, size_t r)
{
    const struct vr_segment *segment = &args->segment[s];
    uint16_t *out = (uint16_t *)at->y + r * args->y_stride + segment->offset;
    for (uint32_t c = 0; c < segment->width; c++) {
        const float value = segment->kind == VR_SEGMENT_DENSE
                                ? at->dense[r * args->dense_stride + segment->source + c]
                                : table_value(table, at->index[r * args->index_stride + segment->source], c);
        out[c] = vr_half_from_float(value);
    }
}

enum vr_status vr_reference_gather(struct vr_stream *stream, const struct vr_gather *args)
{
    (void)stream;
    struct vr_cpu_table table[VR_SEGMENTS_MAX] = {{0}};
    const enum vr_status status = check_segments(args, table);
    if (status != VR_OK) {
        return status;
    }
    const struct gather_at at = {
        vr_cpu_at(args->dense, (size_t)args->rows * args->dense_stride, 4, "gather: dense"),
        vr_cpu_at(args->index, (size_t)args->rows * args->index_stride, 4, "gather: index"),
        vr_cpu_at(args->y, (size_t)args->rows * args->y_stride, vr_element_bytes(args->y_element), "gather: y"),
    };
    if (at.dense == NULL || at.index == NULL || at.y == NULL) {
        return VR_ERR_INVALID;
    }
    for (size_t r = 0; r < args->rows; r++) {
        for (uint32_t s = 0; s < args->segments; s++) {
            (args->y_element == VR_ELEMENT_F16 ? segment_as_halves : segment_as_floats)(args, &at, s, &table[s], r);
        }
    }
    return VR_OK;
}

static void pool_row(const struct vr_cpu_table *table, uint32_t count, const int32_t *index, const float *weight,
                     float *y)
{
    float vector[POOL_WIDTH_MAX];
    memset(y, 0, table->width * sizeof(float));
    for (uint32_t i = 0; i < count; i++) {
        if (index[i] < 0 || (uint32_t)index[i] >= table->rows) {
            continue;
        }
        vr_cpu_table_row(table, index[i], vector);
        for (uint32_t c = 0; c < table->width; c++) {
            y[c] += weight[i] * vector[c];
        }
    }
}

enum vr_status vr_reference_pool_rows(struct vr_stream *stream, const struct vr_pool_rows *args)
{
    (void)stream;
    struct vr_cpu_table table;
    const enum vr_status status = vr_cpu_table_at(&args->table, &table);
    if (status != VR_OK) {
        return status;
    }
    if (args->count > 256 || table.width > POOL_WIDTH_MAX || table.width > args->y_stride) {
        return vr_fail(VR_ERR_INVALID, "pool_rows: %u terms of width %u", args->count, table.width);
    }
    const size_t terms = (size_t)args->rows * args->count;
    const int32_t *index = vr_cpu_at(args->index, terms, 4, "pool_rows: index");
    const float *weight = vr_cpu_at(args->weight, terms, 4, "pool_rows: weight");
    float *y = vr_cpu_at(args->y, vr_cpu_extent(args->rows, args->y_stride, table.width), 4, "pool_rows: y");
    if (index == NULL || weight == NULL || y == NULL) {
        return VR_ERR_INVALID;
    }
    for (size_t r = 0; r < args->rows; r++) {
        pool_row(&table, args->count, index + r * args->count, weight + r * args->count, y + r * args->y_stride);
    }
    return VR_OK;
}

static void normalize_row(float *x, uint32_t width)
{
    double squares = 0.0; /* double: the square of a float never overflows it */
    for (uint32_t i = 0; i < width; i++) {
        squares += (double)x[i] * x[i];
    }
    const double norm = sqrt(squares);
    for (uint32_t i = 0; i < width; i++) {
        x[i] = norm < 1e-12 ? 0.0f : (float)(x[i] / norm);
    }
}

enum vr_status vr_reference_normalize(struct vr_stream *stream, const struct vr_normalize *args)
{
    (void)stream;
    if (args->stride < args->width) {
        return vr_fail(VR_ERR_INVALID, "normalize: rows of %u every %u", args->width, args->stride);
    }
    float *x = vr_cpu_at(args->x, vr_cpu_extent(args->rows, args->stride, args->width), 4, "normalize: x");
    if (x == NULL) {
        return VR_ERR_INVALID;
    }
    for (size_t r = 0; r < args->rows; r++) {
        normalize_row(x + r * args->stride, args->width);
    }
    return VR_OK;
}
