/* The parser of http_parse.h: request line and header fields, a line at a time. */
#include "http_parse.h"

#include <string.h>

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};

static enum vr_http_outcome refuse(struct vr_http_request *request, int status, const char *why)
{
    request->error_status = status;
    request->error = why;
    return VR_HTTP_BAD;
}

/* RFC 9110, 5.6.2: the characters of methods and field names. */
static bool is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) {
        return true;
    }
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct vr_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_char((unsigned char)text.data[i])) {
            return false;
        }
    }
    return text.len > 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool vr_http_equals(struct vr_str a, const char *text)
{
    size_t i = 0;
    for (; i < a.len && text[i] != '\0'; i++) {
        if (lower(a.data[i]) != text[i]) {
            return false;
        }
    }
    return i == a.len && text[i] == '\0';
}

/* White space of header fields is space and tab (RFC 9110, 5.6.3). */
static struct vr_str trim(struct vr_str text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

static enum vr_http_outcome parse_method(struct vr_http_request *request, struct vr_str name)
{
    if (!is_token(name)) {
        return refuse(request, 400, "the request line does not begin with a method");
    }
    for (size_t i = 0; i < sizeof method_names / sizeof *method_names; i++) {
        if (vr_str_equal(name, vr_str_of(method_names[i]))) {
            request->method = (enum vr_http_method)i;
            return VR_HTTP_MORE;
        }
    }
    return refuse(request, 501, "this method is not implemented");
}

static enum vr_http_outcome parse_version(struct vr_http_request *request, struct vr_str version)
{
    if (vr_str_equal(version, vr_str_of("HTTP/1.1"))) {
        return VR_HTTP_MORE;
    }
    bool shaped = version.len == 8 && memcmp(version.data, "HTTP/", 5) == 0 && version.data[5] >= '0' &&
                  version.data[5] <= '9' && version.data[6] == '.' && version.data[7] >= '0' && version.data[7] <= '9';
    return shaped ? refuse(request, 505, "only HTTP/1.1 is spoken here")
                  : refuse(request, 400, "the request line does not end with an HTTP version");
}

/* method SP target SP version, single spaces. */
static enum vr_http_outcome parse_request_line(struct vr_http_request *request, const char *base, struct vr_str line)
{
    const char *end = line.data + line.len;
    const char *first = memchr(line.data, ' ', line.len);
    if (first == NULL) {
        return refuse(request, 400, "the request line has no target");
    }
    const char *second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (second == NULL) {
        return refuse(request, 400, "the request line has no version");
    }
    struct vr_str method = {line.data, (size_t)(first - line.data)};
    struct vr_str version = {second + 1, (size_t)(end - second - 1)};
    struct vr_http_slice target = {(uint32_t)(first + 1 - base), (uint32_t)(second - first - 1)};
    /* The method first: whatever else is refused, the answer to HEAD has no body. */
    if (parse_method(request, method) == VR_HTTP_BAD || parse_version(request, version) == VR_HTTP_BAD) {
        return VR_HTTP_BAD;
    }
    struct vr_str authority;
    const char *why = NULL;
    int status = vr_http_parse_target(base, target, request, &authority, &why);
    return status != 0 ? refuse(request, status, why) : VR_HTTP_MORE;
}

static enum vr_http_outcome take_host(struct vr_http_request *request, struct vr_str value)
{
    if (request->has_host) {
        return refuse(request, 400, "more than one Host field");
    }
    request->has_host = true;
    return vr_http_host_is_valid(value) ? VR_HTTP_MORE : refuse(request, 400, "the Host field is not a host");
}

/* One plain decimal number, once: signs, lists and repetitions are how requests are smuggled. */
static enum vr_http_outcome take_length(struct vr_http_request *request, struct vr_str value)
{
    if (request->has_length) {
        return refuse(request, 400, "more than one Content-Length field");
    }
    request->has_length = true;
    if (value.len == 0 || value.len > 18) {
        return refuse(request, 400, "Content-Length is not a number");
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return refuse(request, 400, "Content-Length is not a number");
        }
        request->content_length = request->content_length * 10 + (uint64_t)(value.data[i] - '0');
    }
    return VR_HTTP_MORE;
}

