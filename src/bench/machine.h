/* What stands beside every figure: the machine and the commit; and the file that results go to. */
#ifndef VIREO_BENCH_MACHINE_H
#define VIREO_BENCH_MACHINE_H

#include <stdio.h>

#include "vireo/json.h"

struct bench_machine {
    char cpu[96]; /* model name, or "unknown" */
    char host[65];
    long cores;
    double load; /* mean of the last minute when it was asked: what else runs here; NaN: not known */
};

void bench_machine_read(struct bench_machine *out);
void bench_machine_print(const struct bench_machine *machine, FILE *out); /* two lines: machine and commit */

/* Open the document: "bench", "commit", "time_ms". */
void bench_json_begin(struct vr_json_writer *w, const char *bench);
/* The member "hardware"; the object is left open where the caller adds members of its own. */
void bench_json_open_hardware(struct vr_json_writer *w, const struct bench_machine *machine);
void bench_json_hardware(struct vr_json_writer *w, const struct bench_machine *machine);
void bench_json_number(struct vr_json_writer *w, const char *key, double value); /* NaN gives null */
void bench_json_count(struct vr_json_writer *w, const char *key, uint64_t value);
void bench_json_text(struct vr_json_writer *w, const char *key, const char *value); /* NULL gives null */

/* The file of --json: written beside its place, and put there when all of it is out. */
struct bench_file {
    const char *path; /* NULL: no file is wanted, and nothing below does anything */
    char beside[4096];
    FILE *file;
};

/* Opened before the work, so that a wrong path costs none. VR_ERR_INVALID, VR_ERR_IO. */
enum vr_status bench_file_open(const char *path, struct bench_file *out);

/* Write the document where `status` is VR_OK, and drop the file otherwise; returns the first failure. The writer is
 * the caller's to destroy. */
enum vr_status bench_file_finish(struct bench_file *file, const struct vr_json_writer *w, enum vr_status status);

#endif
