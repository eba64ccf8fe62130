/* The writing half of vireo/json.h: appends text to a growing buffer. Commas are placed by one flag: a value or a
 * closing bracket asks for one before whatever comes next, a key or an opening bracket does not. */
#include "vireo/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_number.h"

#define SMALLEST_BUFFER 256u

/* Room for `more` bytes behind len; false (and `failed`) when memory is short. */
static bool reserve(struct vr_json_writer *w, size_t more)
{
    if (w->failed) {
        return false;
    }
    if (more <= w->capacity - w->len) {
        return true;
    }
    size_t capacity = w->capacity < SMALLEST_BUFFER ? SMALLEST_BUFFER : w->capacity;
    while (capacity - w->len < more && capacity <= SIZE_MAX / 2) {
        capacity *= 2;
    }
    char *data = capacity - w->len < more ? NULL : realloc(w->data, capacity);
    if (data == NULL) {
        w->failed = true;
        return false;
    }
    w->data = data;
    w->capacity = capacity;
    return true;
}

static void put_bytes(struct vr_json_writer *w, const char *bytes, size_t len)
{
    if (len > 0 && reserve(w, len)) {
        memcpy(w->data + w->len, bytes, len);
        w->len += len;
    }
}

/* What comes before a value or key: the comma, unless it is the first. A reused writer starts with len 0. */
static void put_separator(struct vr_json_writer *w)
{
    if (w->need_comma && w->len > 0) {
        put_bytes(w, ",", 1);
    }
    w->need_comma = true;
}

static void put_value(struct vr_json_writer *w, const char *bytes, size_t len)
{
    put_separator(w);
    put_bytes(w, bytes, len);
}

void vr_json_writer_destroy(struct vr_json_writer *w)
{
    free(w->data);
    memset(w, 0, sizeof *w);
}

static void open_bracket(struct vr_json_writer *w, const char *bracket)
{
    put_value(w, bracket, 1);
    w->need_comma = false;
}

static void close_bracket(struct vr_json_writer *w, const char *bracket)
{
    put_bytes(w, bracket, 1);
    w->need_comma = true;
}

void vr_json_open_object(struct vr_json_writer *w)
{
    open_bracket(w, "{");
}

void vr_json_close_object(struct vr_json_writer *w)
{
    close_bracket(w, "}");
}

void vr_json_open_array(struct vr_json_writer *w)
{
    open_bracket(w, "[");
}

void vr_json_close_array(struct vr_json_writer *w)
{
    close_bracket(w, "]");
}

void vr_json_key(struct vr_json_writer *w, const char *key)
{
    put_separator(w);
    put_bytes(w, "\"", 1);
    put_bytes(w, key, strlen(key));
    put_bytes(w, "\":", 2);
    w->need_comma = false;
}

/* Bytes of the UTF-8 character at `s` (1 to 4), or 0 when there is none: table 3-7 of the Unicode standard. */
static size_t character_bytes(const unsigned char *s, size_t left)
{
    unsigned char lead = s[0];
    if (lead < 0x80) {
        return 1;
    }
    size_t len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || len > left) {
        return 0;
    }
    unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

/* An ASCII byte that a string may not hold as it is. */
static void put_escape(struct vr_json_writer *w, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    const char *code = "\"\\\b\f\n\r\t";
    const char *found = byte == 0 ? NULL : strchr(code, byte);
    if (found == NULL) {
        put_bytes(w, text, sizeof text);
        return;
    }
    text[1] = "\"\\bfnrt"[found - code];
    put_bytes(w, text, 2);
}

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

void vr_json_put_str(struct vr_json_writer *w, struct vr_str value)
{
    const unsigned char *s = (const unsigned char *)value.data;
    size_t done = 0; /* bytes of the value that are written */
    size_t at = 0;
    put_value(w, "\"", 1);
    while (at < value.len) {
        size_t len = is_plain(s[at]) ? 1 : s[at] < 0x80 ? 0 : character_bytes(s + at, value.len - at);
        if (len > 0) {
            at += len;
            continue;
        }
        put_bytes(w, value.data + done, at - done);
        if (s[at] < 0x80) {
            put_escape(w, s[at]);
        } else {
            put_bytes(w, "\xef\xbf\xbd", 3);
        }
        done = ++at;
    }
    if (at > done) {
        put_bytes(w, value.data + done, at - done);
    }
    put_bytes(w, "\"", 1);
}

void vr_json_put_text(struct vr_json_writer *w, const char *value)
{
    if (value == NULL) {
        vr_json_put_null(w);
    } else {
        vr_json_put_str(w, vr_str_of(value));
    }
}

void vr_json_put_int(struct vr_json_writer *w, int64_t value)
{
    char text[JSON_NUMBER_BYTES];
    put_value(w, text, json_number_int(text, value));
}

void vr_json_put_uint(struct vr_json_writer *w, uint64_t value)
{
    char text[JSON_NUMBER_BYTES];
    put_value(w, text, json_number_uint(text, value));
}

void vr_json_put_bool(struct vr_json_writer *w, bool value)
{
    if (value) {
        put_value(w, "true", 4);
    } else {
        put_value(w, "false", 5);
    }
}

void vr_json_put_float(struct vr_json_writer *w, float value)
{
    char text[JSON_NUMBER_BYTES];
    if (isfinite(value)) {
        put_value(w, text, json_number_float(text, value));
    } else {
        vr_json_put_null(w);
    }
}

void vr_json_put_double(struct vr_json_writer *w, double value)
{
    char text[JSON_NUMBER_BYTES];
    if (isfinite(value)) {
        put_value(w, text, json_number_double(text, value));
    } else {
        vr_json_put_null(w);
    }
}

void vr_json_put_null(struct vr_json_writer *w)
{
    put_value(w, "null", 4);
}
