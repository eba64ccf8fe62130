/* Blocks of features of one entity: where each lands in a row, and the transforms that fill it. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "features_space.h"
#include "logarithm.h"
#include "text.h"

#define BLOCK_WIDTH_MAX 65536u

/* ---- making ---- */

/* The feature of an element of `inputs`. */
static enum vr_status find_feature(const struct vr_feature_space *space, struct vr_json_value element, uint32_t *out)
{
    struct vr_str name;
    if (vr_json_as_str(element, &name) != VR_OK) {
        return vr_fail(VR_ERR_FORMAT, "'inputs' must hold names of features");
    }
    *out = name.len == 0 ? VR_DICT_NONE : vr_dict_find(space->names, name);
    if (*out == VR_DICT_NONE) {
        return vr_fail(VR_ERR_FORMAT, "'inputs': there is no feature '%s'", vr_show(name).text);
    }
    return VR_OK;
}

static void add_column(const struct vr_feature_space *space, uint32_t number, struct vr_feature_block *block)
{
    const struct vr_feature *feature = &space->feature[number];
    struct vr_column column = {VR_COLUMN_VECTOR, block->width, feature->width, 0, feature->table, feature->vector};
    if (feature->kind == VR_FEATURE_DENSE || feature->kind == VR_FEATURE_RATE) {
        column.kind = VR_COLUMN_DENSE;
        column.slot = block->dense_count++;
    } else if (feature->kind != VR_FEATURE_VECTOR) {
        column.kind = VR_COLUMN_TABLE;
        column.slot = block->index_count++;
    }
    block->width += feature->width;
    block->column[block->count] = column;
    block->feature[block->count++] = number;
}

static enum vr_status check_column(const struct vr_feature_space *space, uint32_t number,
                                   const struct vr_feature_block *block)
{
    const struct vr_feature *feature = &space->feature[number];
    for (uint32_t i = 0; i < block->count; i++) {
        if (block->feature[i] == number) {
            return vr_fail(VR_ERR_FORMAT, "'inputs' names '%s' twice", feature->name.data);
        }
    }
    return feature->width > BLOCK_WIDTH_MAX - block->width
               ? vr_fail(VR_ERR_FORMAT, "'inputs' make a row wider than %u", BLOCK_WIDTH_MAX)
               : VR_OK;
}

/* A block of nothing, with room for `features`; false: no memory. */
static bool open_block(enum vr_entity entity, size_t features, struct vr_feature_block *block)
{
    *block = (struct vr_feature_block){.entity = entity};
    block->column = calloc(features + 1, sizeof *block->column);
    block->feature = calloc(features + 1, sizeof *block->feature);
    if (block->column == NULL || block->feature == NULL) {
        vr_feature_block_destroy(block);
        return false;
    }
    return true;
}

static enum vr_status no_memory(void)
{
    return vr_fail(VR_ERR_NOMEM, "no memory for a block of features");
}

enum vr_status vr_feature_block_create(const struct vr_feature_space *space, struct vr_json_value names,
                                       enum vr_entity entity, struct vr_feature_block *out)
{
    struct vr_feature_block block;
    struct vr_json_value element;
    if (vr_json_type_of(names) != VR_JSON_ARRAY) {
        return vr_fail(VR_ERR_FORMAT, "'inputs' must be an array");
    }
    if (!open_block(entity, vr_json_count(names), &block)) {
        return no_memory();
    }
    enum vr_status status = VR_OK;
    for (struct vr_json_iter it = vr_json_begin(names); status == VR_OK && vr_json_next(&it, NULL, &element);) {
        uint32_t number = 0;
        status = find_feature(space, element, &number);
        if (status == VR_OK && space->feature[number].entity == entity) {
            status = check_column(space, number, &block);
            if (status == VR_OK) {
                add_column(space, number, &block);
            }
        }
    }
    if (status != VR_OK) {
        vr_feature_block_destroy(&block);
        return status;
    }
    *out = block;
    return VR_OK;
}

static bool is_still(const struct vr_feature *feature)
{
    if (feature->kind == VR_FEATURE_VECTOR) {
        return true;
    }
    return !vr_video_field_is_counter(feature->field) &&
           !(feature->kind == VR_FEATURE_RATE && vr_video_field_is_counter(feature->denominator));
}

enum vr_status vr_feature_block_part(const struct vr_feature_space *space, const struct vr_feature_block *block,
                                     bool still, struct vr_feature_block *out)
{
    assert(block->entity == VR_ENTITY_VIDEO);
    if (!open_block(block->entity, block->count, out)) {
        return no_memory();
    }
    for (uint32_t i = 0; i < block->count; i++) {
        if (is_still(&space->feature[block->feature[i]]) == still) {
            add_column(space, block->feature[i], out);
        }
    }
    return VR_OK;
}

void vr_feature_block_destroy(struct vr_feature_block *block)
{
    free(block->column);
    free(block->feature);
    block->column = NULL;
    block->feature = NULL;
    block->count = 0;
}

/* ---- the largest value ---- */

static double table_bound(const struct vr_tensor *table)
{
    const float *value = table->data;
    double bound = 65504.0; /* of float16 */
    if (table->dtype == VR_DTYPE_F32) {
        bound = 0.0;
        for (uint64_t i = 0; i < table->bytes / sizeof(float); i++) {
            bound = fmax(bound, fabs((double)value[i]));
        }
    }
    return bound;
}

