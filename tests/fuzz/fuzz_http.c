/* Fuzz target: any bytes go through the HTTP parser whole and one by one; both ways must agree, slices must lie inside
 * the buffer, and the rest behind a complete request is parsed as the next one, as on a connection. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/http_parse.h"
#include "server/route.h"

#define MAX_BODY 256u

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_slice(struct vr_http_slice slice, size_t len)
{
    require(slice.len == 0 || (size_t)slice.offset + slice.len <= len);
}

/* What a server does with a parsed target. */
static void use(const char *buffer, const struct vr_http_request *request)
{
    struct vr_route_match match;
    struct vr_str name, value, query = vr_http_text(buffer, request->query);
    for (int port = 0; port < 2; port++) {
        vr_route_find((enum vr_port)port, request->method, vr_http_text(buffer, request->path), &match);
        char *decoded = malloc(match.parameter.len + 1);
        size_t len = 0;
        require(!vr_http_percent_decode(match.parameter, decoded, &len) || len <= match.parameter.len);
        free(decoded);
    }
    while (vr_http_query_next(&query, &name, &value)) {
        require(name.data >= buffer && value.data >= buffer);
    }
}

static enum vr_http_outcome parse_bytewise(const char *data, size_t len, struct vr_http_request *request)
{
    enum vr_http_outcome outcome = VR_HTTP_MORE;
    *request = (struct vr_http_request){0};
    for (size_t n = 1; n <= len && (outcome == VR_HTTP_MORE || outcome == VR_HTTP_HEAD_COMPLETE); n++) {
        outcome = vr_http_parse(request, data, n, MAX_BODY);
    }
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t left = size;
    for (int requests = 0; left > 0 && requests < 8; requests++) {
        struct vr_http_request whole = {0}, bytes;
        enum vr_http_outcome outcome = vr_http_parse(&whole, text, left, MAX_BODY);
        enum vr_http_outcome slowly = parse_bytewise(text, left, &bytes);
        bool waiting = outcome == VR_HTTP_MORE || outcome == VR_HTTP_HEAD_COMPLETE;
        require(waiting == (slowly == VR_HTTP_MORE || slowly == VR_HTTP_HEAD_COMPLETE));
        require(waiting || outcome == slowly);
        if (outcome == VR_HTTP_BAD) {
            require(whole.error_status >= 400 && whole.error != NULL && whole.error_status == bytes.error_status);
        }
        if (outcome != VR_HTTP_COMPLETE) {
            break;
        }
        require(whole.total > 0 && whole.total <= left && whole.total == bytes.total);
        check_slice(whole.path, left);
        check_slice(whole.query, left);
        check_slice(whole.content_type, left);
        require(whole.path.len > 0 && text[whole.path.offset] == '/');
        use(text, &whole);
        text += whole.total;
        left -= whole.total;
    }
    return 0;
}
