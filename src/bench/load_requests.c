/* The bytes that are sent (load_parts.h): made before the clock runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "load_parts.h"
#include "vireo/json.h"

#define FILE_BYTES_MAX (1u << 30)
#define LINE_BYTES_MAX (1u << 20)
#define LINE_DEPTH 32u
#define MADE_MAX 100000u /* different requests that are made where there is no file */
#define HEAD_MAX 2048u

/* Requests laid one behind the other; offsets until the memory stands still. */
struct maker {
    const struct vr_bench_load_setup *setup;
    const struct load_target *target;
    struct load_requests *out;
    size_t len, capacity, *offset; /* [count + 1] */
    uint32_t room;
};

static bool reserve(struct maker *m, size_t bytes)
{
    if (m->out->count == m->room) {
        const uint32_t room = m->room > 0 ? 2 * m->room : 1024;
        size_t *offset = realloc(m->offset, (room + 1) * sizeof *offset);
        m->offset = offset != NULL ? offset : m->offset;
        double *at_s = offset != NULL ? realloc(m->out->at_s, room * sizeof *at_s) : NULL;
        m->out->at_s = at_s != NULL ? at_s : m->out->at_s;
        if (at_s == NULL) {
            return false;
        }
        m->room = room;
    }
    if (m->len + bytes > m->capacity) {
        const size_t capacity = 2 * (m->len + bytes);
        char *memory = realloc(m->out->memory, capacity);
        if (memory == NULL) {
            return false;
        }
        m->out->memory = memory;
        m->capacity = capacity;
    }
    return m->offset != NULL && m->out->memory != NULL;
}

/* One more request, `body` being ignored for GET. */
static enum vr_status append(struct maker *m, struct vr_str body, double at_s)
{
    const bool post = m->setup->method == VR_BENCH_POST;
    const size_t body_len = post ? body.len : 0;
    if (!reserve(m, HEAD_MAX + body_len)) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the requests");
    }
    char *to = m->out->memory + m->len;
    int head = post ? snprintf(to, HEAD_MAX,
                               "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                               "Content-Length: %zu\r\n\r\n",
                               m->target->path, m->target->host, body_len)
                    : snprintf(to, HEAD_MAX, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", m->target->path, m->target->host);
    memcpy(to + head, body.data, body_len);
    m->offset[m->out->count] = m->len;
    m->out->at_s[m->out->count] = at_s;
    m->len += (size_t)head + body_len;
    m->out->count++;
    m->offset[m->out->count] = m->len;
    return VR_OK;
}

/* ---- made ---- */

static enum vr_status make(struct maker *m)
{
    const struct vr_bench_load_setup *setup = m->setup;
    const uint32_t count = setup->method == VR_BENCH_GET ? 1 : setup->viewers < MADE_MAX ? setup->viewers : MADE_MAX;
    uint64_t random = setup->seed;
    enum vr_status status = VR_OK;
    for (uint32_t i = 0; status == VR_OK && i < count; i++) {
        char body[96];
        const unsigned viewer = 1 + (unsigned)(bench_random(&random) % setup->viewers);
        const int len = snprintf(body, sizeof body, "{\"user_id\":\"%u\",\"count\":%u}", viewer, setup->count);
        status = append(m, (struct vr_str){body, (size_t)len}, 0.0);
    }
    return status;
}

/* ---- of a file ---- */

static enum vr_status bad_line(const struct maker *m, const char *why)
{
    return vr_fail(VR_ERR_INVALID, "--requests: %s, line %u: %s", m->setup->requests, m->out->count + 1, why);
}

