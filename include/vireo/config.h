/* The settings of `vireo serve`, one struct a room, read from YAML. Order of precedence: command-line
 * flags > environment (VIREO_*) > file > the defaults below. Each room gets its own struct and sees no other.
 * Strings are NUL-terminated and owned by struct vr_config. docs/configuration.md lists every key. */
#ifndef VIREO_CONFIG_H
#define VIREO_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* server: */
#define VR_LOOPS_MAX 64u

struct vr_server_config {
    const char *listen;       /* "HOST:PORT", default "127.0.0.1:8080"; port 0 takes a free one */
    const char *admin;        /* "HOST:PORT", default "127.0.0.1:8081"; loopback unless admin_allow_remote */
    bool admin_allow_remote;  /* default false */
    uint32_t loops;           /* event loops, a thread each; default: cores - lanes, at least 1 */
    uint32_t max_connections; /* default 1024; more are answered 503 and closed */
    uint32_t max_connections_per_address; /* of one IPv4 address or one IPv6 /64; default 0: no such limit */
    uint32_t max_body_bytes;              /* default 524288: 1,000 events, or 1,000 excluded ids */
    uint32_t request_deadline_ms; /* from the first byte of a request to its last, default 5000; not restarted */
    uint32_t idle_timeout_ms;     /* keep-alive without a request, default 60000 */
    uint32_t write_timeout_ms;    /* an answer that the reader does not take, default 10000 */
    uint32_t drain_timeout_ms;    /* after SIGTERM, default 10000 */
    uint32_t slow_request_ms;     /* answers that take longer get a line in the log; default 0: none */
    bool replay;                  /* take `time` from requests (offline replay), default false */
};

/* model: */
struct vr_model_config {
    const char *watch; /* a folder whose newest bundle is to serve, or one that is a bundle; default "": none */
    uint32_t watch_ms; /* between two looks, default 1000 */
};

/* compute: */
enum vr_compute_backend { VR_COMPUTE_AUTO = 0, VR_COMPUTE_CPU, VR_COMPUTE_CUDA };

/* What the ranker's networks are computed in. */
enum vr_precision {
    VR_PRECISION_AUTO =
        0, /* the lower precision that the backend is quickest in and the bundle's ranker fits, else F32 */
    VR_PRECISION_F32,
    VR_PRECISION_F16,  /* halves with float32 sums, or an error where they cannot be had */
    VR_PRECISION_BF16, /* bfloat16 with float32 sums, or an error: processors with AMX or AVX512-BF16 */
    VR_PRECISION_INT8  /* int8 with exact sums, scales by output and by row, or an error: AMX or AVX512-VNNI */
};

struct vr_compute_config {
    enum vr_compute_backend backend; /* auto | cpu | cuda, default auto: cuda where it is built in and opens */
    enum vr_precision precision;     /* auto | fp32 | fp16 | bf16 | int8, default auto; of the backend that is wanted */
    uint32_t video_table_mb; /* MiB that a table of the videos' part of the ranker's first layers may take on the CPU;
                                default 0: none */
    uint32_t device_timeout_ms; /* a batch's wait for the device, past which it hangs; default 500 */
};

/* lanes: */
struct vr_lane_config {
    uint32_t count;              /* lanes, 1..16, default 2 */
    uint32_t max_batch;          /* requests a batch at most, 1..256, default 16 */
    uint32_t target_batch_ms;    /* batches are no larger than what is done in this time, default 10 */
    uint32_t target_wait_ms;     /* jobs that wait longer, all the time, are too many; default 50 */
    uint32_t max_delay_us;       /* longest wait for more while another batch is in flight, default 500 */
    uint32_t queue_capacity;     /* requests waiting, default 1024; more are answered 503 */
    uint32_t pool_workers;       /* shared pool for the CPU steps; default: cores - lanes - 1, at least 0 */
    uint32_t default_timeout_ms; /* when a request names none, default 1000 */
};

