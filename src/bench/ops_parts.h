/* What the files of `vireo bench ops` share (vireo/bench.h): ops.c runs it, ops_cases.c has the shapes,
 * ops_search.c the searches, ops_report.c tells the results. */
#ifndef VIREO_BENCH_OPS_PARTS_H
#define VIREO_BENCH_OPS_PARTS_H

#include "limits.h"
#include "machine.h"
#include "vireo/backend.h"
#include "vireo/bench.h"

enum ops_kind { OPS_COPIES = 0, OPS_GATHER, OPS_POOL, OPS_LINEAR, OPS_MIX, OPS_HEADS, OPS_NORMALIZE, OPS_SEARCH };

struct ops_case {
    char name[40], shape[64];
    enum ops_kind kind;
    union {
        struct {
            struct vr_view to, from;
            size_t bytes;
        } copy;
        struct vr_gather gather;
        struct vr_pool_rows pool;
        struct vr_linear linear;
        struct vr_expert_mix mix;
        struct vr_task_heads heads;
        struct vr_normalize normalize;
        struct vr_index_search search;
    } of;
    struct vr_index *index; /* SEARCH */
    double flops, bytes;    /* of a call; NaN: not told, as of a search in a graph */
    double footprint;       /* bytes that calls one after the other touch: which memory they come from */
    size_t rotate;          /* GATHER, POOL: bytes from one call's indexes to the next one's, OPS_ROTATIONS in all */
    uint32_t queries;       /* SEARCH */
    double recall;          /* SEARCH: share of the true best k that was found; NaN elsewhere */
};

struct ops_result {
    char name[40], shape[64];
    double us, gflops, gb_s;      /* median call */
    double ratio;                 /* of the least time that the limits allow to `us`; NaN: no limit is known */
    double queries_per_s, recall; /* NaN where it is no search */
    const char *bound;            /* which limit: "arithmetic", "reading", "copying" */
    uint32_t calls;
};
#define OPS_ROTATIONS 64u
#define OPS_RESULTS_MAX 64u
#define OPS_BUFFERS_MAX 24u

struct ops_bench {
    struct vr_bench_ops_setup setup; /* with defaults */
    struct bench_machine machine;
    struct bench_limits limits;
    bool has_limits; /* of the CPU; a device's are bench/ceilings.cu's to measure */
    struct vr_backend *backend;
    struct vr_stream *stream;
    struct vr_buffer *staging;
    struct vr_buffer *buffer[OPS_BUFFERS_MAX]; /* of the case at hand */
    uint32_t buffers;
    uint64_t random;
    uint32_t calls; /* so far */
    struct ops_result result[OPS_RESULTS_MAX];
    uint32_t results;
    char left_out[256]; /* kinds of index that were not measured, and why */
};

/* ---- ops.c ---- */

/* Device memory, released when the case is over: zeros, floats in [-1, 1), or a copy of host memory. */
enum vr_status ops_zeros(struct ops_bench *bench, size_t bytes, struct vr_view *out);
enum vr_status ops_floats(struct ops_bench *bench, size_t count, struct vr_view *out);
enum vr_status ops_put(struct ops_bench *bench, const void *data, size_t bytes, struct vr_view *out);
enum vr_status ops_get(struct ops_bench *bench, struct vr_view from, size_t bytes, void *to);
void ops_release(struct ops_bench *bench); /* all of them */

/* Time the case and note its result. */
enum vr_status ops_measure(struct ops_bench *bench, const struct ops_case *one);
/* Once, for what comes after it. */
enum vr_status ops_call_once(struct ops_bench *bench, const struct ops_case *one);

/* ---- ops_cases.c, ops_search.c ---- */
enum vr_status ops_cases_run(struct ops_bench *bench);
enum vr_status ops_search_run(struct ops_bench *bench);

void ops_report_print(const struct ops_bench *bench, FILE *out);
void ops_report_json(const struct ops_bench *bench, struct vr_json_writer *w);

#endif
