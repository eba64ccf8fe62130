/* The writers of reply_json.h. */
#include "reply_json.h"

static void put_key_str(struct vr_json_writer *out, const char *key, struct vr_str value)
{
    vr_json_key(out, key);
    vr_json_put_str(out, value);
}

static void put_key_text(struct vr_json_writer *out, const char *key, const char *value)
{
    vr_json_key(out, key);
    vr_json_put_text(out, value);
}

static void put_key_uint(struct vr_json_writer *out, const char *key, uint64_t value)
{
    vr_json_key(out, key);
    vr_json_put_uint(out, value);
}

static void put_key_float(struct vr_json_writer *out, const char *key, float value)
{
    vr_json_key(out, key);
    vr_json_put_float(out, value);
}

/* What reports and experiments join on; experiment and arm are empty until there are experiments. */
static void put_identity(struct vr_json_writer *out, const struct vr_feed_request *request,
                         const struct vr_feed_reply *reply)
{
    put_key_str(out, "request_id", request->request_id);
    put_key_text(out, "model_version", reply->model_version);
    put_key_text(out, "experiment", "");
    put_key_text(out, "arm", "");
}

static void put_sources(struct vr_json_writer *out, const struct vr_feed_reply *reply)
{
    vr_json_key(out, "sources");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < VR_SOURCE_COUNT; i++) {
        const struct vr_source_report *report = &reply->source[i];
        vr_json_open_object(out);
        put_key_text(out, "name", vr_source_name((enum vr_source)i));
        put_key_text(out, "status", vr_source_status_name(report->status));
        put_key_uint(out, "returned", report->returned);
        put_key_uint(out, "us", report->us);
        vr_json_close_object(out);
    }
    vr_json_close_array(out);
}

/* "unknown_context:NAME", the name cut where it would be too long. */
static void put_ignored(struct vr_json_writer *out, struct vr_str name)
{
    static const char prefix[] = "unknown_context:";
    char text[sizeof prefix + VR_ID_MAX_BYTES];
    size_t len = name.len < VR_ID_MAX_BYTES ? name.len : VR_ID_MAX_BYTES;
    memcpy(text, prefix, sizeof prefix - 1);
    memcpy(text + sizeof prefix - 1, name.data, len);
    struct vr_str whole = {text, sizeof prefix - 1 + len};
    vr_json_put_str(out, whole);
}

static void put_degraded(struct vr_json_writer *out, const struct vr_feed_reply *reply, const struct vr_str *ignored,
                         uint32_t ignored_count)
{
    vr_json_key(out, "degraded");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < reply->degraded_count; i++) {
        vr_json_put_text(out, reply->degraded[i]);
    }
    for (uint32_t i = 0; i < ignored_count; i++) {
        put_ignored(out, ignored[i]);
    }
    vr_json_close_array(out);
}

static void put_coverage(struct vr_json_writer *out, const struct vr_feed_reply *reply, const struct vr_str *ignored,
                         uint32_t ignored_count)
{
    vr_json_key(out, "coverage");
    vr_json_open_object(out);
    put_sources(out, reply);
    put_degraded(out, reply, ignored, ignored_count);
    if (reply->short_reason != NULL) {
        put_key_text(out, "short_reason", reply->short_reason);
    }
    vr_json_close_object(out);
}

static void put_took(struct vr_json_writer *out, const struct vr_feed_reply *reply)
{
    vr_json_key(out, "took_us");
    vr_json_open_object(out);
    put_key_uint(out, "queue", reply->queue_us);
    put_key_uint(out, "retrieve", reply->retrieve_us);
    put_key_uint(out, "merge", reply->merge_us);
    put_key_uint(out, "rank", reply->rank_us);
    put_key_uint(out, "rerank", reply->rerank_us);
    vr_json_close_object(out);
}

static const char *move_name(enum vr_move_kind kind)
{
    switch (kind) {
    case VR_MOVE_LIFTED: return "lifted";
    case VR_MOVE_HELD: return "held";
    case VR_MOVE_RULE_GAVE_WAY: return "rule_gave_way";
    }
    return "unknown";
}

