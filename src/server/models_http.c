/* The admin routes of the models (models.h): what there is, load another, go back. The first loop has the admin port,
 * so all of this is its thread. */
#include <string.h>

#include "models.h"
#include "problem.h"

static const char *const origins[] = {
    [VR_MODEL_START] = "start", [VR_MODEL_WATCH] = "watch", [VR_MODEL_ADMIN] = "admin"};
static const char *const states[VR_MODEL_STATES] = {
    [VR_MODEL_LOADING] = "loading", [VR_MODEL_SERVING] = "serving",     [VR_MODEL_PREVIOUS] = "previous",
    [VR_MODEL_RETIRED] = "retired", [VR_MODEL_WITHDRAWN] = "withdrawn", [VR_MODEL_FAILED] = "failed"};

/* ---- answers ---- */

static void put_text(struct vr_json_writer *out, const char *key, const char *value)
{
    vr_json_key(out, key);
    vr_json_put_text(out, value);
}

static void put_uint(struct vr_json_writer *out, const char *key, uint64_t value)
{
    vr_json_key(out, key);
    vr_json_put_uint(out, value);
}

static void put_record(struct vr_json_writer *out, const struct vr_model_record *record)
{
    vr_json_open_object(out);
    put_uint(out, "number", record->number);
    put_text(out, "state", states[record->state]);
    put_text(out, "model_version", record->version[0] != '\0' ? record->version : NULL);
    put_text(out, "path", record->path);
    put_text(out, "origin", origins[record->origin]);
    put_uint(out, "began_ms", (uint64_t)record->began_ms);
    if (record->served_ms != 0) {
        put_uint(out, "served_ms", (uint64_t)record->served_ms);
        put_uint(out, "took_ms", record->took_ms);
    }
    if (record->error[0] != '\0') {
        put_text(out, "error", record->error);
    }
    vr_json_close_object(out);
}

static void begin_json(struct vr_loop *loop, struct vr_exchange *exchange)
{
    exchange->status = 200;
    exchange->media_type = "application/json";
    loop->writer.len = 0;
    loop->writer.failed = false;
    loop->writer.need_comma = false;
}

enum vr_handled vr_handle_models(struct vr_loop *loop, struct vr_exchange *exchange)
{
    struct vr_json_writer *out = &loop->writer;
    const struct vr_model_record *record = vr_models_next(loop->shared->models, 0);
    begin_json(loop, exchange);
    vr_json_open_object(out);
    put_text(out, "watch", loop->shared->config->model.watch);
    vr_json_key(out, "models");
    vr_json_open_array(out);
    for (; record != NULL; record = vr_models_next(loop->shared->models, record->number)) {
        put_record(out, record);
    }
    vr_json_close_array(out);
    vr_json_close_object(out);
    return VR_HANDLED_ANSWERED;
}

/* A bundle that is refused is the caller's matter (422), whatever is wrong with it. */
static int http_status_of(enum vr_status status)
{
    switch (status) {
    case VR_ERR_INVALID:
    case VR_ERR_FORMAT:
    case VR_ERR_CHECKSUM:
    case VR_ERR_UNSUPPORTED:
    case VR_ERR_NOT_FOUND:
    case VR_ERR_TOO_LARGE:
    case VR_ERR_IO: return 422;
    default: return vr_problem_http_status(status);
    }
}

void vr_models_answer(struct vr_loop *loop, struct vr_call *call, const struct vr_model_record *record,
                      enum vr_status status, const char *error)
{
    struct vr_exchange exchange = {.received_us = call->job.request.received_us, .close = call->close};
    struct vr_connection *connection = call->connection;
    struct vr_str none = {NULL, 0};
    exchange.match.route = call->route;
    vr_call_put(loop, call);
    if (connection == NULL) {
        return;
    }
    if (status == VR_OK) {
        begin_json(loop, &exchange);
        put_record(&loop->writer, record);
    } else {
        vr_exchange_fail(loop, &exchange, http_status_of(status), vr_status_name(status), error, none);
    }
    vr_connection_answer(connection, &exchange);
}

