/* The writer of answer.h. Each answer passes here, so it copies pieces; printf would take as long as the rest of the
 * front for a request. */
#include "answer.h"

#include <string.h>

#include "problem.h"

static char *put(char *at, const char *text)
{
    while (*text != '\0') {
        *at++ = *text++;
    }
    return at;
}

static char *put_number(char *at, size_t value)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(at, digits + first, sizeof digits - first);
    return at + sizeof digits - first;
}

static char *put_field(char *at, const char *name, const char *value)
{
    at = put(at, name);
    at = put(at, value);
    return put(at, "\r\n");
}

size_t vr_answer_write_head(const struct vr_answer_head *head, char out[VR_ANSWER_HEAD_BYTES])
{
    char *at = put(out, "HTTP/1.1 ");
    at = put_number(at, (size_t)head->status);
    at = put_field(at, " ", vr_problem_phrase(head->status));
    at = put_field(at, "Date: ", head->date);
    at = put_field(at, "Content-Type: ", head->media_type);
    at = put(at, "Content-Length: ");
    at = put_number(at, head->body_bytes);
    at = put(at, "\r\nCache-Control: no-store\r\n");
    if (head->allow != NULL) {
        at = put_field(at, "Allow: ", head->allow);
    }
    if (head->retry_after_s > 0) {
        at = put(at, "Retry-After: ");
        at = put_number(at, head->retry_after_s);
        at = put(at, "\r\n");
    }
    if (head->close) {
        at = put(at, "Connection: close\r\n");
    }
    at = put(at, "\r\n");
    return (size_t)(at - out);
}