static void put_moves(struct vr_json_writer *out, const struct vr_trace *trace)
{
    vr_json_key(out, "moves");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < trace->move_count; i++) {
        vr_json_open_object(out);
        put_key_text(out, "kind", move_name(trace->moves[i].kind));
        put_key_text(out, "rule", vr_rule_name(trace->moves[i].rule));
        put_key_uint(out, "position", trace->moves[i].position);
        vr_json_close_object(out);
    }
    vr_json_close_array(out);
}

/* A key that comes from a bundle or the configuration: the contracts hold both to [A-Za-z0-9._-], at most 64 bytes. */
static void put_name_key(struct vr_json_writer *out, struct vr_str name)
{
    char key[VR_ID_MAX_BYTES + 1];
    size_t len = name.len < VR_ID_MAX_BYTES ? name.len : VR_ID_MAX_BYTES;
    memcpy(key, name.data, len);
    key[len] = '\0';
    vr_json_key(out, key);
}

static void put_gates(struct vr_json_writer *out, const struct vr_feed_reply *reply, const float *gates)
{
    vr_json_key(out, "gates");
    vr_json_open_object(out);
    for (uint32_t g = 0; gates != NULL && g < reply->gate_count; g++) {
        put_name_key(out, reply->gate_name[g]);
        vr_json_open_array(out);
        for (uint32_t e = 0; e < reply->expert_count; e++) {
            vr_json_put_float(out, gates[(size_t)g * reply->expert_count + e]);
        }
        vr_json_close_array(out);
    }
    vr_json_close_object(out);
}

static void put_terms(struct vr_json_writer *out, const struct vr_feed_reply *reply, const float *terms)
{
    vr_json_key(out, "terms");
    vr_json_open_object(out);
    for (uint32_t t = 0; terms != NULL && t < reply->term_count; t++) {
        put_name_key(out, reply->term_name[t]);
        vr_json_put_float(out, terms[t]);
    }
    vr_json_close_object(out);
}

static void put_trace(struct vr_json_writer *out, const struct vr_feed_reply *reply, const struct vr_trace *trace)
{
    vr_json_key(out, "trace");
    vr_json_open_object(out);
    put_terms(out, reply, trace->terms);
    put_gates(out, reply, trace->gates);
    put_key_float(out, "gain", trace->gain);
    put_key_uint(out, "score_rank", trace->score_rank);
    put_moves(out, trace);
    vr_json_close_object(out);
}

static void put_heads(struct vr_json_writer *out, const float *heads)
{
    vr_json_key(out, "heads");
    vr_json_open_object(out);
    for (uint32_t h = 0; h < VR_HEAD_COUNT; h++) {
        put_key_float(out, vr_head_name((enum vr_head)h), heads[h]);
    }
    vr_json_close_object(out);
}

static void put_found(struct vr_json_writer *out, const struct vr_feed_item *item)
{
    vr_json_key(out, "sources");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < item->found_count; i++) {
        vr_json_open_object(out);
        put_key_text(out, "name", vr_source_name(item->found[i].source));
        put_key_uint(out, "rank", item->found[i].rank);
        put_key_float(out, "score", item->found[i].score);
        vr_json_close_object(out);
    }
    vr_json_close_array(out);
}

/* What a video is, as the bundle has it. */
static void put_video(struct vr_json_writer *out, const struct vr_feed_item *item)
{
    put_key_str(out, "title", item->title);
    put_key_str(out, "creator", item->creator);
    put_key_str(out, "topic", item->topic);
    put_key_float(out, "duration_s", item->duration_s);
}

static void put_item(struct vr_json_writer *out, const struct vr_feed_reply *reply, uint32_t index)
{
    const struct vr_feed_item *item = &reply->item[index];
    vr_json_open_object(out);
    put_key_str(out, "id", item->id);
    put_key_uint(out, "position", index + 1);
    put_key_float(out, "score", item->score);
    put_heads(out, item->heads);
    put_found(out, item);
    put_video(out, item);
    if (item->trace != NULL) {
        put_trace(out, reply, item->trace);
    }
    vr_json_close_object(out);
}

static void put_explanation(struct vr_json_writer *out, const struct vr_feed_reply *reply)
{
    vr_json_key(out, "explain");
    vr_json_open_object(out);
    put_key_uint(out, "candidates", reply->candidates);
    put_key_uint(out, "batch", reply->batch);
    vr_json_key(out, "filtered");
    vr_json_open_object(out);
    for (uint32_t i = 0; i < VR_FILTER_COUNT; i++) {
        put_key_uint(out, vr_filter_name((enum vr_filter)i), reply->filtered[i]);
    }
    vr_json_close_object(out);
    vr_json_close_object(out);
}

