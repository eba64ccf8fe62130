/* Reads POST /v1/recommend, /v1/rank and /admin/dry_run bodies (request_json.h). One table names the keys, their
 * readers and whose keys they are. */
#include "request_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum vr_status vr_id_read(struct vr_json_value value, const char *key, struct vr_arena *arena, struct vr_str *out)
{
    char digits[24];
    struct vr_str text = {digits, 0};
    int64_t number = 0;
    enum vr_json_type type = vr_json_type_of(value);
    if (type == VR_JSON_INT && vr_json_as_int(value, &number) == VR_OK) {
        text.len = (size_t)snprintf(digits, sizeof digits, "%" PRId64, number);
    } else if (type != VR_JSON_STRING || vr_json_as_str(value, &text) != VR_OK) {
        return vr_fail(VR_ERR_INVALID, "%s: an id is a string or an integer, found %s", key, vr_json_type_name(type));
    }
    if (text.len == 0 || text.len > VR_ID_MAX_BYTES) {
        return vr_fail(VR_ERR_INVALID, "%s: an id has 1 to %u bytes, not %zu", key, VR_ID_MAX_BYTES, text.len);
    }
    *out = vr_arena_copy(arena, text);
    return out->data != NULL ? VR_OK : VR_ERR_NOMEM;
}

static enum vr_status read_bool(struct vr_json_value value, const char *key, bool *out)
{
    if (vr_json_as_bool(value, out) != VR_OK) {
        return vr_fail(VR_ERR_INVALID, "%s: true or false, found %s", key, vr_json_type_name(vr_json_type_of(value)));
    }
    return VR_OK;
}

static enum vr_status read_range(struct vr_json_value value, const char *key, int64_t low, int64_t high, int64_t *out)
{
    if (vr_json_type_of(value) != VR_JSON_INT || vr_json_as_int(value, out) != VR_OK) {
        return vr_fail(VR_ERR_INVALID, "%s: an integer, found %s", key, vr_json_type_name(vr_json_type_of(value)));
    }
    if (*out < low || *out > high) {
        return vr_fail(VR_ERR_INVALID, "%s: %" PRId64 " is not in %" PRId64 "..%" PRId64, key, *out, low, high);
    }
    return VR_OK;
}

/* What the readers of one body share. */
struct reading {
    const struct vr_request_rules *rules;
    struct vr_arena *arena;
    struct vr_feed_request *out;
};

static enum vr_status take_request_id(struct vr_json_value value, struct reading *r)
{
    return vr_id_read(value, "request_id", r->arena, &r->out->request_id);
}

static enum vr_status take_user_id(struct vr_json_value value, struct reading *r)
{
    return vr_id_read(value, "user_id", r->arena, &r->out->user_id);
}

static enum vr_status take_count(struct vr_json_value value, struct reading *r)
{
    int64_t count = 0;
    enum vr_status status = read_range(value, "count", 1, VR_COUNT_MAX, &count);
    r->out->count = (uint32_t)count;
    return status;
}

enum vr_status vr_timeout_field_read(struct vr_str text, uint32_t *out)
{
    uint32_t ms = 0;
    bool good = text.len > 0 && text.len <= 5 && text.data[0] != '0';
    *out = 0;
    if (text.data == NULL) {
        return VR_OK;
    }
    for (size_t i = 0; good && i < text.len; i++) {
        good = text.data[i] >= '0' && text.data[i] <= '9';
        ms = ms * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (!good || ms > VR_TIMEOUT_MS_MAX) {
        return vr_fail(VR_ERR_INVALID, "X-Request-Timeout-Ms: a whole number in 1..%d", VR_TIMEOUT_MS_MAX);
    }
    *out = ms;
    return VR_OK;
}

enum vr_status vr_priority_field_read(struct vr_str text, enum vr_priority otherwise, enum vr_priority *out)
{
    *out = otherwise;
    if (text.data == NULL) {
        return VR_OK;
    }
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        if (vr_str_equal(text, vr_str_of(vr_priority_name((enum vr_priority)p)))) {
            *out = (enum vr_priority)p;
            return VR_OK;
        }
    }
    return vr_fail(VR_ERR_INVALID, "X-Request-Priority: high, normal or low");
}

uint64_t vr_request_deadline_us(const struct vr_request_rules *rules, uint32_t body_timeout_ms)
{
    uint32_t ms = body_timeout_ms;
    if (ms == 0 || (rules->header_timeout_ms != 0 && rules->header_timeout_ms < ms)) {
        ms = rules->header_timeout_ms != 0 ? rules->header_timeout_ms : ms;
    }
    return rules->received_us + 1000ull * (ms != 0 ? ms : rules->default_timeout_ms);
}

