/* The configuration as its users see it (vireo/config.h): defaults, file, environment and flags over one struct. The
 * struct lives in an arena together with all strings and lists, so destroying it frees everything whoever set it. */
#include "vireo/config.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/arena.h"

#include "config_table.h"
#include "config_yaml.h"

#define FILE_MAX_BYTES (1024u * 1024u)
#define ENVIRONMENT_PREFIX "VIREO_"

/* What vr_config_default hands out is the first member of this. */
struct owned_config {
    struct vr_config config;
    struct vr_arena *arena; /* holds this struct too */
    bool workers_named;     /* lanes.pool_workers was set; otherwise it follows lanes.count */
    bool loops_named;       /* server.loops likewise */
};

const char *vr_source_name(enum vr_source source)
{
    static const char *const names[VR_SOURCE_COUNT] = {
        [VR_SOURCE_TWO_TOWER] = "two_tower",         [VR_SOURCE_CONTENT] = "content",
        [VR_SOURCE_TRENDING] = "trending",           [VR_SOURCE_SOCIAL] = "social",
        [VR_SOURCE_SUBSCRIPTIONS] = "subscriptions",
    };
    return (unsigned)source < VR_SOURCE_COUNT ? names[source] : "unknown";
}

const char *vr_rule_name(enum vr_rule rule)
{
    static const char *const names[VR_RULE_COUNT] = {
        [VR_RULE_FRESHNESS] = "freshness",
        [VR_RULE_TOPIC_CAP] = "topic_cap",
        [VR_RULE_CREATOR_CAP] = "creator_cap",
        [VR_RULE_SEEN] = "seen",
    };
    return (unsigned)rule < VR_RULE_COUNT ? names[rule] : "unknown";
}

const char *vr_gain_name(enum vr_gain gain)
{
    static const char *const names[] = {[VR_GAIN_SCORE] = "score", [VR_GAIN_MMR] = "mmr", [VR_GAIN_DPP] = "dpp"};
    return (unsigned)gain < sizeof names / sizeof names[0] ? names[gain] : "unknown";
}

const char *vr_index_kind_name(enum vr_index_kind kind)
{
    static const char *const names[] = {
        [VR_INDEX_EXACT] = "exact",
        [VR_INDEX_FAISS_FLAT] = "faiss_flat",
        [VR_INDEX_FAISS_HNSW] = "faiss_hnsw",
        [VR_INDEX_FAISS_IVF] = "faiss_ivf",
        [VR_INDEX_IVF] = "ivf",
        [VR_INDEX_EXACT_INT8] = "exact_int8",
        [VR_INDEX_FAISS_GPU_FLAT] = "faiss_gpu_flat",
        [VR_INDEX_FAISS_GPU_IVF] = "faiss_gpu_ivf",
        [VR_INDEX_FAISS_GPU_IVFPQ] = "faiss_gpu_ivfpq",
        [VR_INDEX_FAISS_GPU_CAGRA] = "faiss_gpu_cagra",
        [VR_INDEX_CUVS_FLAT] = "cuvs_flat",
        [VR_INDEX_CUVS_IVF] = "cuvs_ivf",
        [VR_INDEX_CUVS_IVFPQ] = "cuvs_ivfpq",
        [VR_INDEX_CUVS_CAGRA] = "cuvs_cagra",
    };
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

const char *vr_compute_backend_name(enum vr_compute_backend backend)
{
    static const char *const names[] = {
        [VR_COMPUTE_AUTO] = "auto", [VR_COMPUTE_CPU] = "cpu", [VR_COMPUTE_CUDA] = "cuda"};
    return (unsigned)backend < sizeof names / sizeof names[0] ? names[backend] : "unknown";
}

const char *vr_precision_name(enum vr_precision precision)
{
    static const char *const names[] = {
        [VR_PRECISION_AUTO] = "auto", [VR_PRECISION_F32] = "fp32",  [VR_PRECISION_F16] = "fp16",
        [VR_PRECISION_BF16] = "bf16", [VR_PRECISION_INT8] = "int8",
    };
    return (unsigned)precision < sizeof names / sizeof names[0] ? names[precision] : "unknown";
}

/* Cores this process may run on; at least 1. */
static uint32_t cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    return (uint32_t)CPU_COUNT(&set);
}

