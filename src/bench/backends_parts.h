/* What the files of `vireo bench backends` share (vireo/bench.h): backends.c runs it, backends_requests.c makes the
 * requests, backends_side.c is one backend at work, backends_agree.c compares answers, backends_print.c and
 * backends_json.c tell the results. */
#ifndef VIREO_BENCH_BACKENDS_PARTS_H
#define VIREO_BENCH_BACKENDS_PARTS_H

#include <stdbool.h>

#include "machine.h"
#include "nvml.h"
#include "vireo/bench.h"
#include "vireo/config.h"
#include "vireo/engine.h"

/* The requests that every backend answers, drawn once: viewers, contexts and pairs from the bundle's golden cases,
 * histories from its seed state (random rows where it has none), candidates at random without repetition, their
 * counters from the seed state. A request must not return what is in its history. */
struct bench_pool {
    uint32_t count, candidates, k;
    struct vr_engine_user *user; /* [count] */
    struct vr_engine_rank *rank; /* [count]; without the vectors, which retrieval gives */
    void *memory;                /* what both point into */
};
enum vr_status bench_pool_create(const struct vr_engine *engine, const struct vr_bench_backends_setup *setup,
                                 struct bench_pool *out);
void bench_pool_destroy(struct bench_pool *pool);

enum bench_stage { BENCH_RETRIEVE = 0, BENCH_RANK, BENCH_BOTH };
#define BENCH_STAGES 3u
extern const char *const bench_stage_name[BENCH_STAGES];

#define BENCH_P99_CALLS 50u /* fewer calls have no 99th percentile worth its name */

/* One backend at one batch size. */
struct bench_result {
    uint32_t calls;
    double requests_per_s;
    double p50_us[BENCH_STAGES], p99_us[BENCH_STAGES]; /* of a call; p99 NaN under BENCH_P99_CALLS calls */
    double millijoules;                                /* of the GPU, a request; NaN: not known */
};

/* One backend: open, or not with its reason. */
struct bench_side {
    const char *name;
    char reason[256]; /* why it is not open; "" when it is */
    struct vr_backend *backend;
    struct vr_engine *engine;
    struct vr_engine_slot *slot;
    uint32_t max_batch, tower_dim, content_dim;
    struct vr_engine_user *user;           /* [max_batch] */
    struct vr_engine_rank *rank;           /* [max_batch] */
    struct vr_engine_retrieved *retrieved; /* [max_batch] */
    struct vr_engine_ranked *ranked;       /* [max_batch] */
    float *vector;                         /* [max_batch, 2 tower_dim + content_dim]: retrieval's, kept for ranking */
    struct bench_result result[VR_BENCH_LIST_MAX];
};

/* Open backend and engine; what fails is noted in side->reason, VR_OK all the same. Then the bundle's self-test:
 * VR_ERR_CHECKSUM when the backend's answers are wrong. The slot comes with bench_side_prepare. */
enum vr_status bench_side_open(struct bench_side *side, const char *name, const struct vr_bundle *bundle,
                               const struct vr_config *config);
enum vr_status bench_side_prepare(struct bench_side *side, const struct bench_pool *pool, uint32_t max_batch);
void bench_side_close(struct bench_side *side);
bool bench_side_is_open(const struct bench_side *side);

/* The two steps of a batch of requests first, first + 1, ... of the pool (round and round): retrieval, whose vectors
 * are kept, then ranking with them. */
enum vr_status bench_side_retrieve(struct bench_side *side, const struct bench_pool *pool, uint32_t first,
                                   uint32_t batch);
enum vr_status bench_side_rank(struct bench_side *side, uint32_t batch); /* of the batch retrieved last */

/* Time side->result[b]; nvml may be NULL. */
enum vr_status bench_side_measure(struct bench_side *side, const struct bench_pool *pool,
                                  const struct vr_bench_backends_setup *setup, uint32_t b, const struct vr_nvml *nvml);

/* The largest differences found between two backends' answers, and what is allowed: each backend may be off by the
 * tolerances of docs/bundle.md for its precision from the true value, so two may be the sum apart; probability counts
 * all heads but watch_s. A row that only one of them found must be within the score bound of the other's last. */
struct bench_difference {
    double user_tower, score, probability, watch_s_relative;
    uint32_t requests; /* compared */
};
struct bench_difference bench_bound(const struct bench_side *a, const struct bench_side *b);

/* Every request of the pool at one batch size on both, which are open. VR_ERR_CHECKSUM names the first that is off. */
enum vr_status bench_agree(struct bench_side *a, struct bench_side *b, const struct bench_pool *pool, uint32_t batch,
                           struct bench_difference *worst);

/* The whole, for the printers. */
struct bench {
    struct vr_bench_backends_setup setup; /* with defaults, candidates and k as taken */
    struct vr_bundle *bundle;
    struct vr_config *config;
    struct bench_pool pool;
    struct bench_side side[VR_BENCH_BACKENDS_MAX];
    uint32_t first; /* the side that the others are compared with */
    struct bench_difference worst[VR_BENCH_BACKENDS_MAX], bound[VR_BENCH_BACKENDS_MAX];
    struct vr_nvml *nvml;
    char no_nvml[256]; /* why nvml is NULL */
    struct bench_machine machine;
};

/* The smallest batch size from which on `side` answers more requests a second than the first; 0: none. */
uint32_t bench_crossover(const struct bench *bench, const struct bench_side *side);

void bench_print(const struct bench *bench, FILE *out);
void bench_write_json(const struct bench *bench, struct vr_json_writer *out);

#endif
