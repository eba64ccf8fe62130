/* The writer of exposition.h. */
#include "exposition.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int reserve(struct vr_exposition *out, size_t more)
{
    if (out->failed || out->len + more <= out->capacity) {
        return !out->failed;
    }
    size_t capacity = out->capacity == 0 ? 16384 : out->capacity;
    while (capacity < out->len + more) {
        capacity *= 2;
    }
    char *grown = realloc(out->data, capacity);
    if (grown == NULL) {
        out->failed = 1;
        return 0;
    }
    out->data = grown;
    out->capacity = capacity;
    return 1;
}

__attribute__((format(printf, 2, 3))) static void put(struct vr_exposition *out, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line) {
        out->failed = 1;
        return;
    }
    if (reserve(out, (size_t)len)) {
        for (int i = 0; i < len; i++) {
            out->data[out->len++] = line[i];
        }
    }
}

void vr_exposition_family(struct vr_exposition *out, const char *name, const char *type, const char *help)
{
    put(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void vr_exposition_sample(struct vr_exposition *out, const char *name, const char *labels, double value)
{
    if (labels[0] == '\0') {
        put(out, "%s %.15g\n", name, value);
    } else {
        put(out, "%s{%s} %.15g\n", name, labels, value);
    }
}

/* A writer may be recording meanwhile, so what is read last may be one ahead: cumulative counts are kept from falling.
 */
void vr_exposition_histogram(struct vr_exposition *out, const char *name, const char *labels,
                             const struct vr_histogram *h, const uint64_t *bound, size_t bounds, double scale)
{
    const char *comma = labels[0] == '\0' ? "" : ",";
    uint64_t below = 0;
    for (size_t i = 0; i < bounds; i++) {
        below = vr_histogram_count_below(h, bound[i]);
        put(out, "%s_bucket{%s%sle=\"%.9g\"} %" PRIu64 "\n", name, labels, comma, (double)bound[i] * scale, below);
    }
    uint64_t count = h->count > below ? h->count : below;
    put(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, count);
    char full[128];
    snprintf(full, sizeof full, "%s_sum", name);
    vr_exposition_sample(out, full, labels, (double)h->sum * scale);
    snprintf(full, sizeof full, "%s_count", name);
    vr_exposition_sample(out, full, labels, (double)count);
}

void vr_exposition_destroy(struct vr_exposition *out)
{
    free(out->data);
    *out = (struct vr_exposition){0};
}
