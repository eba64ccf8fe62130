/* The values of `vireo bench` on the command line (vireo/bench.h). */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/bench.h"

#define SECONDS_MIN 0.01
#define SECONDS_MAX 600.0

static const char *const known[] = {"cpu", "cuda"};

/* The known name that the first `len` letters of `word` are, or NULL. */
static const char *known_name(const char *word, size_t len)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i]) == len && memcmp(known[i], word, len) == 0) {
            return known[i];
        }
    }
    return NULL;
}

static enum vr_status add_backend(struct vr_bench_setup *setup, const char *word, size_t len)
{
    const char *name = known_name(word, len);
    if (name == NULL) {
        return vr_fail(VR_ERR_INVALID, "--backends: cpu or cuda, not \"%.*s\"", (int)len, word);
    }
    for (uint32_t i = 0; i < setup->backend_count; i++) {
        if (setup->backend[i] == name) {
            return vr_fail(VR_ERR_INVALID, "--backends: %s is named twice", name);
        }
    }
    setup->backend[setup->backend_count++] = name;
    return VR_OK;
}

enum vr_status vr_bench_take_backends(struct vr_bench_setup *setup, const char *value)
{
    if (setup->backend_count > 0) {
        return vr_fail(VR_ERR_INVALID, "--backends: given twice");
    }
    for (const char *word = value;; word++) {
        const size_t len = strcspn(word, ",");
        const enum vr_status status = add_backend(setup, word, len);
        word += len;
        if (status != VR_OK || *word == '\0') {
            return status;
        }
    }
}

/* A whole number of digits alone in 1..max, else 0. */
static uint32_t number(const char *word, size_t len, uint32_t max)
{
    char digits[8] = "";
    if (len == 0 || len >= sizeof digits || strspn(word, "0123456789") < len) {
        return 0;
    }
    memcpy(digits, word, len);
    const unsigned long value = strtoul(digits, NULL, 10);
    return value <= max ? (uint32_t)value : 0;
}

static enum vr_status add_batch(struct vr_bench_setup *setup, const char *word, size_t len)
{
    const uint32_t batch = number(word, len, VR_BENCH_BATCH_MAX);
    if (batch == 0) {
        return vr_fail(VR_ERR_INVALID, "--batches: numbers in 1..%u, not \"%.*s\"", VR_BENCH_BATCH_MAX, (int)len, word);
    }
    if (setup->batch_count > 0 && batch <= setup->batch[setup->batch_count - 1]) {
        return vr_fail(VR_ERR_INVALID, "--batches: rising numbers, and %u follows %u", batch,
                       setup->batch[setup->batch_count - 1]);
    }
    if (setup->batch_count == VR_BENCH_BATCHES_MAX) {
        return vr_fail(VR_ERR_INVALID, "--batches: more than %u", VR_BENCH_BATCHES_MAX);
    }
    setup->batch[setup->batch_count++] = batch;
    return VR_OK;
}

enum vr_status vr_bench_take_batches(struct vr_bench_setup *setup, const char *value)
{
    if (setup->batch_count > 0) {
        return vr_fail(VR_ERR_INVALID, "--batches: given twice");
    }
    for (const char *word = value;; word++) {
        const size_t len = strcspn(word, ",");
        const enum vr_status status = add_batch(setup, word, len);
        word += len;
        if (status != VR_OK || *word == '\0') {
            return status;
        }
    }
}

enum vr_status vr_bench_take_seconds(struct vr_bench_setup *setup, const char *value)
{
    if (setup->seconds > 0.0) {
        return vr_fail(VR_ERR_INVALID, "--seconds: given twice");
    }
    char *end = NULL;
    const bool plain = value[0] != '\0' && strspn(value, "0123456789.") == strlen(value);
    const double seconds = plain ? strtod(value, &end) : NAN;
    if (!plain || *end != '\0' || !(seconds >= SECONDS_MIN && seconds <= SECONDS_MAX)) {
        return vr_fail(VR_ERR_INVALID, "--seconds: a number in %g..%g, not \"%s\"", SECONDS_MIN, SECONDS_MAX, value);
    }
    setup->seconds = seconds;
    return VR_OK;
}

enum vr_status vr_bench_take_calls(struct vr_bench_setup *setup, const char *value)
{
    if (setup->calls > 0) {
        return vr_fail(VR_ERR_INVALID, "--calls: given twice");
    }
    setup->calls = number(value, strlen(value), VR_BENCH_CALLS_MAX);
    if (setup->calls == 0) {
        return vr_fail(VR_ERR_INVALID, "--calls: a number in 1..%u, not \"%s\"", VR_BENCH_CALLS_MAX, value);
    }
    return VR_OK;
}

void vr_bench_defaults(struct vr_bench_setup *setup)
{
    static const uint32_t batches[] = {1, 8, 32, 128};
    if (setup->backend_count == 0) {
        setup->backend[0] = "cpu";
        setup->backend[1] = "cuda";
        setup->backend_count = 2;
    }
    if (setup->batch_count == 0) {
        memcpy(setup->batch, batches, sizeof batches);
        setup->batch_count = sizeof batches / sizeof batches[0];
    }
    setup->seconds = setup->seconds > 0.0 ? setup->seconds : 2.0;
    setup->calls = setup->calls > 0 ? setup->calls : 50;
    setup->candidates = setup->candidates > 0 ? setup->candidates : 300;
    setup->k = setup->k > 0 ? setup->k : 100;
    setup->seed = setup->seed != 0 ? setup->seed : 1;
}
