/* Status names and the thread's error text. The text lives in a thread-local buffer, so a failure allocates nothing
 * and one thread's failure never changes another's text. */
#include "vireo/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES 512u /* with the NUL */

static _Thread_local char error_text[TEXT_BYTES];

static const char *const names[] = {
    [VR_OK] = "ok",
    [VR_ERR_NOMEM] = "no_memory",
    [VR_ERR_INVALID] = "invalid",
    [VR_ERR_FORMAT] = "format",
    [VR_ERR_CHECKSUM] = "checksum",
    [VR_ERR_UNSUPPORTED] = "unsupported",
    [VR_ERR_NOT_FOUND] = "not_found",
    [VR_ERR_IO] = "io",
    [VR_ERR_BUSY] = "busy",
    [VR_ERR_TIMEOUT] = "timeout",
    [VR_ERR_CLOSED] = "closed",
    [VR_ERR_TOO_LARGE] = "too_large",
    [VR_ERR_BACKEND] = "backend",
    [VR_ERR_DEVICE_LOST] = "device_lost",
};

const char *vr_status_name(enum vr_status status)
{
    size_t index = (size_t)status;
    return index < sizeof names / sizeof names[0] ? names[index] : "unknown";
}

/* The new text is built beside the old one, because an argument may point into it (vr_error_text()). */
enum vr_status vr_fail(enum vr_status status, const char *format, ...)
{
    char text[TEXT_BYTES] = "";
    va_list args;
    va_start(args, format);
    int written = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (written < 0) {
        text[0] = '\0';
    }
    memcpy(error_text, text, sizeof error_text);
    return status;
}

enum vr_status vr_fail_in(enum vr_status status, const char *format, ...)
{
    char context[TEXT_BYTES];
    char text[2 * TEXT_BYTES + 2] = "";
    va_list args;
    va_start(args, format);
    int written = vsnprintf(context, sizeof context, format, args);
    va_end(args);
    if (written < 0) {
        context[0] = '\0';
    }
    snprintf(text, sizeof text, "%s: %s", context, error_text);
    memcpy(error_text, text, TEXT_BYTES - 1);
    error_text[TEXT_BYTES - 1] = '\0';
    return status;
}

const char *vr_error_text(void)
{
    return error_text;
}
