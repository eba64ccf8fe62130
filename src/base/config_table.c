/* The table of scalar settings and the readers of their types (config_table.h). docs/configuration.md shows the same
 * rows; tests/base/test_config.c holds the two together. */
#include "config_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHOICE_MAX 16u

static const char *choice_index_kind(unsigned value)
{
    return value < VR_INDEX_KINDS ? vr_index_kind_name((enum vr_index_kind)value) : NULL;
}

static const char *choice_backend(unsigned value)
{
    return value <= VR_COMPUTE_CUDA ? vr_compute_backend_name((enum vr_compute_backend)value) : NULL;
}

static const char *choice_precision(unsigned value)
{
    return value <= VR_PRECISION_INT8 ? vr_precision_name((enum vr_precision)value) : NULL;
}

static const char *choice_gain(unsigned value)
{
    return value <= VR_GAIN_DPP ? vr_gain_name((enum vr_gain)value) : NULL;
}

const char *config_choice_cap_by(unsigned value)
{
    static const char *const names[] = {[VR_CAP_CREATOR] = "creator", [VR_CAP_TOPIC] = "topic"};
    return value < sizeof names / sizeof names[0] ? names[value] : NULL;
}

const char *config_choice_rule(unsigned value)
{
    return value < VR_RULE_COUNT ? vr_rule_name((enum vr_rule)value) : NULL;
}

#define AT(member) offsetof(struct vr_config, member)
#define BOOL(path, member)                         \
    {                                              \
        path, SETTING_BOOL, AT(member), 0, 0, NULL \
    }
#define U32(path, member, min, max)                   \
    {                                                 \
        path, SETTING_U32, AT(member), min, max, NULL \
    }
#define FLOAT(path, member, min, max)                   \
    {                                                   \
        path, SETTING_FLOAT, AT(member), min, max, NULL \
    }
#define ADDRESS(path, member)                         \
    {                                                 \
        path, SETTING_ADDRESS, AT(member), 0, 0, NULL \
    }
#define TEXT(path, member)                         \
    {                                              \
        path, SETTING_TEXT, AT(member), 0, 0, NULL \
    }
#define CHOICE(path, member, names)                   \
    {                                                 \
        path, SETTING_CHOICE, AT(member), 0, 0, names \
    }
#define SOURCE(name, at)                                                                                           \
    BOOL("sources." name ".enabled", source[at].enabled), U32("sources." name ".count", source[at].count, 1, 500), \
        U32("sources." name ".budget_us", source[at].budget_us, 1, 10000000)