static void set_scalar_defaults(struct vr_config *config)
{
    *config = (struct vr_config){
        .server = {.listen = "127.0.0.1:8080",
                   .admin = "127.0.0.1:8081",
                   .max_connections = 1024,
                   .max_body_bytes = 524288,
                   .request_deadline_ms = 5000,
                   .idle_timeout_ms = 60000,
                   .write_timeout_ms = 10000,
                   .drain_timeout_ms = 10000},
        .model = {.watch = "", .watch_ms = 1000},
        .compute = {.backend = VR_COMPUTE_AUTO, .precision = VR_PRECISION_AUTO, .device_timeout_ms = 500},
        .lanes = {.count = 2,
                  .max_batch = 16,
                  .target_batch_ms = 10,
                  .target_wait_ms = 50,
                  .max_delay_us = 500,
                  .queue_capacity = 1024,
                  .default_timeout_ms = 1000},
        .retrieval = {.kind = VR_INDEX_EXACT, .hnsw_m = 32, .hnsw_ef_search = 256, .ivf_probes = 32},
        .rerank = {.gain = VR_GAIN_MMR,
                   .mmr_lambda = 0.8F,
                   .dpp_theta = 0.7F,
                   .min_items = 20,
                   .fresh_max_age_h = 72,
                   .drop_seen = true,
                   .drop_served = true,
                   .record_served = true,
                   .safety_threshold = 0.5F,
                   .adult_age = 18},
        .state = {.max_viewers = 1000000,
                  .recent_watches = 50,
                  .trending_half_life_h = 12,
                  .trending_refresh_ms = 1000,
                  .social_half_life_h = 72,
                  .subscription_max_age_h = 336},
    };
    for (unsigned i = 0; i < VR_SOURCE_COUNT; i++) {
        bool wide = i == VR_SOURCE_TWO_TOWER || i == VR_SOURCE_CONTENT;
        config->source[i] = (struct vr_source_config){true, wide ? 100 : 50, 20000};
    }
}

/* Copies of the default lists, so that a configuration owns all that it points at. */
static bool set_list_defaults(struct vr_config *config, struct vr_arena *arena)
{
    static const struct vr_term_config term[] = {
        {"clicks", "0.3*click"}, {"watch", "0.01*watch_s"}, {"finishes", "1.0*finish"}, {"likes", "5.0*like"}};
    static const struct vr_cap_config cap[] = {{VR_CAP_CREATOR, 10, 2}, {VR_CAP_TOPIC, 10, 4}};
    static const struct vr_freshness_config freshness[] = {{10, 1}, {30, 3}};
    static const enum vr_rule give_way[] = {VR_RULE_FRESHNESS, VR_RULE_TOPIC_CAP, VR_RULE_CREATOR_CAP};
    config->satisfaction.term = vr_arena_alloc(arena, sizeof term);
    config->rerank.cap = vr_arena_alloc(arena, sizeof cap);
    config->rerank.freshness = vr_arena_alloc(arena, sizeof freshness);
    config->rerank.give_way = vr_arena_alloc(arena, sizeof give_way);
    if (config->satisfaction.term == NULL || config->rerank.cap == NULL || config->rerank.freshness == NULL ||
        config->rerank.give_way == NULL) {
        return false;
    }
    memcpy(config->satisfaction.term, term, sizeof term);
    memcpy(config->rerank.cap, cap, sizeof cap);
    memcpy(config->rerank.freshness, freshness, sizeof freshness);
    memcpy(config->rerank.give_way, give_way, sizeof give_way);
    config->satisfaction.count = sizeof term / sizeof term[0];
    config->rerank.cap_count = sizeof cap / sizeof cap[0];
    config->rerank.freshness_count = sizeof freshness / sizeof freshness[0];
    config->rerank.give_way_count = sizeof give_way / sizeof give_way[0];
    return true;
}

static uint32_t left_of(uint32_t all, uint32_t taken)
{
    return all > taken ? all - taken : 0;
}

/* Where they were not named: the loops are as many as the cores that the lanes leave over, and so are the pool's
 * workers, less one. Loops sleep most of the time, and the pool works only while a lane does. */
static void follow_lanes(struct owned_config *owned)
{
    struct vr_config *config = &owned->config;
    uint32_t all = cores();
    if (!owned->workers_named) {
        config->lanes.pool_workers = left_of(all, config->lanes.count + 1);
    }
    if (!owned->loops_named) {
        uint32_t left = left_of(all, config->lanes.count);
        config->server.loops = left == 0 ? 1 : left < VR_LOOPS_MAX ? left : VR_LOOPS_MAX;
    }
}

static enum vr_status create(struct owned_config **out)
{
    struct vr_arena *arena;
    enum vr_status status = vr_arena_create(4096, &arena);
    if (status != VR_OK) {
        return status;
    }
    struct owned_config *owned = vr_arena_calloc(arena, 1, sizeof *owned);
    if (owned == NULL) {
        goto fail;
    }
    owned->arena = arena;
    set_scalar_defaults(&owned->config);
    if (!set_list_defaults(&owned->config, arena)) {
        goto fail;
    }
    follow_lanes(owned);
    *out = owned;
    return VR_OK;
fail:
    vr_arena_destroy(arena);
    return VR_ERR_NOMEM;
}

enum vr_status vr_config_default(struct vr_config **out)
{
    struct owned_config *owned;
    enum vr_status status = create(&owned);
    if (status == VR_OK) {
        *out = &owned->config;
    }
    return status;
}