/* retrieval: */
enum vr_index_kind {
    VR_INDEX_EXACT = 0,
    VR_INDEX_FAISS_FLAT,
    VR_INDEX_FAISS_HNSW,
    VR_INDEX_FAISS_IVF,
    VR_INDEX_IVF,        /* our own lists */
    VR_INDEX_EXACT_INT8, /* scanned as int8, the best scored exactly: the same answers */
    /* Outside libraries on the GPU; only in a CUDA build that found them (kernels/knn.h). */
    VR_INDEX_FAISS_GPU_FLAT,
    VR_INDEX_FAISS_GPU_IVF,
    VR_INDEX_FAISS_GPU_IVFPQ,
    VR_INDEX_FAISS_GPU_CAGRA,
    VR_INDEX_CUVS_FLAT,
    VR_INDEX_CUVS_IVF,
    VR_INDEX_CUVS_IVFPQ,
    VR_INDEX_CUVS_CAGRA
};
#define VR_INDEX_KINDS 14u

struct vr_index_config {
    enum vr_index_kind kind; /* `index`, by the names of vr_index_kind_name; default exact */
    uint32_t hnsw_m;         /* default 32 */
    uint32_t hnsw_ef_search; /* default 256 */
    uint32_t ivf_lists;      /* default 0: 4 * sqrt(rows) */
    uint32_t ivf_probes;     /* default 32 */
};

/* sources: one block each of two_tower, content, trending, social, subscriptions */
enum vr_source {
    VR_SOURCE_TWO_TOWER = 0,
    VR_SOURCE_CONTENT,
    VR_SOURCE_TRENDING,
    VR_SOURCE_SOCIAL,
    VR_SOURCE_SUBSCRIPTIONS
};
#define VR_SOURCE_COUNT 5u

struct vr_source_config {
    bool enabled;       /* default true; false shows as status "off" */
    uint32_t count;     /* candidates wanted: defaults 100, 100, 50, 50, 50; at most 500 */
    uint32_t budget_us; /* a source that takes longer is left out as "late"; default 20000 */
};

/* satisfaction: a list of {name, expression}; defaults in docs/configuration.md */
#define VR_TERMS_MAX 16u
struct vr_term_config {
    const char *name;       /* [a-z0-9_]+, unique */
    const char *expression; /* over click, watch_s, like, finish and duration_s */
};
struct vr_satisfaction_config {
    struct vr_term_config *term; /* [count] */
    uint32_t count;
};

/* rerank: */
enum vr_gain { VR_GAIN_SCORE = 0, VR_GAIN_MMR, VR_GAIN_DPP };
enum vr_cap_by { VR_CAP_CREATOR = 0, VR_CAP_TOPIC };

/* At most `max` videos of one creator (or topic) in any `window` consecutive positions. */
struct vr_cap_config {
    enum vr_cap_by by; /* creator | topic */
    uint32_t window;   /* >= 2 */
    uint32_t max;      /* >= 1, < window */
};

/* At least `count` videos younger than max_age_h among the first `by_position` positions. */
struct vr_freshness_config {
    uint32_t by_position; /* 1-based, >= count */
    uint32_t count;
};

/* Rules that may give way when the feed cannot be filled otherwise; safety, excluded and ids never do. */
enum vr_rule { VR_RULE_FRESHNESS = 0, VR_RULE_TOPIC_CAP, VR_RULE_CREATOR_CAP, VR_RULE_SEEN };
#define VR_RULE_COUNT 4u
#define VR_CAPS_MAX 8u

