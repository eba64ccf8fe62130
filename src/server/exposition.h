/* Prometheus text exposition format 0.0.4, written into a growing buffer. Use: vr_exposition_family once a metric, then
 * its samples. A failed growth sets `failed` in the writer, checked once at the end. */
#ifndef VIREO_SERVER_EXPOSITION_H
#define VIREO_SERVER_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "vireo/histogram.h"

struct vr_exposition {
    char *data; /* owned; vr_exposition_destroy */
    size_t len, capacity;
    int failed;
};

/* HELP and TYPE lines; `type` is counter, gauge or histogram; `help` holds neither line feed nor backslash. */
void vr_exposition_family(struct vr_exposition *out, const char *name, const char *type, const char *help);

/* One sample; `labels` is "" or `key="value",...` made of names of ours, which need no escaping. */
void vr_exposition_sample(struct vr_exposition *out, const char *name, const char *labels, double value);

/* The buckets, sum and count of a histogram whose recorded values are `scale` units each (microseconds: 1e-6).
 * `bound` [bounds], rising, in recorded units. */
void vr_exposition_histogram(struct vr_exposition *out, const char *name, const char *labels,
                             const struct vr_histogram *h, const uint64_t *bound, size_t bounds, double scale);

void vr_exposition_destroy(struct vr_exposition *out);
#endif
