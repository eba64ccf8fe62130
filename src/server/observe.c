/* The routes that observe: health, readiness, metrics, settings (loop.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config_json.h"
#include "loop.h"
#include "models.h"
#include "problem.h"

/* 0.1 ms to 5 s, in microseconds. */
static const uint64_t stage_bounds[] = {100,   250,   500,    1000,   2500,   5000,    10000,
                                        25000, 50000, 100000, 250000, 500000, 1000000, 5000000};
static const uint64_t batch_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256};

void vr_handle_health(struct vr_loop *loop, struct vr_exchange *exchange)
{
    (void)exchange;
    vr_json_open_object(&loop->writer);
    vr_json_key(&loop->writer, "status");
    vr_json_put_text(&loop->writer, "ok");
    vr_json_close_object(&loop->writer);
}

/* How the device fares, for who has one. */
static void write_device(struct vr_json_writer *out, const struct vr_loop *loop)
{
    struct vr_device_status device;
    vr_feed_device_read(loop->shared->feed, &device);
    if (device.state == VR_DEVICE_NONE) {
        return;
    }
    vr_json_key(out, "device");
    vr_json_open_object(out);
    vr_json_key(out, "state");
    vr_json_put_text(out, vr_device_state_name(device.state));
    if (device.state != VR_DEVICE_UP) {
        vr_json_key(out, "reason");
        vr_json_put_text(out, vr_device_failure_name(device.latest));
    }
    vr_json_close_object(out);
}

void vr_handle_ready(struct vr_loop *loop, struct vr_exchange *exchange)
{
    struct vr_str none = {NULL, 0};
    enum vr_readiness readiness = __atomic_load_n(&loop->shared->readiness, __ATOMIC_ACQUIRE);
    struct vr_model *model = vr_feed_model(loop->shared->feed);
    if (readiness == VR_READY_YES && model != NULL) {
        vr_json_open_object(&loop->writer);
        vr_json_key(&loop->writer, "status");
        vr_json_put_text(&loop->writer, "ready");
        vr_json_key(&loop->writer, "model_version");
        vr_json_put_text(&loop->writer, model->bundle->model_version);
        write_device(&loop->writer, loop);
        vr_json_close_object(&loop->writer);
    } else {
        bool draining = readiness == VR_READY_DRAINING;
        vr_exchange_fail(loop, exchange, 503, draining ? "draining" : "loading",
                         draining ? "the server is stopping" : "the bundle is not loaded and checked yet", none);
    }
    vr_model_release(model);
}

void vr_handle_config(struct vr_loop *loop, struct vr_exchange *exchange)
{
    (void)exchange;
    vr_config_write(&loop->writer, loop->shared->config);
}

/* ---- metrics ---- */

static void counter(struct vr_exposition *out, const char *name, const char *help, double value)
{
    vr_exposition_family(out, name, "counter", help);
    vr_exposition_sample(out, name, "", value);
}

static void gauge(struct vr_exposition *out, const char *name, const char *help, double value)
{
    vr_exposition_family(out, name, "gauge", help);
    vr_exposition_sample(out, name, "", value);
}

static void write_labelled(struct vr_exposition *out, const char *name, const char *key, const char *value,
                           uint64_t number)
{
    char labels[96];
    snprintf(labels, sizeof labels, "%s=\"%s\"", key, value);
    vr_exposition_sample(out, name, labels, (double)number);
}