static enum vr_status take_timeout(struct vr_json_value value, struct reading *r)
{
    int64_t ms = 0;
    enum vr_status status = read_range(value, "timeout_ms", 1, VR_TIMEOUT_MS_MAX, &ms);
    r->out->deadline_us = vr_request_deadline_us(r->rules, (uint32_t)ms);
    return status;
}

static enum vr_status take_explain(struct vr_json_value value, struct reading *r)
{
    return read_bool(value, "explain", &r->out->explain);
}

static enum vr_status take_time(struct vr_json_value value, struct reading *r)
{
    if (!r->rules->replay) {
        return vr_fail(VR_ERR_INVALID, "time: taken only by a server that runs with --replay");
    }
    return read_range(value, "time", 0, VR_TIME_MS_MAX, &r->out->now_ms);
}

static enum vr_status read_ids(struct vr_json_value value, const char *key, uint32_t most, struct reading *r,
                               const struct vr_str **out, uint32_t *out_count)
{
    if (vr_json_type_of(value) != VR_JSON_ARRAY) {
        return vr_fail(VR_ERR_INVALID, "%s: an array of ids, found %s", key, vr_json_type_name(vr_json_type_of(value)));
    }
    size_t count = vr_json_count(value);
    if (count > most) {
        return vr_fail(VR_ERR_INVALID, "%s: %zu ids, at most %u are taken", key, count, most);
    }
    struct vr_str *ids = vr_arena_calloc(r->arena, count, sizeof *ids);
    if (ids == NULL) {
        return VR_ERR_NOMEM;
    }
    struct vr_json_iter it = vr_json_begin(value);
    struct vr_json_value element;
    for (size_t i = 0; vr_json_next(&it, NULL, &element); i++) {
        enum vr_status status = vr_id_read(element, key, r->arena, &ids[i]);
        if (status != VR_OK) {
            return status;
        }
    }
    *out = ids;
    *out_count = (uint32_t)count;
    return VR_OK;
}

static enum vr_status take_exclude(struct vr_json_value value, struct reading *r)
{
    return read_ids(value, "exclude_ids", VR_EXCLUDE_MAX, r, &r->out->exclude, &r->out->exclude_count);
}

static enum vr_status take_videos(struct vr_json_value value, struct reading *r)
{
    return read_ids(value, "video_ids", VR_RANK_MAX, r, &r->out->candidate, &r->out->candidate_count);
}

static enum vr_status read_context_value(struct vr_str name, struct vr_json_value value, struct vr_arena *arena,
                                         struct vr_context_value *out)
{
    struct vr_str text = {"", 0};
    if (name.len == 0 || name.len > VR_ID_MAX_BYTES) {
        return vr_fail(VR_ERR_INVALID, "context: a name has 1 to %u bytes", VR_ID_MAX_BYTES);
    }
    out->is_text = vr_json_type_of(value) == VR_JSON_STRING;
    if (out->is_text) {
        (void)vr_json_as_str(value, &text);
        if (text.len > VR_CONTEXT_TEXT_MAX) {
            return vr_fail(VR_ERR_INVALID, "context.%.*s: at most %u bytes", (int)name.len, name.data,
                           VR_CONTEXT_TEXT_MAX);
        }
    } else if (vr_json_as_double(value, &out->number) != VR_OK || !isfinite(out->number)) {
        return vr_fail(VR_ERR_INVALID, "context.%.*s: a number or a string, found %s", (int)name.len, name.data,
                       vr_json_type_name(vr_json_type_of(value)));
    }
    out->name = vr_arena_copy(arena, name);
    out->text = vr_arena_copy(arena, text);
    return out->name.data != NULL && out->text.data != NULL ? VR_OK : VR_ERR_NOMEM;
}

static enum vr_status take_context(struct vr_json_value value, struct reading *r)
{
    size_t count = vr_json_count(value);
    if (vr_json_type_of(value) != VR_JSON_OBJECT) {
        return vr_fail(VR_ERR_INVALID, "context: an object, found %s", vr_json_type_name(vr_json_type_of(value)));
    }
    if (count > VR_CONTEXT_MAX) {
        return vr_fail(VR_ERR_INVALID, "context: %zu values, at most %u are taken", count, VR_CONTEXT_MAX);
    }
    struct vr_context_value *context = vr_arena_calloc(r->arena, count, sizeof *context);
    if (context == NULL) {
        return VR_ERR_NOMEM;
    }
    struct vr_json_iter it = vr_json_begin(value);
    struct vr_json_value element;
    struct vr_str name;
    for (size_t i = 0; vr_json_next(&it, &name, &element); i++) {
        enum vr_status status = read_context_value(name, element, r->arena, &context[i]);
        if (status != VR_OK) {
            return status;
        }
    }
    r->out->context = context;
    r->out->context_count = (uint32_t)count;
    return VR_OK;
}

