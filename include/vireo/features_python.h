/* The C functions of libvireo_features.so that Python calls through ctypes (models/vireo_models/native.py): a feature
 * space from JSON text, transforms over rows, and history values in batches. Only pointers, integers and doubles cross.
 * A failed call leaves its text in vr_error_text(), which is local to the thread. Arrays are row-major. */
#ifndef VIREO_FEATURES_PYTHON_H
#define VIREO_FEATURES_PYTHON_H

#include <stddef.h>
#include <stdint.h>

#include "vireo/features.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_python_space;

/* From the text of a JSON object with tower_dim, content_dim, fields and features; other keys are ignored. `weights` is
 * a safetensors file in memory, or NULL; it is copied. Tables that it lacks are described by "width" (and "rows"). */
enum vr_status vr_python_space_create(const char *json, size_t json_bytes, const void *weights, size_t weight_bytes,
                                      struct vr_python_space **out);
void vr_python_space_destroy(struct vr_python_space *space); /* NULL is accepted */

uint32_t vr_python_field_count(const struct vr_python_space *space, uint32_t entity);
/* The name, NUL-terminated, owned by the space; NULL past the last field. */
const char *vr_python_field_name(const struct vr_python_space *space, uint32_t entity, uint32_t field);

/* Numbers of `rows` strings of a string field: string i is text[offset[i] .. offset[i + 1]]. VR_ERR_INVALID for a field
 * that holds numbers. code [rows]. */
enum vr_status vr_python_codes(const struct vr_python_space *space, uint32_t entity, uint32_t field, size_t rows,
                               const char *text, const uint64_t *offset, double *code);

/* A block of the features that `names`, the text of a JSON array, lists; those of other entities are left out. The
 * space must outlive it. */
struct vr_python_block;
enum vr_status vr_python_block_create(const struct vr_python_space *space, uint32_t entity, const char *names,
                                      size_t names_bytes, struct vr_python_block **out);
void vr_python_block_destroy(struct vr_python_block *block); /* NULL is accepted */

/* shape: features, dense columns, index columns, floats of a row. */
void vr_python_block_shape(const struct vr_python_block *block, uint32_t shape[4]);
/* layout of feature i: enum vr_column_kind, offset, width, slot, enum vr_vector. The name is owned by the space. */
const char *vr_python_block_column(const struct vr_python_block *block, uint32_t i, uint32_t layout[5]);

/* raw [rows, fields] -> dense [rows, dense columns], index [rows, index columns]. */
void vr_python_transform(const struct vr_python_block *block, size_t rows, const double *raw, float *dense,
                         int32_t *index);

/* Recent watches of `rows` viewers as arrays [rows, VR_RECENT_MAX], oldest first; the first count[i] of a row are real.
 * VR_ERR_INVALID when a count is not in 0 .. VR_RECENT_MAX. */
enum vr_status vr_python_history_weights(size_t rows, const int32_t *video, const uint32_t *flags, const int32_t *count,
                                         float *weight);
/* age_s, watch_s NaN unknown; out [rows, VR_RECENT_FIELDS]: recent_n and all viewer fields that follow it */
enum vr_status vr_python_history_fields(size_t rows, const float *age_s, const float *watch_s, const uint32_t *flags,
                                        const int32_t *count, double *out);
/* topic, creator [videos]; candidate [rows]; out [rows, 5]: topic_n, topic_long, creator_n, creator_long, watched_n.
 * VR_ERR_INVALID as well for a video past `videos`. */
enum vr_status vr_python_history_matches(size_t rows, const int32_t *video, const uint32_t *flags, const int32_t *count,
                                         size_t videos, const int32_t *topic, const int32_t *creator,
                                         const int32_t *candidate, double *out);

/* out [rows, 2]: hour, weekday */
void vr_python_time_fields(size_t rows, const int64_t *now_ms, int32_t utc_offset_min, double *out);
void vr_python_age_hours(size_t rows, const int64_t *now_ms, const int64_t *upload_ms, double *out);

/* Opens and checks a bundle as the server does, but for the golden outputs, and closes it again. */
enum vr_status vr_python_bundle_check(const char *folder);

/* Satisfaction terms over rows: names and expressions as NUL-terminated texts [count]; heads [rows, 4], duration_s
 * [rows] -> value [rows, count], score [rows], and whether every term is linear. For tests against NumPy. */
enum vr_status vr_python_terms(uint32_t count, const char *const *name, const char *const *expression, size_t rows,
                               const float *heads, const float *duration_s, float *value, float *score, int *linear);

#ifdef __cplusplus
}
#endif
#endif