static void write_stages(struct vr_exposition *out, const struct vr_feed_metrics *feed)
{
    const struct {
        const char *labels;
        const struct vr_histogram *histogram;
    } stages[] = {{"stage=\"queue\"", &feed->queue_us},   {"stage=\"retrieve\"", &feed->retrieve_us},
                  {"stage=\"merge\"", &feed->merge_us},   {"stage=\"rank\"", &feed->rank_us},
                  {"stage=\"rerank\"", &feed->rerank_us}, {"stage=\"total\"", &feed->total_us}};
    vr_exposition_family(out, "vireo_feed_stage_duration_seconds", "histogram",
                         "Time of a feed's steps; total is from its arrival to its hand-back.");
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        vr_exposition_histogram(out, "vireo_feed_stage_duration_seconds", stages[i].labels, stages[i].histogram,
                                stage_bounds, sizeof stage_bounds / sizeof *stage_bounds, 1e-6);
    }
    vr_exposition_family(out, "vireo_feed_batch_requests", "histogram", "Requests that shared a batch.");
    vr_exposition_histogram(out, "vireo_feed_batch_requests", "", &feed->batch_size, batch_bounds,
                            sizeof batch_bounds / sizeof *batch_bounds, 1.0);
}

static void write_load(struct vr_exposition *out, const struct vr_feed_load *load)
{
    char labels[96];
    vr_exposition_family(out, "vireo_feed_queued", "gauge", "Jobs waiting for a lane.");
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        write_labelled(out, "vireo_feed_queued", "priority", vr_priority_name((enum vr_priority)p), load->waiting[p]);
    }
    vr_exposition_family(out, "vireo_feed_shed_total", "counter", "Jobs refused because of the load.");
    for (uint32_t s = 0; s < VR_SHEDS; s++) {
        for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
            snprintf(labels, sizeof labels, "reason=\"%s\",priority=\"%s\"", vr_shed_name((enum vr_shed)s),
                     vr_priority_name((enum vr_priority)p));
            vr_exposition_sample(out, "vireo_feed_shed_total", labels, (double)load->shed[s][p]);
        }
    }
    gauge(out, "vireo_feed_quality_factor", "Share of the candidates that feeds are made of.",
          (double)(VR_QUALITY_LEVELS - load->quality_level) / VR_QUALITY_LEVELS);
    gauge(out, "vireo_feed_concurrency_limit", "Jobs taken at a time, waiting and worked on.", load->limit);
    gauge(out, "vireo_feed_batch_limit_requests", "Largest batch that is done within its target.", load->largest_batch);
    gauge(out, "vireo_feed_batch_base_seconds", "Estimate of what a batch costs; 0: not known yet.",
          load->batch_base_us * 1e-6);
    gauge(out, "vireo_feed_batch_request_seconds", "Estimate of what each of its requests adds.",
          load->batch_each_us * 1e-6);
}

static void write_losses(struct vr_exposition *out, const struct vr_feed_metrics *feed)
{
    vr_exposition_family(out, "vireo_source_late_total", "counter", "Sources left out because they took too long.");
    for (uint32_t i = 0; i < VR_SOURCE_COUNT; i++) {
        write_labelled(out, "vireo_source_late_total", "source", vr_source_name((enum vr_source)i),
                       feed->source_late[i]);
    }
    vr_exposition_family(out, "vireo_source_errors_total", "counter", "Sources left out because they failed.");
    for (uint32_t i = 0; i < VR_SOURCE_COUNT; i++) {
        write_labelled(out, "vireo_source_errors_total", "source", vr_source_name((enum vr_source)i),
                       feed->source_error[i]);
    }
    vr_exposition_family(out, "vireo_feed_degraded_total", "counter", "Feeds that were less than they could be.");
    for (uint32_t i = 0; i < VR_DEGRADED_REASONS; i++) {
        write_labelled(out, "vireo_feed_degraded_total", "reason", vr_degraded_reason(i), feed->degraded[i]);
    }
    vr_exposition_family(out, "vireo_rule_gave_way_total", "counter", "Positions at which a guardrail gave way.");
    for (uint32_t i = 0; i < VR_RULE_COUNT; i++) {
        write_labelled(out, "vireo_rule_gave_way_total", "rule", vr_rule_name((enum vr_rule)i), feed->rule_gave_way[i]);
    }
    vr_exposition_family(out, "vireo_candidates_filtered_total", "counter", "Candidates that a filter removed.");
    for (uint32_t i = 0; i < VR_FILTER_COUNT; i++) {
        write_labelled(out, "vireo_candidates_filtered_total", "filter", vr_filter_name((enum vr_filter)i),
                       feed->filtered[i]);
    }
}

