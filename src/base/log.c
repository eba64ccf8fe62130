/* The logfmt log of vireo/log.h. A line is composed on the stack and leaves with one write(2), so that lines of
 * several threads do not mix and nothing is allocated. */
#include "vireo/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vireo/clock.h"

#define LINE_BYTES 2048u /* with the line feed */

static enum vr_log_level threshold = VR_LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void vr_log_set_level(enum vr_log_level level)
{
    threshold = level;
}

/* `ts=... level=... event=...`; returns its length. */
static size_t put_head(char *line, size_t size, enum vr_log_level level, const char *event)
{
    int64_t now_ms = vr_clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    int len =
        snprintf(line, size, "ts=%s.%03dZ level=%s event=%s", stamp, (int)(now_ms % 1000), level_names[level], event);
    if (len < 0) {
        return 0;
    }
    return (size_t)len < size ? (size_t)len : size - 1;
}

/* Append `text` with control bytes escaped, as far as whole characters of it fit; returns the new length. */
static size_t put_escaped(char *line, size_t len, size_t size, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        char piece[8];
        int wide;
        if (byte == '\n') {
            wide = snprintf(piece, sizeof piece, "\\n");
        } else if (byte < 0x20 || byte == 0x7f) {
            wide = snprintf(piece, sizeof piece, "\\x%02x", byte);
        } else {
            wide = snprintf(piece, sizeof piece, "%c", byte);
        }
        if (wide < 0 || (size_t)wide > size - len) {
            break;
        }
        memcpy(line + len, piece, (size_t)wide);
        len += (size_t)wide;
    }
    return len;
}

static void put_line(const char *line, size_t len)
{
    ssize_t written;
    do {
        written = write(STDERR_FILENO, line, len);
    } while (written < 0 && errno == EINTR);
}

void vr_log(enum vr_log_level level, const char *event, const char *format, ...)
{
    if (level < threshold) {
        return;
    }
    char pairs[LINE_BYTES];
    va_list args;
    va_start(args, format);
    int wide = vsnprintf(pairs, sizeof pairs, format, args);
    va_end(args);

    char line[LINE_BYTES];
    size_t len = put_head(line, sizeof line - 1, level, event);
    if (wide > 0 && len < sizeof line - 1) {
        line[len++] = ' ';
        len = put_escaped(line, len, sizeof line - 1, pairs);
    }
    line[len++] = '\n';
    put_line(line, len);
}
