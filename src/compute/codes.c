/* See codes.h: the making of coded vectors, and bounds. */
#include "codes.h"

#include <emmintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* ---- coding ---- */

float vr_codes_unit(float largest)
{
    return largest >= 0x1p-100f ? largest / 127.0f : 1.0f; /* smaller ones all become 0: the residual knows */
}

static __m128i steps_of(const float *value, __m128 inverse)
{
    return _mm_cvtps_epi32(_mm_mul_ps(_mm_loadu_ps(value), inverse)); /* what does not fit becomes INT32_MIN */
}

void vr_codes_encode(const float *value, uint32_t count, float unit, int8_t *code)
{
    const __m128 inverse = _mm_set1_ps(1.0f / unit);
    const __m128i least = _mm_set1_epi16(-127), most = _mm_set1_epi16(127);
    for (uint32_t i = 0; i < count; i += 8) {
        float some[8] = {0};
        const uint32_t left = count - i < 8 ? count - i : 8;
        memcpy(some, value + i, left * sizeof *some);
        const __m128i words = _mm_packs_epi32(steps_of(some, inverse), steps_of(some + 4, inverse));
        const __m128i clamped = _mm_min_epi16(_mm_max_epi16(words, least), most);
        int8_t eight[16];
        _mm_storeu_si128((__m128i *)(void *)eight, _mm_packs_epi16(clamped, clamped));
        memcpy(code + i, eight, left);
    }
}

static float largest_of(const float *value, size_t count)
{
    float largest = 0.0f;
    for (size_t i = 0; i < count; i++) {
        const float size = fabsf(value[i]);
        largest = size > largest && size < INFINITY ? size : largest;
    }
    return largest;
}

/* Of one coded row, both in double so that float32's range does not matter: the norm of the code, and of what it
 * lost. */
static void measure(const float *value, const int8_t *code, uint32_t dim, float unit, double *norm, double *lost)
{
    double squares = 0.0, differences = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        const double decoded = (double)code[i] * (double)unit, difference = (double)value[i] - decoded;
        squares += decoded * decoded;
        differences += difference * difference;
    }
    *norm = sqrt(squares);
    *lost = sqrt(differences);
}

/* To float32, upwards: bounds may not shrink, nor by the roundings of what is made of them. */
static float above(double value)
{
    return (float)(value * (1.0 + 0x1p-18));
}

/* Rows [rows, dim] as floats into the block. */
static void code_block(struct vr_codes *codes, struct vr_codes_block *block, const float *value, int8_t *code)
{
    const uint32_t dim = codes->dim;
    double norm = 0.0, residual = 0.0;
    bool finite = true;
    block->unit = vr_codes_unit(largest_of(value, (size_t)block->rows * dim));
    for (uint32_t r = 0; r < block->rows; r++) {
        double row_norm = 0.0, lost = 0.0;
        vr_codes_encode(value + (size_t)r * dim, dim, block->unit, code);
        measure(value + (size_t)r * dim, code, dim, block->unit, &row_norm, &lost);
        finite = finite && isfinite(lost);
        norm = row_norm > norm ? row_norm : norm;
        residual = lost > residual ? lost : residual;
        vr_codes_put(codes->tile, block->slot + r, codes->groups, code, dim);
    }
    const double sums = (dim + 8.0) * 0x1p-23 * (norm + residual);
    block->inverse = 1.0f / block->unit;
    block->by_lost = finite ? above(norm + sums) : INFINITY;
    block->by_norm = finite ? above(residual + sums) : INFINITY;
}

/* ---- queries and bounds ---- */