static void write_device_metrics(struct vr_exposition *out, const struct vr_loop *loop)
{
    const struct vr_feed_metrics *feed = &loop->feed_metrics;
    struct vr_device_status device;
    vr_feed_device_read(loop->shared->feed, &device);
    vr_exposition_family(out, "vireo_feed_backend_batches_total", "counter", "Batches by where all of them was done.");
    write_labelled(out, "vireo_feed_backend_batches_total", "backend", "cpu", feed->batches - feed->device_batches);
    write_labelled(out, "vireo_feed_backend_batches_total", "backend", "device", feed->device_batches);
    bool up = device.state == VR_DEVICE_UP || device.state == VR_DEVICE_SUSPECT;
    gauge(out, "vireo_device_wanted", "1 where a device is configured and built in.", device.state != VR_DEVICE_NONE);
    gauge(out, "vireo_device_up", "1 while batches run on the device.", up);
    gauge(out, "vireo_worker_restarts", "Workers before this one.", loop->shared->restarts);
    counter(out, "vireo_feed_replayed_batches_total", "Batches that failed on the device and ran again on the CPU.",
            (double)feed->replayed_batches);
    vr_exposition_family(out, "vireo_device_failures_total", "counter", "Failures of the device by reason.");
    for (uint32_t i = 0; i < VR_DEVICE_FAILURES; i++) {
        write_labelled(out, "vireo_device_failures_total", "reason", vr_device_failure_name((enum vr_device_failure)i),
                       device.failures[i]);
    }
}

static void write_feed(struct vr_exposition *out, const struct vr_feed_metrics *feed)
{
    counter(out, "vireo_feed_jobs_total", "Jobs that lanes answered.", (double)feed->jobs);
    counter(out, "vireo_feed_batches_total", "Batches that lanes ran.", (double)feed->batches);
    counter(out, "vireo_feed_timeouts_total", "Jobs whose deadline passed.", (double)feed->timeouts);
    counter(out, "vireo_feed_cancelled_total", "Jobs dropped because the client had gone.", (double)feed->cancelled);
    counter(out, "vireo_feed_errors_total", "Jobs that failed.", (double)feed->errors);
    counter(out, "vireo_feed_scores_dropped_total", "Candidates whose score was not finite.",
            (double)feed->dropped_scores);
    counter(out, "vireo_feed_short_total", "Feeds shorter than asked for.", (double)feed->short_feeds);
    write_load(out, &feed->load);
    write_losses(out, feed);
    write_stages(out, feed);
}

static void write_state(struct vr_exposition *out, struct vr_state *state)
{
    struct vr_state_sizes sizes;
    vr_state_measure(state, &sizes);
    gauge(out, "vireo_state_viewers", "Viewers known.", (double)sizes.viewers);
    gauge(out, "vireo_state_videos", "Videos known.", (double)sizes.videos);
    gauge(out, "vireo_state_bytes", "Memory of the viewer state.", (double)sizes.bytes);
    counter(out, "vireo_event_log_commits_total", "Groups of events written and synced.", (double)sizes.log_commits);
    counter(out, "vireo_event_log_failures_total", "Groups of events that could not be written or synced.",
            (double)sizes.log_failures);
    counter(out, "vireo_event_log_bytes_total", "Bytes of events written.", (double)sizes.log_bytes);
    gauge(out, "vireo_event_log_segments", "Files of the event log.", (double)sizes.log_segments);
    counter(out, "vireo_events_unapplied_total", "Events in the log that could not be applied before a restart.",
            (double)sizes.unapplied);
}