/* The body's text within the line: what stands behind `"body":`, up to the line's closing brace. */
static enum vr_status append_timed(struct maker *m, struct vr_str line, struct vr_json_value root)
{
    static const char key[] = "\"body\":";
    struct vr_json_value value;
    double at_s = -1.0;
    if (vr_json_get(root, "at_s", &value) != VR_OK || vr_json_as_double(value, &at_s) != VR_OK) {
        return bad_line(m, "a replay needs {\"at_s\": SECONDS, \"body\": {...}}");
    }
    if (!(at_s >= (m->out->count > 0 ? m->out->at_s[m->out->count - 1] : 0.0) && at_s <= 1e6)) {
        return bad_line(m, "at_s must not fall, from 0 on");
    }
    const char *body = memmem(line.data, line.len, key, sizeof key - 1), *end = line.data + line.len;
    while (end > line.data && end[-1] != '}') {
        end--;
    }
    if (body == NULL || vr_json_get(root, "body", &value) != VR_OK || vr_json_type_of(value) != VR_JSON_OBJECT ||
        vr_json_count(root) != 2) {
        return bad_line(m, "\"at_s\" and then \"body\", an object, and nothing else");
    }
    body += sizeof key - 1;
    const struct vr_str text = {body, (size_t)(end - 1 - body)};
    return append(m, text, at_s);
}

static enum vr_status take_line(struct maker *m, struct vr_json *json, struct vr_str line)
{
    struct vr_json_value root;
    const enum vr_status status = vr_json_parse(json, line.data, line.len, &root);
    if (status != VR_OK || vr_json_type_of(root) != VR_JSON_OBJECT) {
        return bad_line(m, status == VR_OK ? "no object" : vr_error_text());
    }
    return m->setup->schedule == VR_BENCH_REPLAY ? append_timed(m, line, root) : append(m, line, 0.0);
}

static enum vr_status take_lines(struct maker *m, FILE *file)
{
    struct vr_json *json = NULL;
    char *line = NULL;
    size_t capacity = 0, total = 0;
    enum vr_status status = vr_json_create(LINE_BYTES_MAX, LINE_DEPTH, &json);
    for (ssize_t len; status == VR_OK && (len = getline(&line, &capacity, file)) > 0;) {
        total += (size_t)len;
        len -= line[len - 1] == '\n';
        if (total > FILE_BYTES_MAX) {
            status = bad_line(m, "more than a gibibyte");
        } else if (len > 0) {
            status = take_line(m, json, (struct vr_str){line, (size_t)len});
        }
    }
    free(line);
    vr_json_destroy(json);
    return status;
}

static enum vr_status read_file(struct maker *m)
{
    FILE *file = fopen(m->setup->requests, "r");
    if (file == NULL) {
        return vr_fail(VR_ERR_IO, "--requests: %s: %s", m->setup->requests, strerror(errno));
    }
    enum vr_status status = take_lines(m, file);
    if (status == VR_OK && ferror(file)) {
        status = vr_fail(VR_ERR_IO, "--requests: %s: reading failed", m->setup->requests);
    }
    fclose(file);
    if (status == VR_OK && m->out->count == 0) {
        status = vr_fail(VR_ERR_INVALID, "--requests: %s has no request", m->setup->requests);
    }
    return status;
}

/* The memory stands still now. */
static bool point_into_memory(const struct maker *m)
{
    struct load_requests *out = m->out;
    out->request = calloc(out->count, sizeof *out->request);
    if (out->request == NULL || m->offset == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < out->count; i++) {
        out->request[i] = (struct vr_str){out->memory + m->offset[i], m->offset[i + 1] - m->offset[i]};
    }
    return true;
}

enum vr_status load_requests_make(const struct vr_bench_load_setup *setup, const struct load_target *target,
                                  struct load_requests *out)
{
    struct maker m = {.setup = setup, .target = target, .out = out};
    *out = (struct load_requests){0};
    if (setup->schedule == VR_BENCH_REPLAY && setup->requests == NULL) {
        return vr_fail(VR_ERR_INVALID, "--schedule: a replay needs --requests");
    }
    enum vr_status status = setup->requests != NULL ? read_file(&m) : make(&m);
    if (status == VR_OK && !point_into_memory(&m)) {
        status = vr_fail(VR_ERR_NOMEM, "no memory for the requests");
    }
    free(m.offset);
    return status;
}

void load_requests_free(struct load_requests *requests)
{
    free(requests->request);
    free(requests->at_s);
    free(requests->memory);
    *requests = (struct load_requests){0};
}
