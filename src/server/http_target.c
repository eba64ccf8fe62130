/* Request targets, hosts, percent-encoding and queries for http_parse.h (RFC 9112, 3.2; RFC 3986). */
#include "http_parse.h"

#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* pchar, '/' and '?' of RFC 3986, with every '%' followed by two hexadecimal digits. */
static bool is_path_and_query(struct vr_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            if (text.len - i < 3 || hex_value(text.data[i + 1]) < 0 || hex_value(text.data[i + 2]) < 0) {
                return false;
            }
            i += 2;
        } else if (!is_alphanumeric(c) && (c == '\0' || strchr("-._~!$&'()*+,;=:@/?", c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool port_is_valid(struct vr_str port)
{
    uint32_t value = 0;
    for (size_t i = 0; i < port.len; i++) {
        if (port.data[i] < '0' || port.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(port.data[i] - '0');
        if (value > 65535) {
            return false;
        }
    }
    return true;
}

static bool only_of(struct vr_str text, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alphanumeric(text.data[i]) && (text.data[i] == '\0' || strchr(others, text.data[i]) == NULL)) {
            return false;
        }
    }
    return text.len > 0;
}

bool vr_http_host_is_valid(struct vr_str host)
{
    if (host.len == 0) {
        return false;
    }
    const char *end = host.data + host.len;
    const char *name_end;
    bool name_ok;
    if (host.data[0] == '[') {
        const char *bracket = memchr(host.data, ']', host.len);
        struct vr_str inside = {host.data + 1, bracket != NULL ? (size_t)(bracket - host.data - 1) : 0};
        name_ok = only_of(inside, ":.");
        name_end = bracket != NULL ? bracket + 1 : end;
    } else {
        const char *colon = memchr(host.data, ':', host.len);
        name_end = colon != NULL ? colon : end;
        struct vr_str name = {host.data, (size_t)(name_end - host.data)};
        name_ok = only_of(name, "-._~");
    }
    if (!name_ok || name_end == end) {
        return name_ok;
    }
    struct vr_str port = {name_end + 1, (size_t)(end - name_end - 1)};
    return *name_end == ':' && port_is_valid(port);
}

/* Where the path of an absolute-form target begins; 0 or a status. */
static int split_absolute(struct vr_str text, struct vr_str *authority, size_t *path, const char **why)
{
    struct vr_str scheme = {text.data, text.len < 7 ? text.len : 7};
    if (!vr_http_equals(scheme, "http://")) {
        *why = "the target is neither a path nor an http URI";
        return 400;
    }
    size_t end = 7;
    while (end < text.len && text.data[end] != '/' && text.data[end] != '?') {
        end++;
    }
    authority->data = text.data + 7;
    authority->len = end - 7;
    *path = end;
    if (!vr_http_host_is_valid(*authority)) {
        *why = "the target's authority is not a host";
        return 400;
    }
    if (end == text.len || text.data[end] != '/') {
        *why = "the target has no path";
        return 400;
    }
    return 0;
}

int vr_http_parse_target(const char *base, struct vr_http_slice target, struct vr_http_request *request,
                         struct vr_str *authority, const char **why)
{
    struct vr_str text = vr_http_text(base, target);
    size_t path = 0;
    authority->data = text.data;
    authority->len = 0;
    if (text.len == 0 || text.data[0] != '/') {
        int status = split_absolute(text, authority, &path, why);
        if (status != 0) {
            return status;
        }
    }
    struct vr_str rest = {text.data + path, text.len - path};
    if (!is_path_and_query(rest)) {
        *why = "the target holds a character that a path or query may not";
        return 400;
    }
    const char *mark = memchr(rest.data, '?', rest.len);
    size_t path_len = mark != NULL ? (size_t)(mark - rest.data) : rest.len;
    request->path.offset = target.offset + (uint32_t)path;
    request->path.len = (uint32_t)path_len;
    request->query.offset = request->path.offset + (uint32_t)path_len + (mark != NULL ? 1 : 0);
    request->query.len = (uint32_t)(rest.len - path_len - (mark != NULL ? 1 : 0));
    return 0;
}

bool vr_http_percent_decode(struct vr_str text, char *out, size_t *out_len)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = text.len - i >= 3 ? hex_value(text.data[i + 1]) : -1;
            int low = high >= 0 ? hex_value(text.data[i + 2]) : -1;
            if (low < 0 || high * 16 + low == 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[n++] = c;
    }
    *out_len = n;
    return true;
}

bool vr_http_query_next(struct vr_str *query, struct vr_str *name, struct vr_str *value)
{
    while (query->len > 0 && query->data[0] == '&') {
        query->data++;
        query->len--;
    }
    if (query->len == 0) {
        return false;
    }
    const char *end = memchr(query->data, '&', query->len);
    size_t len = end != NULL ? (size_t)(end - query->data) : query->len;
    const char *equals = memchr(query->data, '=', len);
    name->data = query->data;
    name->len = equals != NULL ? (size_t)(equals - query->data) : len;
    value->data = query->data + name->len + (equals != NULL ? 1 : 0);
    value->len = len - name->len - (equals != NULL ? 1 : 0);
    query->data += len;
    query->len -= len;
    return true;
}
