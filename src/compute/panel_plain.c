/* The forms of panels.h in plain C: they run everywhere, and the tests hold the others against them. */
#include <math.h>
#include <string.h>

#include "panels.h"
#include "vireo/half.h"

static bool everywhere(void)
{
    return true;
}

/* ---- rows ---- */

static float value_at(const struct vr_panel_rows *rows, size_t r, size_t i)
{
    const size_t at = r * rows->from_stride + i;
    return rows->from_element == VR_ELEMENT_BF16 ? vr_bf16_to_float(((const uint16_t *)rows->from)[at])
                                                 : ((const float *)rows->from)[at];
}

void vr_panel_take_f32(const struct vr_panel_rows *rows)
{
    for (size_t r = 0; r < rows->rows; r++) {
        float *to = (float *)(void *)(rows->to + r * rows->stride);
        if (rows->from_element == VR_ELEMENT_F32) {
            memcpy(to, (const float *)rows->from + r * rows->from_stride, rows->in * sizeof *to);
            continue;
        }
        for (size_t i = 0; i < rows->in; i++) {
            to[i] = value_at(rows, r, i);
        }
    }
}

static void take_bf16(const struct vr_panel_rows *rows)
{
    for (size_t r = 0; r < rows->rows; r++) {
        uint16_t *to = (uint16_t *)(void *)(rows->to + r * rows->stride);
        for (size_t i = 0; i < (size_t)rows->groups * 2; i++) {
            to[i] = i < rows->in ? vr_bf16_from_float(value_at(rows, r, i)) : 0;
        }
    }
}

static struct vr_panel_range range_of_row(const struct vr_panel_rows *rows, size_t r)
{
    float least = 0.0f, largest = 0.0f, odd = 0.0f;
    for (size_t i = 0; i < rows->in; i++) {
        const float value = value_at(rows, r, i);
        least = fminf(least, value);
        largest = fmaxf(largest, value);
        odd += value * 0.0f; /* NaN where the value is not finite */
    }
    return vr_panel_range_of(least, largest + odd);
}

static uint8_t code_of(float value, struct vr_panel_range range)
{
    const float product = value * range.inverse;
    if (isnan(product)) {
        return 0;
    }
    const long code = lrintf(product) + range.zero;
    return (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
}

static void take_i8(const struct vr_panel_rows *rows)
{
    for (size_t r = 0; r < rows->rows; r++) {
        const struct vr_panel_range range = range_of_row(rows, r);
        uint8_t *to = (uint8_t *)(rows->to + r * rows->stride);
        for (size_t i = 0; i < (size_t)rows->groups * 4; i++) {
            to[i] = i < rows->in ? code_of(value_at(rows, r, i), range) : 0;
        }
        rows->scale[r] = range.scale;
        rows->zero[r] = range.zero;
    }
}

/* ---- products ---- */

/* Group g of row r, and of output o. */
static const char *x_group(const struct vr_panel_product *p, size_t r, size_t g)
{
    return p->x + r * p->stride + g * VR_PANEL_GROUP;
}
static const char *weight_group(const struct vr_panel_product *p, size_t o, size_t g)
{
    const size_t panel = o / VR_PANEL_LANES * p->groups + g;
    return p->weight + (panel * VR_PANEL_LANES + o % VR_PANEL_LANES) * VR_PANEL_GROUP;
}

static void put(const struct vr_panel_product *p, size_t r, size_t o, float value)
{
    value += p->bias != NULL ? p->bias[o] : 0.0f;
    value += p->add != NULL ? p->add[r][o] : 0.0f;
    value += p->table != NULL && p->table[r] != NULL ? vr_half_to_float(p->table[r][o]) : 0.0f;
    value = p->relu && value < 0.0f ? 0.0f : value; /* NaN stays NaN */
    if (p->y_element == VR_ELEMENT_BF16) {
        ((uint16_t *)p->y)[r * p->y_stride + o] = vr_bf16_from_float(value);
    } else {
        ((float *)p->y)[r * p->y_stride + o] = value;
    }
}

static float dot_f32(const struct vr_panel_product *p, size_t r, size_t o)
{
    float sum = 0.0f;
    for (size_t g = 0; g < p->groups; g++) {
        float x, weight;
        memcpy(&x, x_group(p, r, g), sizeof x);
        memcpy(&weight, weight_group(p, o, g), sizeof weight);
        sum += x * weight;
    }
    return sum;
}

static float dot_bf16(const struct vr_panel_product *p, size_t r, size_t o)
{
    float sum = 0.0f;
    for (size_t g = 0; g < p->groups; g++) {
        uint16_t x[2], weight[2];
        memcpy(x, x_group(p, r, g), sizeof x);
        memcpy(weight, weight_group(p, o, g), sizeof weight);
        for (size_t i = 0; i < 2; i++) {
            sum += vr_bf16_to_float(x[i]) * vr_bf16_to_float(weight[i]);
        }
    }
    return sum;
}

static float dot_i8(const struct vr_panel_product *p, size_t r, size_t o)
{
    int32_t sum = 0;
    for (size_t g = 0; g < p->groups; g++) {
        uint8_t x[4];
        int8_t weight[4];
        memcpy(x, x_group(p, r, g), sizeof x);
        memcpy(weight, weight_group(p, o, g), sizeof weight);
        for (size_t i = 0; i < 4; i++) {
            sum += x[i] * weight[i];
        }
    }
    return (float)(sum - p->x_zero[r] * p->w_sum[o]) * (p->x_scale[r] * p->w_scale[o]);
}

static void each(const struct vr_panel_product *p, float (*dot)(const struct vr_panel_product *, size_t, size_t))
{
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t o = 0; o < p->out; o++) {
            put(p, r, o, dot(p, r, o));
        }
    }
}

static void multiply_f32(const struct vr_panel_product *product)
{
    each(product, dot_f32);
}
static void multiply_bf16(const struct vr_panel_product *product)
{
    each(product, dot_bf16);
}
static void multiply_i8(const struct vr_panel_product *product)
{
    each(product, dot_i8);
}

const struct vr_panel_form vr_panel_f32_plain = {"plain", true, everywhere, vr_panel_take_f32, multiply_f32};
const struct vr_panel_form vr_panel_bf16_plain = {"plain", false, everywhere, take_bf16, multiply_bf16};
const struct vr_panel_form vr_panel_i8_plain = {"plain", false, everywhere, take_i8, multiply_i8};
