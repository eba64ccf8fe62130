/* What the files of `vireo bench feed` share (vireo/bench.h): feed.c opens everything and measures level by level,
 * feed_loop.c is one run, feed_report.c tells the results. */
#ifndef VIREO_BENCH_FEED_PARTS_H
#define VIREO_BENCH_FEED_PARTS_H

#include "machine.h"
#include "vireo/bench.h"
#include "vireo/feed.h"

#define FEED_JOBS 2048u /* requests that may be in the feed at once: more than its queue and lanes hold */

/* One run's figures. Latency is from when a request was to be submitted to when its answer was taken back. */
struct feed_result {
    uint64_t answers, failed, refused; /* refused: the queue was full when the request was to be submitted */
    uint64_t degraded;                 /* answers with at least one reason */
    double seconds, offered, rate;     /* offered: requests that were to be submitted, a second */
    double p50_us, p90_us, p99_us, p999_us, max_us;
    double batch;                    /* mean requests a batch */
    double queue_us;                 /* mean wait of a request */
    double stage_us[VR_STAGE_COUNT]; /* mean time of a batch */
    double cpu_us[VR_STAGE_COUNT];   /* CPU of a request in each step */
    double other_cpu_us;             /* CPU of a request in lanes and pool beside the steps: queue, hand-back */
    double driver_cpu_us;            /* CPU of a request in this loop, which no server has */
    double allocations;              /* a request; NaN: not counted */
    double lag_p99_us;               /* the loop's own lateness in submitting; open loop alone */
};

struct feed_level {
    uint32_t concurrency; /* closed loop; 0: open */
    double rate;          /* open loop */
    struct feed_result result;
};
#define FEED_LEVELS_MAX (2 * VR_BENCH_LIST_MAX)

struct feed_bench {
    struct vr_bench_feed_setup setup; /* with defaults */
    struct bench_machine machine;
    struct vr_config *config;
    struct vr_backend *backend;
    struct vr_state *state;
    struct vr_model *model;
    struct vr_feed *feed;
    struct vr_handback *home;
    struct vr_job *job; /* [FEED_JOBS] */
    uint64_t random;    /* of arrivals */
    uint32_t next;      /* viewer of the next request */
    struct feed_level level[FEED_LEVELS_MAX];
    uint32_t levels;
};

/* One run of `seconds` at a level. VR_ERR_TIMEOUT when no answer comes for a minute. */
enum vr_status feed_loop_run(struct feed_bench *bench, const struct feed_level *level, double seconds,
                             struct feed_result *out);

/* Whether the counting library is there (preload/allocations.c). */
bool feed_counts_allocations(void);

void feed_report_print(const struct feed_bench *bench, FILE *out);
void feed_report_json(const struct feed_bench *bench, struct vr_json_writer *w);

#endif