static enum vr_http_outcome take_connection(struct vr_http_request *request, struct vr_str value)
{
    while (value.len > 0) {
        const char *comma = memchr(value.data, ',', value.len);
        size_t len = comma != NULL ? (size_t)(comma - value.data) : value.len;
        struct vr_str option = {value.data, len};
        option = trim(option);
        if (option.len > 0 && !is_token(option)) {
            return refuse(request, 400, "the Connection field is not a list of tokens");
        }
        request->close = request->close || vr_http_equals(option, "close");
        value.data += comma != NULL ? len + 1 : len;
        value.len -= comma != NULL ? len + 1 : len;
    }
    return VR_HTTP_MORE;
}

static enum vr_http_outcome take_expect(struct vr_http_request *request, struct vr_str value)
{
    if (!vr_http_equals(value, "100-continue")) {
        return refuse(request, 417, "the only expectation known is 100-continue");
    }
    request->expect = true;
    return VR_HTTP_MORE;
}

/* A field that says one thing. No field's value lies at offset 0 of a request. */
static enum vr_http_outcome take_once(struct vr_http_request *request, const char *base, struct vr_str value,
                                      struct vr_http_slice *out, const char *why)
{
    if (out->offset != 0) {
        return refuse(request, 400, why);
    }
    out->offset = (uint32_t)(value.data - base);
    out->len = (uint32_t)value.len;
    return VR_HTTP_MORE;
}

static enum vr_http_outcome take_field(struct vr_http_request *request, const char *base, struct vr_str name,
                                       struct vr_str value)
{
    if (vr_http_equals(name, "host")) {
        return take_host(request, value);
    }
    if (vr_http_equals(name, "content-length")) {
        return take_length(request, value);
    }
    if (vr_http_equals(name, "transfer-encoding")) {
        request->chunked = !request->has_coding && vr_http_equals(value, "chunked");
        request->has_coding = true;
        return VR_HTTP_MORE;
    }
    if (vr_http_equals(name, "connection")) {
        return take_connection(request, value);
    }
    if (vr_http_equals(name, "expect")) {
        return take_expect(request, value);
    }
    if (vr_http_equals(name, "content-type")) {
        return take_once(request, base, value, &request->content_type, "more than one Content-Type field");
    }
    if (vr_http_equals(name, "x-request-timeout-ms")) {
        return take_once(request, base, value, &request->timeout, "more than one X-Request-Timeout-Ms field");
    }
    if (vr_http_equals(name, "x-request-priority")) {
        return take_once(request, base, value, &request->priority, "more than one X-Request-Priority field");
    }
    return VR_HTTP_MORE;
}

static enum vr_http_outcome parse_field(struct vr_http_request *request, const char *base, struct vr_str line)
{
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        return refuse(request, 400, "a folded header field");
    }
    if (++request->fields > VR_HTTP_FIELDS_MAX) {
        return refuse(request, 431, "too many header fields");
    }
    const char *colon = memchr(line.data, ':', line.len);
    struct vr_str name = {line.data, colon != NULL ? (size_t)(colon - line.data) : 0};
    if (colon == NULL || !is_token(name)) {
        return refuse(request, 400, "a header field without a proper name");
    }
    struct vr_str value = {colon + 1, line.len - name.len - 1};
    return take_field(request, base, name, trim(value));
}

