/* The flags of a bench command as a table: where each value goes and what it may be. */
#ifndef VIREO_BENCH_OPTIONS_H
#define VIREO_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vireo/bench.h"

enum bench_value {
    BENCH_TEXT = 0, /* const char *, not empty */
    BENCH_COUNT,    /* uint32_t in least..most */
    BENCH_NUMBER,   /* double in least..most */
    BENCH_SWITCH,   /* bool; the flag takes no value */
    BENCH_NAME,     /* uint32_t: the index of one of `names` */
    BENCH_CHOICE,   /* const char *: one of `names` */
    BENCH_COUNTS,   /* uint32_t [VR_BENCH_LIST_MAX], rising, each in least..most */
    BENCH_NUMBERS,  /* double [VR_BENCH_LIST_MAX], likewise */
    BENCH_NAMES,    /* const char * [as many as there are names], each one of `names` and once */
};

struct bench_flag {
    const char *name;         /* "--batches" */
    const char *const *names; /* ended by NULL */
    size_t offset;            /* of the member in the setup */
    size_t count_offset;      /* of a list: its uint32_t count */
    double least, most;
    enum bench_value value;
    bool required;
};

#define BENCH_FLAGS_MAX 32u

/* Read the words into a zeroed setup; as vr_bench_read. */
enum vr_status bench_options_read(const struct bench_flag *flags, size_t count, int argc, char *const *argv,
                                  void *setup);

#endif
