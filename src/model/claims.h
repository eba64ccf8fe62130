/* Taking the tensors of one file by name, type and shape, with a message for each that is missing or different; in the
 * end, what nobody took is refused, so that a misspelt name cannot go unnoticed. All fail with VR_ERR_FORMAT;
 * string lists also with VR_ERR_NOMEM. What a failed claim gives out is not to be used. */
#ifndef VIREO_MODEL_CLAIMS_H
#define VIREO_MODEL_CLAIMS_H

#include <stdbool.h>

#include "vireo/bundle.h"

struct vr_claims {
    const struct vr_safetensors *file;
    bool *taken; /* [tensors] */
};

struct vr_shape {
    uint32_t rank;
    uint64_t dim[VR_TENSOR_MAX_RANK]; /* VR_DIM_ANY: not fixed */
};
#define VR_DIM_ANY UINT64_MAX
#define VR_SHAPE_1(a) ((struct vr_shape){1, {(a), 0, 0, 0}})
#define VR_SHAPE_2(a, b) ((struct vr_shape){2, {(a), (b), 0, 0}})
#define VR_SHAPE_3(a, b, c) ((struct vr_shape){3, {(a), (b), (c), 0}})

/* `taken` lives in the arena. VR_ERR_NOMEM. */
enum vr_status vr_claims_begin(struct vr_arena *arena, const struct vr_safetensors *file, struct vr_claims *out);

enum vr_status vr_claim_tensor(struct vr_claims *claims, const char *name, enum vr_dtype dtype, struct vr_shape shape,
                               const struct vr_tensor **out);
bool vr_claims_has(const struct vr_claims *claims, const char *name);
void vr_claims_mark(struct vr_claims *claims, const struct vr_tensor *tensor); /* of this file */

/* The data of a tensor of one type, for vectors and matrices. */
enum vr_status vr_claim_f32(struct vr_claims *claims, const char *name, struct vr_shape shape, const float **out);
enum vr_status vr_claim_f64(struct vr_claims *claims, const char *name, struct vr_shape shape, const double **out);
enum vr_status vr_claim_u8(struct vr_claims *claims, const char *name, struct vr_shape shape, const uint8_t **out);

/* I32 of indexes in [low, high). */
enum vr_status vr_claim_index(struct vr_claims *claims, const char *name, struct vr_shape shape, int64_t low,
                              int64_t high, const int32_t **out);

/* Offsets U32 [count + 1] that start at 0, never fall and end at `total`. */
enum vr_status vr_claim_offsets(struct vr_claims *claims, const char *name, uint64_t count, uint64_t total,
                                const uint32_t **out);

struct vr_string_rules {
    uint32_t min_bytes, max_bytes; /* of one string */
    bool unique;
};
extern const struct vr_string_rules vr_id_rules; /* 1-64 bytes, unique */

/* The string list NAME.bytes, NAME.offsets of `count` strings (VR_DIM_ANY: any number below 2^31 - 1), all UTF-8. */
enum vr_status vr_claim_strings(struct vr_claims *claims, const char *name, uint64_t count,
                                struct vr_string_rules rules, struct vr_string_list *out);

/* Every tensor must have been taken. */
enum vr_status vr_claims_end(const struct vr_claims *claims);

#endif