/* Values that no setting may have tell afterwards whether the file named lanes.pool_workers and server.loops. */
enum vr_status vr_config_parse(const char *name, const char *data, size_t len, struct vr_config **out)
{
    if (len > FILE_MAX_BYTES) {
        return vr_fail(VR_ERR_TOO_LARGE, "%s: more than %u bytes", name, FILE_MAX_BYTES);
    }
    struct owned_config *owned;
    enum vr_status status = create(&owned);
    if (status != VR_OK) {
        return status;
    }
    owned->config.lanes.pool_workers = UINT32_MAX;
    owned->config.server.loops = UINT32_MAX;
    status = config_yaml_read(name, data, len, &owned->config, owned->arena);
    if (status != VR_OK) {
        vr_config_destroy(&owned->config);
        return status;
    }
    owned->workers_named = owned->config.lanes.pool_workers != UINT32_MAX;
    owned->loops_named = owned->config.server.loops != UINT32_MAX;
    follow_lanes(owned);
    *out = &owned->config;
    return VR_OK;
}

/* The whole file into data[FILE_MAX_BYTES + 1]; a longer one fills it. */
static enum vr_status read_file(const char *path, char *data, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return vr_fail(VR_ERR_IO, "%s: %s", path, strerror(errno));
    }
    enum vr_status status = VR_OK;
    *len = fread(data, 1, FILE_MAX_BYTES + 1, file);
    if (ferror(file)) {
        status = vr_fail(VR_ERR_IO, "%s: %s", path, strerror(errno));
    }
    fclose(file);
    return status;
}

enum vr_status vr_config_load(const char *path, struct vr_config **out)
{
    size_t len = 0;
    char *data = malloc(FILE_MAX_BYTES + 1);
    if (data == NULL) {
        return vr_fail(VR_ERR_NOMEM, "%s: no memory", path);
    }
    enum vr_status status = read_file(path, data, &len);
    if (status == VR_OK) {
        status = vr_config_parse(path, data, len, out);
    }
    free(data);
    return status;
}

static enum vr_status assign(struct vr_config *config, const struct setting *setting, const char *value)
{
    struct owned_config *owned = (struct owned_config *)config;
    enum vr_status status = config_setting_assign(setting, value, strlen(value), config, owned->arena);
    if (status == VR_OK) {
        bool names_workers = setting->offset == offsetof(struct vr_config, lanes.pool_workers);
        bool names_loops = setting->offset == offsetof(struct vr_config, server.loops);
        owned->workers_named = owned->workers_named || names_workers;
        owned->loops_named = owned->loops_named || names_loops;
        follow_lanes(owned);
    }
    return status;
}

enum vr_status vr_config_set(struct vr_config *config, const char *path, const char *value)
{
    const struct setting *setting = config_setting_find(path);
    if (setting == NULL) {
        return vr_fail(VR_ERR_NOT_FOUND, "%s: unknown setting", config_show(path, strlen(path)).text);
    }
    enum vr_status status = assign(config, setting, value);
    return status == VR_OK ? VR_OK : vr_fail_in(status, "%s", path);
}

/* Whether `name` (`len` bytes of SERVER_LISTEN) is the path server.listen in capitals. */
static bool names_setting(const char *name, size_t len, const char *path)
{
    for (size_t i = 0; i < len; i++) {
        char expected = path[i] == '.' ? '_' : (char)toupper((unsigned char)path[i]);
        if (path[i] == '\0' || name[i] != expected) {
            return false;
        }
    }
    return path[len] == '\0';
}

static bool belongs_to_tests(struct vr_str name)
{
    static const char *const passed_over[] = {"VIREO_LONG", "VIREO_BINARY", "VIREO_DATA_DIR"};
    for (size_t i = 0; i < sizeof passed_over / sizeof passed_over[0]; i++) {
        if (vr_str_equal(name, vr_str_of(passed_over[i]))) {
            return true;
        }
    }
    return false;
}

/* Apply one NAME=value whose name begins with VIREO_. */
static enum vr_status apply_variable(struct vr_config *config, struct vr_str name, const char *value)
{
    size_t skipped = strlen(ENVIRONMENT_PREFIX);
    for (size_t i = 0; i < config_settings_count; i++) {
        if (names_setting(name.data + skipped, name.len - skipped, config_settings[i].path)) {
            enum vr_status status = assign(config, &config_settings[i], value);
            return status == VR_OK ? VR_OK : vr_fail_in(status, "%.*s", (int)name.len, name.data);
        }
    }
    return vr_fail(VR_ERR_NOT_FOUND, "%s: no such setting in the environment", config_show(name.data, name.len).text);
}

enum vr_status vr_config_apply_environment(struct vr_config *config, char **environment)
{
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        if (equals == NULL || strncmp(*environment, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) != 0) {
            continue;
        }
        struct vr_str name = {*environment, (size_t)(equals - *environment)};
        if (name.len < strlen(ENVIRONMENT_PREFIX) || belongs_to_tests(name)) {
            continue;
        }
        enum vr_status status = apply_variable(config, name, equals + 1);
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

void vr_config_destroy(struct vr_config *config)
{
    if (config != NULL) {
        vr_arena_destroy(((struct owned_config *)config)->arena);
    }
}