/* ---- requests ---- */

static enum vr_status read_path(struct vr_loop *loop, struct vr_str body, char out[VR_PATH_MAX])
{
    struct vr_json_value root, value;
    struct vr_str key, path = {"", 0};
    enum vr_status status = vr_json_parse(loop->json, body.data, body.len, &root);
    if (status != VR_OK || vr_json_type_of(root) != VR_JSON_OBJECT) {
        return status != VR_OK ? vr_fail_in(VR_ERR_INVALID, "body") : vr_fail(VR_ERR_INVALID, "the body is an object");
    }
    for (struct vr_json_iter it = vr_json_begin(root); vr_json_next(&it, &key, &value);) {
        if (!vr_str_equal(key, vr_str_of("path"))) {
            return vr_fail(VR_ERR_INVALID, "%.*s: unknown key", (int)(key.len < 64 ? key.len : 64), key.data);
        }
        if (vr_json_as_str(value, &path) != VR_OK) {
            return vr_fail(VR_ERR_INVALID, "path: a string, found %s", vr_json_type_name(vr_json_type_of(value)));
        }
    }
    if (path.len == 0 || path.len >= VR_PATH_MAX || memchr(path.data, '\0', path.len) != NULL) {
        return vr_fail(VR_ERR_INVALID, "path: the folder of a bundle, 1 to %u bytes", VR_PATH_MAX - 1);
    }
    memcpy(out, path.data, path.len);
    out[path.len] = '\0';
    return VR_OK;
}

/* The problem of a load that did not begin. */
static enum vr_handled refuse(struct vr_loop *loop, struct vr_exchange *exchange, enum vr_status status)
{
    struct vr_str none = {NULL, 0};
    bool conflict = status == VR_ERR_BUSY || status == VR_ERR_NOT_FOUND;
    int http_status = conflict ? 409 : vr_problem_http_status(status);
    vr_exchange_fail(loop, exchange, http_status, conflict ? vr_problem_code(409) : vr_status_name(status),
                     vr_error_text(), none);
    return VR_HANDLED_ANSWERED;
}

static struct vr_call *take_call(struct vr_loop *loop, const struct vr_exchange *exchange)
{
    struct vr_call *call = vr_call_take(loop);
    if (call != NULL) {
        call->route = exchange->match.route;
        call->close = exchange->close;
        call->job.request.received_us = exchange->received_us;
    }
    return call;
}

/* `taken` is the models' once they took it up. */
static enum vr_handled follow(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call *taken,
                              enum vr_status status, struct vr_call **call)
{
    if (status != VR_OK) {
        vr_call_put(loop, taken);
        return refuse(loop, exchange, status);
    }
    *call = taken;
    return VR_HANDLED_PENDING;
}

enum vr_handled vr_handle_model_load(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call)
{
    char path[VR_PATH_MAX];
    enum vr_status status = read_path(loop, exchange->body, path);
    if (status != VR_OK) {
        return refuse(loop, exchange, status);
    }
    struct vr_call *taken = take_call(loop, exchange);
    if (taken == NULL) {
        return refuse(loop, exchange, VR_ERR_NOMEM);
    }
    return follow(loop, exchange, taken, vr_models_load(loop->shared->models, path, taken), call);
}

enum vr_handled vr_handle_model_rollback(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call)
{
    if (exchange->body.len > 0) {
        return refuse(loop, exchange, vr_fail(VR_ERR_INVALID, "a rollback takes no body"));
    }
    struct vr_call *taken = take_call(loop, exchange);
    if (taken == NULL) {
        return refuse(loop, exchange, VR_ERR_NOMEM);
    }
    return follow(loop, exchange, taken, vr_models_rollback(loop->shared->models, taken), call);
}
