/* What a feature space is made of; private to features_*.c and the bundle's own checks. */
#ifndef VIREO_MODEL_FEATURES_SPACE_H
#define VIREO_MODEL_FEATURES_SPACE_H

#include <stdbool.h>

#include "claims.h"
#include "vireo/dict.h"
#include "vireo/features.h"

#define VR_ENTITY_WORDS "viewer context video pair" /* in the order of enum vr_entity */

enum vr_feature_kind {
    VR_FEATURE_DENSE = 0,
    VR_FEATURE_RATE,
    VR_FEATURE_EMBEDDING,
    VR_FEATURE_BUCKET,
    VR_FEATURE_VECTOR
};
#define VR_FEATURE_KIND_WORDS "dense rate embedding bucket vector"

enum vr_feature_scale { VR_SCALE_IDENTITY = 0, VR_SCALE_LOG1P, VR_SCALE_LOGIT };

struct vr_feature {
    struct vr_str name; /* in the space's arena, NUL-terminated */
    enum vr_entity entity;
    enum vr_feature_kind kind;
    uint32_t width;       /* floats of its columns */
    uint32_t field;       /* DENSE, EMBEDDING, BUCKET; RATE: the numerator */
    uint32_t denominator; /* RATE */
    enum vr_feature_scale scale;
    double mean, std, clip, prior, strength;
    double *boundary; /* BUCKET: [boundaries], rising */
    uint32_t boundaries;
    uint32_t rows;                 /* EMBEDDING, BUCKET: of the table; INT32_MAX when not known in training */
    const struct vr_tensor *table; /* NULL without weights */
    enum vr_vector vector;         /* VECTOR */
};

/* The strings of a field; string i has the code i + 1. One that stands in a tensor is held once, for all the fields
 * that name the tensor: a small bundle could otherwise ask for thousands of copies. */
struct vr_vocabulary {
    struct vr_vocabulary *next;
    struct vr_str tensor; /* empty: listed in bundle.json */
    struct vr_dict *words;
};

/* The fields of one entity: built-in, then declared. */
struct vr_field_set {
    uint32_t count;
    struct vr_field *field;             /* [count] */
    const struct vr_vocabulary **vocab; /* [count], NULL for numbers */
};

struct vr_feature_space {
    struct vr_arena *arena;
    struct vr_field_set fields[VR_ENTITY_COUNT];
    struct vr_vocabulary *vocabularies; /* list; their dictionaries are the space's to destroy */
    struct vr_feature *feature;         /* [features] */
    uint32_t features;
    struct vr_dict *names; /* of features; number = position in `feature` */
    uint32_t tower_dim, content_dim;
    struct vr_claims claims; /* tables and vocabularies taken from the weights; file NULL without weights */
};

/* As vr_feature_space_create; with `tables_may_miss`, a table that the weights lack is known by `width` alone. */
enum vr_status vr_feature_space_build(struct vr_json_value bundle, const struct vr_safetensors *weights,
                                      bool tables_may_miss, struct vr_feature_space **out);

const char *vr_entity_name(enum vr_entity entity);

/* The parts of build. */
enum vr_status vr_fields_read(struct vr_feature_space *space, struct vr_json_value fields);
enum vr_status vr_features_read(struct vr_feature_space *space, struct vr_json_value features, bool tables_may_miss);

#endif
