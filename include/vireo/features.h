/* Declared features: raw fields -> float32 columns (docs/bundle.md, "Fields" and "Features"). The same code serves
 * requests and training (libvireo_features.so, called from Python), so the two cannot differ.
 * A feature space is immutable after creation and may be used from any thread. */
#ifndef VIREO_FEATURES_H
#define VIREO_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vireo/arena.h"
#include "vireo/json.h"
#include "vireo/safetensors.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vr_entity { VR_ENTITY_VIEWER = 0, VR_ENTITY_CONTEXT, VR_ENTITY_VIDEO, VR_ENTITY_PAIR };
#define VR_ENTITY_COUNT 4u

/* Built-in fields: positions in a raw row (double, NaN missing); declared fields follow. */
enum vr_viewer_field {
    VR_VIEWER_AGE = 0,
    VR_VIEWER_IMPRESSIONS,
    VR_VIEWER_CLICKS,
    VR_VIEWER_FINISHES,
    VR_VIEWER_LIKES,
    VR_VIEWER_LONG_VIEWS,
    VR_VIEWER_WATCH_S,
    VR_VIEWER_RECENT_N,
    VR_VIEWER_RECENT_LONG,
    VR_VIEWER_RECENT_WATCH_S,
    VR_VIEWER_RECENT_LIKES,
    VR_VIEWER_LAST_N,
    VR_VIEWER_LAST_CLICKS,
    VR_VIEWER_LAST_LONG,
    VR_VIEWER_LAST_FINISHES,
    VR_VIEWER_LAST_WATCH_S,
    VR_VIEWER_HOUR_N,
    VR_VIEWER_SINCE_S,
    VR_VIEWER_FIELDS
};
enum vr_video_field {
    VR_VIDEO_ROW = 0,
    VR_VIDEO_CREATOR,
    VR_VIDEO_TOPIC,
    VR_VIDEO_DURATION_S,
    VR_VIDEO_IMPRESSIONS,
    VR_VIDEO_CLICKS,
    VR_VIDEO_FINISHES,
    VR_VIDEO_LIKES,
    VR_VIDEO_LONG_VIEWS,
    VR_VIDEO_WATCH_S,
    VR_VIDEO_FIELDS
};
/* Fields of a video that change from one request to the next; they lie together. */
static inline bool vr_video_field_is_counter(uint32_t field)
{
    return field >= VR_VIDEO_IMPRESSIONS && field <= VR_VIDEO_WATCH_S;
}
enum vr_context_field { VR_CONTEXT_HOUR = 0, VR_CONTEXT_WEEKDAY, VR_CONTEXT_FIELDS };
enum vr_pair_field {
    VR_PAIR_AGE_H = 0,
    VR_PAIR_DOT_TOWER,
    VR_PAIR_DOT_CONTENT,
    VR_PAIR_TOPIC_N,
    VR_PAIR_TOPIC_LONG,
    VR_PAIR_CREATOR_N,
    VR_PAIR_CREATOR_LONG,
    VR_PAIR_WATCHED_N,
    VR_PAIR_FIELDS
};

#define VR_DECLARED_FIELDS_MAX 1024u /* of an entity */

enum vr_field_type { VR_FIELD_NUMBER = 0, VR_FIELD_STRING };

struct vr_field {
    struct vr_str name;
    enum vr_field_type type;
    uint32_t vocab_size; /* strings known; their codes are 1..vocab_size */
};

/* Vectors a feature may name. */
enum vr_vector {
    VR_VECTOR_HIST_TOWER = 0,
    VR_VECTOR_HIST_CONTENT,
    VR_VECTOR_USER_TOWER,
    VR_VECTOR_TOWER,
    VR_VECTOR_CONTENT
};
#define VR_VECTOR_COUNT 5u

struct vr_feature_space;

/* Read `fields` and `features` of a bundle's JSON. `weights` gives tables and long vocabularies; it must outlive the
 * space; the JSON need not. It may be NULL in training, before tables exist: then embedding and bucket features need
 * the key "width" beside "table", which gives their columns, and may have "rows". VR_ERR_FORMAT names the feature and
 * key. */
enum vr_status vr_feature_space_create(struct vr_json_value bundle, const struct vr_safetensors *weights,
                                       struct vr_feature_space **out);
void vr_feature_space_destroy(struct vr_feature_space *space); /* NULL is accepted */

uint32_t vr_feature_field_count(const struct vr_feature_space *space, enum vr_entity entity); /* built-in + declared */
struct vr_field vr_feature_field(const struct vr_feature_space *space, enum vr_entity entity, uint32_t index);
/* Position of a field by name, or VR_DICT_NONE's value UINT32_MAX. */
uint32_t vr_feature_field_find(const struct vr_feature_space *space, enum vr_entity entity, struct vr_str name);

/* The number of a string in a string field: 1.., or 0 for unknown. */
double vr_feature_code(const struct vr_feature_space *space, enum vr_entity entity, uint32_t field, struct vr_str text);

