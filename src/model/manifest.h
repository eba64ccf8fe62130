/* Typed reading of bundle.json with messages that name the place and the key. `where` is the place in words, such as
 * "feature 'age'"; "" for the top. All fail with VR_ERR_FORMAT; out is untouched then. Strings are borrowed from the
 * document. */
#ifndef VIREO_MODEL_MANIFEST_H
#define VIREO_MODEL_MANIFEST_H

#include <stdbool.h>

#include "vireo/json.h"

/* `object` must be an object whose keys are all in `allowed`, a space-separated list. */
enum vr_status vr_manifest_keys(struct vr_json_value object, const char *where, const char *allowed);

bool vr_manifest_has(struct vr_json_value object, const char *key);

/* A required member of one type. */
enum vr_status vr_manifest_get(struct vr_json_value object, const char *where, const char *key, enum vr_json_type type,
                               struct vr_json_value *out);
/* An array of min..max elements. */
enum vr_status vr_manifest_array(struct vr_json_value object, const char *where, const char *key, size_t min,
                                 size_t max, struct vr_json_value *out);
/* A string of 1..max bytes. */
enum vr_status vr_manifest_str(struct vr_json_value object, const char *where, const char *key, size_t max,
                               struct vr_str *out);
/* What the names of some tensors begin with: 1..VR_PREFIX_MAX printable ASCII characters without spaces. */
#define VR_PREFIX_MAX 100u
enum vr_status vr_manifest_prefix(struct vr_json_value object, const char *where, const char *key, struct vr_str *out);
/* One of the space-separated `words`; gives its position. */
enum vr_status vr_manifest_word(struct vr_json_value object, const char *where, const char *key, const char *words,
                                uint32_t *out);
enum vr_status vr_manifest_bool(struct vr_json_value object, const char *where, const char *key, bool *out);
enum vr_status vr_manifest_int(struct vr_json_value object, const char *where, const char *key, int64_t min,
                               int64_t max, int64_t *out);
enum vr_status vr_manifest_u32(struct vr_json_value object, const char *where, const char *key, uint32_t min,
                               uint32_t max, uint32_t *out);
/* Finite. */
enum vr_status vr_manifest_double(struct vr_json_value object, const char *where, const char *key, double *out);

#endif
