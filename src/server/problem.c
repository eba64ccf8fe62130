/* The tables of problem.h. */
#include "problem.h"

#include <stddef.h>

static const struct {
    enum vr_status status;
    int http;
} status_table[] = {
    {VR_OK, 200},           {VR_ERR_NOMEM, 503},       {VR_ERR_INVALID, 400},   {VR_ERR_FORMAT, 400},
    {VR_ERR_CHECKSUM, 500}, {VR_ERR_UNSUPPORTED, 501}, {VR_ERR_NOT_FOUND, 404}, {VR_ERR_IO, 500},
    {VR_ERR_BUSY, 503},     {VR_ERR_TIMEOUT, 504},     {VR_ERR_CLOSED, 503},    {VR_ERR_TOO_LARGE, 413},
    {VR_ERR_BACKEND, 500},  {VR_ERR_DEVICE_LOST, 500},
};

static const struct {
    int http;
    const char *phrase, *code;
} http_table[] = {
    {200, "OK", "ok"},
    {202, "Accepted", "accepted"},
    {400, "Bad Request", "bad_request"},
    {404, "Not Found", "not_found"},
    {405, "Method Not Allowed", "method_not_allowed"},
    {408, "Request Timeout", "request_timeout"},
    {409, "Conflict", "conflict"},
    {411, "Length Required", "length_required"},
    {413, "Content Too Large", "too_large"},
    {414, "URI Too Long", "uri_too_long"},
    {415, "Unsupported Media Type", "unsupported_media_type"},
    {417, "Expectation Failed", "expectation_failed"},
    {422, "Unprocessable Content", "unprocessable"},
    {431, "Request Header Fields Too Large", "head_too_large"},
    {500, "Internal Server Error", "internal"},
    {501, "Not Implemented", "not_implemented"},
    {503, "Service Unavailable", "unavailable"},
    {504, "Gateway Timeout", "timeout"},
    {505, "HTTP Version Not Supported", "version_not_supported"},
};

int vr_problem_http_status(enum vr_status status)
{
    for (size_t i = 0; i < sizeof status_table / sizeof *status_table; i++) {
        if (status_table[i].status == status) {
            return status_table[i].http;
        }
    }
    return 500;
}

const char *vr_problem_phrase(int http_status)
{
    for (size_t i = 0; i < sizeof http_table / sizeof *http_table; i++) {
        if (http_table[i].http == http_status) {
            return http_table[i].phrase;
        }
    }
    return "Unknown";
}

const char *vr_problem_code(int http_status)
{
    for (size_t i = 0; i < sizeof http_table / sizeof *http_table; i++) {
        if (http_table[i].http == http_status) {
            return http_table[i].code;
        }
    }
    return "internal";
}

void vr_problem_write(struct vr_json_writer *out, int http_status, const char *code, const char *detail,
                      struct vr_str request_id)
{
    vr_json_open_object(out);
    vr_json_key(out, "type");
    vr_json_put_text(out, "about:blank");
    vr_json_key(out, "title");
    vr_json_put_text(out, vr_problem_phrase(http_status));
    vr_json_key(out, "status");
    vr_json_put_int(out, http_status);
    vr_json_key(out, "code");
    vr_json_put_text(out, code);
    vr_json_key(out, "detail");
    vr_json_put_text(out, detail);
    if (request_id.data != NULL) {
        vr_json_key(out, "request_id");
        vr_json_put_str(out, request_id);
    }
    vr_json_close_object(out);
}
