/* Packed weights (panels.h), and which form a processor multiplies them in. */
#include "panels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "vireo/half.h"

/* ---- the layout ---- */

static uint32_t per_group(enum vr_element element)
{
    return VR_PANEL_GROUP / (uint32_t)vr_element_bytes(element);
}

struct vr_panel_shape vr_panel_shape_of(enum vr_element element, uint32_t out, uint32_t in)
{
    const uint32_t inputs = per_group(element);
    struct vr_panel_shape shape = {.groups = in / inputs + (in % inputs != 0)};
    if (element != VR_ELEMENT_F32) {
        shape.groups = (shape.groups + VR_PANEL_TILE_GROUPS - 1) / VR_PANEL_TILE_GROUPS * VR_PANEL_TILE_GROUPS;
    }
    shape.panels = (out + VR_PANEL_LANES - 1) / VR_PANEL_LANES;
    shape.panel_bytes = (size_t)shape.groups * VR_PANEL_LANES * VR_PANEL_GROUP;
    shape.scale_at = shape.panels * shape.panel_bytes;
    const size_t lanes = (size_t)shape.panels * VR_PANEL_LANES;
    shape.sum_at = shape.scale_at + lanes * sizeof(float);
    shape.bytes = element == VR_ELEMENT_I8 ? shape.sum_at + lanes * sizeof(int32_t) : shape.scale_at;
    return shape;
}

/* ---- packing ---- */

static void pack_f32(const float *row, uint32_t in, char *lane)
{
    for (size_t i = 0; i < in; i++) {
        memcpy(lane + i * VR_PANEL_LANES * VR_PANEL_GROUP, &row[i], sizeof(float));
    }
}

static void pack_bf16(const float *row, uint32_t in, char *lane)
{
    for (size_t i = 0; i < in; i++) {
        const uint16_t value = vr_bf16_from_float(row[i]);
        memcpy(lane + i / 2 * VR_PANEL_LANES * VR_PANEL_GROUP + i % 2 * sizeof value, &value, sizeof value);
    }
}

static void pack_i8(const float *row, uint32_t in, char *lane, float *scale, int32_t *sum)
{
    float largest = 0.0f;
    for (size_t i = 0; i < in; i++) {
        largest = fmaxf(largest, fabsf(row[i]));
    }
    *scale = largest / 127.0f;
    for (size_t i = 0; i < in; i++) {
        const long code = largest > 0.0f ? lrintf(row[i] / largest * 127.0f) : 0;
        lane[i / 4 * VR_PANEL_LANES * VR_PANEL_GROUP + i % 4] = (char)code;
        *sum += (int32_t)code;
    }
}

void vr_panel_pack(enum vr_element element, uint32_t out, uint32_t in, const float *from, size_t from_stride, void *to)
{
    const struct vr_panel_shape shape = vr_panel_shape_of(element, out, in);
    char *bytes = to;
    memset(bytes, 0, shape.bytes);
    for (size_t o = 0; o < out; o++) {
        char *lane = bytes + o / VR_PANEL_LANES * shape.panel_bytes + o % VR_PANEL_LANES * VR_PANEL_GROUP;
        const float *row = from + o * from_stride;
        switch (element) {
        case VR_ELEMENT_F32: pack_f32(row, in, lane); break;
        case VR_ELEMENT_BF16: pack_bf16(row, in, lane); break;
        case VR_ELEMENT_I8:
            pack_i8(row, in, lane, (float *)(void *)(bytes + shape.scale_at) + o,
                    (int32_t *)(void *)(bytes + shape.sum_at) + o);
            break;
        case VR_ELEMENT_F16: break; /* has no panels */
        }
    }
}

/* ---- forms ---- */

static const struct vr_panel_form *const f32_forms[] = {&vr_panel_f32_avx512, &vr_panel_f32_avx2, &vr_panel_f32_plain};
static const struct vr_panel_form *const bf16_forms[] = {&vr_panel_bf16_amx, &vr_panel_bf16_avx512,
                                                         &vr_panel_bf16_plain};
static const struct vr_panel_form *const i8_forms[] = {&vr_panel_i8_amx, &vr_panel_i8_vnni, &vr_panel_i8_plain};

const struct vr_panel_form *const *vr_panel_forms(enum vr_element element, unsigned *count)
{
    *count = 3;
    switch (element) {
    case VR_ELEMENT_F32: return f32_forms;
    case VR_ELEMENT_BF16: return bf16_forms;
    case VR_ELEMENT_I8: return i8_forms;
    case VR_ELEMENT_F16: break;
    }
    *count = 0;
    return NULL;
}

const struct vr_panel_form *vr_panel_form_choose(enum vr_element element)
{
    unsigned count = 0;
    const struct vr_panel_form *const *form = vr_panel_forms(element, &count);
    for (unsigned i = 0; i < count; i++) {
        if (form[i]->runs()) {
            return form[i];
        }
    }
    return NULL;
}

/* Filled once, before threads start. */
const char *vr_backend_cpu_forms(void)
{
    static char text[128];
    snprintf(text, sizeof text, "fp32 %s, bf16 %s, int8 %s", vr_panel_form_choose(VR_ELEMENT_F32)->name,
             vr_panel_form_choose(VR_ELEMENT_BF16)->name, vr_panel_form_choose(VR_ELEMENT_I8)->name);
    return text;
}