/* What the fields say together, once the empty line has come. */
static enum vr_http_outcome finish_head(struct vr_http_request *request, size_t body, uint64_t max_body)
{
    if (!request->has_host) {
        return refuse(request, 400, "the Host field is missing");
    }
    if (request->has_coding && request->has_length) {
        return refuse(request, 400, "Transfer-Encoding and Content-Length together");
    }
    if (request->has_coding) {
        return request->chunked ? refuse(request, 411, "a request body needs a Content-Length")
                                : refuse(request, 501, "this transfer coding is not implemented");
    }
    if (request->content_length > max_body) {
        return refuse(request, 413, "the request body is larger than this server takes");
    }
    request->phase = VR_HTTP_PHASE_BODY;
    request->body = body;
    request->total = body + (size_t)request->content_length;
    return VR_HTTP_HEAD_COMPLETE;
}

/* Control bytes have no place in a head; a tab may stand inside a field's value, but in no request line. */
static bool holds_control(struct vr_str line, bool allow_tab)
{
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.data[i];
        if ((c < 0x20 && !(c == '\t' && allow_tab)) || c == 0x7f) {
            return true;
        }
    }
    return false;
}

/* One line without its CRLF. */
static enum vr_http_outcome parse_line(struct vr_http_request *request, const char *base, struct vr_str line,
                                       uint64_t max_body)
{
    bool first = request->phase == VR_HTTP_PHASE_LINE;
    if (holds_control(line, !first)) {
        return refuse(request, 400, "a control byte in the head");
    }
    if (first && line.len == 0 && !request->skipped_line) {
        request->skipped_line = true; /* RFC 9112, 2.2: one empty line before a request is passed over */
        return VR_HTTP_MORE;
    }
    if (first) {
        request->phase = VR_HTTP_PHASE_FIELDS;
        return parse_request_line(request, base, line);
    }
    if (line.len == 0) {
        return finish_head(request, request->line, max_body);
    }
    return parse_field(request, base, line);
}

static enum vr_http_outcome refuse_long(struct vr_http_request *request)
{
    return request->phase == VR_HTTP_PHASE_LINE ? refuse(request, 414, "the request line is too long")
                                                : refuse(request, 431, "the header fields are too long");
}

/* Take the next whole line out of the buffer. MORE with *found false: there is none yet. */
static enum vr_http_outcome next_line(struct vr_http_request *request, const char *buffer, size_t len,
                                      struct vr_str *line, bool *found)
{
    size_t limit =
        request->line + VR_HTTP_LINE_MAX < VR_HTTP_HEAD_MAX ? request->line + VR_HTTP_LINE_MAX : VR_HTTP_HEAD_MAX;
    size_t seen = len < limit ? len : limit;
    const char *feed =
        seen > request->scanned ? memchr(buffer + request->scanned, '\n', seen - request->scanned) : NULL;
    *found = feed != NULL;
    if (feed == NULL) {
        request->scanned = seen;
        return len >= limit ? refuse_long(request) : VR_HTTP_MORE;
    }
    size_t end = (size_t)(feed - buffer);
    if (end == request->line || buffer[end - 1] != '\r') {
        return refuse(request, 400, "a line feed without a carriage return");
    }
    line->data = buffer + request->line;
    line->len = end - 1 - request->line;
    request->line = end + 1;
    request->scanned = end + 1;
    return VR_HTTP_MORE;
}

enum vr_http_outcome vr_http_parse(struct vr_http_request *request, const char *buffer, size_t len, uint64_t max_body)
{
    while (request->phase != VR_HTTP_PHASE_BODY) {
        struct vr_str line = {buffer, 0};
        bool found = false;
        enum vr_http_outcome outcome = next_line(request, buffer, len, &line, &found);
        if (outcome == VR_HTTP_BAD || !found) {
            return outcome;
        }
        outcome = parse_line(request, buffer, line, max_body);
        if (outcome == VR_HTTP_HEAD_COMPLETE && len < request->total) {
            return VR_HTTP_HEAD_COMPLETE;
        }
        if (outcome == VR_HTTP_BAD) {
            return outcome;
        }
    }
    return len >= request->total ? VR_HTTP_COMPLETE : VR_HTTP_MORE;
}