const struct setting config_settings[] = {
    ADDRESS("server.listen", server.listen),
    ADDRESS("server.admin", server.admin),
    BOOL("server.admin_allow_remote", server.admin_allow_remote),
    U32("server.loops", server.loops, 1, VR_LOOPS_MAX),
    U32("server.max_connections", server.max_connections, 1, 1000000),
    U32("server.max_connections_per_address", server.max_connections_per_address, 0, 1000000),
    U32("server.max_body_bytes", server.max_body_bytes, 1024, 16777216),
    U32("server.request_deadline_ms", server.request_deadline_ms, 1, 3600000),
    U32("server.idle_timeout_ms", server.idle_timeout_ms, 1, 3600000),
    U32("server.write_timeout_ms", server.write_timeout_ms, 1, 3600000),
    U32("server.drain_timeout_ms", server.drain_timeout_ms, 0, 3600000),
    U32("server.slow_request_ms", server.slow_request_ms, 0, 3600000),
    BOOL("server.replay", server.replay),
    TEXT("model.watch", model.watch),
    U32("model.watch_ms", model.watch_ms, 10, 3600000),
    CHOICE("compute.backend", compute.backend, choice_backend),
    CHOICE("compute.precision", compute.precision, choice_precision),
    U32("compute.video_table_mb", compute.video_table_mb, 0, 1048576),
    U32("compute.device_timeout_ms", compute.device_timeout_ms, 1, 60000),
    U32("lanes.count", lanes.count, 1, 16),
    U32("lanes.max_batch", lanes.max_batch, 1, 256),
    U32("lanes.target_batch_ms", lanes.target_batch_ms, 1, 1000),
    U32("lanes.target_wait_ms", lanes.target_wait_ms, 1, 60000),
    U32("lanes.max_delay_us", lanes.max_delay_us, 0, 1000000),
    U32("lanes.queue_capacity", lanes.queue_capacity, 1, 1048576),
    U32("lanes.pool_workers", lanes.pool_workers, 0, 256),
    U32("lanes.default_timeout_ms", lanes.default_timeout_ms, 1, 60000),
    CHOICE("retrieval.index", retrieval.kind, choice_index_kind),
    U32("retrieval.hnsw_m", retrieval.hnsw_m, 2, 256),
    U32("retrieval.hnsw_ef_search", retrieval.hnsw_ef_search, 1, 65536),
    U32("retrieval.ivf_lists", retrieval.ivf_lists, 0, 1048576),
    U32("retrieval.ivf_probes", retrieval.ivf_probes, 1, 1048576),
    SOURCE("two_tower", VR_SOURCE_TWO_TOWER),
    SOURCE("content", VR_SOURCE_CONTENT),
    SOURCE("trending", VR_SOURCE_TRENDING),
    SOURCE("social", VR_SOURCE_SOCIAL),
    SOURCE("subscriptions", VR_SOURCE_SUBSCRIPTIONS),
    CHOICE("rerank.gain", rerank.gain, choice_gain),
    FLOAT("rerank.mmr_lambda", rerank.mmr_lambda, 0, 1),
    FLOAT("rerank.dpp_theta", rerank.dpp_theta, 0, 1),
    U32("rerank.min_items", rerank.min_items, 0, 50),
    FLOAT("rerank.fresh_max_age_h", rerank.fresh_max_age_h, 0, 87600),
    BOOL("rerank.drop_seen", rerank.drop_seen),
    BOOL("rerank.drop_served", rerank.drop_served),
    BOOL("rerank.record_served", rerank.record_served),
    FLOAT("rerank.safety_threshold", rerank.safety_threshold, 0, 1),
    U32("rerank.adult_age", rerank.adult_age, 0, 120),
    U32("state.max_viewers", state.max_viewers, 1, 4294967293),
    U32("state.recent_watches", state.recent_watches, 10, 200),
    FLOAT("state.trending_half_life_h", state.trending_half_life_h, 0.01, 87600),
    U32("state.trending_refresh_ms", state.trending_refresh_ms, 1, 3600000),
    FLOAT("state.social_half_life_h", state.social_half_life_h, 0.01, 87600),
    FLOAT("state.subscription_max_age_h", state.subscription_max_age_h, 0, 87600),
};

const size_t config_settings_count = sizeof config_settings / sizeof config_settings[0];

const struct setting *config_setting_find(const char *path)
{
    for (size_t i = 0; i < config_settings_count; i++) {
        if (strcmp(config_settings[i].path, path) == 0) {
            return &config_settings[i];
        }
    }
    return NULL;
}

struct config_shown config_show(const char *text, size_t len)
{
    struct config_shown shown = {""};
    for (size_t i = 0; i < len && i < sizeof shown.text - 1; i++) {
        unsigned char byte = (unsigned char)text[i];
        shown.text[i] = byte < 0x20 || byte > 0x7e ? '?' : text[i];
    }
    return shown;
}

static enum vr_status unexpected(const char *expected, struct vr_str found)
{
    return vr_fail(VR_ERR_FORMAT, "expected %s, found '%s'", expected, config_show(found.data, found.len).text);
}

static enum vr_status assign_bool(struct vr_str text, void *place)
{
    bool value = vr_str_equal(text, vr_str_of("true"));
    if (!value && !vr_str_equal(text, vr_str_of("false"))) {
        return unexpected("true or false", text);
    }
    memcpy(place, &value, sizeof value);
    return VR_OK;
}

/* Decimal digits alone, so that neither 010 nor 0x10 nor 1e3 means something else to someone; false when it is not,
 * or past 32 bits. */
static bool read_u32(struct vr_str text, uint32_t *out)
{
    uint64_t value = 0;
    if (text.len == 0 || (text.len > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
        if (value > UINT32_MAX) {
            return false;
        }
    }
    *out = (uint32_t)value;
    return true;
}

static enum vr_status assign_u32(const struct setting *setting, struct vr_str text, void *place)
{
    uint32_t value;
    if (!read_u32(text, &value) || value < setting->min || value > setting->max) {
        char expected[96];
        snprintf(expected, sizeof expected, "a whole number from %.0f to %.0f", setting->min, setting->max);
        return unexpected(expected, text);
    }
    memcpy(place, &value, sizeof value);
    return VR_OK;
}

/* A finite decimal number. strtod follows the locale, which the program leaves at "C"; in another one a decimal point
 * would be refused rather than misread. */
static bool read_double(struct vr_str text, double *out)
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof copy) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\0' || strchr("0123456789+-.eE", text.data[i]) == NULL) {
            return false; /* no hexadecimal, infinity or white space */
        }
        copy[i] = text.data[i];
    }
    copy[text.len] = '\0';
    char *end;
    *out = strtod(copy, &end);
    return *end == '\0' && isfinite(*out);
}

