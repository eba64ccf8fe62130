/* What each route that reads a request does with it (loop.h). The observing routes are in observe.c. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "loop.h"
#include "models.h"
#include "problem.h"
#include "vireo/clock.h"

static const struct vr_str no_id = {NULL, 0};

void vr_exchange_fail(struct vr_loop *loop, struct vr_exchange *exchange, int status, const char *code,
                      const char *detail, struct vr_str request_id)
{
    exchange->status = status;
    exchange->media_type = "application/problem+json";
    loop->writer.len = 0;
    loop->writer.failed = false;
    loop->writer.need_comma = false;
    vr_problem_write(&loop->writer, status, code, detail, request_id);
}

/* A problem whose detail is the error text that `status` left. */
static enum vr_handled fail_status(struct vr_loop *loop, struct vr_exchange *exchange, enum vr_status status)
{
    vr_exchange_fail(loop, exchange, vr_problem_http_status(status), vr_status_name(status), vr_error_text(), no_id);
    return VR_HANDLED_ANSWERED;
}

static void begin_json(struct vr_loop *loop, struct vr_exchange *exchange)
{
    exchange->status = 200;
    exchange->media_type = "application/json";
    loop->writer.len = 0;
    loop->writer.failed = false;
    loop->writer.need_comma = false;
}

/* application/json, with or without charset=utf-8 (RFC 8259 knows no other). */
static bool is_json(struct vr_str type)
{
    static const char name[] = "application/json";
    const char *semicolon = type.len > 0 ? memchr(type.data, ';', type.len) : NULL;
    struct vr_str media = {type.data, semicolon != NULL ? (size_t)(semicolon - type.data) : type.len};
    while (media.len > 0 && (media.data[media.len - 1] == ' ' || media.data[media.len - 1] == '\t')) {
        media.len--;
    }
    if (!vr_http_equals(media, name)) {
        return false;
    }
    if (semicolon == NULL) {
        return true;
    }
    struct vr_str rest = {semicolon + 1, type.len - (size_t)(semicolon + 1 - type.data)};
    while (rest.len > 0 && (rest.data[0] == ' ' || rest.data[0] == '\t')) {
        rest.data++;
        rest.len--;
    }
    return vr_http_equals(rest, "charset=utf-8") || vr_http_equals(rest, "charset=\"utf-8\"");
}

int vr_handle_head(struct vr_loop *loop, struct vr_exchange *exchange)
{
    int status = 0;
    const char *detail = "";
    if (exchange->match.route == VR_ROUTE_NONE) {
        status = 404;
        detail = "there is nothing at this path";
    } else if (!exchange->match.method_allowed) {
        status = 405;
        detail = "this path does not take this method";
    } else if (exchange->match.takes_body && !is_json(exchange->content_type)) {
        status = 415;
        detail = "the body must be application/json in UTF-8";
    }
    if (status != 0) {
        vr_exchange_fail(loop, exchange, status, vr_problem_code(status), detail, no_id);
    }
    return status;
}

/* The body's bytes were counted before it was read: what is too large for the parser is nested too deep. */
static enum vr_status parse_body(struct vr_loop *loop, const struct vr_exchange *exchange, struct vr_json_value *root)
{
    if (exchange->body.len == 0) {
        return vr_fail(VR_ERR_INVALID, "the body is empty");
    }
    enum vr_status status = vr_json_parse(loop->json, exchange->body.data, exchange->body.len, root);
    return status == VR_ERR_TOO_LARGE ? VR_ERR_INVALID : status;
}

/* ---- recommend, rank, dry_run ---- */

static enum vr_status make_id(struct vr_loop *loop, struct vr_arena *arena, struct vr_str *out)
{
    char text[48];
    loop->next_id += loop->shared->loop_count;
    snprintf(text, sizeof text, "%s-%" PRIx64, loop->shared->id_prefix, loop->next_id);
    *out = vr_arena_copy(arena, vr_str_of(text));
    return out->data != NULL ? VR_OK : VR_ERR_NOMEM;
}

/* Context values that the serving bundle does not declare are passed over, and named in the answer: replicas change
 * bundles one after the other, and a client must not be refused by those that have not done so yet. */
static void note_ignored(struct vr_loop *loop, struct vr_call *call)
{
    const struct vr_feed_request *request = &call->job.request;
    if (request->context_count == 0) {
        return;
    }
    struct vr_model *model = vr_feed_model(loop->shared->feed);
    if (model == NULL) {
        return;
    }
    for (uint32_t i = 0; i < request->context_count; i++) {
        uint32_t field = vr_feature_field_find(model->bundle->features, VR_ENTITY_CONTEXT, request->context[i].name);
        if (field == UINT32_MAX || field < VR_CONTEXT_FIELDS) {
            call->ignored[call->ignored_count++] = request->context[i].name;
        }
    }
    vr_model_release(model);
}

