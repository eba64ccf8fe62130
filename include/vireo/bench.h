/* `vireo bench`: one bundle and the same random requests on each backend, through the engine. Answers are compared
 * first; speeds are printed only when they agree. The command's parts are in backends_*.c (backends_parts.h). */
#ifndef VIREO_BENCH_H
#define VIREO_BENCH_H

#include <stdint.h>
#include <stdio.h>

#include "vireo/status.h"

#define VR_BENCH_BACKENDS_MAX 4u
#define VR_BENCH_BATCHES_MAX 16u
#define VR_BENCH_BATCH_MAX 256u
#define VR_BENCH_CALLS_MAX 100000u

struct vr_bench_setup {
    const char *bundle;                         /* folder */
    const char *json;                           /* file for the results, or NULL */
    const char *backend[VR_BENCH_BACKENDS_MAX]; /* "cpu", "cuda"; the first is what the others are compared with */
    uint32_t batch[VR_BENCH_BATCHES_MAX];       /* rising */
    uint32_t backend_count, batch_count;        /* 0: the defaults of vr_bench_defaults */
    double seconds;         /* of timed work for each backend and batch size, at least; 0: default */
    uint32_t calls;         /* timed calls for each, at least; 0: default */
    uint32_t candidates, k; /* a request; 0: default. At most the bundle's videos are taken */
    uint32_t requests;      /* different ones; 0: twice the largest batch, at least 64 */
    uint64_t seed;          /* of the requests */
};

/* Read one value of the command line into the setup. VR_ERR_INVALID with a text that begins with the flag: not of its
 * form, out of range, given twice. */
enum vr_status vr_bench_take_backends(struct vr_bench_setup *setup, const char *value); /* "cpu,cuda" */
enum vr_status vr_bench_take_batches(struct vr_bench_setup *setup, const char *value);  /* "1,8,32" */
enum vr_status vr_bench_take_seconds(struct vr_bench_setup *setup, const char *value);
enum vr_status vr_bench_take_calls(struct vr_bench_setup *setup, const char *value);

/* What was not given. */
void vr_bench_defaults(struct vr_bench_setup *setup);

/* Run it, print the table to `out` and write the file. The bundle's own error; VR_ERR_UNSUPPORTED when no backend could
 * be opened (one that cannot is named with its reason, the rest goes on); VR_ERR_CHECKSUM when a backend fails
 * the bundle's self-test or two backends' answers differ by more than the bound: then no speed is printed and no file
 * written; VR_ERR_IO for the file. */
enum vr_status vr_bench_run(const struct vr_bench_setup *setup, FILE *out);

extern const char
    vr_commit[]; /* `git describe` of the tree that was built, or "unknown"; commit.c is made by the build */

#endif