static enum vr_status assign_float(const struct setting *setting, struct vr_str text, void *place)
{
    double number;
    if (!read_double(text, &number) || number < setting->min || number > setting->max) {
        char expected[96];
        snprintf(expected, sizeof expected, "a number from %g to %g", setting->min, setting->max);
        return unexpected(expected, text);
    }
    float value = (float)number;
    memcpy(place, &value, sizeof value);
    return VR_OK;
}

/* Enums are stored as the compiler's int (GCC and Clang on Linux). */
static enum vr_status assign_choice(const struct setting *setting, struct vr_str text, void *place)
{
    _Static_assert(sizeof(enum vr_gain) == sizeof(unsigned), "enums have an int's size");
    char expected[256] = "";
    size_t used = 0;
    for (unsigned value = 0; value < CHOICE_MAX && setting->choice(value) != NULL; value++) {
        const char *name = setting->choice(value);
        if (vr_str_equal(text, vr_str_of(name))) {
            memcpy(place, &value, sizeof value);
            return VR_OK;
        }
        int wide = snprintf(expected + used, sizeof expected - used, "%s%s", value == 0 ? "one of " : ", ", name);
        used += wide > 0 && (size_t)wide < sizeof expected - used ? (size_t)wide : 0;
    }
    return unexpected(expected, text);
}

static bool is_name(struct vr_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\0' || strchr("abcdefghijklmnopqrstuvwxyz0123456789_", text.data[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* HOST:PORT with a host without colons, or [IPV6]:PORT; whether the host exists shows when it is bound. */
static bool is_address(struct vr_str text)
{
    const char *colon = memrchr(text.data, ':', text.len);
    if (colon == NULL || colon == text.data) {
        return false;
    }
    struct vr_str host = {text.data, (size_t)(colon - text.data)};
    struct vr_str port = {colon + 1, text.len - host.len - 1};
    uint32_t number;
    if (!read_u32(port, &number) || number > 65535) {
        return false;
    }
    if (host.data[0] == '[') {
        return host.len > 2 && memchr(host.data, ']', host.len) == host.data + host.len - 1;
    }
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] <= ' ' || host.data[i] > '~' || strchr(":[]/@", host.data[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static enum vr_status assign_text(const struct setting *setting, struct vr_str text, void *place,
                                  struct vr_arena *arena)
{
    if (text.len == 0 || text.len > CONFIG_TEXT_MAX || memchr(text.data, '\0', text.len) != NULL) {
        return vr_fail(VR_ERR_FORMAT, "expected a text of 1 to %u bytes without NUL, found %zu bytes", CONFIG_TEXT_MAX,
                       text.len);
    }
    if (setting->type == SETTING_ADDRESS && !is_address(text)) {
        return unexpected("HOST:PORT", text);
    }
    if (setting->type == SETTING_NAME && !is_name(text)) {
        return unexpected("a name of the characters a-z, 0-9 and _", text);
    }
    const char *copy = vr_arena_copy(arena, text).data;
    if (copy == NULL) {
        return VR_ERR_NOMEM;
    }
    memcpy(place, &copy, sizeof copy);
    return VR_OK;
}

enum vr_status config_setting_assign(const struct setting *setting, const char *text, size_t len, void *base,
                                     struct vr_arena *arena)
{
    struct vr_str value = {text, len};
    void *place = (char *)base + setting->offset;
    switch (setting->type) {
    case SETTING_BOOL: return assign_bool(value, place);
    case SETTING_U32: return assign_u32(setting, value, place);
    case SETTING_FLOAT: return assign_float(setting, value, place);
    case SETTING_CHOICE: return assign_choice(setting, value, place);
    case SETTING_TEXT:
    case SETTING_NAME:
    case SETTING_ADDRESS: return assign_text(setting, value, place, arena);
    }
    return vr_fail(VR_ERR_UNSUPPORTED, "a setting of an unknown type");
}
