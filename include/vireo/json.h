/* JSON in and out. Reading goes through simdjson behind a C shim; writing is our own.
 * Only src/model (bundle.json, safetensors headers), src/server (requests, answers) and src/bench (results) use this
 * room. */
#ifndef VIREO_JSON_H
#define VIREO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vireo/arena.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reading ---- */

struct vr_json; /* parser and its latest document; reusable, one thread at a time */

enum vr_json_type {
    VR_JSON_NULL = 0,
    VR_JSON_BOOL,
    VR_JSON_INT,    /* fits int64_t */
    VR_JSON_DOUBLE, /* any other number; integers of 2^64 and more and doubles past the range are refused */
    VR_JSON_STRING,
    VR_JSON_ARRAY,
    VR_JSON_OBJECT,
};

/* A value inside the latest document; valid until the next parse or destroy. Copy it freely. */
struct vr_json_value {
    const void *document;
    size_t index;
};

/* Position inside an array or object. */
struct vr_json_iter {
    const void *document;
    size_t index;
    size_t end;
    bool is_object;
};

/* Documents larger than max_bytes or deeper than max_depth are refused. VR_ERR_NOMEM. */
enum vr_status vr_json_create(size_t max_bytes, size_t max_depth, struct vr_json **out);

/* Parse one complete document (strict UTF-8 JSON, nothing but white space behind it; an object that names a key
 * twice is refused). The input is copied. VR_ERR_FORMAT with a text that says what is wrong, VR_ERR_TOO_LARGE
 * (bytes or depth), VR_ERR_NOMEM. After warm-up nothing is allocated. */
enum vr_status vr_json_parse(struct vr_json *json, const char *data, size_t len, struct vr_json_value *root);

enum vr_json_type vr_json_type_of(struct vr_json_value value);
const char *vr_json_type_name(enum vr_json_type type);

/* VR_ERR_NOT_FOUND when `object` (an object) has no such key. */
enum vr_status vr_json_get(struct vr_json_value object, const char *key, struct vr_json_value *out);

/* Typed access; VR_ERR_FORMAT when the value has another type or does not fit. A double reads an int as well. */
enum vr_status vr_json_as_bool(struct vr_json_value value, bool *out);
enum vr_status vr_json_as_int(struct vr_json_value value, int64_t *out);
enum vr_status vr_json_as_double(struct vr_json_value value, double *out);
enum vr_status vr_json_as_str(struct vr_json_value value, struct vr_str *out); /* borrowed from the document */

/* Elements of an array or members of an object; 0 for other types. */
size_t vr_json_count(struct vr_json_value value);

/* Iterate: `for (it = vr_json_begin(v); vr_json_next(&it, &key, &value);)`. For arrays `key` is set empty; it may be
 * NULL. Other types iterate over nothing. */
struct vr_json_iter vr_json_begin(struct vr_json_value value);
bool vr_json_next(struct vr_json_iter *iter, struct vr_str *key, struct vr_json_value *value);

void vr_json_destroy(struct vr_json *json);

/* ---- writing ---- */

/* Appends to a buffer that grows by doubling and is reused between answers (reset len to 0). A failed growth sets
 * `failed`; later writes are no-ops and the caller checks once at the end. */
struct vr_json_writer {
    char *data;
    size_t len, capacity;
    bool failed;
    bool need_comma; /* internal */
};

void vr_json_writer_destroy(struct vr_json_writer *w); /* frees data; the struct itself is the caller's */

/* Brackets and keys are here so that keys that are literals are stored, not copied. Commas are placed by one flag: a
 * value or a closing bracket asks for one before whatever comes next, a key or an opening bracket does not. */

/* internal: more capacity, by doubling; false (and `failed`) when memory is short */
bool vr_json_grow(struct vr_json_writer *w, size_t more);

/* internal: where `more` bytes may be written; NULL when memory is or was short */
static inline char *vr_json_room(struct vr_json_writer *w, size_t more)
{
    bool there = !w->failed && more <= w->capacity - w->len;
    return there || vr_json_grow(w, more) ? w->data + w->len : NULL;
}

/* internal: the comma before a value or key, unless it is the first. A reused writer starts with len 0. */
static inline char *vr_json_put_comma(const struct vr_json_writer *w, char *at)
{
    *at = ',';
    return at + (w->need_comma && w->len > 0 ? 1 : 0);
}

/* internal: what was written into the room ends here */
static inline void vr_json_end(struct vr_json_writer *w, const char *end)
{
    w->len = (size_t)(end - w->data);
}

/* internal */
static inline void vr_json_open(struct vr_json_writer *w, char bracket)
{
    char *at = vr_json_room(w, 2);
    if (at != NULL) {
        at = vr_json_put_comma(w, at);
        *at = bracket;
        vr_json_end(w, at + 1);
    }
    w->need_comma = false;
}

/* internal */
static inline void vr_json_close(struct vr_json_writer *w, char bracket)
{
    char *at = vr_json_room(w, 1);
    if (at != NULL) {
        *at = bracket;
        vr_json_end(w, at + 1);
    }
    w->need_comma = true;
}

static inline void vr_json_open_object(struct vr_json_writer *w)
{
    vr_json_open(w, '{');
}

static inline void vr_json_close_object(struct vr_json_writer *w)
{
    vr_json_close(w, '}');
}

static inline void vr_json_open_array(struct vr_json_writer *w)
{
    vr_json_open(w, '[');
}

static inline void vr_json_close_array(struct vr_json_writer *w)
{
    vr_json_close(w, ']');
}

/* `key` is an ASCII identifier, not escaped. */
static inline void vr_json_key(struct vr_json_writer *w, const char *key)
{
    size_t len = strlen(key);
    char *at = vr_json_room(w, len + 4);
    if (at != NULL) {
        at = vr_json_put_comma(w, at);
        *at++ = '"';
        memcpy(at, key, len); /* NOLINT(bugprone-not-null-terminated-result): nothing here ends with a NUL */
        at += len;
        *at++ = '"';
        *at++ = ':';
        vr_json_end(w, at);
    }
    w->need_comma = false;
}

/* Strings are escaped; bytes that are not UTF-8 are written as U+FFFD. */
void vr_json_put_str(struct vr_json_writer *w, struct vr_str value);
void vr_json_put_text(struct vr_json_writer *w, const char *value); /* NUL-terminated; NULL gives null */
void vr_json_put_int(struct vr_json_writer *w, int64_t value);
void vr_json_put_uint(struct vr_json_writer *w, uint64_t value);
void vr_json_put_bool(struct vr_json_writer *w, bool value);
/* At least 7 significant digits, shortest form; not finite gives null. */
void vr_json_put_float(struct vr_json_writer *w, float value);
/* Reads back to the same double; not finite gives null. */
void vr_json_put_double(struct vr_json_writer *w, double value);
void vr_json_put_null(struct vr_json_writer *w);

#ifdef __cplusplus
}
#endif
#endif
