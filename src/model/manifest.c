/* Typed reading of bundle.json; see manifest.h. */
#include "manifest.h"

#include <math.h>

#include "text.h"

static const char *separator(const char *where)
{
    return where[0] == '\0' ? "" : ": ";
}

/* Position of `word` in a space-separated list, or -1. */
static int position(const char *list, struct vr_str word)
{
    for (int i = 0; *list != '\0'; i++) {
        size_t len = strcspn(list, " ");
        struct vr_str at = {list, len};
        if (vr_str_equal(at, word)) {
            return i;
        }
        list += len + (list[len] == ' ');
    }
    return -1;
}

enum vr_status vr_manifest_keys(struct vr_json_value object, const char *where, const char *allowed)
{
    if (vr_json_type_of(object) != VR_JSON_OBJECT) {
        return vr_fail(VR_ERR_FORMAT, "%s%smust be an object, not %s", where, separator(where),
                       vr_json_type_name(vr_json_type_of(object)));
    }
    struct vr_str key = {NULL, 0};
    struct vr_json_value value = {NULL, 0};
    for (struct vr_json_iter it = vr_json_begin(object); vr_json_next(&it, &key, &value);) {
        if (position(allowed, key) < 0) {
            return vr_fail(VR_ERR_FORMAT, "%s%sunknown key '%s'", where, separator(where), vr_show(key).text);
        }
    }
    return VR_OK;
}

bool vr_manifest_has(struct vr_json_value object, const char *key)
{
    struct vr_json_value value = {NULL, 0};
    struct vr_str name = vr_str_of(key), at;
    for (struct vr_json_iter it = vr_json_begin(object); vr_json_next(&it, &at, &value);) {
        if (vr_str_equal(at, name)) {
            return true;
        }
    }
    return false;
}

enum vr_status vr_manifest_get(struct vr_json_value object, const char *where, const char *key, enum vr_json_type type,
                               struct vr_json_value *out)
{
    if (!vr_manifest_has(object, key)) {
        return vr_fail(VR_ERR_FORMAT, "%s%skey '%s' is missing", where, separator(where), key);
    }
    struct vr_json_value value = {NULL, 0};
    enum vr_status status = vr_json_get(object, key, &value);
    if (status != VR_OK) {
        return status;
    }
    enum vr_json_type found = vr_json_type_of(value);
    if (found != type && !(type == VR_JSON_DOUBLE && found == VR_JSON_INT)) {
        return vr_fail(VR_ERR_FORMAT, "%s%s'%s' must be %s, not %s", where, separator(where), key,
                       vr_json_type_name(type), vr_json_type_name(found));
    }
    *out = value;
    return VR_OK;
}

enum vr_status vr_manifest_array(struct vr_json_value object, const char *where, const char *key, size_t min,
                                 size_t max, struct vr_json_value *out)
{
    struct vr_json_value value = {NULL, 0};
    enum vr_status status = vr_manifest_get(object, where, key, VR_JSON_ARRAY, &value);
    if (status != VR_OK) {
        return status;
    }
    size_t count = vr_json_count(value);
    if (count < min || count > max) {
        return vr_fail(VR_ERR_FORMAT, "%s%s'%s' must have %zu to %zu elements, not %zu", where, separator(where), key,
                       min, max, count);
    }
    *out = value;
    return VR_OK;
}

enum vr_status vr_manifest_str(struct vr_json_value object, const char *where, const char *key, size_t max,
                               struct vr_str *out)
{
    struct vr_json_value value = {NULL, 0};
    struct vr_str text = {NULL, 0};
    enum vr_status status = vr_manifest_get(object, where, key, VR_JSON_STRING, &value);
    if (status == VR_OK) {
        status = vr_json_as_str(value, &text);
    }
    if (status != VR_OK) {
        return status;
    }
    if (text.len == 0 || text.len > max) {
        return vr_fail(VR_ERR_FORMAT, "%s%s'%s' must have 1 to %zu bytes, not %zu", where, separator(where), key, max,
                       text.len);
    }
    *out = text;
    return VR_OK;
}

enum vr_status vr_manifest_prefix(struct vr_json_value object, const char *where, const char *key, struct vr_str *out)
{
    struct vr_str text = {NULL, 0};
    enum vr_status status = vr_manifest_str(object, where, key, VR_PREFIX_MAX, &text);
    if (status != VR_OK) {
        return status;
    }
    if (!vr_text_is_printable(text)) {
        return vr_fail(VR_ERR_FORMAT, "%s%s'%s' is '%s', not the name of a tensor", where, separator(where), key,
                       vr_show(text).text);
    }
    *out = text;
    return VR_OK;
}

enum vr_status vr_manifest_word(struct vr_json_value object, const char *where, const char *key, const char *words,
                                uint32_t *out)
{
    struct vr_str text = {NULL, 0};
    enum vr_status status = vr_manifest_str(object, where, key, 64, &text);
    if (status != VR_OK) {
        return status;
    }
    int at = position(words, text);
    if (at < 0) {
        return vr_fail(VR_ERR_FORMAT, "%s%s'%s' is '%s', not one of: %s", where, separator(where), key,
                       vr_show(text).text, words);
    }
    *out = (uint32_t)at;
    return VR_OK;
}

enum vr_status vr_manifest_bool(struct vr_json_value object, const char *where, const char *key, bool *out)
{
    struct vr_json_value value = {NULL, 0};
    enum vr_status status = vr_manifest_get(object, where, key, VR_JSON_BOOL, &value);
    return status == VR_OK ? vr_json_as_bool(value, out) : status;
}

enum vr_status vr_manifest_int(struct vr_json_value object, const char *where, const char *key, int64_t min,
                               int64_t max, int64_t *out)
{
    struct vr_json_value value = {NULL, 0};
    int64_t number = 0;
    enum vr_status status = vr_manifest_get(object, where, key, VR_JSON_INT, &value);
    if (status == VR_OK) {
        status = vr_json_as_int(value, &number);
    }
    if (status != VR_OK) {
        return status;
    }
    if (number < min || number > max) {
        return vr_fail(VR_ERR_FORMAT, "%s%s'%s' is %lld, outside %lld to %lld", where, separator(where), key,
                       (long long)number, (long long)min, (long long)max);
    }
    *out = number;
    return VR_OK;
}

enum vr_status vr_manifest_u32(struct vr_json_value object, const char *where, const char *key, uint32_t min,
                               uint32_t max, uint32_t *out)
{
    int64_t number = 0;
    enum vr_status status = vr_manifest_int(object, where, key, min, max, &number);
    if (status == VR_OK) {
        *out = (uint32_t)number;
    }
    return status;
}

enum vr_status vr_manifest_double(struct vr_json_value object, const char *where, const char *key, double *out)
{
    struct vr_json_value value = {NULL, 0};
    double number = 0;
    enum vr_status status = vr_manifest_get(object, where, key, VR_JSON_DOUBLE, &value);
    if (status == VR_OK) {
        status = vr_json_as_double(value, &number);
    }
    if (status != VR_OK) {
        return status;
    }
    if (!isfinite(number)) {
        return vr_fail(VR_ERR_FORMAT, "%s%s'%s' must be finite", where, separator(where), key);
    }
    *out = number;
    return VR_OK;
}
