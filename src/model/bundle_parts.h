/* The parts that vr_bundle_open reads in turn, each in a file of its own, and what an open bundle keeps for them. */
#ifndef VIREO_MODEL_BUNDLE_PARTS_H
#define VIREO_MODEL_BUNDLE_PARTS_H

#include "claims.h"
#include "mapping.h"
#include "vireo/bundle.h"

enum vr_bundle_file { VR_FILE_WEIGHTS = 0, VR_FILE_VIDEOS, VR_FILE_GOLDEN, VR_FILE_STATE };
#define VR_FILE_COUNT 4u

struct vr_bundle_storage {
    struct vr_arena *arena;
    struct {
        struct vr_mapping mapping;
        struct vr_safetensors *tensors; /* NULL: the state file that may be missing */
        struct vr_claims claims;
    } file[VR_FILE_COUNT];
};

/* Maps the files that `files` of bundle.json lists, compares sizes and checksums, reads their headers. */
enum vr_status vr_bundle_open_files(struct vr_bundle *bundle, const char *folder, struct vr_json_value files);

/* Each needs the parts above it. Messages name the file. */
enum vr_status vr_bundle_read_features(struct vr_bundle *bundle, struct vr_json_value root);
enum vr_status vr_bundle_read_towers(struct vr_bundle *bundle, struct vr_json_value root);
enum vr_status vr_bundle_read_ranker(struct vr_bundle *bundle, struct vr_json_value root);
enum vr_status vr_bundle_check_weights(struct vr_bundle *bundle); /* finite, and none that nobody took */
enum vr_status vr_bundle_read_videos(struct vr_bundle *bundle);
enum vr_status vr_bundle_read_golden(struct vr_bundle *bundle);
enum vr_status vr_bundle_read_state(struct vr_bundle *bundle);

/* Add the file's name to the text of a failure. */
enum vr_status vr_in_json(enum vr_status status); /* bundle.json */
enum vr_status vr_in_file(enum vr_status status, enum vr_bundle_file file);

/* Numbers that must be finite, at least `low`; or NaN, where that means "unknown". */
struct vr_number_rules {
    double low, high;
    bool may_be_nan;
};
enum vr_status vr_check_floats(const char *name, const float *value, uint64_t count, struct vr_number_rules rules);
enum vr_status vr_check_doubles(const char *name, const double *value, uint64_t count, struct vr_number_rules rules);
#define VR_ANY_FINITE ((struct vr_number_rules){-INFINITY, INFINITY, false})
#define VR_ANY_OR_NAN ((struct vr_number_rules){-INFINITY, INFINITY, true})
#define VR_NOT_NEGATIVE ((struct vr_number_rules){0, INFINITY, false})
#define VR_NOT_NEGATIVE_OR_NAN ((struct vr_number_rules){0, INFINITY, true})

/* Claims F32 and checks the numbers in one step. */
enum vr_status vr_claim_numbers(struct vr_claims *claims, const char *name, struct vr_shape shape,
                                struct vr_number_rules rules, const float **out);

#endif
