/* Random and hand-made inputs for the re-ranking tests: one block of memory a case, freed with the arena. */
#ifndef TEST_FEED_SUPPORT_RERANK_H
#define TEST_FEED_SUPPORT_RERANK_H

#include "feed/rerank.h"

/* xorshift64*: the tests' own random numbers, the same everywhere. */
struct random {
    uint64_t state; /* not 0 */
};
uint32_t random_below(struct random *r, uint32_t bound); /* 0 .. bound - 1, bound > 0 */
float random_unit(struct random *r);                     /* [0, 1) */

/* A case whose arrays may be written. input.config points at config, which points at cap, freshness and give_way. */
struct rerank_case {
    struct vr_rerank_input input;
    struct vr_rerank_config config;
    struct vr_cap_config cap[VR_CAPS_MAX];
    struct vr_freshness_config freshness[VR_CAPS_MAX];
    enum vr_rule give_way[VR_RULE_COUNT];
    float *score, *age_h, *unsafe_score, *vector;
    int32_t *creator, *topic;
    uint8_t *safety, *min_age;
    bool *blocked, *excluded, *seen, *served;
};

/* `count` safe candidates with falling scores 1, 1 - 1/count, ..., each its own creator and topic, one hour old, with
 * orthogonal-ish unit vectors; gain score, no caps, no quota, nothing gives way. The case must not move afterwards. */
void rerank_case_plain(struct rerank_case *c, struct vr_arena *arena, uint32_t count, uint32_t want);

/* Everything random, hostile values included. */
void rerank_case_random(struct rerank_case *c, struct vr_arena *arena, struct random *r);
#endif