static void write_model(struct vr_exposition *out, struct vr_loop *loop)
{
    struct vr_model *model = vr_feed_model(loop->shared->feed);
    bool ready = __atomic_load_n(&loop->shared->readiness, __ATOMIC_ACQUIRE) == VR_READY_YES && model != NULL;
    gauge(out, "vireo_ready", "1 while requests are taken.", ready);
    vr_exposition_family(out, "vireo_build_info", "gauge", "Version of the program.");
    write_labelled(out, "vireo_build_info", "version", VIREO_VERSION, 1);
    vr_exposition_family(out, "vireo_model_info", "gauge", "Version of the model in service.");
    if (model != NULL) {
        write_labelled(out, "vireo_model_info", "version", model->bundle->model_version, 1);
        gauge(out, "vireo_model_videos", "Videos of the model in service.", model->bundle->videos.count);
    }
    vr_model_release(model);
}

static void write_loads(struct vr_exposition *out, const struct vr_models *models)
{
    struct vr_model_counts counts;
    if (models == NULL) { /* loops without a server around them, in tests */
        return;
    }
    vr_models_count(models, &counts);
    vr_exposition_family(out, "vireo_model_loads_total", "counter", "Models that came into service, or were refused.");
    write_labelled(out, "vireo_model_loads_total", "result", "ok", counts.loaded);
    write_labelled(out, "vireo_model_loads_total", "result", "failed", counts.failed);
    counter(out, "vireo_model_rollbacks_total", "Times that the model before came back.", (double)counts.rollbacks);
    gauge(out, "vireo_model_loading", "1 while a model is being made ready.", (double)counts.loading);
    gauge(out, "vireo_model_load_seconds", "What making the model in service ready took.",
          (double)counts.took_ms * 1e-3);
    gauge(out, "vireo_model_served_time_seconds", "When the model in service came there, since 1970-01-01 UTC.",
          (double)counts.served_ms * 1e-3);
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

/* Resident memory from /proc; 0 where that cannot be read. */
static double resident_bytes(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0.0;
    }
    char line[128];
    char *end = fgets(line, sizeof line, file);
    (void)fclose(file);
    if (end != NULL) {
        size = strtol(line, &end, 10);
        resident = size > 0 ? strtol(end, NULL, 10) : 0;
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void write_process(struct vr_exposition *out, const struct vr_loop *loop)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        counter(out, "process_cpu_seconds_total", "CPU time in seconds.",
                seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    }
    gauge(out, "process_resident_memory_bytes", "Resident memory.", resident_bytes());
    gauge(out, "process_start_time_seconds", "Start, in seconds since 1970-01-01 UTC.",
          (double)loop->shared->started_ms * 1e-3);
    gauge(out, "vireo_http_connections", "Open connections of the public port.",
          vr_admission_count(loop->shared->admission, VR_PORT_PUBLIC));
}

static void sum_http_metrics(struct vr_loop *loop)
{
    const struct vr_shared *shared = loop->shared;
    memset(&loop->http_metrics, 0, sizeof loop->http_metrics);
    for (uint32_t i = 0; i < shared->loop_count; i++) {
        vr_http_metrics_add(&loop->http_metrics, &shared->loop[i]->metrics);
    }
}

void vr_handle_metrics(struct vr_loop *loop, struct vr_exchange *exchange)
{
    struct vr_exposition out = {0};
    struct vr_str none = {NULL, 0};
    vr_feed_metrics_read(loop->shared->feed, &loop->feed_metrics);
    write_model(&out, loop);
    write_loads(&out, loop->shared->models);
    sum_http_metrics(loop);
    vr_http_metrics_write(&loop->http_metrics, &out);
    write_feed(&out, &loop->feed_metrics);
    write_device_metrics(&out, loop);
    write_state(&out, loop->shared->state);
    write_process(&out, loop);
    if (out.failed) {
        vr_exposition_destroy(&out);
        vr_exchange_fail(loop, exchange, 503, "nomem", "no memory for the metrics", none);
        return;
    }
    exchange->media_type = "text/plain; version=0.0.4; charset=utf-8";
    vr_json_writer_destroy(&loop->writer);
    loop->writer = (struct vr_json_writer){.data = out.data, .len = out.len, .capacity = out.capacity};
}