static enum vr_status read_term(struct vr_json_value value, struct vr_arena *arena, struct vr_term_spec *out)
{
    struct vr_json_value name, expression;
    struct vr_str name_text, expression_text;
    if (vr_json_type_of(value) != VR_JSON_OBJECT || vr_json_count(value) != 2 ||
        vr_json_get(value, "name", &name) != VR_OK || vr_json_get(value, "expression", &expression) != VR_OK ||
        vr_json_as_str(name, &name_text) != VR_OK || vr_json_as_str(expression, &expression_text) != VR_OK) {
        return vr_fail(VR_ERR_INVALID, "satisfaction: each term is {\"name\": string, \"expression\": string}");
    }
    out->name = vr_arena_copy(arena, name_text);
    out->expression = vr_arena_copy(arena, expression_text);
    return out->name.data != NULL && out->expression.data != NULL ? VR_OK : VR_ERR_NOMEM;
}

static enum vr_status take_satisfaction(struct vr_json_value value, struct reading *r)
{
    size_t count = vr_json_count(value);
    if (!r->rules->dry_run) {
        return vr_fail(VR_ERR_INVALID, "satisfaction: taken only by /admin/dry_run");
    }
    if (vr_json_type_of(value) != VR_JSON_ARRAY || count == 0 || count > VR_TERM_COUNT_MAX) {
        return vr_fail(VR_ERR_INVALID, "satisfaction: an array of 1 to %u terms", VR_TERM_COUNT_MAX);
    }
    struct vr_term_spec *terms = vr_arena_calloc(r->arena, count, sizeof *terms);
    if (terms == NULL) {
        return VR_ERR_NOMEM;
    }
    struct vr_json_iter it = vr_json_begin(value);
    struct vr_json_value element;
    for (size_t i = 0; vr_json_next(&it, NULL, &element); i++) {
        enum vr_status status = read_term(element, r->arena, &terms[i]);
        if (status != VR_OK) {
            return status;
        }
    }
    r->out->terms = terms;
    r->out->term_count = (uint32_t)count;
    return VR_OK;
}

enum owner { OF_BOTH = 0, OF_FEEDS, OF_RANK };

static const struct {
    const char *key;
    enum vr_status (*take)(struct vr_json_value value, struct reading *r);
    enum owner owner;
} keys[] = {
    {"request_id", take_request_id, OF_BOTH},
    {"user_id", take_user_id, OF_BOTH},
    {"count", take_count, OF_FEEDS},
    {"timeout_ms", take_timeout, OF_BOTH},
    {"context", take_context, OF_BOTH},
    {"exclude_ids", take_exclude, OF_FEEDS},
    {"video_ids", take_videos, OF_RANK},
    {"explain", take_explain, OF_BOTH},
    {"time", take_time, OF_BOTH},
    {"satisfaction", take_satisfaction, OF_FEEDS},
};

static enum vr_status take_key(struct vr_str key, struct vr_json_value value, struct reading *r)
{
    enum owner other = r->rules->kind == VR_JOB_RANK ? OF_FEEDS : OF_RANK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].owner != other && vr_str_equal(key, vr_str_of(keys[i].key))) {
            return keys[i].take(value, r);
        }
    }
    return vr_fail(VR_ERR_INVALID, "%.*s: unknown key", (int)(key.len < 64 ? key.len : 64), key.data);
}

enum vr_status vr_recommend_read(struct vr_json_value root, const struct vr_request_rules *rules,
                                 struct vr_arena *arena, struct vr_feed_request *out)
{
    if (vr_json_type_of(root) != VR_JSON_OBJECT) {
        return vr_fail(VR_ERR_INVALID, "the body is an object, found %s", vr_json_type_name(vr_json_type_of(root)));
    }
    *out = (struct vr_feed_request){.kind = rules->kind,
                                    .count = VR_COUNT_DEFAULT,
                                    .dry_run = rules->dry_run,
                                    .now_ms = rules->now_ms,
                                    .received_us = rules->received_us,
                                    .priority = rules->priority,
                                    .deadline_us = vr_request_deadline_us(rules, 0)};
    struct reading r = {rules, arena, out};
    struct vr_json_iter it = vr_json_begin(root);
    struct vr_json_value value;
    struct vr_str key;
    while (vr_json_next(&it, &key, &value)) {
        enum vr_status status = take_key(key, value, &r);
        if (status != VR_OK) {
            return status;
        }
    }
    if (out->user_id.len == 0) {
        return vr_fail(VR_ERR_INVALID, "user_id: missing");
    }
    return rules->kind != VR_JOB_RANK || out->candidate_count > 0
               ? VR_OK
               : vr_fail(VR_ERR_INVALID, "video_ids: 1 to %u ids", VR_RANK_MAX);
}
