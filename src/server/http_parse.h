/* A strict HTTP/1.1 request parser (RFC 9112): a pure incremental function over a buffer, without sockets or memory of
 * its own. Use: zero a vr_http_request, call vr_http_parse with everything that has arrived since the request's first
 * byte whenever there is more, until it says COMPLETE or BAD. Lengths of the buffer may only grow between calls; its
 * address may change, since the request holds offsets.
 *
 * Refused on purpose, because two parsers could read them differently: bare LF, NUL and other control bytes, white
 * space around a field name, obs-fold, a missing or second Host, any Content-Length but one plain number, every
 * Transfer-Encoding (411 for chunked, 501 for others, 400 beside a Content-Length), versions but 1.1. */
#ifndef VIREO_SERVER_HTTP_PARSE_H
#define VIREO_SERVER_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vireo/arena.h"

#define VR_HTTP_LINE_MAX 8192u  /* bytes of one line with its CRLF */
#define VR_HTTP_HEAD_MAX 16384u /* bytes of request line and header fields together */
#define VR_HTTP_FIELDS_MAX 100u

enum vr_http_method {
    VR_HTTP_GET = 0,
    VR_HTTP_HEAD,
    VR_HTTP_POST,
    VR_HTTP_PUT,
    VR_HTTP_DELETE,
    VR_HTTP_OPTIONS,
    VR_HTTP_PATCH
};

enum vr_http_outcome {
    VR_HTTP_MORE = 0,      /* not complete yet */
    VR_HTTP_HEAD_COMPLETE, /* said once: the head is known and a body follows; call again for the body */
    VR_HTTP_COMPLETE,      /* head and body are there: `total` bytes of the buffer */
    VR_HTTP_BAD,           /* refuse with `error_status`; what follows on the connection cannot be trusted */
};

/* A piece of the buffer. */
struct vr_http_slice {
    uint32_t offset, len;
};

enum vr_http_phase { VR_HTTP_PHASE_LINE = 0, VR_HTTP_PHASE_FIELDS, VR_HTTP_PHASE_BODY };

struct vr_http_request {
    enum vr_http_method method;
    struct vr_http_slice path;         /* begins with '/', still percent-encoded, without the query */
    struct vr_http_slice query;        /* behind '?', may be empty */
    struct vr_http_slice content_type; /* empty when absent */
    struct vr_http_slice timeout;      /* X-Request-Timeout-Ms, data at offset 0 when absent */
    struct vr_http_slice priority;     /* X-Request-Priority, likewise */
    uint64_t content_length;
    bool close;        /* Connection: close */
    bool expect;       /* Expect: 100-continue */
    size_t body;       /* offset of the body */
    size_t total;      /* bytes of the whole request, once the head is complete */
    int error_status;  /* HTTP status of a refusal */
    const char *error; /* why, static text */

    enum vr_http_phase phase; /* internal, like what follows */
    size_t scanned;           /* bytes already searched for a line end */
    size_t line;              /* offset of the current line */
    uint32_t fields;
    bool has_host, has_length, has_coding, chunked, skipped_line;
};

/* Look at buffer[0 .. len). `max_body` bytes of body are allowed, more are 413. */
enum vr_http_outcome vr_http_parse(struct vr_http_request *request, const char *buffer, size_t len, uint64_t max_body);

static inline struct vr_str vr_http_text(const char *buffer, struct vr_http_slice slice)
{
    struct vr_str s = {buffer + slice.offset, slice.len};
    return s;
}

/* Decode %XX of one path segment or query value into `out` (at least text.len bytes; '+' stays '+'). False for a broken
 * escape or an encoded NUL. */
bool vr_http_percent_decode(struct vr_str text, char *out, size_t *out_len);

/* Walk a query string: the next name=value pair (a name without '=' has an empty value), both still encoded. False at
 * the end. */
bool vr_http_query_next(struct vr_str *query, struct vr_str *name, struct vr_str *value);

/* True when `a` equals the lower-case ASCII text `lower` but for case. */
bool vr_http_equals(struct vr_str a, const char *lower);

/* Reads the request line's target (RFC 9112, 3.2): origin-form, or absolute-form with scheme http, whose authority is
 * put into `authority` (empty otherwise). Offsets are relative to `base`. Returns 0 or an HTTP status, with *why. */
int vr_http_parse_target(const char *base, struct vr_http_slice target, struct vr_http_request *request,
                         struct vr_str *authority, const char **why);

/* host [":" port], a registered name, IPv4 address or bracketed IPv6 address. */
bool vr_http_host_is_valid(struct vr_str host);
#endif
