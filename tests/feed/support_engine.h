/* An engine over a small random bundle, and random requests for it. */
#ifndef TEST_FEED_SUPPORT_ENGINE_H
#define TEST_FEED_SUPPORT_ENGINE_H

#include "vireo/engine.h"

#define ENGINE_SOON (UINT64_MAX / 2) /* a deadline that does not come */
#define ENGINE_FIELDS_MAX 64u

/* One request with its own arrays. */
struct engine_case {
    double viewer_raw[ENGINE_FIELDS_MAX], context_raw[ENGINE_FIELDS_MAX];
    struct vr_recent recent[VR_RECENT_MAX];
    uint32_t recent_count;
    int32_t row[64];
    double video_raw[64 * ENGINE_FIELDS_MAX], pair_raw[64 * VR_PAIR_FIELDS];
    uint32_t candidates;
};

/* Make (once a process) and open the small bundle of an architecture: "mmoe", "hard", "moe", "ple". Ends the program
 * with the reason when there is no Python environment. The caller closes it. */
struct vr_bundle *engine_bundle(const char *architecture);

/* Request number `seed`, always the same; `candidates` rows, the first of them unknown to the bundle when `odd`. */
void engine_case_make(const struct vr_engine *engine, uint64_t seed, uint32_t candidates, bool odd,
                      struct engine_case *out);
struct vr_engine_user engine_case_user(const struct engine_case *c, uint32_t tower_k, uint32_t content_k);
struct vr_engine_rank engine_case_rank(const struct engine_case *c);

/* `inner` with a backend whose n-th operation (counted from 0, creations included) fails with VR_ERR_BACKEND. */
struct engine_faulty {
    struct vr_backend backend;
};
void engine_faulty_make(struct engine_faulty *faulty, struct vr_backend *inner);
void engine_faulty_arm(long nth); /* negative: never */
long engine_faulty_calls(void);   /* since armed */

#endif
