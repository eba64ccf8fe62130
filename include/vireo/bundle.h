/* A bundle on disk (docs/bundle.md), opened by mmap and checked whole: checksums, shapes, wiring, names. An open bundle
 * is immutable; pointers lead into the mappings and live until vr_bundle_close. */
#ifndef VIREO_BUNDLE_H
#define VIREO_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/dict.h"
#include "vireo/features.h"
#include "vireo/safetensors.h"
#include "vireo/status.h"
#include "vireo/terms.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_BUNDLE_FORMAT_VERSION 1
#define VR_LAYERS_MAX 4u
#define VR_LEVELS_MAX 4u
#define VR_EXPERTS_MAX 64u
#define VR_GATES_MAX 16u
#define VR_WIDTHS_MAX 64u

/* n strings: bytes offset[i] .. offset[i + 1] of `bytes`. */
struct vr_string_list {
    const char *bytes;
    const uint32_t *offset; /* [count + 1] */
    uint32_t count;
};
static inline struct vr_str vr_string_at(const struct vr_string_list *list, uint32_t i)
{
    struct vr_str s = {list->bytes + list->offset[i], list->offset[i + 1] - list->offset[i]};
    return s;
}

enum vr_safety { VR_SAFETY_UNKNOWN = 0, VR_SAFETY_SAFE, VR_SAFETY_UNSAFE };
#define VR_MIN_AGE_UNKNOWN 255u

/* videos.safetensors: columns over `count` rows. */
struct vr_bundle_videos {
    uint32_t count;
    struct vr_string_list id, title, creator_id, topic_name;
    const int32_t *creator; /* [count], into creator_id, -1 unknown */
    const int32_t *topic;   /* [count], into topic_name, -1 unknown */
    const float *duration_s;
    const int64_t *upload_ms;
    const uint8_t *safety; /* enum vr_safety */
    const uint8_t *min_age;
    const float *unsafe_score;
    const struct vr_tensor **field; /* [declared video fields]: F32 or I32 [count] */
    const uint16_t *tower;          /* [count, tower_dim], IEEE half */
    const int8_t *content;          /* [count, content_dim] */
    const float *content_scale;     /* [count] */
};

enum vr_activation { VR_ACTIVATION_NONE = 0, VR_ACTIVATION_RELU };

struct vr_layer {
    uint32_t in, out;
    const float *weight; /* [out, in] */
    const float *bias;   /* [out] */
    enum vr_activation activation;
};

/* A tower: blocks in row order, then layers. user: viewer, context. item: video. */
struct vr_tower {
    struct vr_feature_block block[2];
    uint32_t block_count;
    uint32_t width; /* floats of the input row */
    struct vr_layer layer[VR_LAYERS_MAX];
    uint32_t layer_count;
};

struct vr_gate {
    struct vr_str name;
    uint32_t input;   /* of the level */
    uint64_t experts; /* bit e: expert e is listed */
};

struct vr_level {
    uint32_t experts, hidden, width; /* E, H, O */
    uint32_t in;                     /* width of each input */
    uint32_t inputs;                 /* 1 on level 0, else gates of the level before */
    uint32_t expert_input[VR_EXPERTS_MAX];
    uint32_t gates; /* G */
    struct vr_gate gate[VR_GATES_MAX];
    const float *w1, *b1, *w2, *b2; /* [E,H,in] [E,H] [E,O,H] [E,O] */
    const float *gate_w, *gate_b;   /* [G,E,in] [G,E] */
};

struct vr_task {
    uint32_t gate;                  /* of the last level */
    uint32_t outputs;               /* K */
    const float *w1, *b1, *w2, *b2; /* [hidden, O] [hidden] [K, hidden] [K] */
    float widths[VR_WIDTHS_MAX];
};

struct vr_ranker {
    char architecture[16];
    struct vr_feature_block block[VR_ENTITY_COUNT]; /* by enum vr_entity; row order viewer, context, video, pair */
    uint32_t width;                                 /* floats of a row: the blocks' widths added up */
    struct vr_level level[VR_LEVELS_MAX];
    uint32_t level_count;
    uint32_t tower_hidden;
    struct vr_task task[VR_HEAD_COUNT];
};

struct vr_golden {
    uint32_t count, topk_count; /* cases; cases with a top-k list of 10 */
    const double *viewer_raw, *context_raw, *video_raw, *pair_raw;
    const float *hist_tower, *hist_content;
    const int32_t *video_row;
    const double *user_tower, *heads;
    const int32_t *topk; /* [topk_count, 10] */
};

/* state/state.safetensors; all pointers NULL and viewer_id.count 0 when the file is absent. */
struct vr_bundle_state {
    bool present;
    struct vr_string_list viewer_id;
    const float *viewer_age;
    const float *viewer_counters; /* [V, 6] */
    uint32_t profile_count;
    struct vr_profile_column {
        struct vr_str name;
        enum vr_field_type type;
        const double *number;         /* [V], number field */
        const int32_t *index;         /* [V], string field */
        struct vr_string_list values; /* string field */
    } * profile;                      /* [profile_count] */
    const uint32_t *recent_offset;
    const int32_t *recent_video;
    const float *recent_age_s, *recent_watch_s;
    const uint8_t *recent_flags;
    const uint32_t *follow_offset, *friend_offset;
    const int32_t *follow_creator, *friend_viewer;
    const float *video_counters; /* [N, 6] */
    const float *video_trend;    /* [N] */
};

struct vr_bundle {
    char model_version[65];
    struct vr_str data;
    int64_t as_of_ms;
    int32_t utc_offset_min;
    bool shift_state;
    uint32_t tower_dim, content_dim;
    struct vr_feature_space *features;
    struct vr_tower user_tower, item_tower;
    struct vr_ranker ranker;
    struct vr_bundle_videos videos;
    struct vr_dict *video_rows; /* id -> row */
    struct vr_golden golden;
    struct vr_bundle_state state;
    struct vr_term_spec term[VR_TERM_COUNT_MAX];
    uint32_t term_count;
    uint64_t bytes_mapped;
    struct vr_bundle_storage *storage; /* the mappings and memory behind the pointers; internal */
};

/* Open and check everything but the golden outputs (src/feed's engine checks those, it can compute). A refused bundle
 * leaves nothing behind; the text names the file, tensor or key. VR_ERR_IO, VR_ERR_NOT_FOUND, VR_ERR_FORMAT,
 * VR_ERR_CHECKSUM, VR_ERR_UNSUPPORTED, VR_ERR_INVALID (the path is too long), VR_ERR_NOMEM. */
enum vr_status vr_bundle_open(const char *folder, struct vr_bundle **out);
void vr_bundle_close(struct vr_bundle *bundle); /* NULL is accepted */

#ifdef __cplusplus
}
#endif
#endif