struct vr_codes_query vr_codes_query_make(uint32_t dim, const float *value, int8_t *code)
{
    struct vr_codes_query query = {.value = value, .code = code, .unit = vr_codes_unit(largest_of(value, dim))};
    double norm = 0.0, lost = 0.0, squares = 0.0;
    int32_t sum = 0;
    memset(code, 0, (size_t)(dim + 3) / 4 * 4);
    vr_codes_encode(value, dim, query.unit, code);
    measure(value, code, dim, query.unit, &norm, &lost);
    for (uint32_t i = 0; i < dim; i++) {
        squares += (double)value[i] * (double)value[i];
        sum += code[i];
    }
    query.inverse = 1.0f / query.unit;
    query.start = -128 * sum;
    query.norm = isfinite(squares) ? above(sqrt(squares)) : INFINITY;
    query.lost = isfinite(lost) ? above(lost) : INFINITY;
    return query;
}

/* ---- the index ---- */

/* Slots and blocks of a list. */
static uint64_t slots_of(uint64_t rows)
{
    return (rows + VR_CODE_LANES - 1) / VR_CODE_LANES * VR_CODE_LANES;
}

static uint64_t blocks_of(uint64_t rows)
{
    return (rows + VR_CODE_ROWS - 1) / VR_CODE_ROWS;
}

uint64_t vr_codes_bytes(const struct vr_table *table, uint64_t rows, uint64_t lists)
{
    const uint64_t groups = (table->width + 3) / 4, most = lists > 0 ? lists : 1;
    const uint64_t slots = slots_of(rows) + (most - 1) * (VR_CODE_LANES - 1), blocks = blocks_of(rows) + most - 1;
    const uint64_t row = groups * 4 + table->width * vr_cpu_table_value_bytes(table->dtype) +
                         (table->dtype == VR_TABLE_I8 ? sizeof(float) : 0) + (lists > 0 ? sizeof(int32_t) : 0);
    return slots * row + slots / VR_CODE_LANES * sizeof(uint32_t) + blocks * sizeof(struct vr_codes_block) +
           (most + 1) * sizeof(uint32_t);
}

/* Zeroed, and in huge pages where there is enough of it: rows are met in random order. */
static enum vr_status take(size_t bytes, void *at)
{
    const size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 64, more = bytes > 0 ? bytes : 1;
    const size_t rounded = (more + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded);
    if (memory == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index of %zu bytes", bytes);
    }
    if (bytes >= HUGE_PAGE) {
        madvise(memory, rounded, MADV_HUGEPAGE); /* a wish: what comes of it is speed alone */
    }
    memset(memory, 0, rounded);
    *(void **)at = memory;
    return VR_OK;
}

void vr_codes_free(struct vr_codes *codes)
{
    free(codes->tile);
    free(codes->block);
    free(codes->block_of_tile);
    free(codes->list);
    free(codes->row_of_slot);
    free(codes->values);
    free(codes->scales);
}

static enum vr_status take_all(const struct vr_cpu_table *table, const struct vr_codes_lists *lists,
                               struct vr_codes *codes)
{
    const size_t slots = codes->slots, value = vr_cpu_table_value_bytes(table->dtype);
    const struct {
        bool wanted;
        size_t bytes;
        void *at;
    } part[] = {
        {true, slots * codes->groups * 4, &codes->tile},
        {true, codes->blocks * sizeof *codes->block, &codes->block},
        {true, slots / VR_CODE_LANES * sizeof *codes->block_of_tile, &codes->block_of_tile},
        {true, ((size_t)lists->lists + 1) * sizeof *codes->list, &codes->list},
        {lists->row != NULL, slots * sizeof *codes->row_of_slot, &codes->row_of_slot},
        {true, slots * codes->dim * value, &codes->values},
        {table->dtype == VR_TABLE_I8, slots * sizeof *codes->scales, &codes->scales},
    };
    enum vr_status status = VR_OK;
    for (size_t i = 0; status == VR_OK && i < sizeof part / sizeof part[0]; i++) {
        status = part[i].wanted ? take(part[i].bytes, part[i].at) : VR_OK;
    }
    return status;
}

