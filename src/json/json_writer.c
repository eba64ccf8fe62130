/* The writing half of vireo/json.h: values, appended to a growing buffer. A feed is a thousand small pieces, so each
 * piece asks for its room once and then stores bytes. */
#include "vireo/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_number.h"

#define SMALLEST_BUFFER 256u

bool vr_json_grow(struct vr_json_writer *w, size_t more)
{
    if (w->failed) {
        return false;
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
    char *at = vr_json_room(w, len);
    if (at != NULL && len > 0) {
        memcpy(at, bytes, len);
        w->len += len;
    }
}

static void put_value(struct vr_json_writer *w, const char *bytes, size_t len)
{
    char *at = vr_json_room(w, len + 1);
    if (at != NULL) {
        at = vr_json_put_comma(w, at);
        memcpy(at, bytes, len);
        vr_json_end(w, at + len);
    }
    w->need_comma = true;
}

void vr_json_writer_destroy(struct vr_json_writer *w)
{
    free(w->data);
    memset(w, 0, sizeof *w);
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

#define EACH UINT64_C(0x0101010101010101)
#define HIGH (EACH * 0x80)

/* Bit 7 of each byte of `word` that is not plain; a byte behind one that is not may be flagged by mistake. */
static uint64_t not_plain(uint64_t word)
{
    uint64_t quote = word ^ EACH * '"';
    uint64_t backslash = word ^ EACH * '\\';
    return ((word - EACH * 0x20) | (quote - EACH) | (backslash - EACH) | word) & HIGH;
}

static uint64_t word_at(const char *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
    return word;
}

/* The same for 4 bytes, in the lower half. */
static uint64_t half_at(const char *text)
{
    uint32_t half;
    memcpy(&half, text, sizeof half);
    return half | (EACH * ' ' & ~(uint64_t)UINT32_MAX);
}

/* Whether all bytes stand for themselves; the last word overlaps the one before. */
static bool is_plain_text(const char *text, size_t len)
{
    uint64_t bad = 0;
    if (len >= 8) {
        for (size_t at = 0; at + 8 < len; at += 8) {
            bad |= not_plain(word_at(text + at));
        }
        return (bad | not_plain(word_at(text + len - 8))) == 0;
    }
    if (len >= 4) {
        return (not_plain(half_at(text)) | not_plain(half_at(text + len - 4))) == 0;
    }
    bool plain = true;
    for (size_t at = 0; at < len; at++) {
        plain = plain && is_plain((unsigned char)text[at]);
    }
    return plain;
}

/* What a string stands for between its quotes: escaped, and repaired where it is not UTF-8. */
static void put_repaired(struct vr_json_writer *w, struct vr_str value)
{
    const unsigned char *s = (const unsigned char *)value.data;
    size_t done = 0; /* bytes of the value that are written */
    size_t at = 0;
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
    put_bytes(w, value.data + done, at - done);
}

void vr_json_put_str(struct vr_json_writer *w, struct vr_str value)
{
    if (!is_plain_text(value.data, value.len)) {
        put_value(w, "\"", 1);
        put_repaired(w, value);
        put_bytes(w, "\"", 1);
        return;
    }
    char *at = vr_json_room(w, value.len + 3);
    if (at != NULL) {
        at = vr_json_put_comma(w, at);
        *at++ = '"';
        if (value.len > 0) {
            memcpy(at, value.data, value.len);
        }
        at += value.len;
        *at++ = '"';
        vr_json_end(w, at);
    }
    w->need_comma = true;
}

void vr_json_put_text(struct vr_json_writer *w, const char *value)
{
    if (value == NULL) {
        vr_json_put_null(w);
    } else {
        vr_json_put_str(w, vr_str_of(value));
    }
}

/* A number's printer writes into the buffer itself. */
static char *begin_number(struct vr_json_writer *w)
{
    char *at = vr_json_room(w, JSON_NUMBER_BYTES + 1);
    return at != NULL ? vr_json_put_comma(w, at) : NULL;
}

static void end_number(struct vr_json_writer *w, const char *end)
{
    vr_json_end(w, end);
    w->need_comma = true;
}

void vr_json_put_int(struct vr_json_writer *w, int64_t value)
{
    char *at = begin_number(w);
    if (at != NULL) {
        end_number(w, at + json_number_int(at, value));
    }
}

void vr_json_put_uint(struct vr_json_writer *w, uint64_t value)
{
    char *at = begin_number(w);
    if (at != NULL) {
        end_number(w, at + json_number_uint(at, value));
    }
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
    char *at = isfinite(value) ? begin_number(w) : NULL;
    if (at != NULL) {
        end_number(w, at + json_number_float(at, value));
    } else {
        vr_json_put_null(w); /* as well when memory is short, where it does nothing */
    }
}

void vr_json_put_double(struct vr_json_writer *w, double value)
{
    char *at = isfinite(value) ? begin_number(w) : NULL;
    if (at != NULL) {
        end_number(w, at + json_number_double(at, value));
    } else {
        vr_json_put_null(w);
    }
}

void vr_json_put_null(struct vr_json_writer *w)
{
    put_value(w, "null", 4);
}
