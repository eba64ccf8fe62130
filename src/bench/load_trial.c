/* One run of the schedule: threads that share it out, and their counts put together (load_parts.h). */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "load_parts.h"
#include "vireo/clock.h"

#define START_NS 20000000u /* from the last connection to the first request */

struct crew {
    struct load_trial trial;
    struct load_thread *thread[VR_BENCH_THREADS_MAX];
    pthread_t handle[VR_BENCH_THREADS_MAX];
    uint32_t threads, started;
};

static void *work(void *argument)
{
    load_thread_run(argument);
    return NULL;
}

static enum vr_status make(struct crew *crew)
{
    const struct vr_bench_load_setup *setup = crew->trial.setup;
    enum vr_status status = VR_OK;
    for (uint32_t i = 0; status == VR_OK && i < setup->threads; i++) {
        const uint32_t share = setup->connections / setup->threads + (i < setup->connections % setup->threads);
        status = load_thread_create(&crew->trial, i, share, &crew->thread[i]);
        crew->threads += status == VR_OK;
    }
    return status;
}

/* The threads run to the end of the schedule; those that could not be started leave their share unsent, so none is
 * left to run alone. */
static enum vr_status run(struct crew *crew)
{
    enum vr_status status = VR_OK;
    crew->trial.begin_ns = vr_clock_mono_ns() + START_NS;
    for (uint32_t i = 0; status == VR_OK && i < crew->threads; i++) {
        const int error = pthread_create(&crew->handle[i], NULL, work, crew->thread[i]);
        status = error == 0 ? VR_OK : vr_fail(VR_ERR_IO, "a thread of load: %s", strerror(error));
        crew->started += error == 0;
    }
    for (uint32_t i = 0; i < crew->started; i++) {
        pthread_join(crew->handle[i], NULL);
    }
    return status;
}

/* ---- counts of all threads ---- */

static void merge_intervals(struct load_counts *into, const struct load_counts *from)
{
    for (uint32_t i = 0; i < into->intervals; i++) {
        into->interval[i].sent += from->interval[i].sent;
        into->interval[i].ok += from->interval[i].ok;
        into->interval[i].lost += from->interval[i].lost;
        vr_histogram_merge(&into->interval[i].us, &from->interval[i].us);
    }
}

static void merge(struct load_counts *into, const struct load_counts *from)
{
    vr_histogram_fine_merge(&into->latency, &from->latency);
    vr_histogram_fine_merge(&into->rejected, &from->rejected);
    vr_histogram_fine_merge(&into->lag, &from->lag);
    vr_histogram_fine_merge(&into->waited, &from->waited);
    into->offered += from->offered;
    into->ok += from->ok;
    into->answered += from->answered;
    into->bytes += from->bytes;
    for (uint32_t i = 0; i < LOAD_ERRORS; i++) {
        into->error[i] += from->error[i];
    }
    for (uint32_t i = 0; i < LOAD_STATUSES; i++) {
        into->status[i] += from->status[i];
    }
    load_degraded_merge(&into->degraded, &from->degraded);
    into->last_answer_ns = from->last_answer_ns > into->last_answer_ns ? from->last_answer_ns : into->last_answer_ns;
    if (from->cpu_ns > into->cpu_ns) {
        into->cpu_ns = from->cpu_ns;
        into->wall_ns = from->wall_ns;
    }
    merge_intervals(into, from);
}

static void conclude(const struct load_trial *trial, struct load_result *out)
{
    const struct vr_bench_load_setup *setup = trial->setup;
    const struct load_counts *counts = &out->counts;
    const double first_ns = (double)trial->begin_ns + setup->warm_up_s * 1e9;
    const double until_last = ((double)counts->last_answer_ns - first_ns) / 1e9;
    const double lag_us = (double)vr_histogram_fine_quantile(&counts->lag, 0.99) / 1e3;
    const double p99_us = (double)vr_histogram_fine_quantile(&counts->latency, 0.99) / 1e3;
    out->offered = (double)counts->offered / setup->seconds;
    out->achieved = (double)counts->ok / fmax(until_last, setup->seconds);
    out->lost = counts->offered > 0 ? 1.0 - (double)counts->ok / (double)counts->offered : 0.0;
    out->degraded = counts->ok > 0 ? (double)counts->degraded.answers / (double)counts->ok : 0.0;
    out->cpu_share = counts->wall_ns > 0 ? (double)counts->cpu_ns / (double)counts->wall_ns : 0.0;
    out->sound = lag_us <= fmax(LOAD_LAG_BOUND_US, p99_us / 10) && out->cpu_share <= LOAD_CPU_BOUND;
}

static enum vr_status gather(const struct crew *crew, struct load_result *out)
{
    out->counts.intervals = crew->trial.intervals;
    out->counts.interval = calloc(out->counts.intervals, sizeof *out->counts.interval);
    if (out->counts.interval == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the results");
    }
    for (uint32_t i = 0; i < crew->threads; i++) {
        merge(&out->counts, load_thread_counts(crew->thread[i]));
    }
    conclude(&crew->trial, out);
    return VR_OK;
}

enum vr_status load_trial_run(const struct vr_bench_load_setup *setup, const struct load_target *target,
                              const struct load_requests *requests, double rate, struct load_result *out)
{
    struct crew crew = {.trial = {.setup = setup, .target = target, .requests = requests}};
    memset(out, 0, sizeof *out);
    out->rate = rate;
    crew.trial.intervals = (uint32_t)ceil(setup->seconds / setup->interval_s);
    enum vr_status status = load_arrivals_begin(setup, requests, rate, &crew.trial.arrivals);
    if (status == VR_OK) {
        status = make(&crew);
    }
    if (status == VR_OK) {
        status = run(&crew);
    }
    if (status == VR_OK) {
        status = gather(&crew, out);
    }
    for (uint32_t i = 0; i < crew.threads; i++) {
        load_thread_destroy(crew.thread[i]);
    }
    return status;
}

void load_result_free(struct load_result *result)
{
    free(result->counts.interval);
    result->counts.interval = NULL;
}