/* What the server and the request's head say, whatever the body says. Dry runs are nobody's feed: unless they say
 * otherwise they are the first to wait. */
static enum vr_status read_rules(const struct vr_loop *loop, const struct vr_exchange *exchange,
                                 struct vr_request_rules *rules)
{
    const struct vr_config *config = loop->shared->config;
    bool dry_run = exchange->match.route == VR_ROUTE_DRY_RUN;
    *rules = (struct vr_request_rules){.kind = exchange->match.route == VR_ROUTE_RANK ? VR_JOB_RANK : VR_JOB_RECOMMEND,
                                       .replay = config->server.replay,
                                       .dry_run = dry_run,
                                       .default_timeout_ms = config->lanes.default_timeout_ms,
                                       .now_ms = vr_clock_wall_ms(),
                                       .received_us = exchange->received_us};
    enum vr_status status = vr_timeout_field_read(exchange->timeout, &rules->header_timeout_ms);
    if (status == VR_OK) {
        status = vr_priority_field_read(exchange->priority, dry_run ? VR_PRIORITY_LOW : VR_PRIORITY_NORMAL,
                                        &rules->priority);
    }
    return status;
}

static enum vr_status read_recommend(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call *call)
{
    struct vr_request_rules rules;
    struct vr_json_value root = {0};
    enum vr_status status = read_rules(loop, exchange, &rules);
    if (status == VR_OK) {
        status = parse_body(loop, exchange, &root);
    }
    if (status == VR_OK) {
        status = vr_recommend_read(root, &rules, call->job.arena, &call->job.request);
    }
    if (status == VR_OK && call->job.request.request_id.len == 0) {
        status = make_id(loop, call->job.arena, &call->job.request.request_id);
    }
    if (status == VR_OK) {
        note_ignored(loop, call);
    }
    return status;
}

/* Hand a filled call over; on failure it is given back and the exchange answered. */
static enum vr_handled submit(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call *taken,
                              struct vr_call **call)
{
    taken->route = exchange->match.route;
    taken->close = exchange->close;
    enum vr_status status = vr_feed_submit(loop->shared->feed, &taken->job);
    if (status != VR_OK) {
        vr_exchange_fail(loop, exchange, vr_problem_http_status(status), vr_status_name(status), vr_error_text(),
                         taken->job.request.request_id);
        exchange->retry_after_s = taken->job.reply.retry_after_s;
        vr_call_put(loop, taken);
        return VR_HANDLED_ANSWERED;
    }
    vr_count(&loop->counts.calls, 1);
    *call = taken;
    return VR_HANDLED_PENDING;
}

static enum vr_handled handle_recommend(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call)
{
    struct vr_call *taken = vr_call_take(loop);
    if (taken == NULL) {
        return fail_status(loop, exchange, VR_ERR_NOMEM);
    }
    enum vr_status status = read_recommend(loop, exchange, taken);
    if (status != VR_OK) {
        vr_call_put(loop, taken);
        return fail_status(loop, exchange, status);
    }
    return submit(loop, exchange, taken, call);
}

/* ---- similar ---- */

/* count=N is the only query parameter. */
static enum vr_status read_count(struct vr_str query, uint32_t *count)
{
    struct vr_str name, value;
    bool given = false;
    *count = VR_COUNT_DEFAULT;
    while (vr_http_query_next(&query, &name, &value)) {
        bool known = vr_str_equal(name, vr_str_of("count"));
        if (!known || given) {
            return vr_fail(VR_ERR_INVALID, "%.*s: %s", (int)(name.len < 64 ? name.len : 64), name.data,
                           known ? "given twice" : "unknown parameter");
        }
        given = true;
        bool digits = value.len == 1 || (value.len == 2 && value.data[0] != '0');
        uint32_t number = 0;
        for (size_t i = 0; digits && i < value.len; i++) {
            digits = value.data[i] >= '0' && value.data[i] <= '9';
            number = number * 10 + (uint32_t)(value.data[i] - '0');
        }
        if (!digits || number < 1 || number > VR_COUNT_MAX) {
            return vr_fail(VR_ERR_INVALID, "count: an integer in 1..%u", VR_COUNT_MAX);
        }
        *count = number;
    }
    return VR_OK;
}

