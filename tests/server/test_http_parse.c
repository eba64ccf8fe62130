/* The HTTP/1.1 parser: tables of requests that must be refused, each beside its valid twin; requests in pieces of every
 * size; targets, hosts, percent-encoding and queries. */
#include "server/http_parse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BODY 64u

/* `bytes` of text; len 0 means strlen. */
struct refusal {
    const char *name;
    int status;
    const char *bad;
    size_t bad_len;
    const char *good;
};

#define GET "GET /v1/x HTTP/1.1\r\n"
#define HOST "Host: a.example:8080\r\n"
#define POST "POST /v1/x HTTP/1.1\r\n" HOST

static const struct refusal refusals[] = {
    {"bare LF after the request line", 400, "GET /v1/x HTTP/1.1\n" HOST "\r\n", 0, GET HOST "\r\n"},
    {"bare LF after a field", 400, GET "Host: a\n\r\n", 0, GET "Host: a\r\n\r\n"},
    {"bare LF as the empty line", 400, GET HOST "\n", 0, GET HOST "\r\n"},
    {"CR inside a value", 400, GET HOST "X: a\rb\r\n\r\n", 0, GET HOST "X: a b\r\n\r\n"},
    {"NUL in a value", 400, GET HOST "X: a\0b\r\n\r\n", sizeof(GET HOST "X: a\0b\r\n\r\n") - 1,
     GET HOST "X: ab\r\n\r\n"},
    {"NUL in the target", 400, "GET /\0 HTTP/1.1\r\n" HOST "\r\n", sizeof("GET /\0 HTTP/1.1\r\n" HOST "\r\n") - 1,
     "GET /%41 HTTP/1.1\r\n" HOST "\r\n"},
    {"DEL in a value", 400, GET HOST "X: \x7f\r\n\r\n", 0, GET HOST "X: ~\r\n\r\n"},
    {"escape in a value", 400, GET HOST "X: \x1b[0m\r\n\r\n", 0, GET HOST "X: [0m\r\n\r\n"},
    {"tab in the request line", 400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 0, GET HOST "X: a\tb\r\n\r\n"},
    {"no Host", 400, GET "\r\n", 0, GET HOST "\r\n"},
    {"two Hosts", 400, GET HOST HOST "\r\n", 0, GET HOST "Hostile: a\r\n\r\n"},
    {"empty Host", 400, GET "Host:\r\n\r\n", 0, GET "Host: a\r\n\r\n"},
    {"Host with a path", 400, GET "Host: a/b\r\n\r\n", 0, GET "Host: a.b\r\n\r\n"},
    {"Host with a user", 400, GET "Host: u@a\r\n\r\n", 0, GET "Host: u.a\r\n\r\n"},
    {"Host with two ports", 400, GET "Host: a:1:2\r\n\r\n", 0, GET "Host: a:12\r\n\r\n"},
    {"Host with a port too large", 400, GET "Host: a:65536\r\n\r\n", 0, GET "Host: a:65535\r\n\r\n"},
    {"Host with an open bracket", 400, GET "Host: [::1\r\n\r\n", 0, GET "Host: [::1]:80\r\n\r\n"},
    {"two Content-Lengths", 400, POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 0,
     POST "Content-Length: 1\r\n\r\nx"},
    {"Content-Length list", 400, POST "Content-Length: 1, 1\r\n\r\nx", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"plus sign", 400, POST "Content-Length: +1\r\n\r\nx", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"minus sign", 400, POST "Content-Length: -1\r\n\r\nx", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"hexadecimal", 400, POST "Content-Length: 0x1\r\n\r\nx", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"fraction", 400, POST "Content-Length: 1.0\r\n\r\nx", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"empty Content-Length", 400, POST "Content-Length:\r\n\r\n", 0, POST "Content-Length: 0\r\n\r\n"},
    {"space inside Content-Length", 400, POST "Content-Length: 1 1\r\n\r\nx", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"Content-Length beyond 64 bits", 400, POST "Content-Length: 18446744073709551617\r\n\r\nx", 0,
     POST "Content-Length: 1\r\n\r\nx"},
    {"space before the colon", 400, POST "Content-Length : 1\r\n\r\nx", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"tab before the colon", 400, GET HOST "X\t: a\r\n\r\n", 0, GET HOST "X:\ta\r\n\r\n"},
    {"obs-fold with a space", 400, GET HOST "X: a\r\n b\r\n\r\n", 0, GET HOST "X: a\r\nY: b\r\n\r\n"},
    {"obs-fold with a tab", 400, GET HOST "X: a\r\n\tb\r\n\r\n", 0, GET HOST "X: a\tb\r\n\r\n"},
    {"white space before the first field", 400, GET " Host: a\r\n\r\n", 0, GET "Host: a\r\n\r\n"},
    {"field without a colon", 400, GET HOST "X\r\n\r\n", 0, GET HOST "X:\r\n\r\n"},
    {"field without a name", 400, GET HOST ": a\r\n\r\n", 0, GET HOST "x: a\r\n\r\n"},
    {"field name with a bracket", 400, GET HOST "X[]: a\r\n\r\n", 0, GET HOST "X-1: a\r\n\r\n"},
    {"chunked body", 411, POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, POST "Content-Length: 0\r\n\r\n"},
    {"other coding", 501, POST "Transfer-Encoding: gzip\r\n\r\n", 0, POST "Content-Length: 0\r\n\r\n"},
    {"chunked twice", 501, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0,
     POST "Content-Length: 0\r\n\r\n"},
    {"coding and length", 400, POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx", 0,
     POST "Content-Length: 1\r\n\r\nx"},
    {"length and coding", 400, POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", 0,
     POST "Content-Length: 1\r\n\r\nx"},
    {"body too large", 413, POST "Content-Length: 65\r\n\r\n", 0, POST "Content-Length: 1\r\n\r\nx"},
    {"HTTP/1.0", 505, "GET / HTTP/1.0\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"HTTP/2.0", 505, "GET / HTTP/2.0\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"lower-case version", 400, "GET / http/1.1\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"version with two digits", 400, "GET / HTTP/1.11\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"no version", 400, "GET /\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"no target", 400, "GET\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"two spaces", 400, "GET  / HTTP/1.1\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"space at the end", 400, "GET / HTTP/1.1 \r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"space in front", 400, " GET / HTTP/1.1\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"two empty lines in front", 400, "\r\n\r\n" GET HOST "\r\n", 0, "\r\n" GET HOST "\r\n"},
    {"lower-case method", 501, "get / HTTP/1.1\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"unknown method", 501, "BREW / HTTP/1.1\r\n" HOST "\r\n", 0, "PATCH / HTTP/1.1\r\n" HOST "\r\n"},
    {"CONNECT", 501, "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 0, "DELETE / HTTP/1.1\r\n" HOST "\r\n"},
    {"method with a quote", 400, "GE\"T / HTTP/1.1\r\n" HOST "\r\n", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {"relative target", 400, "GET v1 HTTP/1.1\r\n" HOST "\r\n", 0, "GET /v1 HTTP/1.1\r\n" HOST "\r\n"},
    {"asterisk", 400, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0, "OPTIONS / HTTP/1.1\r\n" HOST "\r\n"},
    {"https target", 400, "GET https://a/ HTTP/1.1\r\n" HOST "\r\n", 0, "GET http://a/ HTTP/1.1\r\n" HOST "\r\n"},
    {"absolute target without a path", 400, "GET http://a HTTP/1.1\r\n" HOST "\r\n", 0,
     "GET http://a/ HTTP/1.1\r\n" HOST "\r\n"},
    {"absolute target without a host", 400, "GET http:///x HTTP/1.1\r\n" HOST "\r\n", 0,
     "GET http://a/x HTTP/1.1\r\n" HOST "\r\n"},
    {"fragment", 400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n", 0, "GET /a%23b HTTP/1.1\r\n" HOST "\r\n"},
    {"broken escape", 400, "GET /%4 HTTP/1.1\r\n" HOST "\r\n", 0, "GET /%41 HTTP/1.1\r\n" HOST "\r\n"},
    {"escape with a letter", 400, "GET /%4g HTTP/1.1\r\n" HOST "\r\n", 0, "GET /%4f HTTP/1.1\r\n" HOST "\r\n"},
    {"byte above ASCII in the target", 400, "GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 0,
     "GET /%C3%A9 HTTP/1.1\r\n" HOST "\r\n"},
    {"quote in the target", 400, "GET /\" HTTP/1.1\r\n" HOST "\r\n", 0, "GET /%22 HTTP/1.1\r\n" HOST "\r\n"},
    {"backslash in the target", 400, "GET /a\\b HTTP/1.1\r\n" HOST "\r\n", 0, "GET /a/b HTTP/1.1\r\n" HOST "\r\n"},
    {"other expectation", 417, POST "Expect: tea\r\n\r\n", 0, POST "Expect: 100-Continue\r\n\r\n"},
    {"Connection is no list", 400, GET HOST "Connection: a b\r\n\r\n", 0, GET HOST "Connection: a, b\r\n\r\n"},
    {"two Content-Types", 400, POST "Content-Type: a\r\nContent-Type: b\r\n\r\n", 0, POST "Content-Type: a\r\n\r\n"},
    {"two timeouts", 400, GET HOST "X-Request-Timeout-Ms: 5\r\nx-request-timeout-ms: 5\r\n\r\n", 0,
     GET HOST "X-Request-Timeout-Ms: 5\r\n\r\n"},
    {"two priorities", 400, GET HOST "X-Request-Priority:\r\nX-Request-Priority: low\r\n\r\n", 0,
     GET HOST "X-Request-Priority: low\r\n\r\n"},
};

static enum vr_http_outcome parse_whole(const char *text, size_t len, struct vr_http_request *request)
{
    *request = (struct vr_http_request){0};
    return vr_http_parse(request, text, len, MAX_BODY);
}

/* One byte more each time, in a block of just that size, so that a sanitizer sees any step past the end. */
static enum vr_http_outcome parse_bytewise(const char *text, size_t len, struct vr_http_request *request)
{
    *request = (struct vr_http_request){0};
    enum vr_http_outcome outcome = VR_HTTP_MORE;
    for (size_t n = 1; n <= len && (outcome == VR_HTTP_MORE || outcome == VR_HTTP_HEAD_COMPLETE); n++) {
        char *piece = malloc(n);
        memcpy(piece, text, n);
        outcome = vr_http_parse(request, piece, n, MAX_BODY);
        free(piece);
    }
    return outcome;
}

Test(http_parse, refuses_each_malformed_request_and_takes_its_twin)
{
    cr_assert_geq(sizeof refusals / sizeof *refusals, 60u);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *c = &refusals[i];
        struct vr_http_request request;
        size_t len = c->bad_len > 0 ? c->bad_len : strlen(c->bad);
        cr_expect_eq(parse_whole(c->bad, len, &request), VR_HTTP_BAD, "%s", c->name);
        cr_expect_eq(request.error_status, c->status, "%s: %d", c->name, request.error_status);
        cr_expect_not_null(request.error, "%s", c->name);
        cr_expect_eq(parse_bytewise(c->bad, len, &request), VR_HTTP_BAD, "%s, in bytes", c->name);
        cr_expect_eq(request.error_status, c->status, "%s, in bytes: %d", c->name, request.error_status);
        cr_expect_eq(parse_whole(c->good, strlen(c->good), &request), VR_HTTP_COMPLETE, "twin of %s: %s", c->name,
                     request.error);
        cr_expect_eq(parse_bytewise(c->good, strlen(c->good), &request), VR_HTTP_COMPLETE, "twin of %s, in bytes",
                     c->name);
        cr_expect_eq(request.total, strlen(c->good), "twin of %s", c->name);
    }
}

Test(http_parse, reads_what_the_head_says)
{
    static const char text[] =
        "POST http://h:1/v1/a%20b?count=3&x HTTP/1.1\r\nhOsT: [::1]:80\r\nContent-LENGTH:  5 \r\n"
        "content-type: application/json; charset=utf-8\r\nConnection: Keep-Alive, CLOSE\r\n"
        "Expect: 100-continue\r\nx-request-timeout-MS: 250\r\nX-Request-Priority:\r\n\r\nhelloGET";
    struct vr_http_request request;
    cr_assert_eq(parse_whole(text, sizeof text - 1, &request), VR_HTTP_COMPLETE, "%s", request.error);
    cr_expect_eq(request.method, VR_HTTP_POST);
    cr_expect(vr_str_equal(vr_http_text(text, request.path), vr_str_of("/v1/a%20b")));
    cr_expect(vr_str_equal(vr_http_text(text, request.query), vr_str_of("count=3&x")));
    cr_expect(vr_str_equal(vr_http_text(text, request.content_type), vr_str_of("application/json; charset=utf-8")));
    cr_expect(vr_str_equal(vr_http_text(text, request.timeout), vr_str_of("250")));
    cr_expect(request.priority.offset != 0 && request.priority.len == 0, "empty is not absent");
    cr_expect(request.close && request.expect);
    cr_expect_eq(request.content_length, 5u);
    cr_expect_eq(memcmp(text + request.body, "hello", 5), 0);
    cr_expect_eq(request.total, sizeof text - 1 - 3, "what follows belongs to the next request");
}

Test(http_parse, says_once_that_the_head_is_complete)
{
    static const char text[] = POST "Content-Length: 3\r\n\r\nabc";
    struct vr_http_request request = {0};
    size_t head = sizeof text - 1 - 3;
    cr_expect_eq(vr_http_parse(&request, text, head - 1, MAX_BODY), VR_HTTP_MORE);
    cr_expect_eq(vr_http_parse(&request, text, head, MAX_BODY), VR_HTTP_HEAD_COMPLETE);
    cr_expect_eq(vr_http_parse(&request, text, head + 2, MAX_BODY), VR_HTTP_MORE);
    cr_expect_eq(vr_http_parse(&request, text, head + 3, MAX_BODY), VR_HTTP_COMPLETE);
}

/* A request with a field of `bytes` letters. */
static char *long_request(size_t target, size_t field, int fields, size_t *len)
{
    char *text = malloc(target + (field + 16) * (size_t)fields + 64);
    size_t n = (size_t)sprintf(text, "GET /");
    memset(text + n, 'a', target);
    n += target;
    n += (size_t)sprintf(text + n, " HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < fields; i++) {
        n += (size_t)sprintf(text + n, "X: ");
        memset(text + n, 'b', field);
        n += field;
        n += (size_t)sprintf(text + n, "\r\n");
    }
    n += (size_t)sprintf(text + n, "\r\n");
    *len = n;
    return text;
}

Test(http_parse, keeps_its_limits)
{
    static const struct {
        size_t target, field;
        int fields, status; /* 0: complete */
    } cases[] = {
        {8000, 0, 0, 0},  {8192, 0, 0, 414},  {100000, 0, 0, 414}, {10, 8100, 1, 0},  {10, 8192, 1, 431},
        {10, 7000, 2, 0}, {10, 7000, 3, 431}, {10, 1, 99, 0},      {10, 1, 100, 431},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len;
        char *text = long_request(cases[i].target, cases[i].field, cases[i].fields, &len);
        struct vr_http_request request;
        enum vr_http_outcome outcome = parse_whole(text, len, &request);
        cr_expect_eq(outcome, cases[i].status == 0 ? VR_HTTP_COMPLETE : VR_HTTP_BAD, "case %zu", i);
        cr_expect_eq(request.error_status, cases[i].status, "case %zu: %d", i, request.error_status);
        free(text);
    }
}

Test(http_parse, a_line_without_end_is_refused_before_it_fills_memory)
{
    char *text = malloc(VR_HTTP_LINE_MAX);
    memset(text, 'G', VR_HTTP_LINE_MAX);
    struct vr_http_request request = {0};
    cr_expect_eq(vr_http_parse(&request, text, VR_HTTP_LINE_MAX - 1, MAX_BODY), VR_HTTP_MORE);
    cr_expect_eq(vr_http_parse(&request, text, VR_HTTP_LINE_MAX, MAX_BODY), VR_HTTP_BAD);
    cr_expect_eq(request.error_status, 414);
    free(text);
}

Test(http_parse, decodes_percent_escapes)
{
    static const struct {
        const char *text, *decoded; /* NULL: refused */
    } cases[] = {{"abc", "abc"},  {"a%20b", "a b"}, {"%41%c3%A9", "A\xc3\xa9"},
                 {"a+b", "a+b"},  {"", ""},         {"%", NULL},
                 {"%4", NULL},    {"%zz", NULL},    {"%00", NULL},
                 {"a%2Fb", "a/b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[32];
        struct vr_str decoded = {out, 0};
        bool ok = vr_http_percent_decode(vr_str_of(cases[i].text), out, &decoded.len);
        cr_expect_eq(ok, cases[i].decoded != NULL, "%s", cases[i].text);
        if (ok && cases[i].decoded != NULL) {
            cr_expect(vr_str_equal(decoded, vr_str_of(cases[i].decoded)), "%s", cases[i].text);
        }
    }
}

Test(http_parse, walks_a_query)
{
    struct vr_str query = vr_str_of("a=1&&b&c=&=d&e=f=g"), name, value;
    static const char *const pairs[][2] = {{"a", "1"}, {"b", ""}, {"c", ""}, {"", "d"}, {"e", "f=g"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        cr_assert(vr_http_query_next(&query, &name, &value));
        cr_expect(vr_str_equal(name, vr_str_of(pairs[i][0])), "%zu", i);
        cr_expect(vr_str_equal(value, vr_str_of(pairs[i][1])), "%zu", i);
    }
    cr_expect_not(vr_http_query_next(&query, &name, &value));
}