/* Where each list and each block begins. */
static void lay_out(const struct vr_codes_lists *lists, struct vr_codes *codes)
{
    uint32_t slot = 0, b = 0;
    for (uint32_t l = 0; l < lists->lists; l++) {
        codes->list[l] = b;
        for (uint32_t left = lists->offset[l + 1] - lists->offset[l]; left > 0; b++) {
            struct vr_codes_block *block = &codes->block[b];
            block->slot = slot;
            block->rows = left < VR_CODE_ROWS ? left : VR_CODE_ROWS;
            left -= block->rows;
            slot += (uint32_t)slots_of(block->rows);
            for (uint32_t t = block->slot / VR_CODE_LANES; t < slot / VR_CODE_LANES; t++) {
                codes->block_of_tile[t] = b;
            }
        }
    }
    codes->list[lists->lists] = b;
}

/* The block's rows as they were given, as floats for the coding, and their numbers. */
static void copy_rows(const struct vr_cpu_table *table, const struct vr_codes_lists *lists, uint32_t from,
                      const struct vr_codes_block *block, struct vr_codes *codes, float *value)
{
    const size_t bytes = codes->dim * vr_cpu_table_value_bytes(table->dtype);
    for (uint32_t r = 0; r < block->rows; r++) {
        const size_t slot = (size_t)block->slot + r;
        const int32_t row = lists->row != NULL ? lists->row[from + r] : (int32_t)(from + r);
        memcpy(codes->values + slot * bytes, (const char *)table->data + (size_t)row * bytes, bytes);
        if (codes->scales != NULL) {
            codes->scales[slot] = table->scale[row];
        }
        if (codes->row_of_slot != NULL) {
            codes->row_of_slot[slot] = row;
        }
        vr_cpu_table_row(table, row, value + (size_t)r * codes->dim);
    }
}

static enum vr_status fill(const struct vr_cpu_table *table, const struct vr_codes_lists *lists, struct vr_codes *codes)
{
    float *value = malloc((size_t)VR_CODE_ROWS * codes->dim * sizeof *value);
    int8_t *code = malloc(codes->dim);
    enum vr_status status = VR_OK;
    if (value == NULL || code == NULL) {
        status = vr_fail(VR_ERR_NOMEM, "no memory for the rows of a block");
    }
    uint32_t from = lists->offset[0];
    for (uint32_t b = 0; status == VR_OK && b < codes->blocks; b++) { /* lists lie one after another: so do blocks */
        copy_rows(table, lists, from, &codes->block[b], codes, value);
        code_block(codes, &codes->block[b], value, code);
        codes->is_finite = codes->is_finite && codes->block[b].by_norm < INFINITY;
        from += codes->block[b].rows;
    }
    free(value);
    free(code);
    return status;
}

enum vr_status vr_codes_make(const struct vr_cpu_table *table, const struct vr_codes_lists *lists,
                             struct vr_codes *codes)
{
    uint64_t slots = 0, blocks = 0;
    for (uint32_t l = 0; l < lists->lists; l++) {
        slots += slots_of(lists->offset[l + 1] - lists->offset[l]);
        blocks += blocks_of(lists->offset[l + 1] - lists->offset[l]);
    }
    if (slots > INT32_MAX) {
        return vr_fail(VR_ERR_UNSUPPORTED, "index: %u lists are too many for their rows", lists->lists);
    }
    *codes = (struct vr_codes){.dim = table->width, .groups = (table->width + 3) / 4, .is_finite = true};
    codes->rows = lists->offset[lists->lists] - lists->offset[0];
    codes->slots = (uint32_t)slots;
    codes->blocks = (uint32_t)blocks;
    codes->sums = vr_code_block_choose();
    enum vr_status status = take_all(table, lists, codes);
    if (status == VR_OK) {
        lay_out(lists, codes);
        status = fill(table, lists, codes);
    }
    codes->exact = (struct vr_cpu_table){codes->values, codes->scales, codes->slots, codes->dim, table->dtype};
    codes->dots = vr_dot_block_choose(table->dtype == VR_TABLE_F16);
    return status;
}