static double column_bound(const struct vr_feature *feature)
{
    switch (feature->kind) {
    case VR_FEATURE_DENSE:
    case VR_FEATURE_RATE: return feature->clip;
    case VR_FEATURE_EMBEDDING:
    case VR_FEATURE_BUCKET: return feature->table == NULL ? 0.0 : table_bound(feature->table);
    case VR_FEATURE_VECTOR: break;
    }
    return 1.0;
}

double vr_feature_block_bound(const struct vr_feature_space *space, const struct vr_feature_block *block)
{
    double bound = 0.0;
    for (uint32_t c = 0; c < block->count; c++) {
        bound = fmax(bound, column_bound(&space->feature[block->feature[c]]));
    }
    return bound;
}

/* ---- transforms: a column of some rows at a time, float64 ---- */

#define ROWS 64u /* at a time */

_Static_assert(ROWS % VR_LOG_BLOCK == 0, "logarithms come in whole blocks");

static double total(double x)
{
    return x > 0 ? x : 0.0;
}

/* x [rows] from raw [rows, fields]. */
static void read_values(const struct vr_feature *f, const double *raw, uint32_t fields, size_t rows, double *x)
{
    if (f->kind == VR_FEATURE_RATE) {
        const double successes = f->prior * f->strength;
        for (size_t r = 0; r < rows; r++) {
            const double *row = raw + r * fields;
            x[r] = (total(row[f->field]) + successes) / (total(row[f->denominator]) + f->strength);
        }
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        x[r] = raw[r * fields + f->field];
    }
}

/* log(1 + x) with what the sum lost: (x - (u - 1)) / u, u the rounded sum. NaN stays NaN, as everywhere. */
static void take_log1p(double *x, size_t rows)
{
    double rest[ROWS];
    for (size_t r = 0; r < rows; r++) {
        const double least = x[r] < 0 ? 0.0 : x[r], sum = 1.0 + least;
        rest[r] = sum < (double)INFINITY ? (least - (sum - 1.0)) / sum : 0.0;
        x[r] = sum;
    }
    vr_logarithms(x, rows);
    for (size_t r = 0; r < rows; r++) {
        x[r] += rest[r];
    }
}

static void take_logit(double *x, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        const double p = x[r] < 1e-6 ? 1e-6 : x[r] > 1 - 1e-6 ? 1 - 1e-6 : x[r];
        x[r] = p / (1 - p);
    }
    vr_logarithms(x, rows);
}

static float standardised(const struct vr_feature *f, double x)
{
    const double z = (x - f->mean) / f->std;
    if (isnan(z)) {
        return 0.0F;
    }
    return (float)(z < -f->clip ? -f->clip : z > f->clip ? f->clip : z);
}

static void fill_dense(const struct vr_feature *f, const double *raw, uint32_t fields, size_t rows, float *out,
                       size_t stride)
{
    const size_t whole = (rows + VR_LOG_BLOCK - 1) / VR_LOG_BLOCK * VR_LOG_BLOCK;
    double x[ROWS];
    read_values(f, raw, fields, rows, x);
    for (size_t r = rows; r < whole; r++) {
        x[r] = 0.5; /* any number that has a logarithm and a logit */
    }
    if (f->scale == VR_SCALE_LOG1P) {
        take_log1p(x, whole);
    } else if (f->scale == VR_SCALE_LOGIT) {
        take_logit(x, whole);
    }
    for (size_t r = 0; r < rows; r++) {
        out[r * stride] = standardised(f, x[r]);
    }
}

static int32_t embedding_row(const struct vr_feature *f, double x)
{
    double rounded = rint(x); /* ties to even: the default rounding mode */
    return rounded >= 0 && rounded < (double)f->rows ? (int32_t)rounded : 0;
}

static int32_t bucket_row(const struct vr_feature *f, double x)
{
    if (isnan(x)) {
        return 0;
    }
    uint32_t low = 0, high = f->boundaries; /* boundaries below `low` are <= x, from `high` on above it */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (f->boundary[middle] <= x) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (int32_t)low + 1;
}

static void fill_index(const struct vr_feature *f, const double *raw, uint32_t fields, size_t rows, int32_t *out,
                       size_t stride)
{
    for (size_t r = 0; r < rows; r++) {
        const double x = raw[r * fields + f->field];
        out[r * stride] = f->kind == VR_FEATURE_BUCKET ? bucket_row(f, x) : embedding_row(f, x);
    }
}

void vr_feature_transform(const struct vr_feature_space *space, const struct vr_feature_block *block, size_t rows,
                          const double *raw, struct vr_feature_rows out)
{
    const uint32_t fields = space->fields[block->entity].count;
    for (size_t first = 0; first < rows; first += ROWS) {
        const size_t some = rows - first < ROWS ? rows - first : ROWS;
        const double *from = raw + first * fields;
        for (uint32_t i = 0; i < block->count; i++) {
            const struct vr_column *column = &block->column[i];
            const struct vr_feature *feature = &space->feature[block->feature[i]];
            if (column->kind == VR_COLUMN_DENSE) {
                fill_dense(feature, from, fields, some, out.dense + first * out.dense_stride + column->slot,
                           out.dense_stride);
            } else if (column->kind == VR_COLUMN_TABLE) {
                fill_index(feature, from, fields, some, out.index + first * out.index_stride + column->slot,
                           out.index_stride);
            }
        }
    }
}
