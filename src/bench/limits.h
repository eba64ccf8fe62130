/* What one core of this machine can do, measured: the yardstick of `vireo bench ops`. */
#ifndef VIREO_BENCH_LIMITS_H
#define VIREO_BENCH_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "vireo/status.h"

/* Sizes that are read over and over, from 256 KiB on, each four times the one before: caches, then memory. */
#define BENCH_READ_SIZES 7u

struct bench_limits {
    const char *arithmetic; /* the instructions that were used: "AVX-512", "AVX2", "plain C" */
    double gflops;          /* float32 multiply-adds out of registers, two operations each */
    double read_gb_s[BENCH_READ_SIZES];
    double copy_gb_s; /* memcpy within the largest size: bytes read and bytes written */
};

size_t bench_limits_size(uint32_t i); /* bytes of read_gb_s[i] */

/* One thread; the best of several passes, since a limit is what can be reached. VR_ERR_NOMEM. */
enum vr_status bench_limits_measure(struct bench_limits *out);

/* GB/s at which memory of that many bytes, read before, can be read again. */
double bench_limits_read(const struct bench_limits *limits, double bytes);

#endif
