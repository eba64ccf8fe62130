/* One writer and one reader of a histogram: the reader's totals only grow, its quantiles stay inside what was recorded,
 * and ThreadSanitizer sees no race. */
#include "vireo/histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { RECORDS = 300000, LOWEST = 100, HIGHEST = 10000 };

static struct vr_histogram recorder;
static atomic_bool finished;

static void *record(void *argument)
{
    (void)argument;
    for (uint64_t i = 0; i < RECORDS; i++) {
        vr_histogram_record(&recorder, LOWEST + i % (HIGHEST - LOWEST));
    }
    atomic_store(&finished, true);
    return NULL;
}

/* One look from the reading side; returns whether all is plausible. */
static bool look(uint64_t *before)
{
    struct vr_histogram copy;
    memset(&copy, 0, sizeof copy);
    vr_histogram_merge(&copy, &recorder);
    uint64_t count = vr_histogram_count_below(&copy, UINT64_MAX);
    uint64_t median = vr_histogram_quantile(&copy, 0.5);
    bool plausible = count >= *before && count <= RECORDS && copy.max < HIGHEST;
    plausible = plausible && (count == 0 || (median >= LOWEST && median < HIGHEST + HIGHEST / 8));
    *before = count;
    return plausible;
}

int main(void)
{
    pthread_t writer;
    uint64_t seen = 0;
    int faults = 0;
    if (pthread_create(&writer, NULL, record, NULL) != 0) {
        return 1;
    }
    while (!atomic_load(&finished)) {
        faults += !look(&seen);
    }
    pthread_join(writer, NULL);
    faults += !look(&seen);
    faults += seen != RECORDS || recorder.count != RECORDS;
    printf("histogram: %s\n", faults == 0 ? "passed" : "FAILED");
    return faults != 0;
}