struct vr_rerank_config {
    enum vr_gain gain;                     /* score | mmr | dpp, default mmr */
    float mmr_lambda;                      /* weight of the score against similarity, 0..1, default 0.8 */
    float dpp_theta;                       /* weight of the score in the DPP quality, 0..1, default 0.7 */
    uint32_t min_items;                    /* fewer than this needs a reason in the reply, default 20 */
    struct vr_cap_config *cap;             /* defaults: creator 2 in 10, topic 4 in 10 */
    uint32_t cap_count;                    /* <= VR_CAPS_MAX */
    float fresh_max_age_h;                 /* default 72 */
    struct vr_freshness_config *freshness; /* default: 1 by position 10, 3 by position 30 */
    uint32_t freshness_count;              /* <= VR_CAPS_MAX */
    bool drop_seen;                        /* default true */
    bool drop_served;                      /* videos served in recent answers, default true */
    bool record_served;                    /* default true; tests of "same request, same feed" switch it off */
    float safety_threshold;                /* unsafe_score must be known and <= this, default 0.5 */
    uint32_t adult_age;   /* viewers below, or of unknown age, see only min_age <= their age (unknown: 0); default 18 */
    const char **blocked; /* video ids never shown */
    uint32_t blocked_count;
    enum vr_rule *give_way;  /* order in which rules yield; default freshness, topic_cap, creator_cap */
    uint32_t give_way_count; /* <= VR_RULE_COUNT; a rule not listed never yields */
};

/* state: */
struct vr_state_config {
    uint32_t max_viewers;         /* of whom anything is kept, default 1000000; see docs/configuration.md */
    uint32_t recent_watches;      /* kept a viewer, 10..200, default 50 */
    float trending_half_life_h;   /* default 12 */
    uint32_t trending_refresh_ms; /* how often the trending list is rebuilt, default 1000 */
    float social_half_life_h;     /* default 72 */
    float subscription_max_age_h; /* uploads older than this are no candidates, default 336 */
};

struct vr_config {
    struct vr_server_config server;
    struct vr_model_config model;
    struct vr_compute_config compute;
    struct vr_lane_config lanes;
    struct vr_index_config retrieval;
    struct vr_source_config source[VR_SOURCE_COUNT];
    struct vr_satisfaction_config satisfaction;
    struct vr_rerank_config rerank;
    struct vr_state_config state;
};

/* The defaults, as if from an empty file. The caller frees with vr_config_destroy. VR_ERR_NOMEM. */
enum vr_status vr_config_default(struct vr_config **out);

/* Read a YAML file over the defaults. Unknown keys, wrong types, values out of range and repeated names are
 * VR_ERR_FORMAT with the file's name, line and column and the key's path in the text; VR_ERR_IO, VR_ERR_NOMEM. */
enum vr_status vr_config_load(const char *path, struct vr_config **out);

/* The same from memory; `name` stands for the file in messages. For tests and fuzzing. */
enum vr_status vr_config_parse(const char *name, const char *data, size_t len, struct vr_config **out);

/* Override one setting by its path, e.g. ("server.listen", "0.0.0.0:80"), as flags and environment do
 * (VIREO_SERVER_LISTEN). Scalars only. VR_ERR_NOT_FOUND for an unknown path, VR_ERR_FORMAT for a bad value. */
enum vr_status vr_config_set(struct vr_config *config, const char *path, const char *value);

/* Apply every VIREO_<SECTION>_<KEY> of the environment; an unknown VIREO_* name is VR_ERR_NOT_FOUND with its name
 * (VIREO_LONG, VIREO_BINARY and VIREO_DATA_DIR belong to the tests and are passed over). */
enum vr_status vr_config_apply_environment(struct vr_config *config, char **environment);

/* The names used in YAML, metrics and answers. */
const char *vr_source_name(enum vr_source source); /* "two_tower", "content", ... */
const char *vr_rule_name(enum vr_rule rule);
const char *vr_gain_name(enum vr_gain gain);
const char *vr_index_kind_name(enum vr_index_kind kind);
const char *vr_compute_backend_name(enum vr_compute_backend backend);
const char *vr_precision_name(enum vr_precision precision);

void vr_config_destroy(struct vr_config *config);

#ifdef __cplusplus
}
#endif
#endif
