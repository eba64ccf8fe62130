/* `vireo bench`: what is measured with the program itself. Four commands, each with a setup of its own:
 *
 *   backends  one bundle and the same random requests on each backend, through the engine; answers are compared first
 *   ops       each operation of the backend contract beside what the machine can do
 *   feed      the whole feed in process: no network, no JSON
 *   load      open loop against a URL, latency from the intended send time
 *
 * A setup's member that is 0 takes its default. Each run prints a table and, where `json` names
 * a file, writes the same figures there: beside its place first, and moved there only when all of it is out. */
#ifndef VIREO_BENCH_H
#define VIREO_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_BENCH_BACKENDS_MAX 4u
#define VR_BENCH_LIST_MAX 16u /* values of a list on the command line */
#define VR_BENCH_BATCH_MAX 256u
#define VR_BENCH_CALLS_MAX 100000u

/* ---- backends ---- */

struct vr_bench_backends_setup {
    const char *bundle;                         /* folder */
    const char *json;                           /* file for the results, or NULL */
    const char *precision, *index;              /* as in the configuration; NULL: its defaults */
    const char *backend[VR_BENCH_BACKENDS_MAX]; /* "cpu", "cuda"; the first is what the others are compared with */
    uint32_t batch[VR_BENCH_LIST_MAX];          /* rising */
    uint32_t backend_count, batch_count;
    double seconds;         /* of timed work for each backend and batch size, at least */
    uint32_t calls;         /* timed calls for each, at least */
    uint32_t candidates, k; /* a request; at most the bundle's videos are taken */
    uint32_t requests;      /* different ones; 0: twice the largest batch, at least 64 */
    uint64_t seed;          /* of the requests */
};

/* The bundle's own error; VR_ERR_UNSUPPORTED when no backend could be opened (one that cannot is named with its
 * reason, the rest goes on); VR_ERR_CHECKSUM when a backend fails the bundle's self-test or two backends' answers
 * differ by more than the bound: then no speed is printed and no file written; VR_ERR_IO for the file. */
enum vr_status vr_bench_backends_run(const struct vr_bench_backends_setup *setup, FILE *out);

/* ---- ops ---- */

struct vr_bench_ops_setup {
    const char *json;    /* file for the results, or NULL */
    const char *backend; /* "cpu", "cuda" */
    uint32_t rows;       /* vectors that are searched */
    uint32_t dim;        /* of them */
    double seconds;      /* of timed calls of each case, at least */
};

/* VR_ERR_UNSUPPORTED where the backend has no device; its own errors; VR_ERR_IO for the file. */
enum vr_status vr_bench_ops_run(const struct vr_bench_ops_setup *setup, FILE *out);

/* ---- feed ---- */

#define VR_BENCH_RUNS_MAX 15u

struct vr_bench_feed_setup {
    const char *bundle;                      /* folder */
    const char *json;                        /* file for the results, or NULL */
    const char *config;                      /* file of settings, or NULL: the defaults */
    const char *backend;                     /* "cpu", "cuda" */
    uint32_t concurrency[VR_BENCH_LIST_MAX]; /* closed loop: requests kept in the feed; rising */
    uint32_t concurrency_count;
    double rate[VR_BENCH_LIST_MAX]; /* open loop: requests a second, Poisson; rising. None: half and four fifths of the
                                       largest rate that the closed loop reached */
    uint32_t rate_count;
    double seconds; /* of each run; warm-up is another quarter */
    uint32_t runs;  /* of each level, of which the median is told */
    uint32_t lanes; /* 0: the configuration's */
    uint32_t seed;
};

/* The bundle's or the configuration's own error; VR_ERR_UNSUPPORTED where the backend has no device; VR_ERR_TIMEOUT
 * when the feed stands still; VR_ERR_IO for the file. */
enum vr_status vr_bench_feed_run(const struct vr_bench_feed_setup *setup, FILE *out);

/* ---- load ---- */

enum vr_bench_schedule {
    VR_BENCH_POISSON = 0,
    VR_BENCH_CONSTANT,
    VR_BENCH_STEP,  /* Poisson at `rate`, from step_at_s on at `to_rate` */
    VR_BENCH_SPIKE, /* likewise, and back at `rate` after step_for_s */
    VR_BENCH_REPLAY /* the times of the request file */
};
enum vr_bench_method { VR_BENCH_POST = 0, VR_BENCH_GET };

#define VR_BENCH_CONNECTIONS_MAX 16384u
#define VR_BENCH_THREADS_MAX 64u

struct vr_bench_load_setup {
    const char *url;      /* http://HOST[:PORT][/PATH]; the path is /v1/recommend where none is given */
    const char *requests; /* file of JSON lines, or NULL: requests of `viewers` viewers, "1" and on */
    const char *json;     /* file for the results, or NULL */
    double rate;          /* requests a second */
    double to_rate;       /* STEP, SPIKE; default twice the rate */
    double step_at_s;     /* after the warm-up; default half of the time (STEP), a third (SPIKE) */
    double step_for_s;    /* SPIKE; default a third of the time */
    double speed;         /* REPLAY: how many times as fast as the file says */
    double seconds;       /* counted; REPLAY: at most */
    double warm_up_s;     /* before that, sent at the first rate and not counted */
    double interval_s;    /* of the course over time */
    double p99_ms;        /* above 0: search the largest rate whose p99 is under this, `rate` being the first tried */
    double loss;          /* search: the share of requests that may stay without a 2xx answer */
    double degraded;      /* search: the share of 2xx answers that may say that they are degraded */
    uint32_t schedule;    /* enum vr_bench_schedule */
    uint32_t method;      /* enum vr_bench_method */
    uint32_t viewers, count;
    uint32_t connections, threads; /* keep-alive connections, spread over the threads */
    uint32_t timeout_ms;           /* of a request, from when it was to be sent */
    uint32_t limit;                /* requests sent at most, the warm-up's included */
    uint32_t steps;                /* search: rates tried at most */
    uint32_t at_least;             /* search: requests of a rate that is tried, whatever `seconds`; in 30 s at most */
    uint32_t seed;
    bool no_warm_up, allow_remote;
};

/* VR_ERR_INVALID for the URL, an address that is not loopback without allow_remote, or the request file; VR_ERR_IO when
 * nothing answers there, or for a file; VR_ERR_NOMEM. Requests that fail are results, not errors. */
enum vr_status vr_bench_load_run(const struct vr_bench_load_setup *setup, FILE *out);

/* ---- the command line ---- */

enum vr_bench_kind { VR_BENCH_BACKENDS = 0, VR_BENCH_OPS, VR_BENCH_FEED, VR_BENCH_LOAD };

struct vr_bench_command {
    enum vr_bench_kind kind;
    union {
        struct vr_bench_backends_setup backends;
        struct vr_bench_ops_setup ops;
        struct vr_bench_feed_setup feed;
        struct vr_bench_load_setup load;
    } of;
};

/* Read the words behind `vireo bench`; text members point into argv. VR_ERR_INVALID with a text that names the word:
 * unknown command or flag, a value that is missing, not of its form, out of range or given twice. */
enum vr_status vr_bench_read(int argc, char *const *argv, struct vr_bench_command *out);
enum vr_status vr_bench_run(const struct vr_bench_command *command, FILE *out);

extern const char vr_bench_usage[];

/* `git describe` of the tree that was built, or "unknown"; commit.c is made by the build. */
extern const char vr_commit[];

#ifdef __cplusplus
}
#endif
#endif