/* ---- an assembled block: some features of one entity, in order ---- */

/* How one feature lands in the row of a block. */
enum vr_column_kind { VR_COLUMN_DENSE = 0, VR_COLUMN_TABLE, VR_COLUMN_VECTOR };
struct vr_column {
    enum vr_column_kind kind;
    uint32_t offset;               /* first float of the block's row */
    uint32_t width;                /* floats */
    uint32_t slot;                 /* DENSE: column in `dense`; TABLE: column in `index` */
    const struct vr_tensor *table; /* TABLE: F32 or F16 [rows, width]; NULL without weights */
    enum vr_vector vector;         /* VECTOR */
};

/* The features of one entity that a network reads, in the order of its `inputs`. Owned by its creator; the columns
 * are freed with vr_feature_block_destroy. */
struct vr_feature_block {
    enum vr_entity entity;
    uint32_t width;           /* floats a row when assembled */
    uint32_t dense_count;     /* floats a row that the transforms compute */
    uint32_t index_count;     /* table row numbers a row that the transforms compute */
    uint32_t count;           /* features */
    struct vr_column *column; /* [count] */
    uint32_t *feature;        /* [count], internal numbers */
};

/* The block of those of `names` (a JSON array of feature names) that belong to `entity`; may be empty.
 * VR_ERR_FORMAT (an unknown feature, one named twice, a row too wide), VR_ERR_NOMEM; `out` is untouched then. */
enum vr_status vr_feature_block_create(const struct vr_feature_space *space, struct vr_json_value names,
                                       enum vr_entity entity, struct vr_feature_block *out);
void vr_feature_block_destroy(struct vr_feature_block *block);

/* Of a block of video features, those that read no counter (`still`: the same for a video as long as the bundle is), or
 * those that do, as a block of their own, in the order of the whole. VR_ERR_NOMEM. */
enum vr_status vr_feature_block_part(const struct vr_feature_space *space, const struct vr_feature_block *block,
                                     bool still, struct vr_feature_block *out);

/* No value of an assembled row of the block is larger, whatever the raw fields are: the largest clip of its transforms
 * and value of its tables (vectors have at most 1). Reads the tables that are float32. */
double vr_feature_block_bound(const struct vr_feature_space *space, const struct vr_feature_block *block);

/* Where the transforms of some rows go: dense [rows, dense_stride] and index [rows, index_stride], of which each row's
 * first dense_count and index_count are written. */
struct vr_feature_rows {
    float *dense;
    size_t dense_stride;
    int32_t *index; /* table rows, already in range */
    size_t index_stride;
};

/* raw [rows, field_count] -> out. A row is the same bits whatever rows stand beside it. */
void vr_feature_transform(const struct vr_feature_space *space, const struct vr_feature_block *block, size_t rows,
                          const double *raw, struct vr_feature_rows out);

/* ---- derived values shared by training and serving ---- */

#define VR_RECENT_MAX 50u                                        /* recent watches that features read */
#define VR_RECENT_LAST 5u                                        /* of them, the newest, that the fields last_* read */
#define VR_RECENT_FIELDS (VR_VIEWER_FIELDS - VR_VIEWER_RECENT_N) /* what vr_history_fields fills */

enum vr_watch_flag { VR_WATCH_CLICK = 1, VR_WATCH_LIKE = 2, VR_WATCH_LONG_VIEW = 4, VR_WATCH_FINISH = 8 };

/* One recent watch as features see it. */
struct vr_recent {
    int32_t video;  /* row in the bundle's videos, -1 unknown there */
    float age_s;    /* seconds before now, NaN unknown */
    float watch_s;  /* NaN unknown */
    uint32_t flags; /* enum vr_watch_flag */
};

/* Weights of the history vectors (docs/bundle.md, "Recent watches"): weight[i] for recent[i], oldest first, summing to
 * 1, or all 0. Watches with video < 0 weigh 0 but count in the rank. */
void vr_history_weights(const struct vr_recent *recent, uint32_t count, float *weight);

/* recent_n and all that follows it of a raw viewer row. */
void vr_history_fields(const struct vr_recent *recent, uint32_t count, double *viewer_raw);

/* topic_n, topic_long, creator_n, creator_long, watched_n of a raw pair row. topic and creator are [videos], -1
 * unknown (an unknown topic or creator matches nothing). */
void vr_history_matches(const struct vr_recent *recent, uint32_t count, const int32_t *topic, const int32_t *creator,
                        int32_t video, double *pair_raw);

/* hour and weekday of a raw context row. */
void vr_time_fields(int64_t now_ms, int32_t utc_offset_min, double *context_raw);

/* Age in hours for a raw pair row: at least 0; NaN when upload_ms is INT64_MIN. */
double vr_age_hours(int64_t now_ms, int64_t upload_ms);

#ifdef __cplusplus
}
#endif
#endif
