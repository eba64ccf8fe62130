/* The counters of http_metrics.h and their families. */
#include "http_metrics.h"

#include <stdio.h>

static const int statuses[VR_HTTP_STATUSES] = {200, 202, 400, 404, 405, 408, 409, 411, 413, 414,
                                               415, 417, 422, 431, 500, 501, 503, 504, 505, 0};

/* 0.5 ms to 5 s, in microseconds. */
static const uint64_t bounds[] = {500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 5000000};

/* 64 B to 1 MiB. */
static const uint64_t size_bounds[] = {64, 256, 1024, 4096, 16384, 65536, 262144, 1048576};

void vr_http_metrics_answer(struct vr_http_metrics *metrics, const struct vr_http_answer *answer)
{
    uint32_t i = 0;
    while (i + 1 < VR_HTTP_STATUSES && statuses[i] != answer->status) {
        i++;
    }
    vr_count(&metrics->answers[answer->route][i], 1);
    vr_histogram_record(&metrics->seconds[answer->route], answer->took_us);
    vr_histogram_record(&metrics->answer_bytes, answer->bytes);
}

void vr_http_metrics_reply(struct vr_http_metrics *metrics, const struct vr_feed_reply *reply)
{
    if (reply->status == VR_OK) {
        vr_tally_count(&metrics->models, reply->model_version, 1);
    }
}

static void add(uint64_t *into, const uint64_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        into[i] += vr_counted(&from[i]);
    }
}

void vr_http_metrics_add(struct vr_http_metrics *into, const struct vr_http_metrics *loop)
{
    for (uint32_t r = 0; r < VR_ROUTE_COUNT; r++) {
        add(into->answers[r], loop->answers[r], VR_HTTP_STATUSES);
        vr_histogram_merge(&into->seconds[r], &loop->seconds[r]);
    }
    vr_histogram_merge(&into->request_bytes, &loop->request_bytes);
    vr_histogram_merge(&into->answer_bytes, &loop->answer_bytes);
    vr_tally_add(&into->models, &loop->models);
    add(&into->accepted, &loop->accepted, 1);
    add(into->refused, loop->refused, 2);
    add(&into->cancelled, &loop->cancelled, 1);
    add(into->events, loop->events, sizeof into->events / sizeof *into->events);
}

static void write_answers(const struct vr_http_metrics *metrics, struct vr_exposition *out)
{
    vr_exposition_family(out, "vireo_http_requests_total", "counter", "Answers by route and status.");
    for (uint32_t r = 0; r < VR_ROUTE_COUNT; r++) {
        for (uint32_t s = 0; s < VR_HTTP_STATUSES; s++) {
            char labels[96];
            snprintf(labels, sizeof labels, "route=\"%s\",code=\"%d\"", vr_route_name((enum vr_route)r), statuses[s]);
            if (metrics->answers[r][s] > 0) {
                vr_exposition_sample(out, "vireo_http_requests_total", labels, (double)metrics->answers[r][s]);
            }
        }
    }
}

static void write_seconds(const struct vr_http_metrics *metrics, struct vr_exposition *out)
{
    vr_exposition_family(out, "vireo_http_request_duration_seconds", "histogram",
                         "From the complete request to its answer.");
    for (uint32_t r = 0; r < VR_ROUTE_COUNT; r++) {
        char labels[64];
        snprintf(labels, sizeof labels, "route=\"%s\"", vr_route_name((enum vr_route)r));
        if (metrics->seconds[r].count > 0) {
            vr_exposition_histogram(out, "vireo_http_request_duration_seconds", labels, &metrics->seconds[r], bounds,
                                    sizeof bounds / sizeof *bounds, 1e-6);
        }
    }
}

static void write_sizes(const struct vr_http_metrics *metrics, struct vr_exposition *out)
{
    static const size_t bounds_count = sizeof size_bounds / sizeof *size_bounds;
    vr_exposition_family(out, "vireo_http_request_size_bytes", "histogram", "Whole requests, head and body.");
    vr_exposition_histogram(out, "vireo_http_request_size_bytes", "", &metrics->request_bytes, size_bounds,
                            bounds_count, 1.0);
    vr_exposition_family(out, "vireo_http_response_size_bytes", "histogram", "Bodies of answers.");
    vr_exposition_histogram(out, "vireo_http_response_size_bytes", "", &metrics->answer_bytes, size_bounds,
                            bounds_count, 1.0);
}

/* A family with one label, whose values are the tally's names. */
static void write_tally(const struct vr_tally *tally, const char *name, const char *label, const char *help,
                        struct vr_exposition *out)
{
    vr_exposition_family(out, name, "counter", help);
    for (uint64_t i = 0; i < tally->names; i++) {
        char labels[32 + VR_TALLY_NAME_BYTES];
        snprintf(labels, sizeof labels, "%s=\"%s\"", label, tally->entry[i].name);
        vr_exposition_sample(out, name, labels, (double)tally->entry[i].count);
    }
}

void vr_http_metrics_write(const struct vr_http_metrics *metrics, struct vr_exposition *out)
{
    static const char *const verdict[] = {"verdict=\"accepted\"", "verdict=\"duplicate\"", "verdict=\"rejected\""};
    write_answers(metrics, out);
    write_seconds(metrics, out);
    write_sizes(metrics, out);
    write_tally(&metrics->models, "vireo_model_answers_total", "version", "Answers by the model's version.", out);
    vr_exposition_family(out, "vireo_http_connections_accepted_total", "counter", "Connections taken.");
    vr_exposition_sample(out, "vireo_http_connections_accepted_total", "", (double)metrics->accepted);
    vr_exposition_family(out, "vireo_http_connections_refused_total", "counter",
                         "Connections answered 503 because there were too many, in all or of their address.");
    vr_exposition_sample(out, "vireo_http_connections_refused_total", "reason=\"all\"", (double)metrics->refused[0]);
    vr_exposition_sample(out, "vireo_http_connections_refused_total", "reason=\"address\"",
                         (double)metrics->refused[1]);
    vr_exposition_family(out, "vireo_http_clients_gone_total", "counter",
                         "Requests whose client went away before the answer.");
    vr_exposition_sample(out, "vireo_http_clients_gone_total", "", (double)metrics->cancelled);
    vr_exposition_family(out, "vireo_events_total", "counter", "Events by verdict.");
    for (uint32_t v = 0; v < 3; v++) {
        vr_exposition_sample(out, "vireo_events_total", verdict[v], (double)metrics->events[v]);
    }
}
