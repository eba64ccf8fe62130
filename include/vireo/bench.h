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

/* ---- the command line ---- */

enum vr_bench_kind { VR_BENCH_BACKENDS = 0, VR_BENCH_FEED };

struct vr_bench_command {
    enum vr_bench_kind kind;
    union {
        struct vr_bench_backends_setup backends;
        struct vr_bench_feed_setup feed;
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
