/* Answers of the server under load (load_parts.h): as much of HTTP as the generator needs. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "load_parts.h"

#define HEAD_MAX 65536u

/* "HTTP/1.x NNN" */
static bool read_status(const char *data, size_t len, struct load_answer *answer)
{
    if (len < 12 || memcmp(data, "HTTP/1.", 7) != 0 || data[8] != ' ') {
        return false;
    }
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (data[i] < '0' || data[i] > '9') {
            return false;
        }
        status = 10 * status + (data[i] - '0');
    }
    answer->status = status;
    answer->close = data[7] == '0';
    return status >= 200 && (unsigned)status < LOAD_STATUSES;
}

/* The value of a line "Name: value", or NULL when it is another field. */
static const char *field_value(const char *line, const char *end, const char *name)
{
    const size_t len = strlen(name);
    if ((size_t)(end - line) <= len || strncasecmp(line, name, len) != 0 || line[len] != ':') {
        return NULL;
    }
    const char *value = line + len + 1;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    return value;
}

static bool read_length(const char *value, const char *end, size_t *out)
{
    size_t length = 0;
    const char *at = value;
    for (; at < end && *at >= '0' && *at <= '9' && length < (1u << 30); at++) {
        length = 10 * length + (size_t)(*at - '0');
    }
    *out = length;
    return at == end && at > value;
}

/* Head's fields; false: no length, or an odd one. */
static bool read_fields(const char *data, struct load_answer *answer)
{
    const char *end = data + answer->head - 2; /* of the last field line, with its CRLF */
    size_t length = 0;
    bool has_length = answer->status == 204 || answer->status == 304;
    for (const char *line = (const char *)memchr(data, '\n', answer->head) + 1, *next; line < end; line = next) {
        next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        const char *line_end = next - 2, *value = field_value(line, line_end, "content-length");
        if (value != NULL) {
            has_length = read_length(value, line_end, &length);
            if (!has_length) {
                return false;
            }
        }
        value = field_value(line, line_end, "connection");
        if (value != NULL && line_end - value == 5 && strncasecmp(value, "close", 5) == 0) {
            answer->close = true;
        }
    }
    answer->len = answer->head + length;
    return has_length;
}

enum load_outcome load_answer_read(const char *data, size_t len, struct load_answer *answer)
{
    if (answer->head == 0) {
        const char *end = memmem(data, len, "\r\n\r\n", 4);
        if (end == NULL) {
            return len < HEAD_MAX ? LOAD_MORE : LOAD_BAD;
        }
        answer->head = (size_t)(end - data) + 4;
        if (!read_status(data, len, answer) || !read_fields(data, answer)) {
            return LOAD_BAD;
        }
    }
    if (len > answer->len) {
        return LOAD_BAD; /* more than was asked for */
    }
    return len == answer->len ? LOAD_COMPLETE : LOAD_MORE;
}

/* ---- degraded ---- */

static void add(struct load_degraded *degraded, const char *name, size_t len, uint64_t count)
{
    char text[LOAD_REASON_BYTES];
    snprintf(text, sizeof text, "%.*s", (int)(len < sizeof text ? len : sizeof text - 1), name);
    uint32_t at = 0;
    while (at < degraded->names && strcmp(degraded->name[at], text) != 0) {
        at++;
    }
    if (at >= LOAD_REASONS_MAX - 1 && strcmp(text, "other") != 0) {
        add(degraded, "other", 5, count);
        return;
    }
    if (at == degraded->names) {
        memcpy(degraded->name[at], text, sizeof text);
        degraded->names++;
    }
    degraded->count[at] += count;
}

/* Reasons are plain words of the server's own (docs/api.md): no escapes in them. */
void load_degraded_count(struct load_degraded *degraded, const char *body, size_t len)
{
    static const char key[] = "\"degraded\":[";
    const char *end = body + len, *at = memmem(body, len, key, sizeof key - 1);
    if (at == NULL || *(at += sizeof key - 1) != '"') {
        return;
    }
    degraded->answers++;
    while (at < end && *at == '"') {
        const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
        if (close == NULL) {
            return;
        }
        add(degraded, at + 1, (size_t)(close - at - 1), 1);
        at = close + 1 < end && close[1] == ',' ? close + 2 : end;
    }
}

void load_degraded_merge(struct load_degraded *into, const struct load_degraded *from)
{
    into->answers += from->answers;
    for (uint32_t i = 0; i < from->names; i++) {
        add(into, from->name[i], strlen(from->name[i]), from->count[i]);
    }
}