void vr_reply_write_feed(struct vr_json_writer *out, const struct vr_feed_request *request,
                         const struct vr_feed_reply *reply, const struct vr_str *ignored, uint32_t ignored_count)
{
    vr_json_open_object(out);
    put_identity(out, request, reply);
    if (request->dry_run) {
        vr_json_key(out, "dry_run");
        vr_json_put_bool(out, true);
    }
    put_coverage(out, reply, ignored, ignored_count);
    put_took(out, reply);
    if (request->explain) {
        put_explanation(out, reply);
    }
    vr_json_key(out, "items");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < reply->item_count; i++) {
        put_item(out, reply, i);
    }
    vr_json_close_array(out);
    vr_json_close_object(out);
}

static void put_ranked(struct vr_json_writer *out, const struct vr_feed_request *request,
                       const struct vr_feed_reply *reply, const struct vr_feed_item *item)
{
    vr_json_open_object(out);
    put_key_str(out, "id", item->id);
    put_key_float(out, "score", item->score);
    put_heads(out, item->heads);
    put_terms(out, reply, item->trace->terms);
    if (request->explain) {
        put_gates(out, reply, item->trace->gates);
    }
    vr_json_close_object(out);
}

void vr_reply_write_rank(struct vr_json_writer *out, const struct vr_feed_request *request,
                         const struct vr_feed_reply *reply, const struct vr_str *ignored, uint32_t ignored_count)
{
    vr_json_open_object(out);
    put_identity(out, request, reply);
    put_degraded(out, reply, ignored, ignored_count);
    vr_json_key(out, "unknown");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < reply->unknown_count; i++) {
        vr_json_put_str(out, reply->unknown[i]);
    }
    vr_json_close_array(out);
    put_took(out, reply);
    vr_json_key(out, "items");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < reply->item_count; i++) {
        put_ranked(out, request, reply, &reply->item[i]);
    }
    vr_json_close_array(out);
    vr_json_close_object(out);
}

void vr_reply_write_similar(struct vr_json_writer *out, const struct vr_feed_request *request,
                            const struct vr_feed_reply *reply)
{
    vr_json_open_object(out);
    put_identity(out, request, reply);
    put_key_str(out, "id", request->video_id);
    vr_json_key(out, "items");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < reply->item_count; i++) {
        const struct vr_feed_item *item = &reply->item[i];
        vr_json_open_object(out);
        put_key_str(out, "id", item->id);
        put_key_uint(out, "position", i + 1);
        put_key_float(out, "score", item->score);
        put_video(out, item);
        vr_json_close_object(out);
    }
    vr_json_close_array(out);
    vr_json_close_object(out);
}

static const char *verdict_name(enum vr_event_verdict verdict)
{
    switch (verdict) {
    case VR_EVENT_ACCEPTED: return "accepted";
    case VR_EVENT_DUPLICATE: return "duplicate";
    case VR_EVENT_REJECTED: return "rejected";
    }
    return "unknown";
}

static void put_event_result(struct vr_json_writer *out, const struct vr_event *event,
                             const struct vr_event_result *result)
{
    vr_json_open_object(out);
    put_key_str(out, "event_id", event->event_id);
    put_key_text(out, "status", verdict_name(result->verdict));
    if (result->reason != NULL) {
        put_key_text(out, "reason", result->reason);
    }
    vr_json_close_object(out);
}

void vr_reply_write_events(struct vr_json_writer *out, const struct vr_event_batch *batch,
                           const struct vr_event_result *result, bool durable)
{
    uint32_t tally[3] = {0};
    for (uint32_t i = 0; i < batch->count; i++) {
        tally[result[i].verdict]++;
    }
    vr_json_open_object(out);
    vr_json_key(out, "durable");
    vr_json_put_bool(out, durable);
    for (uint32_t v = 0; v < 3; v++) {
        put_key_uint(out, verdict_name((enum vr_event_verdict)v), tally[v]);
    }
    vr_json_key(out, "results");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < batch->count; i++) {
        put_event_result(out, &batch->event[i], &result[i]);
    }
    vr_json_close_array(out);
    vr_json_close_object(out);
}
