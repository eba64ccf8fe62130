/* Products of packed rows and packed weights: the inner loop of `linear` on the CPU.
 *
 * Both sides are kept in groups of four bytes, the neighbouring inputs that one lane of a register takes at a time: one
 * float, two bfloat16s or four int8s. Weights are panels of 32 outputs, panel[group][output]; rows are groups side by
 * side. So all elements have one layout, and a kernel broadcasts a group of x against two registers of outputs (or
 * loads 16 groups as a row of a tile). A panel's lanes past the last output and groups past the last input are zeros.
 *
 * Each output is one chain of sums over the groups in their order, wherever its row stands and whatever stands beside
 * it: the same bits alone and in any batch. float32 has one order in all forms with FMA; bfloat16 has an order a form
 * (a tile adds even and odd inputs apart), so a process uses one form for all rows; int8's sums are exact. */
#ifndef VIREO_COMPUTE_PANELS_H
#define VIREO_COMPUTE_PANELS_H

#include <immintrin.h>

#include "vireo/backend.h"

#define VR_PANEL_LANES 32u       /* outputs of a panel */
#define VR_PANEL_GROUP 4u        /* bytes */
#define VR_PANEL_ROWS 512u       /* rows of one call at most */
#define VR_PANEL_IN_MAX 65536u   /* so that int32 sums of int8 do not overflow: 65,536 * 255 * 127 < 2^31 */
#define VR_PANEL_TILE_GROUPS 16u /* groups of bfloat16 and int8 are padded to whole rows of a tile */

/* Where the parts of one packed matrix lie. */
struct vr_panel_shape {
    uint32_t groups, panels;
    size_t panel_bytes;
    size_t scale_at, sum_at; /* int8: float scale[lanes], int32 sum of the codes[lanes], behind the panels */
    size_t bytes;            /* a multiple of 64 */
};
struct vr_panel_shape vr_panel_shape_of(enum vr_element element, uint32_t out, uint32_t in);

/* vr_backend_ops.weights_pack. int8: code = round(weight / scale), scale = the output's largest weight / 127. */
void vr_panel_pack(enum vr_element element, uint32_t out, uint32_t in, const float *from, size_t from_stride, void *to);

/* Rows on their way into a product. */
struct vr_panel_rows {
    uint32_t rows, in, groups;
    const void *from; /* [rows, from_stride] */
    size_t from_stride;
    enum vr_element from_element; /* F32 or BF16 */
    char *to;                     /* [rows], `stride` bytes apart, aligned to 64 */
    size_t stride;
    float *scale;  /* int8: [rows], value = (code - zero) * scale */
    int32_t *zero; /* int8: [rows] */
};

/* Some rows against all panels of a matrix. */
struct vr_panel_product {
    uint32_t rows, groups, out;
    const char *x; /* [rows], `stride` bytes apart */
    size_t stride;
    const float *x_scale;    /* int8 */
    const int32_t *x_zero;   /* int8 */
    const char *weight;      /* panels */
    const float *w_scale;    /* int8: [lanes] */
    const int32_t *w_sum;    /* int8: [lanes] */
    const float *bias;       /* [out], or NULL */
    const float *const *add; /* [rows] rows of [out], or NULL */
    /* [rows] rows of halves [out], each or all of them NULL; anywhere in a table that no cache holds */
    const uint16_t *const *table;
    bool relu;
    void *y; /* [rows, y_stride] */
    size_t y_stride;
    enum vr_element y_element; /* F32 or BF16 */
};

/* How one element is multiplied on some processors. */
struct vr_panel_form {
    const char *name;
    bool quick;         /* quicker than float32 is; plain forms of bfloat16 and int8 are for tests alone */
    bool (*runs)(void); /* on this processor */
    void (*take)(const struct vr_panel_rows *rows);
    void (*multiply)(const struct vr_panel_product *product);
};

/* The forms of an element, best first; the last runs everywhere. None for halves. */
const struct vr_panel_form *const *vr_panel_forms(enum vr_element element, unsigned *count);
/* The best that this processor runs; NULL for halves. */
const struct vr_panel_form *vr_panel_form_choose(enum vr_element element);

extern const struct vr_panel_form vr_panel_f32_avx512, vr_panel_f32_avx2, vr_panel_f32_plain;
extern const struct vr_panel_form vr_panel_bf16_amx, vr_panel_bf16_avx512, vr_panel_bf16_plain;
extern const struct vr_panel_form vr_panel_i8_amx, vr_panel_i8_vnni, vr_panel_i8_plain;

/* panel_plain.c: rows as float32 groups, which all forms of float32 share. */
void vr_panel_take_f32(const struct vr_panel_rows *rows);

/* int8's step and zero point of a row between `least` (at most 0) and `largest` (at least 0), its codes 0 to 255.
 * Without calls of the library, for it is worked out for each row of each layer. */
struct vr_panel_range {
    float scale, inverse; /* NaN and 0 for a row that is not finite */
    int32_t zero;
};
#define VR_PANEL_LEAST_RANGE 1e-30f /* a row with less between its values counts as zeros */
static inline struct vr_panel_range vr_panel_range_of(float least, float largest)
{
    const float range = largest - least;
    if (!(range <= 3e38f)) {
        return (struct vr_panel_range){__builtin_nanf(""), 0.0f, 0};
    }
    if (range < VR_PANEL_LEAST_RANGE) {
        return (struct vr_panel_range){0.0f, 0.0f, 0};
    }
    const float inverse = 255.0f / range;
    return (struct vr_panel_range){range / 255.0f, inverse, _mm_cvtss_si32(_mm_set_ss(-least * inverse))};
}

#endif