static enum vr_status read_similar(struct vr_loop *loop, const struct vr_exchange *exchange, struct vr_call *call)
{
    char id[VR_ROUTE_PARAMETER_MAX];
    struct vr_str text = {id, 0};
    struct vr_feed_request *request = &call->job.request;
    struct vr_str encoded = exchange->match.parameter;
    if (encoded.len > sizeof id || !vr_http_percent_decode(encoded, id, &text.len) || text.len > VR_ID_MAX_BYTES) {
        return vr_fail(VR_ERR_INVALID, "the id is not 1 to %u bytes, percent-encoded", VR_ID_MAX_BYTES);
    }
    struct vr_request_rules rules;
    enum vr_status status = read_rules(loop, exchange, &rules);
    *request = (struct vr_feed_request){.kind = VR_JOB_SIMILAR,
                                        .priority = rules.priority,
                                        .now_ms = rules.now_ms,
                                        .received_us = rules.received_us,
                                        .deadline_us = vr_request_deadline_us(&rules, 0)};
    if (status == VR_OK) {
        status = read_count(exchange->query, &request->count);
    }
    if (status != VR_OK) {
        return status;
    }
    request->video_id = vr_arena_copy(call->job.arena, text);
    return request->video_id.data != NULL ? make_id(loop, call->job.arena, &request->request_id) : VR_ERR_NOMEM;
}

static enum vr_handled handle_similar(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call)
{
    struct vr_call *taken = vr_call_take(loop);
    if (taken == NULL) {
        return fail_status(loop, exchange, VR_ERR_NOMEM);
    }
    enum vr_status status = read_similar(loop, exchange, taken);
    if (status != VR_OK) {
        vr_call_put(loop, taken);
        return fail_status(loop, exchange, status);
    }
    return submit(loop, exchange, taken, call);
}

/* ---- events ---- */

/* What the bundle says of an event: why it does not fit, or the video's duration. */
static const char *judge_event(const struct vr_loop *loop, const struct vr_bundle *bundle, int64_t now_ms,
                               struct vr_event *event)
{
    uint32_t row = vr_dict_find(bundle->video_rows, event->video_id);
    if (row == VR_DICT_NONE) {
        return "unknown video_id";
    }
    if (event->time_ms > now_ms + VR_EVENT_FUTURE_MS && !loop->shared->config->server.replay) {
        return "time lies in the future";
    }
    event->duration_s = bundle->videos.duration_s[row];
    return NULL;
}

static enum vr_status judge_events(struct vr_loop *loop, struct vr_call *call, int64_t now_ms)
{
    struct vr_event_batch *batch = &call->events;
    struct vr_event_result *result = vr_arena_calloc(call->job.arena, batch->count, sizeof *result);
    if (result == NULL) {
        return VR_ERR_NOMEM;
    }
    struct vr_model *model = vr_feed_model(loop->shared->feed);
    if (model == NULL) {
        return vr_fail(VR_ERR_CLOSED, "no model is in service");
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        result[i].reason = judge_event(loop, model->bundle, now_ms, &batch->event[i]);
        result[i].verdict = VR_EVENT_REJECTED;
    }
    vr_model_release(model);
    call->ticket.result = result;
    return VR_OK;
}

/* A store in memory takes them here, in the loop: a thousand of them take about as long as one feed. */
static void apply_events(struct vr_loop *loop, struct vr_call *call)
{
    for (uint32_t i = 0; i < call->events.count; i++) {
        struct vr_event_result *result = &call->ticket.result[i];
        if (result->reason == NULL &&
            vr_state_apply(loop->shared->state, &call->events.event[i], &result->verdict) != VR_OK) {
            result->verdict = VR_EVENT_REJECTED;
            result->reason = vr_arena_copy(call->job.arena, vr_str_of(vr_error_text())).data; /* NULL: no memory */
        }
    }
}

/* On the state's thread: the call goes back to its loop as a lane's does. */
static void events_done(struct vr_event_ticket *ticket)
{
    struct vr_call *call = (struct vr_call *)((char *)ticket - offsetof(struct vr_call, ticket));
    vr_handback_push(call->job.home, &call->job);
}

static void answer_events(struct vr_loop *loop, struct vr_exchange *exchange, const struct vr_call *call, bool durable)
{
    for (uint32_t i = 0; i < call->events.count; i++) {
        vr_count(&loop->metrics.events[call->ticket.result[i].verdict], 1);
    }
    begin_json(loop, exchange);
    exchange->status = durable ? 202 : 200;
    vr_reply_write_events(&loop->writer, &call->events, call->ticket.result, durable);
}

static enum vr_status read_events(struct vr_loop *loop, const struct vr_exchange *exchange, struct vr_call *call)
{
    int64_t now_ms = vr_clock_wall_ms();
    struct vr_json_value root = {0};
    enum vr_status status = parse_body(loop, exchange, &root);
    if (status == VR_OK) {
        status = vr_events_read(root, now_ms, call->job.arena, &call->events);
    }
    if (status == VR_OK) {
        status = judge_events(loop, call, now_ms);
    }
    call->ticket.event = call->events.event;
    call->ticket.count = call->events.count;
    call->ticket.received_ms = now_ms;
    call->ticket.done = events_done;
    call->job.request.received_us = exchange->received_us;
    call->route = exchange->match.route;
    call->close = exchange->close;
    return status;
}

static enum vr_handled handle_events(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call)
{
    struct vr_call *taken = vr_call_take(loop);
    if (taken == NULL) {
        return fail_status(loop, exchange, VR_ERR_NOMEM);
    }
    bool durable = vr_state_is_durable(loop->shared->state);
    enum vr_status status = read_events(loop, exchange, taken);
    if (status == VR_OK && durable) {
        status = vr_state_submit(loop->shared->state, &taken->ticket);
        if (status == VR_OK) {
            vr_count(&loop->counts.calls, 1);
            *call = taken;
            return VR_HANDLED_PENDING;
        }
    }
    if (status == VR_OK) {
        apply_events(loop, taken);
        answer_events(loop, exchange, taken, false);
    } else {
        (void)fail_status(loop, exchange, status);
    }
    vr_call_put(loop, taken);
    return VR_HANDLED_ANSWERED;
}

/* Whatever kept them from the disk, the same events may be sent again: 503, not 500. */
static void reply_events(struct vr_loop *loop, const struct vr_call *call, struct vr_exchange *exchange)
{
    static const struct vr_str none = {NULL, 0};
    if (call->ticket.status != VR_OK) {
        vr_exchange_fail(loop, exchange, 503, "storage", call->ticket.error, none);
        return;
    }
    answer_events(loop, exchange, call, true);
}

/* ---- all ---- */

enum vr_handled vr_handle(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call)
{
    if (vr_handle_head(loop, exchange) != 0) {
        return VR_HANDLED_ANSWERED;
    }
    begin_json(loop, exchange);
    switch (exchange->match.route) {
    case VR_ROUTE_RECOMMEND:
    case VR_ROUTE_RANK:
    case VR_ROUTE_DRY_RUN: return handle_recommend(loop, exchange, call);
    case VR_ROUTE_SIMILAR: return handle_similar(loop, exchange, call);
    case VR_ROUTE_EVENTS: return handle_events(loop, exchange, call);
    case VR_ROUTE_HEALTH: vr_handle_health(loop, exchange); break;
    case VR_ROUTE_READY: vr_handle_ready(loop, exchange); break;
    case VR_ROUTE_METRICS: vr_handle_metrics(loop, exchange); break;
    case VR_ROUTE_CONFIG: vr_handle_config(loop, exchange); break;
    case VR_ROUTE_DEBUG: vr_handle_debug(loop, exchange); break;
    case VR_ROUTE_MODELS: return vr_handle_models(loop, exchange);
    case VR_ROUTE_MODEL_LOAD: return vr_handle_model_load(loop, exchange, call);
    case VR_ROUTE_MODEL_ROLLBACK: return vr_handle_model_rollback(loop, exchange, call);
    case VR_ROUTE_NONE: break;
    }
    return VR_HANDLED_ANSWERED;
}

void vr_handle_reply(struct vr_loop *loop, struct vr_call *call, struct vr_exchange *exchange)
{
    const struct vr_feed_reply *reply = &call->job.reply;
    exchange->close = call->close;
    if (call->route == VR_ROUTE_EVENTS) {
        reply_events(loop, call, exchange);
        return;
    }
    if (reply->status != VR_OK) {
        vr_exchange_fail(loop, exchange, vr_problem_http_status(reply->status), vr_status_name(reply->status),
                         reply->error, call->job.request.request_id);
        return;
    }
    begin_json(loop, exchange);
    if (call->route == VR_ROUTE_SIMILAR) {
        vr_reply_write_similar(&loop->writer, &call->job.request, reply);
    } else if (call->route == VR_ROUTE_RANK) {
        vr_reply_write_rank(&loop->writer, &call->job.request, reply, call->ignored, call->ignored_count);
    } else {
        vr_reply_write_feed(&loop->writer, &call->job.request, reply, call->ignored, call->ignored_count);
    }
}
